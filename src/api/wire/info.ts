import type { Container } from '../../containers/containers.ts';
import type { ApiVersion } from '../../protocol/version.ts';
import type { SystemFacts } from '../system.ts';

export interface InfoParts {
  readonly facts: SystemFacts;
  readonly containers: readonly Container[];
  readonly images: number;
  readonly listeners: number;
  /** Qualified names of CDI devices. */
  readonly devices: readonly string[];
  readonly engineVersion: string;
  readonly version: ApiVersion;
}

/** The answer of `GET /info`. Objects that the CLI looks into are there even where they say nothing. */
export function engineInfo({ facts, containers, images, listeners, devices, engineVersion, version }: InfoParts) {
  const count = (...statuses: readonly string[]) =>
    containers.filter(({ state }) => statuses.includes(state.status)).length;
  const running = count('running', 'restarting');
  const paused = count('paused');
  const { limits } = facts;
  const commit = (ID: string) => (version < 1049 ? { ID, Expected: ID } : { ID });
  return {
    ID: facts.id,
    Containers: containers.length,
    ContainersRunning: running,
    ContainersPaused: paused,
    ContainersStopped: containers.length - running - paused,
    Images: images,
    Driver: facts.storageDriver,
    DriverStatus: facts.storageStatus,
    Plugins: {
      Volume: ['local'],
      Network: ['bridge', 'host', 'ipvlan', 'macvlan', 'null'],
      Authorization: null,
      Log: ['journald', 'json-file', 'local', 'none', 'syslog'],
    },
    MemoryLimit: limits.memory,
    SwapLimit: limits.swap,
    ...(version < 1042 && { KernelMemory: false, KernelMemoryTCP: false }),
    CpuCfsPeriod: limits.cpuCfs,
    CpuCfsQuota: limits.cpuCfs,
    CPUShares: limits.cpuShares,
    CPUSet: limits.cpuset,
    PidsLimit: limits.pids,
    IPv4Forwarding: facts.ipv4Forwarding,
    ...(version < 1050 && { BridgeNfIptables: false, BridgeNfIp6tables: false }),
    OomKillDisable: limits.oomKillDisable,
    Debug: facts.debug,
    NFd: facts.openFiles,
    NGoroutines: 0,
    SystemTime: new Date().toISOString(),
    LoggingDriver: facts.logDriver,
    CgroupDriver: facts.cgroupDriver,
    CgroupVersion: facts.cgroupVersion,
    NEventsListener: listeners,
    KernelVersion: facts.kernelVersion,
    OperatingSystem: facts.operatingSystem,
    OSVersion: facts.osVersion,
    OSType: 'linux',
    Architecture: process.arch === 'x64' ? 'x86_64' : process.arch === 'arm64' ? 'aarch64' : process.arch,
    IndexServerAddress: 'https://index.docker.io/v1/',
    RegistryConfig: {
      ...(version < 1049 && { AllowNondistributableArtifactsCIDRs: [], AllowNondistributableArtifactsHostnames: [] }),
      ...registryConfig(facts),
    },
    NCPU: facts.cpus,
    MemTotal: facts.memory,
    GenericResources: null,
    DockerRootDir: facts.dataRoot,
    HttpProxy: facts.httpProxy,
    HttpsProxy: facts.httpsProxy,
    NoProxy: facts.noProxy,
    Name: facts.name,
    Labels: facts.labels,
    ExperimentalBuild: false,
    ServerVersion: engineVersion,
    Runtimes: Object.fromEntries(facts.runtimes.map(({ name, path }) => [name, { path }])),
    DefaultRuntime: facts.defaultRuntime,
    Swarm: {
      NodeID: '',
      NodeAddr: '',
      LocalNodeState: 'inactive',
      ControlAvailable: false,
      Error: '',
      RemoteManagers: null,
    },
    LiveRestoreEnabled: true,
    Isolation: '',
    InitBinary: facts.initBinary,
    ContainerdCommit: commit(''),
    RuncCommit: commit(facts.runtimes.find(({ name }) => name === facts.defaultRuntime)?.version ?? ''),
    InitCommit: commit(''),
    SecurityOptions: facts.securityOptions,
    DefaultAddressPools: facts.addressPools.map(({ base, size }) => ({ Base: base, Size: size })),
    ...(version >= 1049 && { FirewallBackend: { Driver: facts.firewall } }),
    CDISpecDirs: facts.deviceDirectories,
    ...(version >= 1050 && { DiscoveredDevices: devices.map((ID) => ({ Source: 'cdi', ID })) }),
    Warnings: facts.warnings,
  };
}

function registryConfig({ insecureRegistries, mirrors }: SystemFacts) {
  const hub = mirrors['docker.io'] ?? [];
  const hosts = insecureRegistries.filter((entry) => !entry.includes('/'));
  return {
    InsecureRegistryCIDRs: insecureRegistries.filter((entry) => entry.includes('/')),
    IndexConfigs: {
      'docker.io': { Name: 'docker.io', Mirrors: hub, Secure: true, Official: true },
      ...Object.fromEntries(
        hosts.map((host) => [host, { Name: host, Mirrors: mirrors[host] ?? [], Secure: false, Official: false }]),
      ),
    },
    Mirrors: hub,
  };
}
