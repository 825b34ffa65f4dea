import { EngineError } from '../base/errors.ts';
import { parseSignal } from '../protocol/signals.ts';
import { cancelRestart } from './exits.ts';
import { healthUnwatched } from './health.ts';
import { type ContainerRecord, isRunning } from './record.ts';
import type { Live, Room } from './room.ts';
import { start } from './start.ts';

export interface StopOptions {
  readonly timeout: number | undefined;
  readonly signal: string | undefined;
}

const sigkill = 9;
const sigcont = 18;

/** Not in the container's queue while it waits: a kill must come through, and the exit is what it waits for. */
export async function stop(
  room: Room,
  name: string,
  options: StopOptions,
  { byUser = true, longest = Number.POSITIVE_INFINITY }: { readonly byUser?: boolean; readonly longest?: number } = {},
): Promise<void> {
  const { id } = room.store.get(name);
  const signal = options.signal ? parseSignal(options.signal) : undefined;
  const live = await room.queue.run(id, async () => {
    const container = room.store.get(id);
    if (byUser && cancelRestart(room, id)) {
      room.update(id, { own: { stoppedByUser: true } });
      room.emit(container, 'stop');
      return 'canceled';
    }
    const found = room.live.get(id);
    if (!found || !isRunning(container))
      throw new EngineError('not-modified', `container ${container.name} is already stopped`);
    if (byUser) room.update(id, { own: { stoppedByUser: true } });
    const first = signal ?? stopSignal(container);
    room.emit(container, 'kill', { signal: String(first) });
    await found.task.kill(first).catch(ignoreGone);
    // A frozen process takes no signal.
    if (container.state.status === 'paused') await thaw(room, found, id);
    return found;
  });
  if (live === 'canceled') return;
  const container = room.store.byId(id);
  const wanted = options.timeout ?? container?.config.StopTimeout ?? room.deps.config.stopTimeout;
  const seconds = wanted < 0 && longest < Number.POSITIVE_INFINITY ? longest : Math.min(wanted, longest);
  const pending = { signal: signal ?? (container ? stopSignal(container) : 0), since: performance.now(), seconds };
  room.stopping.set(id, pending);
  using _told = { [Symbol.dispose]: () => void (room.stopping.get(id) === pending && room.stopping.delete(id)) };
  if (!(await endsWithin(live, seconds))) {
    const still = room.store.byId(id);
    if (still) room.emit(still, 'kill', { signal: String(sigkill) });
    await live.task.kill(sigkill).catch(ignoreGone);
    if (!(await endsWithin(live, 10)))
      throw new EngineError('internal', `cannot stop container: ${name}: it did not end within 10 s of SIGKILL`);
  }
  const stopped = room.store.byId(id);
  if (stopped) room.emit(stopped, 'stop');
}

/**
 * The machine goes down: everything is asked to stop and given its time, but at most `longest` seconds, instead of being
 * killed with the machine. Nobody stopped it, so restart policies bring it back at the next start of the engine. From now
 * on nothing is started.
 */
export async function endWithMachine(room: Room, { longest }: { readonly longest: number }): Promise<void> {
  room.machineEnds = true;
  await Promise.all(
    [...room.live.keys()].map((id) =>
      stop(room, id, { timeout: undefined, signal: undefined }, { byUser: false, longest }).catch((error: unknown) => {
        if (error instanceof EngineError && (error.kind === 'not-modified' || error.kind === 'not-found')) return;
        room.deps.log.error('a container could not be stopped before the machine goes down', { id, error });
      }),
    ),
  );
}

export async function restart(room: Room, name: string, options: StopOptions): Promise<void> {
  const { id } = room.store.get(name);
  // With AutoRemove a stop would be the end of it.
  const autoRemove = room.store.get(id).hostConfig.AutoRemove;
  if (autoRemove) room.removing.add(id);
  try {
    await stop(room, id, options).catch((error: unknown) => {
      if (!(error instanceof EngineError && error.kind === 'not-modified')) throw error;
    });
  } finally {
    if (autoRemove) room.removing.delete(id);
  }
  await start(room, id);
  const container = room.store.byId(id);
  if (container) room.emit(container, 'restart');
}

/** Docker says which of many could not be killed. */
function killOf({ store }: Room, name: string, text: string) {
  try {
    return { signal: text === '' ? sigkill : parseSignal(text), container: store.get(name) };
  } catch (cause) {
    if (!(cause instanceof EngineError)) throw cause;
    throw new EngineError(cause.kind, `cannot kill container: ${name}: ${cause.message}`, { cause });
  }
}

