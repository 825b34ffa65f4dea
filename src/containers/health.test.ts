import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Healthcheck } from '../protocol/container.ts';
import { frame } from '../protocol/frames.ts';
import type { Health, HealthResult } from './containers.ts';
import { fakeEngine, request } from './fakes.ts';
import { healthAfter, healthAtStart, probeCommand, timingOf, untilNextProbe } from './health.ts';

const result = (exitCode: number): HealthResult => ({ start: 's', end: 'e', exitCode, output: '' });
const starting: Health = { status: 'starting', failingStreak: 0, log: [] };

test('the command of a health check by its kind', () => {
  const config = (Test: string[] | undefined, Shell?: string[]) =>
    request({ ...(Test && { Healthcheck: { Test } }), ...(Shell && { Shell }) }).config;
  assert.deepEqual(probeCommand(config(['CMD', 'a', 'b'])), ['a', 'b']);
  assert.deepEqual(probeCommand(config(['CMD-SHELL', 'a b'])), ['/bin/sh', '-c', 'a b']);
  assert.deepEqual(probeCommand(config(['CMD-SHELL', 'a b'], ['bash', '-ec'])), ['bash', '-ec', 'a b']);
  for (const none of [undefined, [], ['NONE']]) assert.equal(probeCommand(config(none)), undefined);
});

test('times that are not given are those of Docker', () => {
  assert.deepEqual(timingOf({}), {
    interval: 30_000,
    timeout: 30_000,
    startPeriod: 0,
    startInterval: 5_000,
    retries: 3,
  });
  assert.equal(timingOf({ Interval: 1_500_000 }).interval, 1.5);
});

test('it takes as many failures as retries to be unhealthy, and one success to be healthy', () => {
  const options = { retries: 2, inStartPeriod: false };
  const once = healthAfter(starting, result(1), options);
  assert.deepEqual([once.status, once.failingStreak], ['starting', 1]);
  const twice = healthAfter(once, result(-1), options);
  assert.deepEqual([twice.status, twice.failingStreak], ['unhealthy', 2]);
  const well = healthAfter(twice, result(0), options);
  assert.deepEqual([well.status, well.failingStreak], ['healthy', 0]);
  assert.equal(healthAfter(well, result(1), options).status, 'healthy');
  assert.deepEqual(
    twice.log.map(({ exitCode }) => exitCode),
    [1, -1],
  );
});

test('in the start period failures do not count, until it was well once', () => {
  const options = { retries: 1, inStartPeriod: true };
  assert.deepEqual(healthAfter(starting, result(1), options), { ...starting, log: [result(1)] });
  const well = healthAfter(starting, result(0), options);
  assert.equal(healthAfter(well, result(1), options).status, 'unhealthy');
});

test('five results are kept, and a start keeps them', () => {
  let health = starting;
  for (let code = 0; code < 9; code++) health = healthAfter(health, result(code), { retries: 3, inStartPeriod: false });
  assert.deepEqual(
    health.log.map(({ exitCode }) => exitCode),
    [4, 5, 6, 7, 8],
  );
  const { config } = request({ Healthcheck: { Test: ['CMD', 'true'] } });
  assert.deepEqual(healthAtStart(config, health), { ...starting, log: health.log });
});

test('the start interval counts while it is starting in its start period', () => {
  const timing = timingOf({ Interval: 60e9, StartPeriod: 10e9, StartInterval: 1e9 });
  assert.equal(untilNextProbe(timing, starting, 9_999), 1_000);
  assert.equal(untilNextProbe(timing, starting, 10_000), 60_000);
  assert.equal(untilNextProbe(timing, { ...starting, status: 'healthy' }, 5), 60_000);
});

async function until(what: () => boolean): Promise<void> {
  for (let round = 0; round < 2000 && !what(); round++) await sleep(5);
  assert.ok(what(), 'in time');
}

/** A container whose probes are this test's tasks. */
async function checked(healthcheck: Partial<Healthcheck>) {
  const engine = await fakeEngine();
  const { id } = await engine.containers.create('web', request({ Healthcheck: healthcheck }), undefined);
  const health = () => engine.containers.get(id).state.health;
  await engine.containers.start('web');
  const nextProbe = async (count: number) => {
    await until(() => engine.runtime.execs.length >= count);
    await until(() => engine.runtime.tasks.has(engine.runtime.execs[count - 1]!.id));
    return engine.runtime.tasks.get(engine.runtime.execs[count - 1]!.id)!;
  };
  return { ...engine, id, health, nextProbe, [Symbol.asyncDispose]: () => engine[Symbol.asyncDispose]() };
}

test('a probe runs as an exec, and what it finds is in the record, in events and in the database', async () => {
  await using engine = await checked({ Test: ['CMD', 'check', 'it'], Interval: 1e6, Retries: 1 });
  assert.equal(engine.health()?.status, 'starting');
  const first = await engine.nextProbe(1);
  assert.deepEqual(engine.runtime.execs[0]!.process.args, ['check', 'it']);
  assert.equal(engine.runtime.execs[0]!.bound, true);
  first.attached[0]!.push(frame(1, 'fine\n'));
  first.end(0);
  await until(() => engine.health()?.status === 'healthy');
  assert.equal(engine.health()?.log[0]?.output, 'fine\n');
  (await engine.nextProbe(2)).end(7);
  await until(() => engine.health()?.status === 'unhealthy');
  assert.equal(engine.health()?.failingStreak, 1);
  assert.deepEqual(
    engine.actions.filter((action) => !action.startsWith('exec_')),
    ['create', 'start', 'health_status: healthy', 'health_status: unhealthy'],
  );
  assert.deepEqual(engine.actions.slice(2, 5), ['exec_create: check it', 'exec_start: check it', 'exec_die']);
  await engine.nextProbe(3);
  await engine.containers.idle();
  const stored = (await engine.database.load('container')).get(engine.id) as { state: { health: Health } };
  assert.equal(stored.state.health.status, 'unhealthy');
});

