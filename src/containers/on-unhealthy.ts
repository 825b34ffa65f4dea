import { messageOf } from '../base/errors.ts';
import { onUnhealthyLabel, unhealthyActions } from '../protocol/own-labels.ts';
import type { ContainerRecord } from './record.ts';
import type { Room } from './room.ts';
import { stop } from './stop.ts';

/** What is done with a container that became unhealthy; undefined where nothing is, as with Docker. */
export function unhealthyAction({ config, state }: ContainerRecord): 'restart' | 'stop' | undefined {
  if (state.health?.status !== 'unhealthy' || state.status !== 'running') return undefined;
  // An image's label counts too; what is no action was refused where somebody asked for it.
  const action = unhealthyActions.find((known) => known === config.Labels[onUnhealthyLabel]);
  return action === 'none' ? undefined : action;
}

/**
 * Stops it. A restart is the exit's: the record says before that one is wanted, so that it comes also when the engine is
 * killed in between, and a container that never gets well waits longer each time, as with the restart policy.
 */
export async function endUnhealthy(room: Room, id: string, action: 'restart' | 'stop'): Promise<void> {
  const container = room.store.byId(id);
  if (!container || room.closed || room.machineEnds) return;
  if (action === 'restart') room.update(id, { own: { restartUnhealthy: true } });
  room.emit(container, `health_action: ${action}`);
  room.deps.log.warn('a container is unhealthy', { id, name: container.name, action });
  try {
    await stop(room, id, { timeout: undefined, signal: undefined }, { byUser: action === 'stop' });
  } catch (error) {
    // It has ended meanwhile, or the next probe tries again.
    room.deps.log.debug('an unhealthy container could not be stopped', { id, error: messageOf(error) });
  }
}
