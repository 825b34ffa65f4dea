import { EngineError } from '../../base/errors.ts';
import type { Containers } from '../../containers/containers.ts';
import type { Events } from '../../events/bus.ts';
import type { Images } from '../../images/images.ts';
import { decodeRegistryAuth } from '../../protocol/registry-auth.ts';
import { formatVersion, maxVersion, minVersion } from '../../protocol/version.ts';
import type { Registry } from '../../remotes/registry.ts';
import type { Volumes } from '../../volumes/volumes.ts';
import { readListQuery, selectContainers } from '../container-filters.ts';
import { json } from '../reply.ts';
import type { ApiRequest } from '../request.ts';
import { get, head, post, type Route } from '../router.ts';
import type { SystemInfo, Versions } from '../system.ts';
import { ContainerItems } from '../wire/container-list.ts';
import { imageListItem } from '../wire/image.ts';
import { engineInfo } from '../wire/info.ts';
import { volumeToWire } from './volumes.ts';

export interface SystemRouteDeps {
  readonly containers: Containers;
  readonly images: Images;
  readonly volumes: Volumes;
  readonly events: Events;
  readonly system: SystemInfo;
  readonly versions: Versions;
  readonly registry?: Pick<Registry, 'login'> | undefined;
}

export function systemRoutes(deps: SystemRouteDeps): Route[] {
  const { system, versions, registry } = deps;
  // Builder-Version 1: a client without buildx then uses the classic builder, and buildx is not told of one that is not here.
  const pingHeaders = [
    'Builder-Version',
    '1',
    'Swarm',
    'inactive',
    'Cache-Control',
    'no-cache, no-store, must-revalidate',
    'Pragma',
    'no-cache',
  ];
  const ping = (body: string) => ({ status: 200, type: 'text/plain; charset=utf-8', body, headers: pingHeaders });
  return [
    get('/_ping', () => ping('OK')),
    head('/_ping', () => ping('')),
    get('/version', () => json(200, versionReply(system, versions))),
    get('/info', async ({ version }) => {
      const images = await deps.images.list();
      return json(
        200,
        engineInfo({
          facts: system.facts(),
          containers: deps.containers.list(),
          images: images.length,
          listeners: deps.events.listeners,
          engineVersion: versions.engine,
          version,
        }),
      );
    }),
    post('/auth', async (request) => {
      const auth = decodeRegistryAuth(await request.json());
      if (!registry) throw new EngineError('unsupported', 'Berth does not do sign-in to registries yet');
      const { identityToken } = await registry.login(auth.serveraddress || 'https://index.docker.io/v1/', {
        ...(auth.username !== undefined && { username: auth.username }),
        ...(auth.password !== undefined && { password: auth.password }),
        ...(auth.identitytoken !== undefined && { identityToken: auth.identitytoken }),
      });
      return json(200, { Status: 'Login Succeeded', IdentityToken: identityToken });
    }),
    get('/system/df', (request) => diskUsage(deps, request)),
  ];
}

function versionReply(system: SystemInfo, { berth, engine, commit, built }: Versions) {
  const { kernelVersion, runtimes, defaultRuntime } = system.facts();
  const architecture = process.arch === 'x64' ? 'amd64' : process.arch;
  const base = {
    ApiVersion: formatVersion(maxVersion),
    MinAPIVersion: formatVersion(minVersion),
    GitCommit: commit,
    GoVersion: `node${process.versions.node}`,
    Os: 'linux',
    Arch: architecture,
    KernelVersion: kernelVersion,
    BuildTime: built,
  };
  const runtime = runtimes.find(({ name }) => name === defaultRuntime);
  return {
    Platform: { Name: `Berth ${berth}` },
    Components: [
      { Name: 'Engine', Version: engine, Details: { ...base, Experimental: 'false' } },
      { Name: 'Berth', Version: berth, Details: { GitCommit: commit } },
      ...(runtime ? [{ Name: runtime.name, Version: runtime.version, Details: { GitCommit: '' } }] : []),
    ],
    Version: engine,
    ...base,
  };
}

async function diskUsage({ containers, images, volumes }: SystemRouteDeps, request: ApiRequest) {
  const { query, version } = request;
  const types = query.getAll('type');
  for (const type of types)
    if (!['container', 'image', 'volume', 'build-cache'].includes(type))
      throw new EngineError('invalid', `unknown object type: ${type}`);
  const wants = (type: string) => types.length === 0 || types.includes(type);
  const all = containers.list();
  const items = new ContainerItems();
  const listed = wants('container')
    ? await Promise.all(
        (await selectContainers({ containers, images }, readListQuery(new URLSearchParams(), true))).map(
          async (container) => {
            const item: unknown = JSON.parse(`${items.text(container, container.config.Image, version, Date.now())}}`);
            const size = await containers.size(container.id).catch(() => ({ rw: 0, rootFs: 0 }));
            return { ...(item as object), SizeRw: size.rw, SizeRootFs: size.rootFs };
          },
        ),
      )
    : null;
  const pictures = wants('image')
    ? (await images.list()).map((image) => {
        const users = all.filter((container) => container.image === image.id).map(({ id }) => id);
        return {
          ...imageListItem(image, { version, containers: users, withManifests: false }),
          SharedSize: 0,
          Containers: users.length,
        };
      })
    : null;
  return json(200, {
    // Counted as the images' own sizes are: clients subtract what is in use from it.
    LayersSize: (pictures ?? []).reduce((sum, { Size }) => sum + Size, 0),
    Images: pictures,
    Containers: listed,
    Volumes: wants('volume')
      ? volumes.list().map((volume) => ({
          ...volumeToWire(volume),
          UsageData: {
            // Not counted: it would mean to walk every volume.
            Size: -1,
            RefCount: all.filter(({ mounts }) => mounts.some(({ Name }) => Name === volume.name)).length,
          },
        }))
      : null,
    BuildCache: wants('build-cache') ? [] : null,
    ...(version < 1042 && { BuilderSize: 0 }),
  });
}
