import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { EngineError } from '../base/errors.ts';
import { fakeEngine, fakeImage, request } from './fakes.ts';

const plain = { force: false, volumes: false, link: false };
const gentle = { timeout: undefined, signal: undefined };
type Engine = Awaited<ReturnType<typeof fakeEngine>>;

async function running(engine: Engine, name = 'web', asked = request()) {
  const { id } = await engine.containers.create(name, asked, undefined);
  await engine.containers.start(id);
  return { id, task: engine.runtime.tasks.get(id)! };
}

/** Nothing of any container is held any more. */
async function assertNothingHeld(engine: Engine, kept: readonly string[] = []) {
  await engine.containers.idle();
  assert.deepEqual([...engine.snapshots.mounted], []);
  assert.deepEqual([...engine.networks.open_.keys()], []);
  assert.deepEqual([...engine.snapshots.prepared], [...kept]);
  assert.equal((await engine.database.load('container-garbage')).size, 0);
  assert.equal((await engine.database.load('container')).size, kept.length);
}

test('an image that is mounted has a snapshot of its own, is in use, and leaves nothing', async () => {
  await using engine = await fakeEngine();
  const Mounts = ['/a', '/b'].map((Target) => ({ Type: 'image' as const, Source: 'x', Target }));
  const { id, task } = await running(engine, 'web', request({}, { Mounts }));
  const keys = [`${id}.image0`, `${id}.image1`];
  assert.deepEqual([...engine.snapshots.prepared].sort(), [id, ...keys]);
  assert.deepEqual([...engine.snapshots.mounted].sort(), [id, ...keys]);
  const [first] = engine.containers.get('web').mounts;
  assert.deepEqual([first!.Type, first!.Name, first!.RW], ['image', 'x', false]);
  const { image } = engine.containers.get('web');
  assert.deepEqual(engine.containers.usersOf(image), [{ id, running: true, name: 'x' }]);
  const ended = engine.containers.wait('web', 'not-running').result;
  task.end(0);
  await ended;
  await engine.containers.idle();
  assert.deepEqual([...engine.snapshots.mounted], []);
  await engine.containers.remove('web', plain);
  await assertNothingHeld(engine);
});

test('create, start, exit and remove: states, events and nothing left', async () => {
  await using engine = await fakeEngine();
  const { containers, actions } = engine;
  const { id, task } = await running(engine);
  assert.match(id, /^[0-9a-f]{64}$/);
  assert.equal(containers.get('web').state.status, 'running');
  assert.equal(containers.get('/web').state.pid, task.pid);
  assert.equal(containers.get(id.slice(0, 12)).config.Hostname, id.slice(0, 12));
  assert.match(readFileSync(containers.get(id).files.hosts, 'utf8'), new RegExp(`172.17.0.2\t${id.slice(0, 12)}\n$`));
  await assert.rejects(containers.start('web'), { kind: 'not-modified' });
  await assert.rejects(containers.remove('web', plain), {
    kind: 'conflict',
    message: 'cannot remove container "web": container is running: stop the container before removing or force remove',
  });

  const ended = containers.wait('web', 'not-running').result;
  task.end(7);
  assert.deepEqual(await ended, { code: 7, error: undefined });
  const { state, attached } = containers.get('web');
  assert.deepEqual([state.status, state.exitCode, state.pid, attached], ['exited', 7, 0, []]);
  await containers.idle();
  assert.equal(task.deleted, 1);
  await containers.remove('web', plain);
  assert.throws(() => containers.get('web'), { kind: 'not-found', message: 'No such container: web' });
  assert.deepEqual(actions, ['create', 'start', 'die', 'destroy']);
  await assertNothingHeld(engine);
});

test('a network that is not there is seen at the start', async () => {
  await using engine = await fakeEngine();
  const { containers } = engine;
  await containers.create('lost', request({}, { NetworkMode: 'nope' }), undefined);
  await assert.rejects(containers.start('lost'), {
    kind: 'not-found',
    message: 'failed to set up container networking: network nope not found',
  });
  assert.equal(containers.get('lost').state.status, 'created');
  await containers.create('guest', request({}, { NetworkMode: 'container:gone' }), undefined);
  await assert.rejects(containers.start('guest'), {
    message: 'joining network namespace of container: No such container: gone',
  });
});

