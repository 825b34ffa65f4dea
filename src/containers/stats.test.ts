import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { TaskUsage } from '../runtime/usage.ts';
import { fakeEngine, request } from './fakes.ts';
import { parseStat, type Sample } from './stats.ts';

const usage: TaskUsage = {
  version: 2,
  pids: { current: 1, limit: undefined },
  cpu: { total: 5, kernel: 1, user: 4, perCpu: undefined, periods: 0, throttledPeriods: 0, throttled: 0 },
  memory: { usage: 1, most: undefined, failures: 0, limit: undefined, stats: {} },
  io: { bytes: [], operations: [] },
  networks: {
    eth0: { rxBytes: 1, rxPackets: 1, rxErrors: 0, rxDropped: 0, txBytes: 0, txPackets: 0, txErrors: 0, txDropped: 0 },
  },
};

async function withContainer(hostConfig = {}) {
  const engine = await fakeEngine();
  const { id } = await engine.containers.create('web', request({}, hostConfig), undefined);
  await engine.containers.start('web');
  const task = engine.runtime.tasks.get(id)!;
  task.used = usage;
  let looks = 0;
  task.usage = () => {
    looks++;
    return task.used;
  };
  return { ...engine, id, task, looks: () => looks };
}

test('one look is for all who watch, the first is at once, and nobody looks when nobody watches', async (t) => {
  await using engine = await withContainer();
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const seen: Sample[][] = [[], []];
  const watch = (at: number) =>
    engine.containers.watchStats('web', { sample: (sample) => seen[at]!.push(sample), removed: () => {} });
  const first = watch(0);
  const second = watch(1);
  assert.equal(engine.looks(), 1);
  assert.equal(seen[0]![0], seen[1]![0]);
  t.mock.timers.tick(1000);
  assert.equal(engine.looks(), 2);
  first[Symbol.dispose]();
  second[Symbol.dispose]();
  second[Symbol.dispose]();
  t.mock.timers.tick(5000);
  assert.equal(engine.looks(), 2);
  t.mock.timers.reset();
  assert.ok(seen[0]![1]!.system >= seen[0]![0]!.system && seen[0]![0]!.processors > 0);
});

test('a container that does not run uses nothing, and one that is removed is told', async () => {
  await using engine = await withContainer();
  const removed = Promise.withResolvers<void>();
  const seen: Sample[] = [];
  engine.containers.watchStats('web', { sample: (sample) => seen.push(sample), removed: removed.resolve });
  engine.task.end(0);
  while (engine.containers.get('web').state.status === 'running') await sleep(5);
  assert.equal(engine.containers.stats('web').usage, undefined);
  await engine.containers.remove('web', { force: false, volumes: false, link: false });
  await removed.promise;
  assert.throws(() => engine.containers.stats('web'), { kind: 'not-found' });
});

test("the host's traffic is not a container's", async () => {
  await using own = await withContainer();
  assert.deepEqual(Object.keys(own.containers.stats('web').usage!.networks), ['eth0']);
  await using shared = await withContainer({ NetworkMode: 'host' });
  assert.deepEqual(shared.containers.stats('web').usage!.networks, {});
});

test('the time of the machine is that of all its processors, without guests and what was stolen', () => {
  const text = 'cpu  1 2 3 4 5 6 7 8 9 10\ncpu0 1 0 0 0 0 0 0 0 0 0\ncpu1 0 0 0 0 0 0 0 0 0 0\nintr 5\n';
  assert.deepEqual(parseStat(text), { nanoseconds: 280_000_000, processors: 2 });
});
