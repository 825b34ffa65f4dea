import { EngineError } from '../base/errors.ts';
import type { ContainerConfig, CreateRequest, EndpointSettings, HostConfig, MountSpec } from './container.ts';
import { checkConfig, checkHostConfig, checkNetworkMode } from './create-checks.ts';
import { type CreateFields, createFields, type HostConfigFields, refuseNul } from './create-fields.ts';
import { checkOwnLabels } from './own-labels.ts';
import { formatPort, parsePorts } from './ports.ts';
import type { ApiVersion } from './version.ts';

/** What the engine is configured to give a container that asks for nothing. */
export interface CreateDefaults {
  /** '' leaves the choice to whoever starts it. */
  readonly runtime?: string;
  readonly cgroupnsMode?: string;
  readonly ipcMode?: string;
  /** Bytes. */
  readonly shmSize?: number;
  /** Shown with those of the container, as Docker does. */
  readonly ulimits?: NonNullable<HostConfig['Ulimits']>;
  readonly logDriver?: string;
  readonly logOptions?: Readonly<Record<string, string>>;
}

/** Hidden from containers that are not privileged, as Docker does. */
export const maskedPaths: readonly string[] = [
  '/proc/acpi',
  '/proc/asound',
  '/proc/interrupts',
  '/proc/kcore',
  '/proc/keys',
  '/proc/latency_stats',
  '/proc/sched_debug',
  '/proc/scsi',
  '/proc/timer_list',
  '/proc/timer_stats',
  '/sys/devices/virtual/powercap',
  '/sys/firmware',
];

export const readonlyPaths: readonly string[] = [
  '/proc/bus',
  '/proc/fs',
  '/proc/irq',
  '/proc/sys',
  '/proc/sysrq-trigger',
];

const defaultShmSize = 64 * 1024 * 1024;

/** The body of `POST /containers/create`, checked and filled as Docker does it. Throws `invalid`. */
export function readCreateRequest(body: unknown, version: ApiVersion, defaults: CreateDefaults = {}): CreateRequest {
  const fields = createFields(body);
  if (!fields || Object.keys(fields).length === 0)
    throw new EngineError('invalid', 'config cannot be empty in order to create a container');
  refuseNul(fields);
  const hostConfig = readHostConfig(fields.HostConfig ?? {}, version, defaults);
  const config = readConfig(fields);
  checkConfig(config);
  checkHostConfig(hostConfig, version);
  checkNetworkMode(config, hostConfig);
  checkOwnLabels(config.Labels, { autoRemove: hostConfig.AutoRemove });
  const endpoints = readEndpoints(fields, hostConfig.NetworkMode, version);
  return { config, hostConfig, endpoints };
}

function readConfig(fields: CreateFields): ContainerConfig {
  const { HostConfig: _host, NetworkingConfig: _networking, ...given } = fields;
  return {
    ...given,
    Hostname: given.Hostname ?? '',
    Domainname: given.Domainname ?? '',
    User: given.User ?? '',
    AttachStdin: given.AttachStdin ?? false,
    AttachStdout: given.AttachStdout ?? false,
    AttachStderr: given.AttachStderr ?? false,
    ...(given.ExposedPorts && { ExposedPorts: expandPorts(given.ExposedPorts, () => ({})) }),
    Tty: given.Tty ?? false,
    OpenStdin: given.OpenStdin ?? false,
    StdinOnce: given.StdinOnce ?? false,
    Env: given.Env ?? [],
    Cmd: given.Cmd ?? null,
    Image: given.Image ?? '',
    // Docker's answer has null for none, whichever way none was said.
    Volumes: given.Volumes && Object.keys(given.Volumes).length > 0 ? given.Volumes : null,
    WorkingDir: given.WorkingDir ?? '',
    Entrypoint: given.Entrypoint ?? null,
    OnBuild: given.OnBuild ?? null,
    Labels: given.Labels ?? {},
  };
}

