import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { onBothEngines } from '../lib/both-engines.ts';
import type { TestEngine } from '../lib/engines.ts';

/** Debian's own docker CLI, 20.10 in Debian 12: it speaks API 1.41. Other tests use what is newer. */
const program = '/usr/bin/docker';
const { stdout: said } = spawnSync(program, ['--version'], { encoding: 'utf8' });
const isOld = / 20\.10\./.test(said ?? '');

function docker(engine: TestEngine, args: readonly string[], input = '') {
  const { status, stdout, stderr } = spawnSync(program, args, {
    ...{ env: engine.env, input, encoding: 'utf8', timeout: 60_000 },
  });
  return { status, stdout, stderr };
}

if (!isOld) test.skip('Debian’s docker CLI 20.10 is not installed here');
else
  onBothEngines('Debian’s docker CLI 20.10', {}, ({ same }) => {
    same('run, exec, logs, cp, networks, volumes, stats, events and inspect', async (engine) => {
      const must = (...args: string[]) => {
        const { status, stdout, stderr } = docker(engine, args);
        assert.equal(status, 0, `docker ${args.join(' ')}: ${stderr}${stdout}`);
        return stdout.trim();
      };
      assert.equal(must('version', '-f', '{{.Client.APIVersion}}'), '1.41');
      const began = Math.floor(Date.now() / 1000);
      assert.equal(must('run', '--rm', 'bb:1', 'echo', 'hello'), 'hello');
      assert.equal(docker(engine, ['run', '--rm', '-i', 'bb:1', 'sh', '-c', 'cat; exit 3'], 'in\n').status, 3);
      assert.equal(docker(engine, ['run', '--rm', 'bb:1', 'nosuch']).status, 127);

      must('network', 'create', '--subnet', '10.77.3.0/24', 'old-net');
      must('volume', 'create', '--label', 'a=b', 'old-volume');
      const id = must(
        ...['run', '-d', '--name', 'old', '--network', 'old-net', '--network-alias', 'other', '-v', 'old-volume:/data'],
        ...['-p', '127.0.0.1:8999:80', '--memory', '64m', 'bb:1', 'sh', '-c', 'echo started; exec sleep 1000'],
      );
      assert.equal(must('ps', '-q', '--no-trunc', '-f', 'network=old-net'), id);
      assert.match(must('ps', '-f', 'name=old'), /127\.0\.0\.1:8999->80\/tcp +old$/m);
      assert.equal(must('logs', 'old'), 'started');
      assert.equal(must('exec', '-e', 'A=1', 'old', 'sh', '-c', 'echo $A'), '1');
      assert.deepEqual(docker(engine, ['exec', '-i', 'old', 'sh', '-c', 'cat; exit 4'], 'x').status, 4);
      assert.match(must('run', '--rm', '--network', 'old-net', 'bb:1', 'nslookup', 'other'), /10\.77\.3\.2/);
      assert.equal(must('inspect', '-f', '{{.State.Status}} {{.HostConfig.Memory}}', 'old'), 'running 67108864');
      assert.match(
        must('stats', '--no-stream', '--format', '{{.Name}} {{.MemUsage}} {{.PIDs}}', 'old'),
        /^old .* \/ 64MiB 1$/,
      );
      assert.equal(must('network', 'inspect', '-f', '{{(index .IPAM.Config 0).Subnet}}', 'old-net'), '10.77.3.0/24');
      assert.equal(must('volume', 'ls', '-q', '-f', 'label=a=b'), 'old-volume');

      const dir = mkdtempSync(join(tmpdir(), 'debian-cli-'));
      try {
        writeFileSync(join(dir, 'in'), 'carried\n');
        must('cp', join(dir, 'in'), 'old:/data/file');
        must('cp', 'old:/data/file', join(dir, 'out'));
        assert.equal(readFileSync(join(dir, 'out'), 'utf8'), 'carried\n');
      } finally {
        rmSync(dir, { recursive: true });
      }

      const followed = spawn(program, ['logs', '-f', 'old'], { env: engine.env, stdio: ['ignore', 'pipe', 'inherit'] });
      await once(followed.stdout, 'data');
      must('network', 'disconnect', 'old-net', 'old');
      must('stop', '-t', '0', 'old');
      if (followed.exitCode === null) await once(followed, 'exit');
      assert.equal(followed.exitCode, 0, 'logs -f ends with the container');
      must('rm', '-v', 'old');
      must('network', 'rm', 'old-net');
      must('volume', 'rm', 'old-volume');
      const events = must(
        ...['events', '--since', String(began), '--until', String(Math.ceil(Date.now() / 1000) + 1)],
        ...['-f', 'container=old', '--format', '{{.Status}}'],
      );
      for (const one of ['create', 'start', 'die', 'stop', 'destroy'])
        assert.match(events, new RegExp(`^${one}$`, 'm'));
      assert.match(docker(engine, ['inspect', 'old']).stderr, /No such object: old/);
    });
  });
