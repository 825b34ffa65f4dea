import { EngineError } from '../../base/errors.ts';
import type { Containers } from '../../containers/containers.ts';
import type { Sample } from '../../containers/stats.ts';
import { queryBoolean } from '../../protocol/query.ts';
import { json, jsonText, type Reply, stream } from '../reply.ts';
import type { ApiRequest } from '../request.ts';
import { get, type Route } from '../router.ts';
import type { SystemInfo } from '../system.ts';
import { statsToWire } from '../wire/stats.ts';

export interface StatsRouteDeps {
  readonly containers: Containers;
  readonly system: SystemInfo;
}

/** What a client may leave lying before it misses looks. */
const mostWaiting = 64 * 1024;

export function statsRoutes({ containers, system }: StatsRouteDeps): Route[] {
  // The machine's memory: cannot change, and all the facts together are dear.
  let known: number | undefined;
  const memory = () => (known ??= system.facts().memory);
  return [
    get('/containers/:id/stats', (request): Reply | Promise<Reply> => {
      const { params, query, version } = request;
      const { id, name } = containers.get(params['id']!);
      const streams = query.has('stream') ? queryBoolean(query.get('stream')) : true;
      const oneShot = version >= 1041 && queryBoolean(query.get('one-shot'));
      if (streams && oneShot) throw new EngineError('invalid', 'cannot have stream=true and one-shot=true');
      const wire = (sample: Sample, before: Sample | undefined) =>
        statsToWire({
          // As Docker does it: one shot of what runs says nothing of who it is.
          container: oneShot && sample.usage ? undefined : { id, name: nameNow(id, name) },
          sample,
          before,
          memory: memory(),
        });
      if (streams)
        return stream('application/json', async (out) => {
          const done = Promise.withResolvers<void>();
          let before: Sample | undefined;
          out.signal.addEventListener('abort', () => done.resolve(), { once: true });
          if (out.signal.aborted) return;
          using _watching = containers.watchStats(id, {
            sample: (sample) => {
              if (out.waiting <= mostWaiting) out.push(jsonText(wire(sample, before)));
              before = sample;
            },
            removed: done.resolve,
          });
          await done.promise;
        });
      const first = containers.stats(id);
      if (oneShot || !first.usage) return json(200, wire(first, undefined));
      return twoLooks(containers, id, request).then(([before, sample]) => json(200, wire(sample, before)));
    }),
  ];

  /** It may have been renamed, and it may be gone. */
  function nameNow(id: string, before: string): string {
    return containers.list().find((container) => container.id === id)?.name ?? before;
  }
}

/** A second apart: how busy it is takes two. */
async function twoLooks(containers: Containers, id: string, request: ApiRequest): Promise<readonly [Sample, Sample]> {
  const looks: Sample[] = [];
  const both = Promise.withResolvers<void>();
  const { signal } = request;
  const gone = () => both.reject(new EngineError('canceled', 'the client went away, or the engine stops'));
  signal.addEventListener('abort', gone, { once: true });
  if (signal.aborted) gone();
  try {
    using _watching = containers.watchStats(id, {
      sample: (sample) => {
        looks.push(sample);
        if (looks.length === 2) both.resolve();
      },
      removed: () =>
        both.reject(new EngineError('not-found', `No such container: ${id}`, { code: 'E_NO_SUCH_CONTAINER' })),
    });
    await both.promise;
  } finally {
    signal.removeEventListener('abort', gone);
  }
  return [looks[0]!, looks[1]!];
}
