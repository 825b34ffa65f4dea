import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { onBothEngines } from '../lib/both-engines.ts';
import { project, type TestEngine } from '../lib/engines.ts';
import { reaperArchive } from '../lib/reaper-image.ts';

/** The client in a process of its own, in the engine's network namespace; its lines. */
async function client(
  engine: TestEngine,
  what: 'everything' | 'reaped',
  env: Readonly<Record<string, string>>,
): Promise<unknown[][]> {
  const script = join(project, 'test/compat/testcontainers-client.ts');
  const child = spawn('nsenter', [`--net=/run/netns/${engine.netns}`, process.execPath, script, what], {
    // Its lock is for one engine alone.
    env: { ...engine.env, TMPDIR: engine.dir, NODE_NO_WARNINGS: '1', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: 240_000,
  });
  let [stdout, stderr] = ['', ''];
  child.stdout.on('data', (chunk) => {
    stdout += chunk;
  });
  child.stderr.on('data', (chunk) => {
    stderr += chunk;
  });
  const code = await new Promise((resolve) => child.on('close', resolve));
  assert.equal(code, 0, `${stdout}${stderr}`);
  const lines = stdout.trim().split('\n');
  return lines.map((line) => JSON.parse(line) as unknown[]);
}

onBothEngines('Testcontainers', {}, ({ same }) => {
  same('wait strategies, exec, copies, networks, logs, restart, commit', async (engine) => {
    const lines = await client(engine, 'everything', { TESTCONTAINERS_RYUK_DISABLED: 'true' });
    const server = lines.at(-1)?.[1];
    assert.deepEqual(lines, [
      ['log', 'hello', 'web'],
      ['stream', 'starting\nready now'],
      ['port', 'late'],
      ['health', 'ok'],
      ['exec', [3, '1000\n/tmp\n', '1000\n/tmp\n', '']],
      ['streams', 'out\n', 'err\n'],
      ['missing', 127],
      ['options', true],
      ['alias', [0, 'hello\n', 'hello\n', '']],
      ['before', [0, 'before\n644\n', 'before\n644\n', '']],
      ['after', [0, 'after\n"""', 'after\n"""', '']],
      ['archive', true, true],
      ['once', 'done'],
      ['failed', true],
      ['restarted', 'hello'],
      ['committed', true],
      ['kept', true],
      ['left', server],
    ]);
    assert.equal(engine.must('ps', '-aq', '--no-trunc'), server);
    engine.must('rm', String(server));
    engine.must('rmi', 'committed:1');
    engine.must('network', 'prune', '-f');
  });

  same('what a run leaves is cleaned up by its reaper, through the socket that is mounted into it', async (engine) => {
    const archive = join(engine.dir, 'reaper.tar');
    writeFileSync(archive, reaperArchive('reaper:1'));
    engine.must('load', '-q', '-i', archive);
    const [[, container, network] = []] = await client(engine, 'reaped', { RYUK_CONTAINER_IMAGE: 'reaper:1' });
    const left = () => [
      engine.must('ps', '-aq', '--no-trunc'),
      engine.must('network', 'ls', '-q', '--no-trunc', '-f', 'type=custom'),
    ];
    assert.match(String(container), /^[0-9a-f]{64}$/);
    assert.match(String(network), /^[0-9a-f]{64}$/);
    const until = Date.now() + 60_000;
    while (left().some((ids) => ids !== '') && Date.now() < until) await sleep(200);
    assert.deepEqual(left(), ['', '']);
  });
});
