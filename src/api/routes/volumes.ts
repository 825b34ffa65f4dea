import { EngineError } from '../../base/errors.ts';
import type { Containers } from '../../containers/containers.ts';
import { noSwarmManager } from '../../networks/definition.ts';
import { object, string, stringMap } from '../../protocol/decode.ts';
import { Filters } from '../../protocol/filters.ts';
import { queryBoolean } from '../../protocol/query.ts';
import { checkVolumeName } from '../../protocol/volume-spec.ts';
import type { Volume, Volumes } from '../../volumes/volumes.ts';
import { empty, json } from '../reply.ts';
import { del, get, post, type Route } from '../router.ts';

const createFields = object('CreateOptions', {
  Name: string,
  Driver: string,
  DriverOpts: stringMap,
  Labels: stringMap,
  ClusterVolumeSpec: object('ClusterVolumeSpec', {}),
});

export interface VolumeRouteDeps {
  readonly volumes: Volumes;
  readonly containers: Containers;
}

export function volumeRoutes({ volumes, containers }: VolumeRouteDeps): Route[] {
  const used = () => new Set(containers.list().flatMap(({ mounts }) => mounts.flatMap(({ Name }) => Name ?? [])));
  return [
    get('/volumes', ({ query }) => {
      const filters = readFilters(query.get('filters'));
      const dangling = filters.boolean('dangling');
      const inUse = dangling === undefined ? undefined : used();
      const chosen = volumes
        .list()
        .filter(
          (volume) =>
            filters.matches('name', volume.name) &&
            filters.exact('driver', volume.driver) &&
            filters.labels(volume.labels) &&
            (!inUse || dangling === !inUse.has(volume.name)),
        );
      return json(200, { Volumes: chosen.map(volumeToWire), Warnings: null });
    }),
    get('/volumes/:name', ({ params }) => json(200, volumeToWire(volumes.get(params['name']!)))),
    post('/volumes/create', async (request) => {
      const {
        Name = '',
        Driver = '',
        DriverOpts = {},
        Labels,
        ClusterVolumeSpec,
      } = createFields(await request.json()) ?? {};
      if (ClusterVolumeSpec && request.version >= 1042) throw new EngineError('unavailable', noSwarmManager);
      if (Driver !== '' && Driver !== 'local')
        throw new EngineError(
          'not-found',
          `create ${Name}: error looking up volume plugin ${Driver}: plugin "${Driver}" not found`,
        );
      if (Name !== '') checkVolumeName(Name);
      return json(
        201,
        volumeToWire(await volumes.create({ name: Name, options: DriverOpts, ...(Labels && { labels: Labels }) })),
      );
    }),
    del('/volumes/:name', async ({ params, query }) => {
      const force = queryBoolean(query.get('force'));
      try {
        await volumes.remove(params['name']!, { force });
      } catch (error) {
        // Docker takes a volume that is not there for removed when forced.
        if (!(force && error instanceof EngineError && error.kind === 'not-found')) throw error;
      }
      return empty(204);
    }),
  ];
}

export function volumeToWire(volume: Volume) {
  return {
    CreatedAt: volume.created.replace(/\.\d+Z$/, 'Z'),
    Driver: volume.driver,
    Labels: Object.keys(volume.labels).length > 0 ? volume.labels : null,
    Mountpoint: volume.mountpoint,
    Name: volume.name,
    Options: Object.keys(volume.options).length > 0 ? volume.options : null,
    Scope: 'local',
  };
}

/** As Docker says it of what cannot be read; of what it does not know it says only that. */
function readFilters(text: string | null): Filters {
  const known = ['dangling', 'driver', 'label', 'label!', 'name'];
  try {
    return Filters.parse(text, known);
  } catch (cause) {
    if (!(cause instanceof EngineError) || cause.message !== 'invalid filter') throw cause;
    throw new EngineError('invalid', 'error reading volume filters: invalid filter', { cause });
  }
}