test('wait: each condition ends when it is documented to', async () => {
  await using engine = await fakeEngine();
  const { containers } = engine;
  const { id } = await containers.create('web', request(), undefined);
  assert.deepEqual(await containers.wait(id, 'not-running').result, { code: 0, error: undefined });
  const seen: string[] = [];
  const note = (name: string) => (result: { code: number }) => void seen.push(`${name} ${result.code}`);
  const waits = [
    containers.wait(id, 'next-exit').result.then(note('next-exit')),
    containers.wait(id, 'removed').result.then(note('removed')),
  ];
  await sleep(5);
  assert.deepEqual(seen, []);
  await containers.start(id);
  engine.runtime.tasks.get(id)!.end(3);
  await sleep(5);
  assert.deepEqual(seen, ['next-exit 3']);
  await containers.remove(id, plain);
  await Promise.all(waits);
  assert.deepEqual(seen, ['next-exit 3', 'removed 3']);
  assert.throws(() => containers.wait(id, 'removed'), { kind: 'not-found' });
});

test('a removal and a wait that come between an exit and the release of its ports lose nothing', async () => {
  await using engine = await fakeEngine();
  const { containers, networks } = engine;
  const ports = { PortBindings: { '80/tcp': [{ HostIp: '', HostPort: '' }] } };
  const { id, task } = await running(engine, 'web', request({ ExposedPorts: { '80/tcp': {} } }, ports));
  const closing = Promise.withResolvers<void>();
  const release = Promise.withResolvers<void>();
  networks.beforeClose = () => {
    closing.resolve();
    return release.promise;
  };
  task.end(7);
  await closing.promise;
  const waited = containers.wait(id, 'not-running').result;
  const removed = containers.remove(id, { ...plain, force: true });
  await sleep(5);
  release.resolve();
  assert.deepEqual(await waited, { code: 7, error: undefined });
  await removed;
  await containers.idle();
  assert.equal(task.deleted, 1, 'what the runtime kept of it');
  assert.deepEqual(engine.actions, ['create', 'start', 'kill', 'die', 'destroy']);
  await assertNothingHeld(engine);
});

test('AutoRemove: the name is free when the wait ends, and everything goes', async () => {
  await using engine = await fakeEngine(fakeImage({ Volumes: { '/data': {} } }));
  const { containers } = engine;
  const { id, task } = await running(engine, 'web', request({}, { AutoRemove: true }));
  assert.equal(engine.volumes.list().length, 1);
  const removed = containers.wait(id, 'removed').result;
  task.end(0);
  await removed;
  assert.throws(() => containers.get('web'), { kind: 'not-found' });
  await containers.create('web', request(), undefined);
  await containers.remove('web', plain);
  await assertNothingHeld(engine);
  assert.equal(existsSync(join(engine.base, 'containers', id)), false);
  assert.equal(engine.volumes.list().length, 1, 'only that of the second, which was removed without -v');
  assert.deepEqual(engine.actions.slice(0, 4), ['create', 'start', 'die', 'destroy']);
});

test('a start that fails undoes everything and says why', async () => {
  await using engine = await fakeEngine();
  const { containers } = engine;
  await containers.create('web', request(), undefined);
  const failure = Object.assign(new EngineError('invalid', 'exec: "x": executable file not found in $PATH'), {
    exitCode: 127,
  });
  engine.runtime.failStart = () => failure;
  const waiting = containers.wait('web', 'next-exit').result;
  await assert.rejects(containers.start('web'), failure);
  assert.deepEqual(await waiting, { code: 127, error: undefined });
  const { state, id } = containers.get('web');
  assert.deepEqual([state.status, state.exitCode, state.error], ['created', 127, failure.message]);
  await assertNothingHeld(engine, [id]);
  assert.equal(existsSync(join(engine.base, 'run', id)), false);

  engine.runtime.failStart = undefined;
  engine.networks.fail = new EngineError('conflict', 'port is already allocated');
  await assert.rejects(containers.start('web'), { message: 'port is already allocated' });
  assert.equal(containers.get('web').state.exitCode, 128);
  await assertNothingHeld(engine, [id]);

  engine.networks.fail = undefined;
  await containers.start('web');
  assert.deepEqual([containers.get('web').state.error, containers.get('web').state.exitCode], ['', 0]);
});

test('a start that fails removes an AutoRemove container, and its waiters hear it', async () => {
  await using engine = await fakeEngine();
  const { containers } = engine;
  await containers.create('web', request({}, { AutoRemove: true }), undefined);
  engine.runtime.failStart = () => Object.assign(new EngineError('invalid', 'no'), { exitCode: 126 });
  const removed = containers.wait('web', 'removed').result;
  await assert.rejects(containers.start('web'));
  assert.deepEqual(await removed, { code: 126, error: undefined });
  await assertNothingHeld(engine);
});

