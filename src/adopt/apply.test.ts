import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { EngineError } from '../base/errors.ts';
import type { Container, Containers } from '../containers/containers.ts';
import type { Image, Images, Progress } from '../images/images.ts';
import type { NetworkInfo, Networks } from '../networks/networks.ts';
import { type Digest, digestOf } from '../oci/digest.ts';
import { readCreateRequest } from '../protocol/create-request.ts';
import { maxVersion } from '../protocol/version.ts';
import { MemoryDatabase } from '../state/memory-database.ts';
import type { Volume, Volumes } from '../volumes/volumes.ts';
import { aliveContainers } from './alive.ts';
import { apply, type Outcome } from './apply.ts';
import { ForeignRoot } from './foreign-root.ts';
import { Journal } from './journal.ts';
import { kinds, type Observed, type ObservedContainer } from './observed.ts';
import { type Have, plan } from './plan.ts';
import { treePrint } from './tree-print.ts';
import { planUndo, undo } from './undo.ts';

const base = mkdtempSync(join(tmpdir(), 'berth-adopt-'));
after(() => rmSync(base, { recursive: true, force: true }));
const image = digestOf('image');
const { signal } = new AbortController();

function container(name: string, body: object = {}, changes: Partial<ObservedContainer> = {}): ObservedContainer {
  return {
    ...{ id: digestOf(name).slice('sha256:'.length), name, created: `2026-01-01T00:00:0${name.length}Z`, image },
    request: readCreateRequest({ Image: 'web:1', Cmd: ['x'], ...body }, maxVersion),
    ...{
      logDriver: 'json-file',
      volumes: {},
      restartCount: 0,
      stoppedByUser: false,
      wasRunning: true,
      upper: 'upper',
      bytes: 10,
      logs: [],
    },
    state: { started: true, exitCode: 0, error: '', oomKilled: false, startedAt: 'then', finishedAt: 'later' },
    ...changes,
  };
}

const volume = (name: string) => ({
  ...{ name, created: 'then', labels: {}, options: {}, anonymous: false, data: 'data', bytes: 5 },
});

/** An engine that has the image, on fakes that keep what they are given. */
async function engine(observed: Partial<Observed>, fail: { volumes?: Error; start?: Error } = {}) {
  const seen = { from: '/docker', images: [], volumes: [], networks: [], containers: [], faults: [], ...observed };
  const root = join(base, `${Math.random()}`);
  for (const name of ['data', 'upper']) mkdirSync(join(root, name), { recursive: true });
  const upper = (id: string) => join(root, id);
  const volumesHere = new Map<string, Volume>();
  const containersHere = new Map<string, Container>();
  const waiting = new Set<string>();
  const volumes = {
    list: () => [...volumesHere.values()],
    get: (name: string) => volumesHere.get(name)!,
    adopt: async (made: Volume, _from: string, options: { copied(path: string): Promise<void> }) => {
      await options.copied(join(root, 'data'));
      if (fail.volumes) throw fail.volumes;
      volumesHere.set(made.name, { ...made, mountpoint: join(root, 'data') });
    },
    remove: async (name: string) => void volumesHere.delete(name),
  } as unknown as Volumes;
  const containers = {
    list: () => [...containersHere.values()],
    get: (id: string) => containersHere.get(id)!,
    isWaiting: (id: string) => waiting.has(id),
    adopt: async (name: string, request: object, kept: Parameters<Containers['adopt']>[2]) => {
      await kept.prepare([]);
      const mounts = Object.values(kept.volumes).map((Name) => ({ Type: 'volume', Name }));
      const made = {
        ...request,
        id: kept.id,
        name,
        image,
        mounts,
        attached: [],
        endpoints: {},
      } as unknown as Container;
      waiting.add(kept.id);
      containersHere.set(kept.id, made);
      return made;
    },
    start: async (id: string) => {
      if (fail.start) throw fail.start;
      waiting.delete(id);
    },
    remove: async (id: string) => void containersHere.delete(id),
  } as unknown as Containers;
  const snapshots = {
    snapshots: () => [],
    prepare: async (id: string) => mkdirSync(upper(id), { recursive: true }),
    remove: async () => {},
    describe: (id: string) => ({ UpperDir: upper(id) }),
  };
  const database = new MemoryDatabase();
  const deps = {
    ...{ root: new ForeignRoot(root), journal: await Journal.open(database), volumes, containers },
    snapshots: snapshots as never,
    content: {} as never,
    images: {
      list: async () => [{ id: image, names: ['docker.io/library/web:1'] } as unknown as Image],
    } as unknown as Images,
    networks: { list: () => [] as NetworkInfo[] } as unknown as Networks,
  };
  const have: Have = {
    ...{ images: new Map<Digest, Digest>([[image, image]]), imageNames: new Map(), layers: new Set() },
    ...{ volumes: new Set(), networks: [], containers: [], links: [], adopted: new Set(), alive: new Map() },
    ...{ copiesOfLayers: 1, free: 1_000_000 },
  };
  const told: string[] = [];
  const report = ({ aux }: Progress) => {
    if (!aux) return;
    const { result, name, why } = aux as Outcome;
    told.push(`${result} ${name}${why ? `: ${why}` : ''}`);
  };
  const made = plan(seen, have, new Set(kinds));
  const run = (start = false) => apply(deps, { plan: made, observed: seen, have, start, report, signal });
  return { deps, run, told, report, database, upper, volumesHere, containersHere };
}

