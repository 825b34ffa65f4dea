import type { EngineClient } from '../client/client.ts';
import type { ContainerState } from './container-info.ts';
import { signalOf } from './words.ts';

/** One line of `GET /events`. */
export interface PastEvent {
  readonly Type: string;
  readonly Action: string;
  readonly Actor: { readonly ID: string; readonly Attributes: Readonly<Record<string, string>> };
  readonly timeNano: number;
}

/** What the engine remembers of containers: the last 1,024 events since it was started. */
export async function pastEvents(client: EngineClient, container?: string): Promise<readonly PastEvent[]> {
  const filters = { type: ['container'], ...(container && { container: [container] }) };
  const events: PastEvent[] = [];
  for await (const event of client.stream<PastEvent>('GET', '/events', {
    query: { since: 0, until: (Date.now() / 1000).toFixed(3), filters: JSON.stringify(filters) },
  }))
    events.push(event);
  return events;
}

export const milliseconds = ({ timeNano }: PastEvent): number => timeNano / 1e6;

export interface Sent {
  readonly signal: number;
  /** Milliseconds since 1970. */
  readonly at: number;
}

/** Who or what ended a container. */
export type Ending =
  /** It did not run, or it still does. */
  | { readonly by: 'nothing' }
  | { readonly by: 'memory' }
  /** It could not be started. */
  | { readonly by: 'start'; readonly error: string }
  /** Through the API. */
  | { readonly by: 'client'; readonly how: 'stop' | 'kill'; readonly sent: readonly Sent[] }
  /** The engine, because it was unhealthy (`--on-unhealthy`). */
  | { readonly by: 'health'; readonly action: string; readonly sent: readonly Sent[] }
  /** A signal that did not come through the API, or from which the engine's memory does not reach. */
  | { readonly by: 'signal'; readonly signal: number; readonly remembered: boolean }
  | { readonly by: 'itself' };

/** A signal that is older than that when the program ends by itself has not ended it. */
const effect = 10_000;

export function endingOf(state: ContainerState, events: readonly PastEvent[]): Ending {
  if (state.Running && state.Status !== 'restarting') return { by: 'nothing' };
  if (state.Error !== '') return { by: 'start', error: state.Error };
  if (state.Status === 'created') return { by: 'nothing' };
  if (state.OOMKilled) return { by: 'memory' };
  const end = events.findLastIndex(({ Action }) => Action === 'die');
  const begin = events.findLastIndex(({ Action }, index) => Action === 'start' && index < end);
  const sent = events
    .slice(begin + 1, Math.max(end, 0))
    .filter(({ Action }) => Action === 'kill')
    .map((event) => ({ signal: Number(event.Actor.Attributes['signal']), at: milliseconds(event) }));
  const action = events
    .slice(begin + 1, Math.max(end, 0))
    .findLast(({ Action }) => Action.startsWith('health_action: '))
    ?.Action.slice('health_action: '.length);
  if (action !== undefined) return { by: 'health', action, sent };
  const signal = signalOf(state.ExitCode);
  const last = sent.at(-1);
  const stopped = events.slice(end + 1).some(({ Action }) => Action === 'stop');
  if (last && (stopped || last.signal === signal || milliseconds(events[end]!) - last.at < effect))
    return { by: 'client', how: stopped ? 'stop' : 'kill', sent };
  if (signal !== undefined) return { by: 'signal', signal, remembered: end >= 0 && begin >= 0 };
  return { by: 'itself' };
}

/** The exit codes of its ends, oldest first. */
export function pastExits(events: readonly PastEvent[]): readonly { readonly code: number; readonly at: number }[] {
  return events
    .filter(({ Action }) => Action === 'die')
    .map((event) => ({ code: Number(event.Actor.Attributes['exitCode']), at: milliseconds(event) }));
}
