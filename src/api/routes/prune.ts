import { EngineError } from '../../base/errors.ts';
import type { Containers } from '../../containers/containers.ts';
import { Filters } from '../../protocol/filters.ts';
import { nowNano, parseMoment, parseTime } from '../../protocol/time.ts';
import type { Volumes } from '../../volumes/volumes.ts';
import { json } from '../reply.ts';
import type { ApiRequest } from '../request.ts';
import { post, type Route } from '../router.ts';

export interface PruneRouteDeps {
  readonly containers: Containers;
  readonly volumes: Volumes;
}

/** What is not in use goes. One pruning of a kind at a time, as with Docker. */
export function pruneRoutes({ containers, volumes }: PruneRouteDeps): Route[] {
  const running = new Set<string>();
  const alone = async <T>(kind: string, work: () => Promise<T>): Promise<T> => {
    if (running.has(kind)) throw new EngineError('conflict', 'a prune operation is already running');
    running.add(kind);
    try {
      return await work();
    } finally {
      running.delete(kind);
    }
  };
  return [
    post('/containers/prune', (request) => {
      const filters = Filters.parse(request.query.get('filters'), ['until', 'label', 'label!']);
      const until = readUntil(filters);
      return alone('containers', async () => {
        const { ids, bytes } = await containers.prune(
          ({ created, config }) =>
            (until === undefined || (parseTime(created) ?? 0n) <= until) && filters.labels(config.Labels),
          request.signal,
        );
        return json(200, { ContainersDeleted: ids.length > 0 ? ids : null, SpaceReclaimed: bytes });
      });
    }),
    post('/volumes/prune', (request) => {
      const filters = Filters.parse(request.query.get('filters'), ['all', 'label', 'label!']);
      const all = wantsAll(filters, request);
      return alone('volumes', async () => {
        const { names, bytes } = await volumes.prune(
          ({ anonymous, labels }) => (all || anonymous) && filters.labels(labels),
          request.signal,
        );
        return json(200, { VolumesDeleted: names, SpaceReclaimed: bytes });
      });
    }),
    // There is no cache of builds, so there is nothing of it to remove: `docker system prune` asks for it too.
    post('/build/prune', () => json(200, { CachesDeleted: null, SpaceReclaimed: 0 })),
  ];
}

/** Before that moment; undefined: whenever. */
function readUntil(filters: Filters): bigint | undefined {
  const [text, more] = filters.get('until');
  if (more !== undefined) throw new EngineError('invalid', 'more than one until filter specified');
  if (text === undefined) return undefined;
  const moment = parseMoment(text, nowNano());
  if (moment === undefined)
    throw new EngineError('invalid', `failed to parse value as time or duration: ${JSON.stringify(text)}`);
  return moment;
}

/** Before 1.42 named ones went too, whoever asked. */
function wantsAll(filters: Filters, { version }: ApiRequest): boolean {
  const [text] = filters.get('all');
  if (text !== undefined && !/^(1|t|T|TRUE|true|True|0|f|F|FALSE|false|False)$/.test(text))
    throw new EngineError(
      'invalid',
      `invalid filter 'all': strconv.ParseBool: parsing ${JSON.stringify(text)}: invalid syntax`,
    );
  return version < 1042 || filters.boolean('all') === true;
}
