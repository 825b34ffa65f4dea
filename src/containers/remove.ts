import { rmdir, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { EngineError } from '../base/errors.ts';
import { removeDirectory } from '../base/remove-directory.ts';
import { removeBundle } from './bundle.ts';
import { cancelRestart, closePending } from './exits.ts';
import { removeSnapshots } from './image-mounts.ts';
import { type ContainerRecord, isRunning } from './record.ts';
import { garbageKind, type Room, recordKind } from './room.ts';

/** What is still to be removed of a container that is gone. */
export interface Garbage {
  readonly id: string;
  /** Anonymous volumes that go with it. */
  readonly volumes: readonly string[];
}

const sigkill = 9;

export async function remove(
  room: Room,
  name: string,
  { force, volumes }: { readonly force: boolean; readonly volumes: boolean },
): Promise<void> {
  const { id } = room.store.get(name);
  if (room.removing.has(id)) throw new EngineError('conflict', `removal of container ${name} is already in progress`);
  await room.queue.run(id, async () => {
    const container = room.store.byId(id);
    if (!container) throw new EngineError('not-found', `No such container: ${name}`, { code: 'E_NO_SUCH_CONTAINER' });
    if (room.removing.has(id)) throw new EngineError('conflict', `removal of container ${name} is already in progress`);
    if (isRunning(container) && !force)
      throw new EngineError(
        'conflict',
        `cannot remove container "${name}": ${
          container.state.status === 'paused'
            ? 'container is paused and must be unpaused first'
            : `container is ${container.state.status}: stop the container before removing or force remove`
        }`,
        { code: 'E_STILL_RUNNING' },
      );
    if (container.state.status === 'restarting' && !force)
      throw new EngineError(
        'conflict',
        `cannot remove container "${name}": container is restarting: stop the container before removing or force remove`,
        { code: 'E_STILL_RUNNING' },
      );
    room.removing.add(id);
    try {
      cancelRestart(room, id);
      const live = room.live.get(id);
      if (live) {
        room.update(id, { own: { stoppedByUser: true } }, { save: false });
        room.emit(room.store.get(id), 'kill', { signal: String(sigkill) });
        // Gone meanwhile is as good; a frozen one takes the signal only once it is thawed.
        await live.task.kill(sigkill).catch(() => {});
        if (container.state.status === 'paused') await live.task.resume().catch(() => {});
        await live.ended;
      }
      await forget(room, room.store.get(id), { volumes, durable: !container.hostConfig.AutoRemove });
    } finally {
      room.removing.delete(id);
    }
  });
}

/**
 * The record goes and the name is free; what is left is garbage by a record of its own, swept in the background
 * and again at a start of the engine. Answers wait for this, not for the sweeping.
 */
export async function forget(
  room: Room,
  container: ContainerRecord,
  {
    volumes,
    durable,
    patience,
  }: {
    readonly volumes: boolean;
    readonly durable: boolean;
    /** Milliseconds that a log server has to take the last lines. */
    readonly patience?: number;
  },
): Promise<void> {
  const { id } = container;
  await room.forwards.drained(container, patience);
  const garbage: Garbage = {
    id,
    volumes: volumes ? container.own.mounts.flatMap(({ anonymous, point }) => (anonymous ? [point.Name!] : [])) : [],
  };
  const changes = [
    { kind: recordKind, key: id, value: undefined },
    { kind: garbageKind, key: id, value: garbage },
  ];
  if (durable) {
    const before = container.state;
    room.update(id, { state: { status: 'removing' } }, { save: false });
    room.supersede(id);
    try {
      await room.deps.database.write(changes);
    } catch (error) {
      room.update(id, { state: before }, { save: false });
      throw error;
    }
  } else room.write(changes, id);
  room.removedLogs.note(container);
  room.store.delete(id);
  room.emit(container, 'destroy');
  closePending(room, id);
  room.waits.removed(id, { code: container.state.exitCode, error: undefined });
  const swept = room.cleanup.run(id, () => sweep(room, garbage));
  room.inBackground('what is left of a removed container could not be removed, the next start tries again', id, swept);
}

/** Safe to repeat, also when half of it was done before a crash. */
export async function sweep(room: Room, { id, volumes }: Garbage): Promise<void> {
  const { snapshots, networks, volumes: store } = room.deps;
  if (room.held.has(id)) {
    // Its release failed: once more, before the snapshot goes.
    await Promise.all([networks.close(id, { told: true }), snapshots.unmount(id, room.rootfs(id))]);
    await removeBundle(room, id);
    room.held.delete(id);
  }
  await Promise.all([removeSnapshots(room, id), removeLog(room, id)]);
  // Another container may have been given it by --volumes-from.
  const used = (name: string) => room.store.list().some(({ mounts }) => mounts.some((mount) => mount.Name === name));
  for (const name of volumes)
    if (!used(name))
      await store.remove(name, { force: true }).catch((error: unknown) => {
        if (!(error instanceof EngineError && error.kind === 'conflict')) throw error;
      });
  // Sweeping again is harmless.
  room.writeSoon({ kind: garbageKind, key: id, value: undefined });
}

async function removeLog(room: Room, id: string): Promise<void> {
  if (!(await room.removedLogs.take(id))) await removeLogDirectory(room.directory(id), `${id}-json.log`);
}

/** Two calls where a walk would take ten: nearly always the log is all there is. */
async function removeLogDirectory(path: string, log: string): Promise<void> {
  try {
    await unlink(join(path, log)).catch(() => {});
    await rmdir(path);
  } catch {
    await removeDirectory(path);
  }
}
