import type { Container, Health } from '../../containers/containers.ts';
import type { ApiVersion } from '../../protocol/version.ts';
import { networksOf, portMap } from './networking.ts';

/** The answer of `GET /containers/{id}/json` (engine-api.md, section 6). */
export function containerInspect(
  container: Container,
  version: ApiVersion,
  driver: string,
  execs: readonly string[] = [],
): Record<string, unknown> {
  const { state, files, attached, config } = container;
  const bridge = attached.find(({ network }) => network === 'bridge');
  return {
    Id: container.id,
    Created: container.created,
    Path: container.path,
    Args: container.args,
    State: {
      Status: state.status,
      // A container that is paused runs.
      Running: state.status === 'running' || state.status === 'paused' || state.status === 'restarting',
      Paused: state.status === 'paused',
      Restarting: state.status === 'restarting',
      OOMKilled: state.oomKilled,
      Dead: state.status === 'dead',
      Pid: state.pid,
      ExitCode: state.exitCode,
      Error: state.error,
      StartedAt: state.startedAt,
      FinishedAt: state.finishedAt,
      ...(state.health && { Health: healthToWire(state.health) }),
    },
    Image: container.image,
    ResolvConfPath: files.resolvConf,
    HostnamePath: files.hostname,
    HostsPath: files.hosts,
    LogPath: container.hostConfig.LogConfig.Type === 'json-file' ? files.log : '',
    Name: `/${container.name}`,
    RestartCount: container.restartCount,
    Driver: driver,
    Platform: container.platform.os,
    MountLabel: container.mountLabel,
    ProcessLabel: container.processLabel,
    AppArmorProfile: container.appArmorProfile,
    ExecIDs: execs.length > 0 ? execs : null,
    HostConfig: {
      ...container.hostConfig,
      Links: linksToWire(container),
      // Read by clients of that time, set by none.
      ...(version < 1042 && { KernelMemory: 0, KernelMemoryTCP: 0 }),
    },
    GraphDriver: { Data: null, Name: driver },
    Mounts: container.mounts,
    // None is null here, and not an empty object.
    Config: { ...config, Volumes: Object.keys(config.Volumes ?? {}).length > 0 ? config.Volumes : null },
    NetworkSettings: {
      Bridge: '',
      SandboxID: attached.length > 0 ? container.id : '',
      SandboxKey: '',
      Ports: portMap(container),
      HairpinMode: false,
      LinkLocalIPv6Address: '',
      LinkLocalIPv6PrefixLen: 0,
      SecondaryIPAddresses: null,
      SecondaryIPv6Addresses: null,
      EndpointID: bridge?.id ?? '',
      Gateway: bridge?.gateway ?? '',
      GlobalIPv6Address: '',
      GlobalIPv6PrefixLen: 0,
      IPAddress: bridge?.address ?? '',
      IPPrefixLen: bridge?.prefixLength ?? 0,
      IPv6Gateway: '',
      MacAddress: bridge?.mac ?? '',
      Networks: networksOf(container, version),
    },
    ...(version >= 1048 && { ImageManifestDescriptor: manifestDescriptor(container) }),
  };
}

/** `/other:/me/alias`; in a network of one's own links stand with the endpoint. */
function linksToWire({ name, links = [] }: Container): readonly string[] | null {
  return links.length > 0 ? links.map((link) => `/${link.name}:/${name}/${link.alias}`) : null;
}

function healthToWire({ status, failingStreak, log }: Health) {
  return {
    Status: status,
    FailingStreak: failingStreak,
    Log: log.map(({ start, end, exitCode, output }) => ({
      Start: start,
      End: end,
      ExitCode: exitCode,
      Output: output,
    })),
  };
}

export function manifestDescriptor({ imageManifest, platform }: Container) {
  const { os, architecture, variant } = platform;
  return { ...imageManifest, platform: { architecture, os, ...(variant && { variant }) } };
}