test('a create that fails leaves nothing, and the name is free', async () => {
  await using engine = await fakeEngine(fakeImage({ Volumes: { '/data': {} } }));
  const { containers } = engine;
  engine.snapshots.failPrepare = new EngineError('unavailable', 'disk full');
  await assert.rejects(containers.create('web', request(), undefined), { message: 'disk full' });
  engine.snapshots.failPrepare = undefined;
  engine.database.onWrite = (changes) => {
    if (changes[0]?.kind === 'container' && changes[0].value) throw new EngineError('unavailable', 'no space');
  };
  await assert.rejects(containers.create('web', request(), undefined), { message: 'no space' });
  engine.database.onWrite = undefined;
  await assertNothingHeld(engine);
  assert.deepEqual(engine.volumes.list(), []);
  await containers.create('web', request(), undefined);
});

test('names: taken, malformed, made up', async () => {
  await using engine = await fakeEngine();
  const { containers } = engine;
  const { id } = await containers.create('web', request(), undefined);
  await assert.rejects(containers.create('/web', request(), undefined), {
    kind: 'conflict',
    message: `Conflict. The container name "/web" is already in use by container "${id}". You have to remove (or rename) that container to be able to reuse that name.`,
  });
  for (const name of ['-x', 'a b', 'x', '../x', 'ü1'])
    await assert.rejects(containers.create(name, request(), undefined), {
      kind: 'invalid',
      message: `Invalid container name (${name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed`,
    });
  const made = await containers.create('', request(), undefined);
  assert.match(containers.get(made.id).name, /^[a-z]+_[a-z]+$/);
  const both = await Promise.allSettled([
    containers.create('twin', request(), undefined),
    containers.create('twin', request(), undefined),
  ]);
  assert.deepEqual(both.map(({ status }) => status).sort(), ['fulfilled', 'rejected']);
});

test('rename frees the old name and takes the new one', async () => {
  await using engine = await fakeEngine();
  const { containers } = engine;
  const { id } = await containers.create('one', request(), undefined);
  await containers.create('two', request(), undefined);
  await assert.rejects(containers.rename('one', 'two'), { kind: 'conflict' });
  await containers.rename('one', 'three');
  assert.equal(containers.get('three').id, id);
  assert.throws(() => containers.get('one'), { kind: 'not-found' });
  await containers.create('one', request(), undefined);
  assert.equal(engine.actions.includes('rename'), true);
});

test('R22 starts, stops and removes at the same time come one after the other', async () => {
  await using engine = await fakeEngine();
  const { containers } = engine;
  for (let round = 0; round < 20; round++) {
    await containers.create('web', request(), undefined);
    const starts = await Promise.allSettled([1, 2, 3].map(() => containers.start('web')));
    assert.equal(starts.filter(({ status }) => status === 'fulfilled').length, 1);
    const outcomes = await Promise.allSettled([
      containers.stop('web', gentle),
      containers.remove('web', { ...plain, force: true }),
      containers.remove('web', { ...plain, force: true }),
      containers.start('web'),
    ]);
    assert.equal([outcomes[1], outcomes[2]].filter((outcome) => outcome?.status === 'fulfilled').length, 1);
    assert.throws(() => containers.get('web'), { kind: 'not-found' });
  }
  await assertNothingHeld(engine);
});

test('stop: the signal, SIGKILL after the timeout, and 304 when it does not run', async () => {
  await using engine = await fakeEngine();
  const { containers } = engine;
  const { task } = await running(engine, 'web', request({ StopSignal: 'SIGUSR1' }));
  task.deadly = (signal) => signal === 9;
  const begun = Date.now();
  await containers.stop('web', { timeout: 0.05 as number, signal: undefined });
  assert.ok(Date.now() - begun >= 45);
  assert.deepEqual(task.signals, [10, 9]);
  assert.equal(containers.get('web').state.exitCode, 137);
  assert.deepEqual(engine.actions, ['create', 'start', 'kill', 'kill', 'die', 'stop']);
  await assert.rejects(containers.stop('web', gentle), { kind: 'not-modified' });
  await assert.rejects(containers.stop('web', { timeout: 1, signal: 'NOPE' }), {
    kind: 'invalid',
    message: 'invalid signal: NOPE',
  });
});

