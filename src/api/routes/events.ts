import { EngineError } from '../../base/errors.ts';
import type { EngineEvent, Events } from '../../events/bus.ts';
import { Filters } from '../../protocol/filters.ts';
import { readMoment } from '../../protocol/time.ts';
import { stream } from '../reply.ts';
import { get, type Route } from '../router.ts';

/** What a client may leave lying before it is cut off: it reads too slowly, or not at all. */
const mostWaiting = 16 * 1024 * 1024;

export function eventRoutes({ events }: { readonly events: Events }): Route[] {
  return [
    get('/events', ({ query }) => {
      // Docker ignores filters that it does not know here, and only here.
      const filters = Filters.parse(query.get('filters'));
      // Here `0` is 1970: all that is known.
      const since = query.get('since') === '0' ? 0n : readMoment('since', query.get('since'));
      const until = readMoment('until', query.get('until'));
      if (since !== undefined && until !== undefined && since > until)
        throw new EngineError(
          'invalid',
          `\`since\` time (${query.get('since')}) cannot be after \`until\` time (${query.get('until')})`,
        );
      const wanted = (event: EngineEvent) =>
        (until === undefined || event.timeNano <= until) && eventMatches(filters, event);
      return stream('application/json', async (out) => {
        const done = Promise.withResolvers<void>();
        // History and listening in one go: nothing can happen between them.
        const past = since === undefined ? [] : events.history().filter((event) => event.timeNano >= since);
        using _listening = events.listen((event) => {
          if (!wanted(event)) return;
          out.push(eventToWire(event));
          if (out.waiting > mostWaiting) done.reject(new Error('the client of an event stream reads too slowly'));
        });
        for (const event of past) if (wanted(event)) out.push(eventToWire(event));
        out.signal.addEventListener('abort', () => done.resolve(), { once: true });
        if (out.signal.aborted) done.resolve();
        const timer = until === undefined ? undefined : endAt(until, done.resolve);
        try {
          await done.promise;
        } finally {
          timer?.[Symbol.dispose]();
        }
      });
    }),
  ];
}

/** A timer counts at most 24 days at once. */
function endAt(until: bigint, end: () => void): Disposable {
  let timer: NodeJS.Timeout;
  const again = () => {
    const left = Number(until / 1_000_000n) - Date.now();
    if (left <= 0) timer = setTimeout(end, 0);
    else timer = setTimeout(again, Math.min(left, 2 ** 31 - 1));
  };
  again();
  return { [Symbol.dispose]: () => clearTimeout(timer) };
}

export function eventMatches(filters: Filters, { type, action, actor }: EngineEvent): boolean {
  const { attributes, id } = actor;
  const actorIs = (kind: EngineEvent['type']) => {
    if (!filters.has(kind)) return true;
    if (type !== kind) return false;
    const name = attributes['name'] ?? '';
    return filters.get(kind).some((wanted) => wanted === id || wanted === name || id.startsWith(wanted));
  };
  const image = () => {
    if (!filters.has('image')) return true;
    // Also what happens to containers of the image, by the name that they were made from.
    const names = [type === 'image' ? id : '', attributes['name'] ?? '', attributes['image'] ?? ''];
    const seen = type === 'image' ? names : names.slice(2);
    return filters.get('image').some((wanted) => seen.some((name) => name === wanted || withoutTag(name) === wanted));
  };
  return (
    filters.exact('type', type) &&
    filters.exact('scope', 'local') &&
    // `exec_start: sh` and `health_status: healthy` are asked for without what follows.
    (!filters.has('event') ||
      filters.get('event').some((wanted) => wanted === action || action.startsWith(`${wanted}:`))) &&
    filters.labels(attributes) &&
    actorIs('container') &&
    actorIs('network') &&
    actorIs('volume') &&
    actorIs('daemon') &&
    image() &&
    !['config', 'node', 'plugin', 'secret', 'service'].some((kind) => filters.has(kind))
  );
}

function withoutTag(name: string): string {
  const colon = name.lastIndexOf(':');
  return colon > name.lastIndexOf('/') ? name.slice(0, colon) : name;
}

/** One line, with the fields of old that 1.51 still has. `timeNano` is written by hand: no double holds it. */
export function eventToWire({ type, action, actor, timeNano }: EngineEvent): string {
  const old =
    type === 'container'
      ? { status: action, id: actor.id, from: actor.attributes['image'] ?? '' }
      : type === 'image'
        ? { status: action, id: actor.id }
        : {};
  const text = JSON.stringify({
    ...old,
    Type: type,
    Action: action,
    Actor: { ID: actor.id, Attributes: actor.attributes },
    scope: 'local',
  });
  return `${text.slice(0, -1)},"time":${timeNano / 1_000_000_000n},"timeNano":${timeNano}}\n`;
}