function readHostConfig(given: HostConfigFields, version: ApiVersion, defaults: CreateDefaults): HostConfig {
  const privileged = given.Privileged ?? false;
  const logDriver = given.LogConfig?.Type || defaults.logDriver || 'json-file';
  // Options of the default driver are not for another one.
  const inherited = given.LogConfig?.Type ? {} : (defaults.logOptions ?? {});
  return {
    ...given,
    Binds: given.Binds ?? null,
    ContainerIDFile: given.ContainerIDFile ?? '',
    LogConfig: { Type: logDriver, Config: { ...inherited, ...given.LogConfig?.Config } },
    NetworkMode: networkMode(given.NetworkMode),
    PortBindings: expandPorts(given.PortBindings ?? {}, (bindings) =>
      bindings.map(({ HostIp = '', HostPort = '' }) => ({ HostIp, HostPort })),
    ),
    RestartPolicy: {
      Name: given.RestartPolicy?.Name || 'no',
      MaximumRetryCount: given.RestartPolicy?.MaximumRetryCount ?? 0,
    },
    AutoRemove: given.AutoRemove ?? false,
    VolumeDriver: given.VolumeDriver ?? '',
    VolumesFrom: given.VolumesFrom ?? null,
    ConsoleSize: given.ConsoleSize ?? [0, 0],
    CapAdd: given.CapAdd ?? null,
    CapDrop: given.CapDrop ?? null,
    CgroupnsMode: given.CgroupnsMode || (version < 1041 ? 'host' : (defaults.cgroupnsMode ?? '')),
    Dns: given.Dns ?? [],
    DnsOptions: given.DnsOptions ?? [],
    DnsSearch: given.DnsSearch ?? [],
    ExtraHosts: given.ExtraHosts ?? null,
    GroupAdd: given.GroupAdd ?? null,
    IpcMode: given.IpcMode || (version < 1040 ? 'shareable' : (defaults.ipcMode ?? 'private')),
    Cgroup: given.Cgroup ?? '',
    Links: given.Links ?? null,
    OomScoreAdj: given.OomScoreAdj ?? 0,
    PidMode: given.PidMode ?? '',
    Privileged: privileged,
    PublishAllPorts: given.PublishAllPorts ?? false,
    ReadonlyRootfs: given.ReadonlyRootfs ?? false,
    SecurityOpt: given.SecurityOpt ?? null,
    UTSMode: given.UTSMode ?? '',
    UsernsMode: given.UsernsMode ?? '',
    ShmSize: given.ShmSize || (defaults.shmSize ?? defaultShmSize),
    Runtime: given.Runtime || (defaults.runtime ?? ''),
    Isolation: given.Isolation ?? '',
    CpuShares: given.CpuShares ?? 0,
    Memory: given.Memory ?? 0,
    NanoCpus: given.NanoCpus ?? 0,
    CgroupParent: given.CgroupParent ?? '',
    BlkioWeight: given.BlkioWeight ?? 0,
    BlkioWeightDevice: (given.BlkioWeightDevice ?? []).map(({ Path = '', Weight = 0 }) => ({ Path, Weight })),
    BlkioDeviceReadBps: throttles(given.BlkioDeviceReadBps),
    BlkioDeviceWriteBps: throttles(given.BlkioDeviceWriteBps),
    BlkioDeviceReadIOps: throttles(given.BlkioDeviceReadIOps),
    BlkioDeviceWriteIOps: throttles(given.BlkioDeviceWriteIOps),
    CpuPeriod: given.CpuPeriod ?? 0,
    CpuQuota: given.CpuQuota ?? 0,
    CpuRealtimePeriod: given.CpuRealtimePeriod ?? 0,
    CpuRealtimeRuntime: given.CpuRealtimeRuntime ?? 0,
    CpusetCpus: given.CpusetCpus ?? '',
    CpusetMems: given.CpusetMems ?? '',
    Devices: (given.Devices ?? []).map(({ PathOnHost = '', PathInContainer, CgroupPermissions }) => ({
      PathOnHost,
      PathInContainer: PathInContainer || PathOnHost,
      CgroupPermissions: CgroupPermissions || 'rwm',
    })),
    DeviceCgroupRules: given.DeviceCgroupRules ?? null,
    DeviceRequests: given.DeviceRequests ?? null,
    MemoryReservation: given.MemoryReservation ?? 0,
    MemorySwap: given.MemorySwap ?? 0,
    // -1 is how old clients say nothing.
    MemorySwappiness: given.MemorySwappiness === -1 ? null : (given.MemorySwappiness ?? null),
    OomKillDisable: given.OomKillDisable ?? null,
    // 0 and less are no limit, which is told as null.
    PidsLimit: given.PidsLimit !== undefined && given.PidsLimit > 0 ? given.PidsLimit : null,
    Ulimits: ulimits(given.Ulimits, defaults.ulimits ?? []),
    CpuCount: given.CpuCount ?? 0,
    CpuPercent: given.CpuPercent ?? 0,
    IOMaximumIOps: given.IOMaximumIOps ?? 0,
    IOMaximumBandwidth: given.IOMaximumBandwidth ?? 0,
    // The type is checked with all else of the mounts.
    ...(given.Mounts && {
      Mounts: given.Mounts.map((mount) => ({ ...mount, Target: mount.Target ?? '' }) as MountSpec),
    }),
    MaskedPaths: given.MaskedPaths ?? (privileged ? null : maskedPaths),
    ReadonlyPaths: given.ReadonlyPaths ?? (privileged ? null : readonlyPaths),
  } as HostConfig;
}