test('kill: by name and number, refused when it does not run', async () => {
  await using engine = await fakeEngine();
  const { containers } = engine;
  const { id, task } = await running(engine);
  task.deadly = (signal) => signal === 15;
  await containers.kill('web', 'HUP');
  await containers.kill('web', '10');
  await assert.rejects(containers.kill('web', 'BOGUS'), {
    kind: 'invalid',
    message: 'cannot kill container: web: invalid signal: BOGUS',
  });
  await assert.rejects(containers.kill('web', '0'), { kind: 'invalid' });
  await containers.kill('web', 'SIGTERM');
  assert.deepEqual(task.signals, [1, 10, 15]);
  await containers.wait('web', 'not-running').result;
  await assert.rejects(containers.kill('web', 'KILL'), {
    kind: 'conflict',
    message: `cannot kill container: web: container ${id} is not running`,
  });
});

test('pause and unpause, and what a paused container refuses', async () => {
  await using engine = await fakeEngine();
  const { containers } = engine;
  const { id, task } = await running(engine);
  await assert.rejects(containers.unpause('web'), { kind: 'conflict' });
  await containers.pause('web');
  assert.equal(task.paused, true);
  assert.equal(containers.get('web').state.status, 'paused');
  await assert.rejects(containers.pause('web'), { kind: 'conflict' });
  await assert.rejects(containers.start('web'), { kind: 'conflict' });
  await assert.rejects(
    containers.attach('web', {
      stdin: false,
      stdout: true,
      stderr: true,
      logs: false,
      stream: true,
      detachKeys: undefined,
    }),
    { kind: 'conflict', message: `container ${id} is paused, unpause the container before attach` },
  );
  await containers.stop('web', gentle);
  assert.equal(task.paused, false, 'a frozen process takes no signal');
  assert.equal(containers.get('web').state.status, 'exited');
});

test('the pause before a restart grows and is forgotten by how long a container ran, not by what the clock says', async (t) => {
  await using engine = await fakeEngine();
  const { containers, runtime } = engine;
  const policy = { RestartPolicy: { Name: 'always', MaximumRetryCount: 0 } };
  const { id } = await running(engine, 'aa', request({}, policy));
  t.mock.timers.enable({ apis: ['Date'], now: Date.now() });
  const pauses: number[] = [];
  const turns: readonly (readonly [jump: number, ran: number])[] = [
    [86_400_000, 5],
    [-3_600_000, 5],
    [315_360_000_000, 5],
    [-86_400_000, 20_000],
  ];
  for (const [jump, ran] of turns) {
    const task = runtime.tasks.get(id)!;
    t.mock.timers.setTime(Date.now() + jump);
    task.ageMs = ran;
    task.end(1);
    await task.exited;
    const from = performance.now();
    for (let round = 0; round < 4000 && runtime.tasks.get(id) === task; round++) await sleep(2);
    pauses.push(performance.now() - from);
    for (let round = 0; round < 4000 && containers.get(id).state.status !== 'running'; round++) await sleep(2);
    assert.equal(containers.get(id).state.status, 'running');
  }
  assert.ok(pauses[0]! >= 90 && pauses[1]! >= 190 && pauses[2]! >= 390, `${pauses}`);
  assert.deepEqual(engine.ranFor, ['0', '0', '0', '20']);
});

test('restart policies: on-failure tries as often as it says, a stop by hand ends always', async () => {
  await using engine = await fakeEngine();
  const { containers, runtime } = engine;
  await running(engine, 'aa', request({}, { RestartPolicy: { Name: 'on-failure', MaximumRetryCount: 1 } }));
  const first = runtime.tasks.get(containers.get('aa').id)!;
  first.end(1);
  await sleep(20);
  assert.equal(containers.get('aa').state.status, 'restarting');
  await sleep(150);
  assert.equal(containers.get('aa').state.status, 'running');
  assert.equal(containers.get('aa').restartCount, 1);
  runtime.tasks.get(containers.get('aa').id)!.end(1);
  await sleep(20);
  assert.equal(containers.get('aa').state.status, 'exited');
  assert.equal((await containers.wait('aa', 'not-running').result).code, 1);

  const { task } = await running(
    engine,
    'bb',
    request({}, { RestartPolicy: { Name: 'always', MaximumRetryCount: 0 } }),
  );
  await containers.stop('bb', gentle);
  assert.deepEqual(task.signals, [15]);
  await sleep(150);
  assert.equal(containers.get('bb').state.status, 'exited');

  await assert.rejects(
    containers.create(
      'cc',
      request({}, { AutoRemove: true, RestartPolicy: { Name: 'always', MaximumRetryCount: 0 } }),
      undefined,
    ),
    { kind: 'invalid', message: "can't create 'AutoRemove' container with restart policy" },
  );
});

