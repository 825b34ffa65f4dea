import { EngineError } from '../../base/errors.ts';
import type { Containers } from '../../containers/containers.ts';
import type { Images } from '../../images/images.ts';
import type { Volumes } from '../../volumes/volumes.ts';
import { readListQuery, selectContainers } from '../container-filters.ts';
import type { ApiRequest } from '../request.ts';
import { ContainerItems } from '../wire/container-list.ts';
import { imageListItem } from '../wire/image.ts';
import { volumeToWire } from './volumes.ts';

export interface DiskUsageDeps {
  readonly containers: Containers;
  readonly images: Images;
  readonly volumes: Volumes;
}

/** `docker system df`: what is on the disk, counted anew each time. `type` asks for a part of it, which may be repeated. */
export async function diskUsage(deps: DiskUsageDeps, { query, version }: ApiRequest) {
  const types = query.getAll('type');
  for (const type of types)
    if (!['container', 'image', 'volume', 'build-cache'].includes(type))
      throw new EngineError('invalid', `unknown object type: ${type}`);
  const wants = (type: string) => types.length === 0 || types.includes(type);
  const [images, containers, volumes] = await Promise.all([
    wants('image') ? imagesOf(deps, version) : undefined,
    wants('container') ? containersOf(deps, version) : null,
    wants('volume') ? volumesOf(deps) : null,
  ]);
  return {
    LayersSize: images?.bytes ?? 0,
    Images: images?.items ?? null,
    Containers: containers,
    Volumes: volumes,
    BuildCache: wants('build-cache') ? [] : null,
    ...(version < 1042 && { BuilderSize: 0 }),
  };
}

async function imagesOf({ containers, images }: DiskUsageDeps, version: number) {
  const { bytes, shared } = await images.usage();
  const items = (await images.list()).map((image) => {
    const users = containers.list().flatMap((container) => (container.image === image.id ? [container.id] : []));
    return {
      ...imageListItem(image, { version, containers: users, shared: shared.get(image.id) ?? 0 }),
      Containers: users.length,
    };
  });
  return { bytes, items };
}

async function containersOf({ containers, images }: DiskUsageDeps, version: number) {
  const items = new ContainerItems();
  const all = await selectContainers({ containers, images }, readListQuery(new URLSearchParams(), true));
  return await Promise.all(
    all.map(async (container) => {
      const called = { names: containers.namesOf(container), image: container.config.Image };
      const item: unknown = JSON.parse(`${items.text(container, called, version, Date.now())}}`);
      const size = await containers.size(container.id).catch(() => ({ rw: 0, rootFs: 0 }));
      return { ...(item as object), SizeRw: size.rw, SizeRootFs: size.rootFs };
    }),
  );
}

async function volumesOf({ containers, volumes }: DiskUsageDeps) {
  const all = containers.list();
  return await Promise.all(
    volumes.list().map(async (volume) => ({
      ...volumeToWire(volume),
      UsageData: {
        RefCount: all.filter(({ mounts }) => mounts.some(({ Name }) => Name === volume.name)).length,
        // One that went meanwhile has nothing.
        Size: await volumes.usage(volume.name).catch(() => 0),
      },
    })),
  );
}