function ulimits(given: HostConfigFields['Ulimits'], defaults: NonNullable<HostConfig['Ulimits']>) {
  const own = given?.map(({ Name = '', Soft = 0, Hard = 0 }) => ({ Name, Soft, Hard }));
  const added = defaults.filter(({ Name }) => !own?.some((limit) => limit.Name === Name));
  return own || added.length > 0 ? [...(own ?? []), ...added] : null;
}

function networkMode(mode: string | undefined): string {
  return mode === undefined || mode === '' || mode === 'default' ? 'bridge' : mode;
}

function throttles(given: HostConfigFields['BlkioDeviceReadBps']) {
  return (given ?? []).map(({ Path = '', Rate = 0 }) => ({ Path, Rate }));
}

/** Every key to the form `80/tcp`, a range to its ports. */
function expandPorts<T, U>(given: Readonly<Record<string, T>>, value: (entry: T) => U): Record<string, U> {
  const expanded: Record<string, U> = {};
  for (const [key, entry] of Object.entries(given))
    for (const spec of parsePorts(key)) expanded[formatPort(spec)] = value(entry);
  return expanded;
}

function readEndpoints(fields: CreateFields, mode: string, version: ApiVersion): Record<string, EndpointSettings> {
  const given = Object.entries(fields.NetworkingConfig?.EndpointsConfig ?? {});
  if (version < 1044 && given.length > 1)
    throw new EngineError(
      'invalid',
      `Container cannot be connected to network endpoints: ${given.map(([name]) => name).join(', ')}`,
    );
  const endpoints: Record<string, EndpointSettings> = Object.fromEntries(
    given.map(([name, settings]) => [networkMode(name), settings as EndpointSettings]),
  );
  const mac = fields.MacAddress;
  if (mac && !mode.startsWith('container:') && mode !== 'host' && mode !== 'none') {
    const settings = endpoints[mode] ?? {};
    if (settings.MacAddress && settings.MacAddress !== mac)
      throw new EngineError(
        'invalid',
        'the container-wide MAC address must match the endpoint-specific MAC address for the main network, or be left empty',
      );
    endpoints[mode] = { ...settings, MacAddress: mac };
  }
  for (const { MacAddress } of Object.values(endpoints))
    if (MacAddress && !/^[0-9a-f]{2}([:-][0-9a-f]{2}){5}$/i.test(MacAddress))
      throw new EngineError('invalid', `invalid MAC address: ${MacAddress}`);
  return endpoints;
}
