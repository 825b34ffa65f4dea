import type { Containers } from '../../containers/containers.ts';
import type { Events } from '../../events/bus.ts';
import type { Images } from '../../images/images.ts';
import { queryBoolean } from '../../protocol/query.ts';
import { readListQuery, selectContainers } from '../container-filters.ts';
import { ImageNames, imageName } from '../image-names.ts';
import { jsonBytes, type Reply } from '../reply.ts';
import type { ApiRequest } from '../request.ts';
import { get, type Route } from '../router.ts';
import { ContainerItems } from '../wire/container-list.ts';

export interface ListDeps {
  readonly containers: Containers;
  readonly images: Images;
  readonly events: Events;
}

interface Cached {
  readonly containers: number;
  readonly images: number;
  readonly second: number;
  readonly body: Buffer;
}

/** Different questions that are remembered. */
const mostCached = 64;

/**
 * `GET /containers/json`. Monitoring asks it all the time, so a whole answer is kept until a container or an image name
 * changes, or the second does, in which the status texts count.
 */
export function containerListRoutes(deps: ListDeps): Route[] {
  const { containers } = deps;
  const names = new ImageNames(deps);
  const items = new ContainerItems();
  const cache = new Map<string, Cached>();

  const list = async (request: ApiRequest, key: string): Promise<Reply> => {
    const { query, version } = request;
    const now = Date.now();
    const before = { containers: containers.version, images: names.version, second: Math.floor(now / 1000) };
    const withSize = queryBoolean(query.get('size'));
    const wanted = readListQuery(query, queryBoolean(query.get('all')));
    const chosen = await selectContainers(deps, wanted);
    const known = await names.all();
    const parts: string[] = [];
    for (const container of chosen) {
      const image = imageName(container.config.Image, container.image, known);
      let text = items.text(container, { names: containers.namesOf(container), image }, version, now);
      if (withSize) {
        const size = await containers.size(container.id).catch(() => ({ rw: 0, rootFs: 0 }));
        text += `,"SizeRw":${size.rw},"SizeRootFs":${size.rootFs}`;
      }
      parts.push(`${text}}`);
    }
    const body = Buffer.from(`[${parts.join(',')}]\n`);
    if (!withSize) {
      if (cache.size >= mostCached) cache.delete(cache.keys().next().value!);
      cache.set(key, { ...before, body });
    }
    return jsonBytes(body);
  };

  return [
    get('/containers/json', (request) => {
      const key = `${request.version}?${request.queryText}`;
      const cached = cache.get(key);
      if (
        cached &&
        cached.containers === containers.version &&
        cached.images === names.version &&
        cached.second === Math.floor(Date.now() / 1000)
      )
        return jsonBytes(cached.body);
      return list(request, key);
    }),
  ];
}
