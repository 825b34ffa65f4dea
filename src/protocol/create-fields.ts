import { EngineError } from '../base/errors.ts';
import {
  boolean,
  type Decode,
  integer,
  list,
  mapOf,
  object,
  string,
  stringMap,
  stringOrStrings,
  stringSet,
  strings,
  unsigned,
} from './decode.ts';

/** The fields of `POST /containers/create` and their types, nothing else. */

const healthcheck = object('HealthConfig', {
  Test: strings,
  Interval: integer,
  Timeout: integer,
  StartPeriod: integer,
  StartInterval: integer,
  Retries: integer,
});

const mount = object('Mount', {
  Type: string,
  Source: string,
  Target: string,
  ReadOnly: boolean,
  Consistency: string,
  BindOptions: object('BindOptions', {
    Propagation: string,
    NonRecursive: boolean,
    CreateMountpoint: boolean,
    IDMap: boolean,
    ReadOnlyNonRecursive: boolean,
    ReadOnlyForceRecursive: boolean,
  }),
  VolumeOptions: object('VolumeOptions', {
    NoCopy: boolean,
    Labels: stringMap,
    Subpath: string,
    DriverConfig: object('Driver', { Name: string, Options: stringMap }),
  }),
  ImageOptions: object('ImageOptions', { Subpath: string }),
  TmpfsOptions: object('TmpfsOptions', {
    SizeBytes: integer,
    Mode: unsigned,
    Options: list(strings, { type: '[][]string' }),
  }),
});

const throttle = object('ThrottleDevice', { Path: string, Rate: unsigned });
const throttles = list(throttle, { type: '[]*blkiodev.ThrottleDevice' });

const size: Decode<[number, number] | undefined> = (value, at) => {
  const read = list(unsigned, { type: '[2]uint', zero: 0 })(value, at);
  return read && [read[0] ?? 0, read[1] ?? 0];
};

/** Limits: a part of `HostConfig`, and most of what `docker update` sends. */
export const resourceFields = {
  CpuShares: integer,
  Memory: integer,
  NanoCpus: integer,
  CgroupParent: string,
  BlkioWeight: unsigned,
  BlkioWeightDevice: list(object('WeightDevice', { Path: string, Weight: unsigned }), {
    type: '[]*blkiodev.WeightDevice',
  }),
  BlkioDeviceReadBps: throttles,
  BlkioDeviceWriteBps: throttles,
  BlkioDeviceReadIOps: throttles,
  BlkioDeviceWriteIOps: throttles,
  CpuPeriod: integer,
  CpuQuota: integer,
  CpuRealtimePeriod: integer,
  CpuRealtimeRuntime: integer,
  CpusetCpus: string,
  CpusetMems: string,
  Devices: list(object('DeviceMapping', { PathOnHost: string, PathInContainer: string, CgroupPermissions: string }), {
    type: '[]container.DeviceMapping',
  }),
  DeviceCgroupRules: strings,
  DeviceRequests: list(
    object('DeviceRequest', {
      Driver: string,
      Count: integer,
      DeviceIDs: strings,
      Capabilities: list(strings, { type: '[][]string' }),
      Options: stringMap,
    }),
    { type: '[]container.DeviceRequest' },
  ),
  MemoryReservation: integer,
  MemorySwap: integer,
  MemorySwappiness: integer,
  OomKillDisable: boolean,
  PidsLimit: integer,
  Ulimits: list(object('Ulimit', { Name: string, Soft: integer, Hard: integer }), { type: '[]*units.Ulimit' }),
  CpuCount: integer,
  CpuPercent: integer,
  IOMaximumIOps: unsigned,
  IOMaximumBandwidth: unsigned,
};

export const restartPolicyField = object('RestartPolicy', { Name: string, MaximumRetryCount: integer });

export const hostConfigFields = object('HostConfig', {
  Binds: strings,
  ContainerIDFile: string,
  LogConfig: object('LogConfig', { Type: string, Config: stringMap }),
  NetworkMode: string,
  PortBindings: mapOf(
    (value, at) =>
      value === null
        ? []
        : list(object('PortBinding', { HostIp: string, HostPort: string }), { type: '[]nat.PortBinding', zero: {} })(
            value,
            at,
          ),
    { type: 'nat.PortMap' },
  ),
  RestartPolicy: restartPolicyField,
  AutoRemove: boolean,
  VolumeDriver: string,
  VolumesFrom: strings,
  ConsoleSize: size,
  Annotations: stringMap,
  CapAdd: stringOrStrings,
  CapDrop: stringOrStrings,
  CgroupnsMode: string,
  Dns: strings,
  DnsOptions: strings,
  DnsSearch: strings,
  ExtraHosts: strings,
  GroupAdd: strings,
  IpcMode: string,
  Cgroup: string,
  Links: strings,
  OomScoreAdj: integer,
  PidMode: string,
  Privileged: boolean,
  PublishAllPorts: boolean,
  ReadonlyRootfs: boolean,
  SecurityOpt: strings,
  StorageOpt: stringMap,
  Tmpfs: stringMap,
  UTSMode: string,
  UsernsMode: string,
  ShmSize: integer,
  Sysctls: stringMap,
  Runtime: string,
  Isolation: string,
  ...resourceFields,
  Mounts: list(mount, { type: '[]mount.Mount' }),
  MaskedPaths: strings,
  ReadonlyPaths: strings,
  Init: boolean,
});

export const endpoint = object('EndpointSettings', {
  IPAMConfig: object('EndpointIPAMConfig', { IPv4Address: string, IPv6Address: string, LinkLocalIPs: strings }),
  Links: strings,
  Aliases: strings,
  MacAddress: string,
  DriverOpts: stringMap,
  GwPriority: integer,
});

export const createFields = object('Config', {
  Hostname: string,
  Domainname: string,
  User: string,
  AttachStdin: boolean,
  AttachStdout: boolean,
  AttachStderr: boolean,
  ExposedPorts: stringSet,
  Tty: boolean,
  OpenStdin: boolean,
  StdinOnce: boolean,
  Env: strings,
  Cmd: stringOrStrings,
  Healthcheck: healthcheck,
  ArgsEscaped: boolean,
  Image: string,
  Volumes: stringSet,
  WorkingDir: string,
  Entrypoint: stringOrStrings,
  NetworkDisabled: boolean,
  MacAddress: string,
  OnBuild: strings,
  Labels: stringMap,
  StopSignal: string,
  StopTimeout: integer,
  Shell: stringOrStrings,
  HostConfig: hostConfigFields,
  NetworkingConfig: object('NetworkingConfig', {
    EndpointsConfig: mapOf((value, at) => (value === null ? {} : endpoint(value, at)), {
      type: 'map[string]*network.EndpointSettings',
    }),
  }),
});

export type HostConfigFields = NonNullable<ReturnType<typeof hostConfigFields>>;
export type CreateFields = NonNullable<ReturnType<typeof createFields>>;

/** No string of the request may hold a NUL: the kernel would cut it there, behind what was checked. */
export function refuseNul(value: unknown): void {
  if (typeof value === 'string') {
    if (value.includes('\0'))
      throw new EngineError('invalid', `invalid value ${JSON.stringify(value.slice(0, 80))}: it contains a NUL byte`);
  } else if (typeof value === 'object' && value !== null) {
    for (const [key, entry] of Object.entries(value)) {
      refuseNul(key);
      refuseNul(entry);
    }
  }
}
