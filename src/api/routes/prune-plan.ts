import type { Container, Containers } from '../../containers/containers.ts';
import type { Images } from '../../images/images.ts';
import type { Networks } from '../../networks/networks.ts';
import { isDigest } from '../../oci/digest.ts';
import { boolean, list, object, string, strings } from '../../protocol/decode.ts';
import { Filters } from '../../protocol/filters.ts';
import { queryBoolean } from '../../protocol/query.ts';
import { unixSeconds } from '../../protocol/time.ts';
import type { Volumes } from '../../volumes/volumes.ts';
import { readUntil } from '../network-requests.ts';
import { json } from '../reply.ts';
import type { ApiRequest } from '../request.ts';
import { get, post, type Route } from '../router.ts';
import type { DiskReporter } from '../system.ts';

export interface PrunePlanDeps {
  readonly containers: Containers;
  readonly images: Images;
  readonly networks: Networks;
  readonly volumes: Volumes;
  readonly disk: DiskReporter;
}

const predefined = ['bridge', 'host', 'none'];

const planFields = object('PrunePlan', {
  Containers: list(object('PlannedContainer', { Id: string }), { type: '[]PlannedContainer' }),
  Networks: list(object('PlannedNetwork', { Id: string }), { type: '[]PlannedNetwork' }),
  Volumes: list(object('PlannedVolume', { Name: string, CreatedAt: string }), { type: '[]PlannedVolume' }),
  Images: list(object('PlannedImage', { Id: string, Names: strings, Whole: boolean }), { type: '[]PlannedImage' }),
});

/**
 * Of our own, which no client of Docker asks for: what a prune would remove, as data, and the removal of exactly that. What
 * is in use by then, or is not what it was, stays.
 *
 * `GET /berth/df?verify=1` says what the data root holds, and
 * `GET /berth/prune?containers=1&networks=1&volumes=anonymous|all&images=dangling|all&filters={}` and `POST` with the answer.
 */
export function prunePlanRoutes(deps: PrunePlanDeps): Route[] {
  return [
    get('/berth/prune', async (request) => json(200, await plan(deps, request))),
    get('/berth/df', async ({ query }) =>
      json(200, await deps.disk.report({ verify: queryBoolean(query.get('verify')) })),
    ),
    post('/berth/prune', async (request) => json(200, await carryOut(deps, request))),
  ];
}

async function plan({ containers, images, networks, volumes }: PrunePlanDeps, { query }: ApiRequest) {
  const filters = Filters.parse(query.get('filters'), ['until', 'label', 'label!']);
  const before = readUntil(filters.get('until'));
  const matches = (created: string, labels: Readonly<Record<string, string>>) =>
    before(created) && filters.labels(labels);
  const all = containers.list();
  const gone = queryBoolean(query.get('containers'))
    ? all.filter((container) => isIdle(container) && matches(container.created, container.config.Labels))
    : [];
  const goneIds = new Set(gone.map(({ id }) => id));
  const left = all.filter(({ id }) => !goneIds.has(id));
  const whichVolumes = query.get('volumes');
  const whichImages = query.get('images');
  return {
    Containers: await Promise.all(
      gone.map(async (container) => ({
        Id: container.id,
        Name: container.name,
        Image: container.config.Image,
        State: container.state.status,
        ExitCode: container.state.exitCode,
        Ended: unixSeconds(container.state.finishedAt),
        // One that went meanwhile has nothing.
        Size: (await containers.size(container.id).catch(() => ({ rw: 0 }))).rw,
      })),
    ),
    Networks: queryBoolean(query.get('networks'))
      ? networks
          .list()
          .filter(
            ({ name, endpoints, created, labels }) =>
              !predefined.includes(name) && endpoints.length === 0 && matches(created, labels),
          )
          .map(({ id, name, driver }) => ({ Id: id, Name: name, Driver: driver }))
      : [],
    Volumes: whichVolumes
      ? await Promise.all(
          volumes
            .list()
            .filter(
              ({ name, anonymous, options, created, labels }) =>
                (whichVolumes === 'all' || anonymous) &&
                // What driver options lead to is not for the taking.
                Object.keys(options).length === 0 &&
                !left.some(({ mounts }) => mounts.some(({ Name }) => Name === name)) &&
                matches(created, labels),
            )
            .map(async ({ name, created, anonymous }) => ({
              Name: name,
              CreatedAt: created,
              Anonymous: anonymous,
              Size: await volumes.usage(name).catch(() => 0),
            })),
        )
      : [],
    Images: whichImages
      ? (
          await images.prunable({
            all: whichImages === 'all',
            without: goneIds,
            matches: ({ created, config }) => matches(created ?? '', config.config?.Labels ?? {}),
          })
        ).map(({ id, names, whole, bytes }) => ({ Id: id, Names: names, Whole: whole, Size: bytes }))
      : [],
  };
}

function isIdle({ state: { status } }: Container): boolean {
  return status !== 'running' && status !== 'paused' && status !== 'restarting';
}

async function carryOut({ containers, images, networks, volumes }: PrunePlanDeps, request: ApiRequest) {
  const wanted = planFields(await request.json()) ?? {};
  const { signal } = request;
  const listed = <T>(given: readonly (T | undefined)[] | undefined) => (given ?? []).filter((one) => one !== undefined);
  const ids = new Set(listed(wanted.Containers).map(({ Id }) => Id));
  const networkIds = new Set(listed(wanted.Networks).map(({ Id }) => Id));
  const made = new Map(listed(wanted.Volumes).map(({ Name, CreatedAt }) => [Name, CreatedAt]));
  const chosen = new Map(
    listed(wanted.Images).flatMap(({ Id = '', Names, Whole }) =>
      isDigest(Id) ? [[Id, { names: Names ?? [], whole: Whole ?? false }] as const] : [],
    ),
  );
  // In this order: what a container used is in use no more.
  const removed = ids.size > 0 ? await containers.prune(({ id }) => ids.has(id), signal) : { ids: [], bytes: 0 };
  const goneNetworks = networkIds.size > 0 ? await networks.prune(({ id }) => networkIds.has(id)) : [];
  const goneVolumes =
    made.size > 0
      ? await volumes.prune(({ name, created }) => made.get(name) === created, signal)
      : { names: [], bytes: 0 };
  const goneImages =
    chosen.size > 0
      ? await images.prune({ all: true, matches: ({ id }) => chosen.has(id), only: chosen })
      : { untagged: [], deleted: [], bytes: 0 };
  return {
    Containers: removed.ids,
    Networks: goneNetworks,
    Volumes: goneVolumes.names,
    Untagged: goneImages.untagged,
    Images: goneImages.deleted,
    SpaceReclaimed: removed.bytes + goneVolumes.bytes + goneImages.bytes,
  };
}
