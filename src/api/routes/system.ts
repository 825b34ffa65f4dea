import { EngineError } from '../../base/errors.ts';
import type { Containers } from '../../containers/containers.ts';
import type { Events } from '../../events/bus.ts';
import type { Images } from '../../images/images.ts';
import { decodeRegistryAuth } from '../../protocol/registry-auth.ts';
import { formatVersion, maxVersion, minVersion } from '../../protocol/version.ts';
import type { Registry } from '../../remotes/registry.ts';
import type { Volumes } from '../../volumes/volumes.ts';

import { errorReply } from '../errors.ts';
import { json } from '../reply.ts';
import { get, head, post, type Route } from '../router.ts';
import type { SystemInfo, Versions } from '../system.ts';
import { engineInfo } from '../wire/info.ts';
import { diskUsage } from './disk-usage.ts';

export interface SystemRouteDeps {
  readonly containers: Containers;
  readonly images: Images;
  readonly volumes: Volumes;
  readonly events: Events;
  readonly system: SystemInfo;
  readonly versions: Versions;
  readonly registry: Pick<Registry, 'login'>;
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
      const [images, devices] = await Promise.all([deps.images.list(), system.discoveredDevices()]);
      return json(
        200,
        engineInfo({
          facts: system.facts(),
          containers: deps.containers.list(),
          images: images.length,
          devices,
          listeners: deps.events.listeners,
          engineVersion: versions.engine,
          version,
        }),
      );
    }),
    post('/auth', async (request) => {
      const auth = decodeRegistryAuth(await request.json());
      try {
        const { identityToken } = await registry.login(auth.serveraddress || 'https://index.docker.io/v1/', {
          ...(auth.username !== undefined && { username: auth.username }),
          ...(auth.password !== undefined && { password: auth.password }),
          ...(auth.identitytoken !== undefined && { identityToken: auth.identitytoken }),
        });
        return json(200, { Status: 'Login Succeeded', IdentityToken: identityToken });
      } catch (error) {
        if (error instanceof EngineError && error.kind === 'unauthorized') return errorReply(error, 401);
        throw error;
      }
    }),
    get('/system/df', async (request) => json(200, await diskUsage(deps, request))),
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
