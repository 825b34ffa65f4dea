import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { collect, ended, monitorOf, Place, unframe } from './runtime-fixture.ts';

const place = new Place();
const runtime = await place.open();
after(async () => {
  await runtime[Symbol.asyncDispose]();
  await place[Symbol.asyncDispose]();
});

const output = { stdin: false, stdout: true, stderr: true };

function running(pid: number): boolean {
  try {
    return !/^State:\tZ/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}

for (const { name } of runtime.list().filter(({ broken }) => !broken)) {
  test(`${name}: a container killed for its memory says so (R23)`, async () => {
    const base = place.request(['sh', '-c', 'tail /dev/zero'], { runtime: name });
    const limited = (limit: number) => ({
      ...base,
      spec: { ...base.spec, linux: { ...base.spec.linux, resources: { memory: { limit } } } },
    });
    const task = await runtime.start(limited(24 << 20));
    await ended(task);
    const exit = await task.exited;
    assert.deepEqual([exit.code, exit.oomKilled], [137, true]);
    await task.delete();
    const well = await runtime.start({
      ...limited(24 << 20),
      spec: { ...limited(24 << 20).spec, process: { ...base.spec.process, args: ['true'] } },
    });
    assert.equal((await well.exited).oomKilled, false);
    await well.delete();
  });

  test(`${name}: a paused container stands still, goes on when it is resumed, and can be killed while paused`, async () => {
    const task = await runtime.start(
      place.request(['sh', '-c', 'while :; do echo x; sleep 0.01; done'], { runtime: name, attach: [output] }),
    );
    let seen = 0;
    task.attached[0]!.on('data', (bytes: Buffer) => {
      seen += bytes.length;
    });
    await sleep(100);
    assert.ok(seen > 0);
    await task.pause();
    // What was on its way still comes; then nothing does.
    let before = -1;
    for (let waited = 0; before !== seen && waited < 5000; waited += 100) {
      before = seen;
      await sleep(100);
    }
    await sleep(200);
    assert.equal(seen, before);
    await task.resume();
    await sleep(200);
    assert.ok(seen > before);
    await task.pause();
    await task.kill(9);
    await task.resume();
    assert.equal(await ended(task), 137);
    await task.delete();
    await assert.rejects(task.pause(), { kind: 'conflict' });
  });

  test(`${name}: what a container without a process namespace leaves behind is ended when it is deleted`, async () => {
    const base = place.request(['sh', '-c', 'sleep 1000 & echo $!; sleep 0.1; exit 3'], {
      runtime: name,
      attach: [output],
    });
    const namespaces = base.spec.linux.namespaces.filter(({ type }) => type !== 'pid');
    const task = await runtime.start({ ...base, spec: { ...base.spec, linux: { ...base.spec.linux, namespaces } } });
    const all = collect(task.attached[0]!);
    assert.equal(await ended(task), 3);
    const left = Number(unframe(await all).stdout.toString());
    assert.ok((await task.pids()).includes(left));
    await task.delete();
    assert.ok(!running(left));
    assert.deepEqual(await task.pids(), []);
  });
}

test('a monitor in rest takes little memory', async () => {
  const tasks = await Promise.all(Array.from({ length: 8 }, () => runtime.start(place.request(['sleep', '1000']))));
  const monitors = await Promise.all(tasks.map(({ pid }) => monitorOf(pid)));
  const sizes = monitors.map((pid) =>
    Number(/^Pss:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))![1]),
  );
  assert.ok(Math.max(...sizes) < 300, `${sizes.join(', ')} kB`);
  for (const task of tasks) {
    await task.kill(9);
    await ended(task);
    await task.delete();
  }
});
