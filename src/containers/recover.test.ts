import assert from 'node:assert/strict';
import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fakeEngine, fakeImage, request } from './fakes.ts';
import { now } from './time.ts';

const id64 = 'ab'.repeat(32);

test('R01 what runs is adopted with its place in the network, and its exit is heard', async () => {
  await using engine = await fakeEngine();
  const { id } = await engine.containers.create('web', request(), undefined);
  await engine.containers.start('web');
  await using again = await engine.open();
  const { state, attached } = again.get('web');
  assert.equal(state.status, 'running');
  assert.equal(attached[0]?.address, '172.17.0.2');
  assert.deepEqual(engine.runtime.known, new Set([id]));
  assert.deepEqual([...engine.snapshots.recovered!.keys()], [id]);
  assert.deepEqual(engine.networks.recovered, [
    { containerId: id, sandbox: '/run/netns/x', endpoints: attached, dns: [] },
  ]);
  const ended = again.wait('web', 'not-running').result;
  engine.runtime.tasks.get(id)!.end(4);
  assert.equal((await ended).code, 4);
});

test('R01 what ended meanwhile has its exit code and time', async () => {
  await using engine = await fakeEngine();
  await engine.containers.create('web', request(), undefined);
  await engine.containers.start('web');
  const at = now();
  engine.runtime.found = { state: 'exited', exit: { code: 9, oomKilled: true, at } };
  await using again = await engine.open();
  const { state, attached } = again.get('web');
  assert.deepEqual(
    [state.status, state.exitCode, state.oomKilled, state.finishedAt, attached],
    ['exited', 9, true, at, []],
  );
  assert.deepEqual(engine.runtime.known, new Set());
});

test('R01 AutoRemove: what ended meanwhile goes, what was never started stays', async () => {
  await using engine = await fakeEngine(fakeImage({ Volumes: { '/data': {} } }));
  const { id } = await engine.containers.create('ran', request({}, { AutoRemove: true }), undefined);
  await engine.containers.start('ran');
  await engine.containers.create('waits', request({}, { AutoRemove: true }), undefined);
  engine.runtime.found = { state: 'exited', exit: { code: 0, oomKilled: false, at: now() } };
  engine.volumes.askUsers({ usersOf: () => [] });
  await using again = await engine.open();
  await again.idle();
  assert.deepEqual(
    again.list().map(({ name }) => name),
    ['waits'],
  );
  assert.equal(existsSync(join(engine.base, 'containers', id)), false);
  assert.equal(engine.volumes.list().length, 1);
});

test('R01 a start that was cut short leaves a created container', async () => {
  await using engine = await fakeEngine();
  const { id } = await engine.containers.create('web', request(), undefined);
  const record = (await engine.database.load('container')).get(id) as object & { own: object };
  await engine.database.write([
    {
      kind: 'container',
      key: id,
      value: { ...record, attached: [{ address: '172.17.0.9' }], own: { ...record.own, sandbox: '/run/netns/x' } },
    },
  ]);
  mkdirSync(join(engine.base, 'run', id, 'rootfs'), { recursive: true });
  await using again = await engine.open();
  assert.deepEqual([again.get('web').state.status, again.get('web').attached], ['created', []]);
  assert.equal(existsSync(join(engine.base, 'run', id)), false);
});

test('R01 half a create and strangers are removed, garbage is swept', async () => {
  await using engine = await fakeEngine();
  const { id } = await engine.containers.create('half', request(), undefined);
  engine.snapshots.prepared.delete(id);
  engine.snapshots.prepared.add(id64);
  engine.snapshots.prepared.add(`${id64}.image0`);
  mkdirSync(join(engine.base, 'containers', id64));
  const garbage = 'cd'.repeat(32);
  engine.snapshots.prepared.add(garbage);
  await engine.database.write([{ kind: 'container-garbage', key: garbage, value: { id: garbage, volumes: [] } }]);
  await using again = await engine.open();
  await again.idle();
  assert.deepEqual(again.list(), []);
  assert.deepEqual([...engine.snapshots.prepared], []);
  assert.equal(existsSync(join(engine.base, 'containers', id64)), false);
  assert.equal((await engine.database.load('container-garbage')).size, 0);
  assert.equal((await engine.database.load('container')).size, 0);
});

test('R19 after a reboot: running ones have exited, and the restart policies bring back who asked for it', async () => {
  await using engine = await fakeEngine();
  const { containers } = engine;
  for (const Name of ['no', 'always', 'unless-stopped', 'on-failure']) {
    await containers.create(`${Name}-ran`, request({}, { RestartPolicy: { Name, MaximumRetryCount: 0 } }), undefined);
    await containers.start(`${Name}-ran`);
    await containers.create(
      `${Name}-stopped`,
      request({}, { RestartPolicy: { Name, MaximumRetryCount: 0 } }),
      undefined,
    );
    await containers.start(`${Name}-stopped`);
    await containers.stop(`${Name}-stopped`, { timeout: undefined, signal: undefined });
  }
  await containers.idle();
  engine.runtime.found = { state: 'none' };
  await using again = await engine.open();
  assert.equal(again.get('no-ran').state.exitCode, 255);
  await sleep(50);
  await again.idle();
  const running = again.list().filter(({ state }) => state.status === 'running');
  assert.deepEqual(running.map(({ name }) => name).sort(), [
    'always-ran',
    'always-stopped',
    'on-failure-ran',
    'unless-stopped-ran',
  ]);
});

test('R19 with the machine everything is asked to stop, nothing starts, and who asked for it comes back', async () => {
  await using engine = await fakeEngine();
  const { containers } = engine;
  const names = ['no', 'always', 'unless-stopped', 'on-failure'];
  for (const Name of names) {
    await containers.create(Name, request({}, { RestartPolicy: { Name, MaximumRetryCount: 0 } }), undefined);
    await containers.start(Name);
  }
  await containers.create('late', request(), undefined);
  await containers.endWithMachine({ longest: 5 });
  await containers.idle();
  for (const name of names) assert.equal(containers.get(name).state.exitCode, 143, name);
  assert.equal(containers.list().filter(({ state }) => state.status === 'running').length, 0);
  await assert.rejects(containers.start('late'), /the machine is shutting down/);
  await sleep(150);
  assert.equal(containers.list().filter(({ state }) => state.status === 'running').length, 0);
  engine.runtime.found = { state: 'none' };
  await using again = await engine.open();
  await sleep(50);
  await again.idle();
  const running = again.list().filter(({ state }) => state.status === 'running');
  assert.deepEqual(running.map(({ name }) => name).sort(), ['always', 'on-failure', 'unless-stopped']);
  assert.equal(again.get('no').state.exitCode, 143);
});

test('R01 what was paused for a commit goes on; what somebody paused stays so', async () => {
  await using engine = await fakeEngine();
  for (const name of ['committed', 'paused']) {
    await engine.containers.create(name, request(), undefined);
    await engine.containers.start(name);
    await engine.containers.pause(name);
  }
  await engine.containers.idle();
  const { id } = engine.containers.get('committed');
  const record = (await engine.database.load('container')).get(id) as object & { own: object };
  const value = { ...record, own: { ...record.own, pausedForCommit: true } };
  await engine.database.write([{ kind: 'container', key: id, value }]);
  await using again = await engine.open();
  assert.deepEqual(
    again.list().map(({ name, state }) => [name, state.status, engine.runtime.tasks.get(again.get(name).id)!.paused]),
    [
      ['committed', 'running', false],
      ['paused', 'paused', true],
    ],
  );
});
