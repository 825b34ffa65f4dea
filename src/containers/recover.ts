import { chmodSync, existsSync, mkdirSync, readdirSync } from 'node:fs';
import { removeDirectory } from '../base/remove-directory.ts';
import type { Endpoint } from '../networks/networks.ts';
import type { Task, TaskExit } from '../runtime/runtime.ts';
import { removeBundle } from './bundle.ts';
import { withDefaults } from './engine-defaults.ts';
import { scheduleRestart, supervise } from './exits.ts';
import { healthUnwatched } from './health.ts';
import { imageMountPoint, imagesOf, ownerOfSnapshot } from './image-mounts.ts';
import { type ContainerRecord, createdState, isRunning } from './record.ts';
import { forget, type Garbage, sweep } from './remove.ts';
import { garbageKind, type Room, recordKind, volumesOf } from './room.ts';
import { never, now } from './time.ts';
import { writeLinks } from './write-network-files.ts';

/**
 * After a start of the engine: what runs is adopted, what ended meanwhile gets its exit, what was half made is gone, and
 * everything of ours that no container stands for is removed. Before any request is served.
 */
export async function recover(room: Room): Promise<void> {
  const { deps } = room;
  mkdirSync(deps.root, { recursive: true, mode: 0o710 });
  mkdirSync(deps.runDir, { recursive: true, mode: 0o711 });
  // Who is root in a user namespace passes through it to its own bundle.
  chmodSync(deps.runDir, 0o711);
  const [records, garbage] = await Promise.all([deps.database.load(recordKind), deps.database.load(garbageKind)]);
  const started = new Set(readdirSync(deps.runDir));
  const adopted = new Map<string, { container: ContainerRecord; task: Task }>();
  const exits = new Map<string, TaskExit>();
  const containers = ([...records.values()] as ContainerRecord[])
    .map(current)
    .sort((a, b) => (a.created < b.created ? -1 : 1));

  // A bundle is made before anything of a start and goes after the last of it: without one there is nothing to adopt.
  await Promise.all(
    containers.map(async (container) => {
      if (!started.has(container.id)) return;
      const found = await deps.runtime.adopt(container.id, room.bundle(container.id)).catch((error: unknown) => {
        deps.log.error('a container could not be adopted', { id: container.id, error });
        return { state: 'none' as const };
      });
      if (found.state === 'running') adopted.set(container.id, { container, task: found.task });
      else if (found.state === 'exited') exits.set(container.id, found.exit);
    }),
  );

  // Known to the runtime are those that run; the others' state, monitors and cgroups go.
  const kept = [...adopted.values()].map(({ container }) => container);
  await deps.runtime.recover(new Set(adopted.keys()));
  await deps.snapshots.recover(
    new Map(
      kept.flatMap((container): [string, string][] => [
        [container.id, room.rootfs(container.id)],
        ...imagesOf(container).map(({ snapshot }): [string, string] => [
          snapshot,
          imageMountPoint(room, container.id, snapshot),
        ]),
      ]),
    ),
  );
  await deps.networks.recover(
    kept
      .filter(({ own }) => own.sandbox !== '')
      .map(({ id: containerId, own: { sandbox }, attached: endpoints, hostConfig }) => ({
        containerId,
        sandbox,
        endpoints,
        dns: withDefaults(hostConfig, room.deps.config.defaults).Dns,
      })),
  );

  await deps.volumes.recover((name) => kept.filter((container) => volumesOf(container).has(name)).map(({ id }) => id));

  const prepared = new Set(deps.snapshots.snapshots());
  const gone: ContainerRecord[] = [];
  for (const container of containers) {
    const { id } = container;
    const live = adopted.get(id);
    const record = live ? container : withoutTask(container, exits.get(id));
    const name = room.store.isNamed(record.name) ? `${record.name}_${id.slice(0, 12)}` : record.name;
    if (!live && started.has(id)) await clearBundle(room, id);
    // Without its snapshot a create was cut short, and nobody was told of this container.
    if (!prepared.has(id) && !live) {
      if (!existsSync(room.directory(id)) || record.state.startedAt === never) {
        gone.push(record);
        continue;
      }
      deps.log.error('the files of a container are missing', { id, name });
    }
    room.store.set({ ...record, name });
    if (live) {
      const { task } = live;
      const { pausedForCommit = false } = container.own;
      if (pausedForCommit) await task.resume().catch(() => {});
      const status = container.state.status === 'paused' && !pausedForCommit ? 'paused' : 'running';
      const state = {
        status,
        pid: task.pid,
        startedAt: task.startedAt,
        exitCode: 0,
        error: '',
        oomKilled: false,
      } as const;
      const own = { pausedForCommit: false };
      supervise(room, room.update(id, pausedForCommit ? { state, own } : { state }, { save: pausedForCommit })!, task);
    } else {
      if (record !== container) room.save(room.store.byId(id)!);
      // What was not sent before the last engine ended.
      room.forwards.begin(room.store.byId(id)!, undefined);
    }
  }
  // Who they link to may have been started by an engine that did not get to tell.
  for (const container of room.store.list()) if (room.live.has(container.id)) writeLinks(room, container);
  for (const record of gone) {
    room.write([{ kind: recordKind, key: record.id, value: undefined }], record.id);
    await sweep(room, { id: record.id, volumes: [] });
  }
  for (const left of garbage.values() as Iterable<Garbage>) {
    if (started.has(left.id)) await clearBundle(room, left.id);
    await sweep(room, left);
  }
  await removeStrangers(room, prepared);

  for (const container of room.store.list())
    if (
      container.hostConfig.AutoRemove &&
      !room.live.has(container.id) &&
      !container.own.adopted &&
      wasStarted(container)
    )
      await forget(room, container, { volumes: true, durable: false, patience: 200 });
  restartAsAsked(
    room,
    new Set(
      containers.filter((before) => isRunning(before) || before.state.status === 'restarting').map(({ id }) => id),
    ),
  );
}

