import { EngineError } from '../base/errors.ts';
import type { Container, Containers } from '../containers/containers.ts';
import type { Images } from '../images/images.ts';
import { Filters } from '../protocol/filters.ts';
import { parsePortRange } from '../protocol/ports.ts';
import { parseTime } from '../protocol/time.ts';

const known = [
  'ancestor',
  'before',
  'exited',
  'expose',
  'health',
  'id',
  'is-task',
  'isolation',
  'label',
  'label!',
  'name',
  'network',
  'publish',
  'since',
  'status',
  'volume',
] as const;

const statuses = ['created', 'running', 'paused', 'restarting', 'removing', 'exited', 'dead'];

export interface ListQuery {
  readonly all: boolean;
  /** Undefined: no limit. */
  readonly limit: number | undefined;
  readonly filters: Filters;
}

export function readListQuery(query: URLSearchParams, all: boolean): ListQuery {
  const limitText = query.get('limit') ?? '';
  if (!/^-?[0-9]{0,9}$/.test(limitText))
    throw new EngineError('invalid', `invalid value for "limit": "${limitText}" is no number`);
  const limit = Number(limitText);
  const filters = Filters.parse(query.get('filters'), known);
  filters.oneOf('status', statuses, 'state');
  filters.oneOf('health', ['none', 'starting', 'healthy', 'unhealthy']);
  filters.boolean('is-task');
  for (const value of filters.get('exited'))
    if (!/^-?[0-9]{1,9}$/.test(value))
      throw new EngineError(
        'invalid',
        `invalid filter 'exited=${value}': strconv.Atoi: parsing "${value}": invalid syntax`,
      );
  return { all, limit: limit > 0 ? limit : undefined, filters };
}

/** The containers that are asked for, the newest first. */
export async function selectContainers(
  { containers, images }: { containers: Containers; images: Images },
  { all, limit, filters }: ListQuery,
): Promise<Container[]> {
  // A stopped one is shown when it is asked for by status, or by number.
  const stopped = all || limit !== undefined || filters.has('status');
  const tests: ((container: Container) => boolean)[] = [];
  if (!stopped)
    tests.push(({ state }) => state.status === 'running' || state.status === 'paused' || state.status === 'restarting');
  if (!filters.empty) tests.push(...(await testsOf(filters, { containers, images })));
  const chosen = containers.list().filter((container) => tests.every((test) => test(container)));
  const times = new Map(chosen.map((container) => [container, parseTime(container.created) ?? 0n]));
  chosen.sort((a, b) => {
    const first = times.get(a)!;
    const second = times.get(b)!;
    return first === second ? 0 : first < second ? 1 : -1;
  });
  return limit === undefined ? chosen : chosen.slice(0, limit);
}

async function testsOf(
  filters: Filters,
  { containers, images }: { containers: Containers; images: Images },
): Promise<((container: Container) => boolean)[]> {
  const tests: ((container: Container) => boolean)[] = [];
  const when = (key: (typeof known)[number], test: (container: Container) => boolean) => {
    if (filters.has(key)) tests.push(test);
  };
  when('id', ({ id }) => filters.matches('id', id));
  when('name', ({ name }) => filters.matches('name', name, `/${name}`));
  tests.push(({ config }) => filters.labels(config.Labels));
  when('status', ({ state }) => filters.exact('status', state.status));
  when('exited', ({ state }) => state.status === 'exited' && filters.exact('exited', String(state.exitCode)));
  when('health', ({ state }) => filters.exact('health', state.health?.status ?? 'none'));
  when('is-task', () => filters.boolean('is-task') === false);
  when('isolation', () => filters.exact('isolation', 'default'));
  when('volume', ({ mounts }) =>
    mounts.some(({ Name, Source, Destination }) =>
      filters.get('volume').some((wanted) => wanted === Name || wanted === Source || wanted === Destination),
    ),
  );
  when('network', ({ attached, endpoints, hostConfig }) => {
    const names = [hostConfig.NetworkMode, ...Object.keys(endpoints)];
    const ids = [
      ...attached.map(({ networkId }) => networkId),
      ...Object.values(endpoints).map((one) => one.NetworkID ?? ''),
    ];
    return filters
      .get('network')
      .some((wanted) => names.includes(wanted) || (wanted !== '' && ids.some((id) => id.startsWith(wanted))));
  });
  if (filters.has('publish') || filters.has('expose')) {
    const published = portsOf(filters, 'publish');
    const exposed = portsOf(filters, 'expose');
    tests.push(
      ({ attached, config }) =>
        attached
          .flatMap(({ ports }) => ports)
          .some(
            ({ hostPort, port, protocol }) =>
              published.has(`${hostPort}/${protocol}`) || exposed.has(`${port}/${protocol}`),
          ) || Object.keys(config.ExposedPorts ?? {}).some((port) => exposed.has(port)),
    );
  }
  for (const key of ['before', 'since'] as const)
    for (const name of filters.get(key)) {
      const bound = parseTime(containers.get(name).created) ?? 0n;
      tests.push(({ created }) => {
        const time = parseTime(created) ?? 0n;
        return key === 'before' ? time < bound : time > bound;
      });
    }
  if (filters.has('ancestor')) {
    const ancestors = await Promise.all(filters.get('ancestor').map((name) => images.get(name).catch(() => undefined)));
    tests.push((container) =>
      ancestors.some(
        (image) =>
          image &&
          (container.image === image.id ||
            (image.layers.length > 0 && image.layers.every((layer, i) => container.layers[i] === layer))),
      ),
    );
  }
  return tests;
}

/** `80`, `80/udp`, `8000-8010/tcp` to keys. */
function portsOf(filters: Filters, key: string): Set<string> {
  const ports = new Set<string>();
  for (const value of filters.get(key)) {
    const [numbers = '', protocol = 'tcp'] = value.split('/');
    const range = parsePortRange(numbers);
    if (!range || !['tcp', 'udp', 'sctp'].includes(protocol))
      throw new EngineError('invalid', `invalid filter '${key}=${value}'`);
    for (let port = range.first; port <= range.last; port++) ports.add(`${port}/${protocol}`);
  }
  return ports;
}