test('each thing is in the journal, whole; one that fails keeps away only what needs it', async () => {
  const bad = container('bad', {}, { volumes: { '/d': 'data' } });
  const { deps, run, told } = await engine(
    { volumes: [volume('data')], containers: [bad, container('good')] },
    { volumes: new EngineError('internal', 'an attribute cannot be kept') },
  );
  await run();
  assert.deepEqual(told, [
    'failed data: an attribute cannot be kept',
    'failed bad: it needs volumes data, which could not be taken',
    'taken good',
  ]);
  assert.deepEqual(
    deps.journal.list().map(({ name, complete }) => [name, complete]),
    [['good', true]],
  );
});

test('a full disk ends it, and nothing is left of what was being taken', async () => {
  const full = new EngineError('unavailable', 'adopt volume data', {
    cause: Object.assign(new Error(), { code: 'ENOSPC' }),
  });
  const { deps, run, told } = await engine(
    { volumes: [volume('data')], containers: [container('good')] },
    { volumes: full },
  );
  await assert.rejects(run(), full);
  assert.deepEqual([told, deps.journal.list()], [[], []]);
});

test('those that ran are started in the end, and one that does not start is told', async () => {
  const one = await engine({ containers: [container('web'), container('idle', {}, { wasRunning: false })] });
  await one.run(true);
  assert.deepEqual(one.told, ['taken web', 'taken idle', 'started web']);
  const other = await engine(
    { containers: [container('web')] },
    { start: new EngineError('conflict', 'port 80 is taken') },
  );
  await other.run(true);
  assert.deepEqual(other.told.at(-1), 'failed web: it could not be started: port 80 is taken');
});

test('an undo removes what is as it was, leaves what was used or changed with what it needs, and forgets what is gone', async () => {
  const { deps, run, told, report, upper, volumesHere, containersHere } = await engine({
    volumes: [volume('data'), volume('free'), volume('later')],
    containers: [
      container('used', {}, { volumes: { '/d': 'data' } }),
      container('written'),
      container('renamed'),
      container('same'),
      container('gone'),
    ],
  });
  await run();
  const idOf = (name: string) => digestOf(name).slice('sha256:'.length);
  await deps.containers.start(idOf('used'));
  writeFileSync(join(upper(idOf('written')), 'file'), '');
  containersHere.set(idOf('renamed'), { ...containersHere.get(idOf('renamed'))!, name: 'other' });
  containersHere.delete(idOf('gone'));
  volumesHere.set('later', { ...volumesHere.get('later')!, created: 'now' });
  const steps = await planUndo(deps);
  assert.deepEqual(Object.fromEntries(steps.map(({ name, action, why }) => [name, why ?? action])), {
    used: 'it was started here',
    written: 'files in it were changed here',
    renamed: 'it was renamed or changed here',
    same: 'remove',
    gone: 'gone',
    data: 'the container used uses it',
    free: 'remove',
    later: 'gone',
  });
  told.length = 0;
  await undo(deps, report, signal);
  assert.deepEqual(told, ['removed same', 'removed free']);
  assert.deepEqual([...volumesHere.keys()], ['data', 'later']);
  assert.deepEqual(
    deps.journal
      .list()
      .map(({ name }) => name)
      .sort(),
    ['data', 'renamed', 'used', 'written'],
  );
});

test('the journal outlives the engine', async () => {
  const { run, database } = await engine({ volumes: [volume('data')] });
  await run();
  const [entry] = (await Journal.open(database)).list();
  assert.deepEqual([entry?.name, entry?.complete, typeof entry?.print], ['data', true, 'string']);
});

test('a tree is another one when anything in it is changed, times put back or not', async () => {
  const tree = mkdtempSync(join(base, 'tree-'));
  writeFileSync(Buffer.concat([Buffer.from(`${tree}/n`), Buffer.from([0xff])]), 'one');
  const before = await treePrint(tree);
  assert.equal(await treePrint(tree), before);
  writeFileSync(Buffer.concat([Buffer.from(`${tree}/n`), Buffer.from([0xff])]), 'two');
  assert.notEqual(await treePrint(tree), before);
});

test('a process of a container is found by its cgroup', () => {
  const id = 'ab'.repeat(32);
  const proc = mkdtempSync(join(base, 'proc-'));
  for (const [pid, line] of [
    ['7', `12:pids:/docker/${id}`],
    ['8', `0::/system.slice/docker-${'c'.repeat(64)}.scope`],
    ['9', `0::/x/${'d'.repeat(65)}`],
    ['self', `0::/docker/${'e'.repeat(64)}`],
  ]) {
    mkdirSync(join(proc, pid!));
    writeFileSync(join(proc, pid!, 'cgroup'), `${line}\n`);
  }
  assert.deepEqual(
    aliveContainers(proc),
    new Map([
      [id, 7],
      ['c'.repeat(64), 8],
    ]),
  );
});