test('wrong requests are refused with the words of Docker', async () => {
  await using engine = await fakeEngine();
  const { containers, base } = engine;
  const refused = (asked: ReturnType<typeof request>, message: string | RegExp, kind = 'invalid') =>
    assert.rejects(containers.create('web', asked, undefined), { kind, message });
  await refused(request({ Image: 'nope' }), 'No such image: nope:latest', 'not-found');
  await refused(request({ Entrypoint: [''] }), 'no command specified');
  await refused(request({}, { Runtime: 'nope' }), 'unknown or invalid runtime name: nope');
  // Never `not-found` for what is not the image: clients would pull it.
  await refused(request({}, { PidMode: 'container:nope' }), 'No such container: nope');
  await refused(request({}, { IpcMode: 'container:nope' }), 'No such container: nope');
  await refused(request({}, { VolumesFrom: ['nope'] }), 'No such container: nope');
  await refused(request({ StopSignal: 'NOPE' }), 'invalid signal: NOPE');
  await refused(request({ WorkingDir: 'a' }), /needs to be an absolute path/);
  await refused(request({}, { Binds: ['/a:/x', 'bb:/x/'] }), 'Duplicate mount point: /x');
  await refused(request({}, { Binds: ['/a:/x:bogus'] }), /invalid mode: bogus/);
  await refused(request({}, { Binds: ['/a:x'] }), /mount path must be absolute/);
  await refused(request({}, { Binds: ['/a:/'] }), /destination can't be '\/'/);
  await refused(request({}, { Binds: ['a?:/x'] }), /includes invalid characters for a local volume name/);
  await refused(request({}, { Mounts: [{ Type: 'tmpfs', Target: 'x' }] }), /mount path must be absolute/);
  await refused(
    request({}, { Mounts: [{ Type: 'bind', Source: `${base}/none`, Target: '/x' }] }),
    `invalid mount config for type "bind": bind source path does not exist: ${base}/none`,
  );
  await refused(
    request({}, { LogConfig: { Type: 'nope', Config: {} } }),
    'error looking up logging plugin nope: plugin "nope" not found',
  );
  await refused(request({}, { PortBindings: { '99999/tcp': [{ HostIp: '', HostPort: '' }] } }), /invalid port/);
  await refused(request({}, { ExtraHosts: ['x'] }), /bad format for add-host/);
  await assertNothingHeld(engine);
});

test("volumes: named, anonymous and the image's own, filled from the image", async () => {
  await using engine = await fakeEngine(fakeImage({ Volumes: { '/data': {} } }));
  const { containers, snapshots, volumes, base } = engine;
  mkdirSync(join(snapshots.image, 'data'));
  writeFileSync(join(snapshots.image, 'data', 'file'), 'from the image');
  const { id } = await containers.create(
    'web',
    request({}, { Binds: ['named:/named:ro', '/anonymous', `${base}/made/here:/bind`], Tmpfs: { '/tmp': 'size=1m' } }),
    undefined,
  );
  const mounts = new Map(containers.get(id).mounts.map((mount) => [mount.Destination, mount]));
  assert.deepEqual([...mounts.keys()].sort(), ['/anonymous', '/bind', '/data', '/named']);
  assert.equal(mounts.get('/named')!.RW, false);
  assert.equal(readFileSync(join(mounts.get('/data')!.Source, 'file'), 'utf8'), 'from the image');
  assert.equal(existsSync(`${base}/made/here`), false);
  await containers.start(id);
  assert.equal(existsSync(`${base}/made/here`), true);
  const targets = engine.runtime.requests[0]!.spec.mounts.map(({ destination }) => destination);
  for (const target of ['/named', '/anonymous', '/bind', '/data', '/tmp', '/etc/hosts'])
    assert.ok(targets.includes(target), target);
  await assert.rejects(volumes.remove('named', { force: false }), { kind: 'conflict' });
  await containers.remove(id, { ...plain, force: true, volumes: true });
  await containers.idle();
  assert.deepEqual(
    volumes.list().map(({ name }) => name),
    ['named'],
  );
});

test('records are snapshots: what was read does not change, and the version counts changes', async () => {
  await using engine = await fakeEngine();
  const { containers } = engine;
  const { id } = await containers.create('web', request(), undefined);
  const before = containers.get(id);
  const { version } = containers;
  await containers.start(id);
  assert.equal(before.state.status, 'created');
  assert.ok(Object.isFrozen(before) && Object.isFrozen(before.state));
  assert.ok(containers.version > version);
});