test('a probe that takes too long is killed with its group, and the next waits until it is gone', async () => {
  await using engine = await checked({ Test: ['CMD', 'hang'], Interval: 1e6, Timeout: 20e6, Retries: 1 });
  const probe = await engine.nextProbe(1);
  probe.deadly = () => false;
  probe.attached[0]!.push(frame(2, 'wait'));
  await until(() => probe.signals.length > 0);
  assert.deepEqual(probe.signals, [9]);
  await until(() => engine.health()?.status === 'unhealthy');
  assert.deepEqual(
    engine.health()?.log.map(({ exitCode, output }) => [exitCode, output]),
    [[-1, 'Health check exceeded timeout (20ms): wait']],
  );
  await sleep(30);
  assert.equal(engine.runtime.execs.length, 1);
  probe.end(137);
  await engine.nextProbe(2);
});

test('4096 bytes of what a probe says are kept, and it is not listened to any longer', async () => {
  await using engine = await checked({ Test: ['CMD', 'flood'], Interval: 1e6 });
  const probe = await engine.nextProbe(1);
  for (let n = 0; n < 5; n++) probe.attached[0]!.push(frame(1, 'x'.repeat(1000)));
  await until(() => probe.attached[0]!.destroyed);
  probe.end(0);
  await until(() => engine.health()?.log.length === 1);
  assert.equal(engine.health()?.log[0]?.output, `${'x'.repeat(4096)}...`);
});

test('what cannot be started is a failure with its reason', async () => {
  await using engine = await checked({ Test: ['CMD', 'nosuch'], Interval: 1e6, Retries: 1 });
  engine.runtime.failExec = () => new Error('not in $PATH');
  await until(() => engine.health()?.status === 'unhealthy');
  const last = engine.health()!.log.at(-1)!;
  assert.deepEqual([last.exitCode, last.output], [-1, 'not in $PATH']);
});

test('a pause and an end stop the asking and the probe that runs; unpausing and starting begin it again', async () => {
  await using engine = await checked({ Test: ['CMD', 'check'], Interval: 1e6 });
  const first = await engine.nextProbe(1);
  await engine.containers.pause('web');
  await until(() => first.signals.length > 0);
  assert.equal(engine.health()?.status, 'unhealthy');
  await sleep(30);
  assert.equal(engine.runtime.execs.length, 1);
  await engine.containers.unpause('web');
  (await engine.nextProbe(2)).end(0);
  await until(() => engine.health()?.status === 'healthy');
  const third = await engine.nextProbe(3);
  await engine.containers.kill('web', 'KILL');
  await until(() => third.signals.length > 0);
  await until(() => engine.containers.get('web').state.status === 'exited');
  assert.equal(engine.health()?.status, 'unhealthy');
  assert.equal(engine.health()?.log.length, 1);
  await engine.containers.start('web');
  assert.equal(engine.health()?.status, 'starting');
  await engine.nextProbe(4);
});

test('how long it ran, and so its start period, is not what the clock says', async (t) => {
  await using engine = await checked({
    Test: ['CMD', 'check'],
    Interval: 1e6,
    Retries: 1,
    StartPeriod: 3600e9,
    StartInterval: 1e6,
  });
  const task = engine.runtime.tasks.get(engine.id)!;
  await engine.nextProbe(1);
  await engine.containers.idle();
  await engine.containers[Symbol.asyncDispose]();
  const before = engine.runtime.execs.length;
  t.mock.timers.enable({ apis: ['Date'], now: Date.now() + 10 * 365 * 86_400_000 });
  await using again = await engine.open();
  (await engine.nextProbe(before + 1)).end(1);
  (await engine.nextProbe(before + 2)).end(1);
  await until(() => (again.get('web').state.health?.log.length ?? 0) >= 2);
  assert.equal(again.get('web').state.health?.status, 'starting', 'its hour has not passed');
  await again[Symbol.asyncDispose]();
  const later = engine.runtime.execs.length;
  task.ageMs = 3_700_000;
  t.mock.timers.setTime(0);
  await using last = await engine.open();
  (await engine.nextProbe(later + 1)).end(1);
  await until(() => last.get('web').state.health?.status === 'unhealthy');
});

test('an engine that comes later goes on asking, with the status that was', async () => {
  await using engine = await checked({ Test: ['CMD', 'check'], Interval: 1e6, Retries: 1 });
  (await engine.nextProbe(1)).end(0);
  await until(() => engine.health()?.status === 'healthy');
  await engine.containers.idle();
  await engine.containers[Symbol.asyncDispose]();
  const before = engine.runtime.execs.length;
  await using again = await engine.open();
  assert.equal(again.get('web').state.health?.status, 'healthy');
  const probe = await engine.nextProbe(before + 1);
  probe.end(3);
  await until(() => again.get('web').state.health?.status === 'unhealthy');
});