/** A record of an engine that knew one network to a container: its namespace was called after the endpoint, or the container. */
function current(record: ContainerRecord & { readonly endpoint?: Endpoint }): ContainerRecord {
  if (record.attached) return record;
  const { endpoint, own, endpoints, hostConfig, ...rest } = record;
  const { sandboxed = false, ...others } = own as typeof own & { readonly sandboxed?: boolean };
  const mode = hostConfig.NetworkMode;
  return {
    ...rest,
    hostConfig,
    endpoints: mode.startsWith('container:') ? endpoints : { [mode]: {}, ...endpoints },
    attached: endpoint ? [endpoint] : [],
    own: { ...others, sandbox: sandboxed ? (endpoint?.id.slice(0, 12) ?? record.id) : '' },
  };
}

/** The record of a container that does not run. `record` itself when it says so already. */
function withoutTask(record: ContainerRecord, exit: TaskExit | undefined): ContainerRecord {
  const { state } = record;
  const health = healthUnwatched(state.health);
  const own = { ...record.own, sandbox: '' };
  if (exit) {
    const ended = {
      status: 'exited',
      pid: 0,
      exitCode: exit.code,
      oomKilled: exit.oomKilled,
      finishedAt: exit.at,
      error: '',
      health,
    } as const;
    return { ...record, own, attached: [], state: { ...state, ...ended } };
  }
  if (isRunning(record) || state.status === 'restarting' || state.status === 'removing') {
    const lost = state.status === 'restarting' ? {} : { exitCode: 255, finishedAt: now() };
    return { ...record, own, attached: [], state: { ...state, ...lost, health, status: 'exited', pid: 0 } };
  }
  // A start that got as far as its intent.
  if (record.attached.length > 0 || record.own.sandbox !== '')
    return { ...record, own, attached: [], state: state.startedAt === never ? createdState : state };
  return record;
}

/** With AutoRemove, a container that was never started stays: its client may still come with the start. */
function wasStarted({ state }: ContainerRecord): boolean {
  return state.status !== 'created' || state.exitCode !== 0;
}

/** Snapshots and folders without a record: of a create that was cut short. */
async function removeStrangers(room: Room, prepared: ReadonlySet<string>): Promise<void> {
  const { deps, store } = room;
  const known = (id: string) => store.byId(id) !== undefined;
  const strange = (id: string) => /^[0-9a-f]{64}$/.test(id) && !known(id);
  for (const id of readdirSync(deps.runDir).filter(strange)) await clearBundle(room, id);
  for (const key of [...prepared].filter((key) => strange(ownerOfSnapshot(key)))) await deps.snapshots.remove(key);
  for (const id of readdirSync(deps.root).filter(strange)) await removeDirectory(room.directory(id));
}

async function clearBundle(room: Room, id: string): Promise<void> {
  await room.deps.snapshots.unmount(id, room.rootfs(id));
  await removeBundle(room, id);
}

/**
 * `always` comes back at a start of the engine even when it was stopped by hand, `unless-stopped` not; and what was ended
 * because it was unhealthy, when the engine was killed before it started it again.
 */
function restartAsAsked(room: Room, ran: ReadonlySet<string>): void {
  for (const { id, hostConfig, own, state } of room.store.list()) {
    if (room.live.has(id) || state.startedAt === never || own.adopted) continue;
    const { Name, MaximumRetryCount } = hostConfig.RestartPolicy;
    const wanted =
      Name === 'always' ||
      (own.restartUnhealthy === true && !own.stoppedByUser) ||
      (Name === 'unless-stopped' && !own.stoppedByUser) ||
      (Name === 'on-failure' && ran.has(id) && state.exitCode !== 0 && !own.stoppedByUser && MaximumRetryCount >= 0);
    if (!wanted) continue;
    room.update(id, { state: { status: 'restarting' } });
    scheduleRestart(room, id, 0);
  }
}
