import type { Task, TaskExit } from '../runtime/runtime.ts';
import { removeBundle } from './bundle.ts';
import { healthUnwatched } from './health.ts';
import { type ContainerRecord, isRunning } from './record.ts';
import { forget } from './remove.ts';
import { emitDisconnect, emitVolumes, type Room, volumesOf } from './room.ts';
import { startNow } from './start.ts';
import { now } from './time.ts';

/** From a start, or from an adoption: the exit is recorded, told, and what was held is released. */
export function supervise(room: Room, container: ContainerRecord, task: Task): void {
  const { id } = container;
  room.held.add(id);
  room.forwards.begin(container, task.exited);
  const live = {
    task,
    ended: task.exited.then((exit) => ended(room, id, task, exit)),
  };
  room.live.set(id, live);
  room.health.begin(id);
}

/**
 * The exit. What others see changes at once and together; mounts, network and the runtime's state are released after,
 * in a queue of its own, so that the next start finds them gone.
 */
async function ended(room: Room, id: string, task: Task, exit: TaskExit): Promise<void> {
  // Closing: the record stays `running`, and the next start of the engine asks the monitor.
  if (room.closed) return;
  room.health.end(id);
  const release = room.store.byId(id)?.attached.some(({ ports }) => ports.length > 0)
    ? // The same ports may be asked for by whoever is told of this exit.
      await room.deps.networks.close(id, { told: true }).then(
        () => ({ networkClosed: true }),
        () => ({ networkClosed: false }),
      )
    : { networkClosed: false };
  // Together with the record: until both say so it runs for everybody, and a removal waits for this to end.
  const before = room.store.byId(id);
  room.live.delete(id);
  if (!before) return;
  const age = task.age();
  const delay = restartDelay(room, before, { exit, age });
  const autoRemove = before.hostConfig.AutoRemove && !room.removing.has(id);
  const after = room.update(
    id,
    {
      state: {
        status: delay === undefined ? 'exited' : 'restarting',
        pid: 0,
        exitCode: exit.code,
        oomKilled: exit.oomKilled,
        finishedAt: exit.at,
        health: healthUnwatched(before.state.health),
      },
      attached: [],
      restartCount: delay === undefined || room.machineEnds ? before.restartCount : before.restartCount + 1,
    },
    { save: !autoRemove },
  )!;
  if (exit.oomKilled) room.emit(after, 'oom');
  emitDisconnect(room, before);
  emitVolumes(room, after, 'unmount');
  room.emit(after, 'die', { exitCode: String(exit.code), execDuration: String(Math.round(age / 1000)) });
  room.waits.exited(id, { code: exit.code, error: undefined });
  closePending(room, id);
  const cleaned = room.cleanup.run(id, () => releaseTask(room, id, task, { ...release, volumes: volumesOf(before) }));
  room.inBackground('what a container held could not be released', id, cleaned);
  if (autoRemove) await forget(room, after, { volumes: true, durable: false });
  // When the machine goes down it stays "restarting": that is what the next engine looks for.
  else if (delay !== undefined && !room.machineEnds) scheduleRestart(room, id, delay);
}

async function releaseTask(
  room: Room,
  id: string,
  task: Task | undefined,
  { networkClosed, volumes }: { readonly networkClosed: boolean; readonly volumes: ReadonlySet<string> },
): Promise<void> {
  const outcomes = await Promise.allSettled([
    task?.delete(),
    networkClosed ? undefined : room.deps.networks.close(id, { told: true }),
    room.deps.snapshots.unmount(id, room.rootfs(id)),
  ]);
  await detachVolumes(room, id, volumes);
  for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason;
  await removeBundle(room, id);
  room.held.delete(id);
}

/** After the mounts of the container itself: it may have been the last that used them. */
async function detachVolumes({ deps }: Room, id: string, volumes: ReadonlySet<string>): Promise<void> {
  for (const name of volumes) await deps.volumes.detach(name, id);
}

/** Nothing was left behind by the start; what is known of it is why. */
export async function afterStartFailure(room: Room, id: string, code: number, message: string): Promise<void> {
  const before = room.store.byId(id);
  if (!before) return;
  const tried = before.state.status === 'restarting';
  const after = room.update(id, {
    state: {
      status: before.state.startedAt.startsWith('0001') ? 'created' : 'exited',
      pid: 0,
      exitCode: code,
      error: message,
      ...(tried ? { finishedAt: now() } : {}),
    },
    attached: [],
  })!;
  closePending(room, id);
  // Without the message: whoever started it is told, and the docker CLI would print it a second time.
  room.waits.exited(id, { code, error: undefined });
  if (after.hostConfig.AutoRemove) await forget(room, after, { volumes: true, durable: false });
}

/** Who attached and will get nothing more. */
export function closePending(room: Room, id: string): void {
  for (const { point } of room.pending.get(id) ?? []) point.close();
  room.pending.delete(id);
}

const shortest = 100;
const longest = 60_000;
/** Running that long, a container has recovered. */
const settled = 10_000;

/** Milliseconds until the next try by the restart policy, or undefined. */
function restartDelay(
  room: Room,
  container: ContainerRecord,
  { exit, age }: { readonly exit: TaskExit; readonly age: number },
): number | undefined {
  const { RestartPolicy: policy } = container.hostConfig;
  if (container.own.stoppedByUser || room.removing.has(container.id)) return undefined;
  const again =
    container.own.restartUnhealthy === true ||
    policy.Name === 'always' ||
    policy.Name === 'unless-stopped' ||
    (policy.Name === 'on-failure' &&
      exit.code !== 0 &&
      (policy.MaximumRetryCount === 0 || container.restartCount < policy.MaximumRetryCount));
  if (!again) return undefined;
  if (age >= settled) return shortest;
  return Math.min(longest, shortest * 2 ** Math.min(container.restartCount, 20));
}

export function scheduleRestart(room: Room, id: string, delay: number): void {
  const timer = setTimeout(() => {
    const work = room.queue.run(id, async () => {
      const container = room.store.byId(id);
      if (room.closed || room.machineEnds || room.restarts.get(id)?.timer !== timer) return;
      room.restarts.delete(id);
      if (!container || container.state.status !== 'restarting') return;
      await startNow(room, container);
    });
    room.inBackground('a container could not be restarted', id, work);
  }, delay);
  room.restarts.set(id, { timer, delay });
}

/** The pending restart will not come: the container counts as exited. */
export function cancelRestart(room: Room, id: string): boolean {
  const waiting = room.restarts.get(id);
  if (!waiting) return false;
  clearTimeout(waiting.timer);
  room.restarts.delete(id);
  const container = room.store.byId(id);
  if (container && !isRunning(container)) {
    room.update(id, { state: { status: 'exited' } });
    room.waits.exited(id, { code: container.state.exitCode, error: undefined });
  }
  return true;
}
