import assert from 'node:assert/strict';
import { existsSync, readdirSync, utimesSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { BerthCli } from '../lib/berth-cli.ts';
import { busyboxArchive } from '../lib/busybox-image.ts';
import { startBerth, type TestEngine } from '../lib/engines.ts';

describe('logs of removed containers', () => {
  let engine: TestEngine;
  let berth: BerthCli;
  before(async () => {
    engine = await startBerth({ flags: [] });
    berth = new BerthCli(engine);
    engine.must('load', '-q', '-i', busyboxArchive({ name: 'bb:1' }));
  });
  after(() => engine[Symbol.asyncDispose]());

  const kept = () => {
    const root = join(engine.dir, 'root/removed-logs');
    return existsSync(root) ? readdirSync(root) : [];
  };
  async function until(what: () => boolean): Promise<void> {
    for (let n = 0; n < 300 && !what(); n++) await sleep(100);
    assert.ok(what());
  }

  test('are shown by logs and why, with the last of a name first; docker does not see them', async () => {
    engine.docker(['run', '--name', 'job', 'bb:1', 'sh', '-c', 'echo first; exit 3']);
    engine.must('rm', 'job');
    engine.docker(['run', '--rm', '--name', 'job', 'bb:1', 'sh', '-c', 'echo out; echo err >&2; exit 4']);
    await until(() => kept().length === 2);
    const { stdout, stderr, status } = berth.run(['logs', 'job']);
    assert.deepEqual([stdout, status], ['out\n', 0]);
    assert.match(stderr, /^job was removed .* ago; this is what it wrote\nerr\n$/);
    const why = berth.must('why', 'job');
    assert.match(why, /job is gone: it was removed .* ago, after it had ended with exit code 4/);
    assert.match(why, /\| out/);
    const docker = engine.docker(['logs', 'job']);
    assert.equal(docker.status, 1);
    assert.match(docker.stderr, /No such container: job/);
    assert.equal(berth.json<{ text: string }>('logs', '--json', '--tail', '1', 'job').text !== '', true);
  });

  test('are there at once, while the container goes', async () => {
    const all = kept().length + 5;
    for (let n = 0; n < 5; n++) {
      engine.must('run', '--name', `quick${n}`, 'bb:1', 'echo', `said${n}`);
      engine.must('rm', `quick${n}`);
      assert.equal(berth.run(['logs', `quick${n}`]).stdout, `said${n}\n`);
    }
    await until(() => kept().length === all);
  });

  test('what wrote nothing leaves nothing, and the name is free at once', () => {
    const before = kept().length;
    engine.must('run', '--name', 'silent', 'bb:1', 'true');
    engine.must('rm', 'silent');
    engine.must('run', '--name', 'silent', 'bb:1', 'true');
    engine.must('rm', 'silent');
    assert.equal(kept().length, before);
    assert.match(berth.run(['logs', 'silent']).stderr, /No such container: silent/);
  });

  test('outlive kill -9 of the engine, count in df, and go when their time is over', async () => {
    engine.docker(['run', '--name', 'late', 'bb:1', 'echo', 'here']);
    engine.must('rm', 'late');
    await engine.kill();
    await engine.restart();
    await until(() => berth.run(['logs', 'late']).stdout === 'here\n');
    // A second walk over all finds what df says.
    const { unaccounted } = berth.json<{ unaccounted: unknown[] }>('df', '--json', '--verify');
    assert.deepEqual(unaccounted, []);
    const long = new Date(Date.now() - 2 * 86_400_000);
    const root = join(engine.dir, 'root/removed-logs');
    for (const id of kept()) utimesSync(join(root, id, 'removed.json'), long, long);
    // It is looked after each minute.
    for (let n = 0; n < 1500 && kept().length > 0; n++) await sleep(100);
    assert.deepEqual(kept(), []);
  });
});
