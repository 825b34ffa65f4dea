import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { busyboxArchive } from '../lib/busybox-image.ts';
import { startBerth, type TestEngine } from '../lib/engines.ts';

describe('mounts of type image', () => {
  let engine: TestEngine;
  before(async () => {
    engine = await startBerth();
    for (const image of [{ name: 'bb:1' }, { name: 'files:1', files: { 'data/a': 'of the image\n' } }])
      engine.must('load', '-q', '-i', busyboxArchive(image));
  });
  // It also looks for what was left: mounts, files, processes.
  after(() => engine[Symbol.asyncDispose]());

  const mount = ['--mount', 'type=image,source=files:1,target=/m'];
  const imageMounts = () => readFileSync('/proc/self/mountinfo', 'utf8').match(/\S+\/images\/\S+\.image\d+/g) ?? [];
  const ours = () => imageMounts().filter((path) => path.startsWith(engine.dir));

  test('a running container has it after the engine was killed, and its removal takes all of it away', async () => {
    engine.must('run', '-d', '--name', 'one', ...mount, 'bb:1', 'sleep', '600');
    await engine.kill();
    await engine.restart();
    assert.equal(engine.must('exec', 'one', 'cat', '/m/data/a'), 'of the image');
    assert.equal(engine.docker(['rmi', 'files:1']).status, 1);
    engine.must('restart', '-t', '0', 'one');
    assert.equal(engine.must('exec', 'one', 'cat', '/m/data/a'), 'of the image');
    assert.equal(ours().length, 1);
    engine.must('rm', '-f', 'one');
    await gone();
  });

  test('one that ended while no engine ran leaves no mount', async () => {
    engine.must('run', '-d', '--name', 'one', ...mount, 'bb:1', 'sleep', '600');
    const pid = Number(engine.must('inspect', '-f', '{{.State.Pid}}', 'one'));
    await engine.kill();
    process.kill(pid, 'SIGKILL');
    await engine.restart();
    await gone();
    engine.must('start', 'one');
    assert.equal(engine.must('exec', 'one', 'cat', '/m/data/a'), 'of the image');
    engine.must('rm', '-f', 'one');
  });

  test('a removal by force leaves its files to those that mount it', () => {
    engine.must('tag', 'files:1', 'files:kept');
    engine.must('create', '--name', 'one', ...mount, 'bb:1', 'cat', '/m/data/a');
    engine.must('rmi', '-f', 'files:1', 'files:kept');
    assert.equal(engine.must('start', '-a', 'one'), 'of the image');
    engine.must('rm', 'one');
    engine.must('load', '-q', '-i', busyboxArchive({ name: 'files:1', files: { 'data/a': 'of the image\n' } }));
  });

  async function gone() {
    for (const deadline = Date.now() + 30_000; ours().length > 0; await new Promise((r) => setTimeout(r, 50)))
      assert.ok(Date.now() < deadline, `still mounted: ${ours().join(' ')}`);
  }
});
