import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { busyboxArchive } from '../lib/busybox-image.ts';
import { dockerCli, project, startBerth, type TestEngine } from '../lib/engines.ts';
import { SshHost } from '../lib/ssh-host.ts';

const ours = `exec ${process.execPath} -- ${join(project, 'dist/cli-main.js')} "$@"`;

describe('an engine on another machine, by ssh', () => {
  let engine: TestEngine;
  let host: SshHost;

  before(async () => {
    engine = await startBerth();
    engine.must('load', '-q', '-i', busyboxArchive({ name: 'bb:1' }));
    host = await SshHost.start({
      env: { BERTH_SOCKET: engine.socket, DOCKER_HOST: `unix://${engine.socket}` },
      programs: { docker: ours, berth: ours },
    });
  });
  after(async () => {
    await host?.[Symbol.asyncDispose]();
    await engine?.[Symbol.asyncDispose]();
  });

  const docker = (cli: string, args: readonly string[], input: string | Buffer = '') => {
    const { status, stdout, stderr, signal } = spawnSync(cli, ['-H', 'ssh://there', ...args], {
      env: { PATH: host.clientPath, HOME: host.dir, DOCKER_CONFIG: join(host.dir, 'docker') },
      input,
      encoding: 'utf8',
      timeout: 120_000,
      maxBuffer: 64 * 1024 * 1024,
    });
    return { status, stdout, stderr, signal };
  };
  const berth = (args: readonly string[], env: NodeJS.ProcessEnv = {}) =>
    spawnSync(process.execPath, ['--', join(project, 'dist/cli-main.js'), ...args], {
      env: { PATH: host.clientPath, HOME: host.dir, ...env },
      input: '',
      encoding: 'utf8',
      timeout: 120_000,
    });

  for (const cli of new Set([dockerCli(), '/usr/bin/docker']))
    test(`${cli === '/usr/bin/docker' ? "Debian's docker" : 'the newest docker'} runs, reads stdin to its end and sends archives`, () => {
      host.program('docker', ours);
      const version = docker(cli, ['version', '--format', '{{.Server.Version}}']);
      assert.equal(version.status, 0, version.stderr);
      const run = docker(cli, ['run', '--rm', '-i', 'bb:1', 'sh', '-c', 'wc -c; echo done'], 'x'.repeat(300_000));
      assert.equal(run.status, 0, run.stderr);
      assert.equal(run.stdout, '300000\ndone\n');
      const failing = docker(cli, ['run', '--rm', 'bb:1', 'sh', '-c', 'echo to-err >&2; exit 7']);
      assert.equal(failing.status, 7);
      assert.match(failing.stderr, /to-err/);
      const saved = docker(cli, ['save', 'bb:1', '-o', join(host.dir, 'bb.tar')]);
      assert.equal(saved.status, 0, saved.stderr);
      const loaded = docker(cli, ['load', '-i', join(host.dir, 'bb.tar')]);
      assert.match(loaded.stdout, /Loaded image: bb:1/, loaded.stderr);
    });

  test('many short sessions all end', async () => {
    host.program('docker', ours);
    let left = 24;
    const one = async () => {
      while (left-- > 0) {
        const child = spawn(dockerCli(), ['-H', 'ssh://there', 'ps', '-q'], {
          env: { PATH: host.clientPath, HOME: host.dir, DOCKER_CONFIG: join(host.dir, 'docker') },
          // An input that stays open, as of a terminal.
          stdio: ['pipe', 'ignore', 'pipe'],
          timeout: 120_000,
          killSignal: 'SIGKILL',
        });
        let said = '';
        child.stderr.on('data', (chunk: Buffer) => {
          said += chunk;
        });
        const code = await new Promise((resolve) => child.once('close', (status, signal) => resolve(signal ?? status)));
        child.stdin.destroy();
        assert.equal(code, 0, said);
      }
    };
    await Promise.all([one(), one(), one()]);
    // Nothing of them stays over there.
    const deadline = Date.now() + 60_000;
    const stays = () => spawnSync('pgrep', ['-f', `dist/cli-main.js system dial-stdio`], { encoding: 'utf8' }).stdout;
    while (stays() !== '' && Date.now() < deadline) await sleep(100);
    assert.equal(stays(), '');
  });

  test("Docker's own command over there does it too", () => {
    host.program('docker', `exec ${dockerCli()} "$@"`);
    const ps = docker(dockerCli(), ['ps', '-a', '--format', '{{.Names}}']);
    assert.equal(ps.status, 0, ps.stderr);
    host.program('docker', ours);
  });

  test('berth -H and BERTH_HOST reach it, with what is said on both outputs and the exit code', () => {
    const run = berth(['-H', 'ssh://there', 'run', '--rm', 'bb:1', 'sh', '-c', 'echo out; echo err >&2; exit 3']);
    assert.equal(run.status, 3, run.stderr);
    assert.equal(run.stdout, 'out\n');
    assert.match(run.stderr, /err/);
    const ps = berth(['ps', '-a', '--json'], { BERTH_HOST: `ssh://root@there${engine.socket}` });
    assert.deepEqual(JSON.parse(ps.stdout), [], ps.stderr);
    host.without('berth');
    const byDocker = berth(['-H', 'ssh://there', 'images']);
    assert.match(byDocker.stdout, /bb:1/, byDocker.stderr);
    host.program('berth', ours);
    assert.match(berth(['-H', `unix://${engine.socket}`, 'images']).stdout, /bb:1/);
  });

  test('what ssh says is said, and an engine that is not there', () => {
    const unknown = berth(['-H', 'ssh://nobody@127.0.0.1:1', 'ps']);
    assert.equal(unknown.status, 1);
    assert.match(unknown.stderr, /ssh:\/\/nobody@127\.0\.0\.1:1: ssh ended with 255:[\s\S]*Connection refused/);
    const none = berth(['-H', 'ssh://there/run/berth-nothing-here.sock', 'ps']);
    assert.equal(none.status, 1);
    assert.match(none.stderr, /cannot connect to the engine at unix:\/\/\/run\/berth-nothing-here\.sock/);
    const wrong = berth(['-H', 'gopher://there', 'ps']);
    assert.match(wrong.stderr, /gopher:\/\/ is not known/);
  });
});