export async function kill(room: Room, name: string, text: string): Promise<void> {
  const { container, signal } = killOf(room, name, text);
  const { id } = container;
  // Not in the queue: what hangs there may be what this is to end.
  const live = room.live.get(id);
  if (!live || !isRunning(container)) {
    // Between two tries of the restart policy there is nothing to kill, and that is what was wanted.
    if (container.state.status === 'restarting') {
      cancelRestart(room, id);
      room.update(id, { own: { stoppedByUser: true } });
      return;
    }
    throw new EngineError('conflict', `cannot kill container: ${name}: container ${id} is not running`, {
      code: 'E_NOT_RUNNING',
    });
  }
  // A signal of another kind than those that end it does not turn the restart policy off.
  const ends = signal === sigkill || !container.config.StopSignal || signal === stopSignal(container);
  if (ends) room.update(id, { own: { stoppedByUser: true } });
  room.emit(container, 'kill', { signal: String(signal) });
  try {
    await live.task.kill(signal);
  } catch (error) {
    if (error instanceof EngineError && error.kind === 'conflict')
      throw new EngineError('conflict', `cannot kill container: ${name}: container ${id} is not running`, {
        cause: error,
        code: 'E_NOT_RUNNING',
      });
    throw error;
  }
  if (signal === sigkill && room.store.byId(id)?.state.status === 'paused') await thaw(room, live, id);
  if (signal === sigkill) await endsWithin(live, 10);
}

export function pause(room: Room, name: string, { forCommit = false } = {}): Promise<void> {
  const { id } = room.store.get(name);
  return room.queue.run(id, async () => {
    const { container, live } = running(room, id);
    if (container.state.status === 'paused')
      throw new EngineError('conflict', `Container ${id} is already paused`, { code: 'E_PAUSED' });
    // Before it is: after a crash the record says that nobody else wanted it so.
    if (forCommit) room.update(id, { own: { pausedForCommit: true } });
    // Before the freeze: a probe that is frozen cannot be ended.
    room.health.pause(id);
    try {
      await live.task.pause();
    } catch (error) {
      room.health.resume(id);
      throw error;
    }
    if (room.live.get(id) !== live) throw notRunning(id);
    const health = healthUnwatched(room.store.get(id).state.health);
    room.emit(room.update(id, { state: { status: 'paused', health }, own: { pausedForCommit: forCommit } })!, 'pause');
  });
}

export function unpause(room: Room, name: string): Promise<void> {
  const { id } = room.store.get(name);
  return room.queue.run(id, async () => {
    const container = room.store.get(id);
    const live = room.live.get(id);
    if (!live || container.state.status !== 'paused')
      throw new EngineError('conflict', `Container ${id} is not paused`);
    await live.task.resume();
    if (room.live.get(id) !== live) return;
    room.emit(room.update(id, { state: { status: 'running' }, own: { pausedForCommit: false } })!, 'unpause');
    room.health.resume(id);
  });
}

/** Throws `conflict` in Docker's words unless it runs. */
export function running(room: Room, name: string): { readonly container: ContainerRecord; readonly live: Live } {
  const container = room.store.get(name);
  const live = room.live.get(container.id);
  if (!live || !isRunning(container)) throw notRunning(container.id);
  return { container, live };
}

export function notRunning(id: string): EngineError {
  return new EngineError('conflict', `container ${id} is not running`, { code: 'E_NOT_RUNNING' });
}

function stopSignal({ config }: ContainerRecord): number {
  return parseSignal(config.StopSignal || 'SIGTERM');
}

async function thaw(room: Room, live: Live, id: string): Promise<void> {
  await live.task.resume().catch(() => live.task.kill(sigcont).catch(() => {}));
  if (room.live.get(id) === live) room.update(id, { state: { status: 'running' } });
}

function ignoreGone(error: unknown): void {
  if (!(error instanceof EngineError && error.kind === 'conflict')) throw error;
}

/** Negative: for ever. */
async function endsWithin(live: Live, seconds: number): Promise<boolean> {
  if (seconds < 0) return live.ended.then(() => true);
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<false>((resolve) => {
    timer = setTimeout(() => resolve(false), seconds * 1000);
  });
  try {
    return await Promise.race([live.ended.then((): true => true), late]);
  } finally {
    clearTimeout(timer);
  }
}
