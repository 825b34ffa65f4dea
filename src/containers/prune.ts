import { EngineError } from '../base/errors.ts';
import type { Container } from './containers.ts';
import { isRunning } from './record.ts';
import { remove } from './remove.ts';
import type { Room } from './room.ts';

export interface Pruned {
  readonly ids: readonly string[];
  /** Of the writable layers. */
  readonly bytes: number;
}

/** Removes those that do not run and that `accept` takes, one after the other, and their anonymous volumes not. */
export async function prune(
  room: Room,
  accept: (container: Container) => boolean,
  signal: AbortSignal,
): Promise<Pruned> {
  const ids: string[] = [];
  let bytes = 0;
  for (const container of room.store.list()) {
    if (signal.aborted) break;
    const { id } = container;
    if (isRunning(container) || container.state.status === 'restarting' || !accept(container)) continue;
    const size = await room.deps.snapshots.usage(id).catch(() => ({ bytes: 0 }));
    try {
      await remove(room, id, { force: false, volumes: false });
    } catch (error) {
      // Started, or removed, meanwhile.
      if (error instanceof EngineError && (error.kind === 'conflict' || error.kind === 'not-found')) continue;
      throw error;
    }
    ids.push(id);
    bytes += size.bytes;
  }
  room.deps.events.emit({
    type: 'container',
    action: 'prune',
    actor: { id: '', attributes: { reclaimed: String(bytes) } },
  });
  return { ids, bytes };
}
