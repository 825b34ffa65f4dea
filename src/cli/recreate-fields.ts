import type { HostConfig } from '../protocol/container.ts';
import type { Original, Part } from './recreate.ts';
import { mountPart } from './recreate-mounts.ts';
import { networkParts } from './recreate-networks.ts';
import { shellWord } from './shell-words.ts';
import type { Yaml } from './yaml.ts';

/** Says what differs from the image and the defaults in one setting, or nothing. */
type Field = (original: Original) => Part | readonly Part[] | undefined;

type Read<T> = (host: HostConfig, original: Original) => T;

/** A word; `usual` is what it is when nothing was said. */
function word(flag: string, key: string, read: Read<string | undefined>, usual: Read<string> = () => ''): Field {
  return (original) => {
    const { HostConfig: host } = original.container;
    const value = read(host, original);
    if (!value || value === usual(host, original)) return undefined;
    return { run: [flag, value], compose: { [key]: value } };
  };
}

function number(flag: string, key: string, read: Read<number | null | undefined>, usual = 0): Field {
  return (original) => {
    const value = read(original.container.HostConfig, original);
    if (value === null || value === undefined || value === usual) return undefined;
    return { run: [flag, String(value)], compose: { [key]: value } };
  };
}

function bytes(flag: string, key: string, read: Read<number>, usual: Read<number> = () => 0): Field {
  return (original) => {
    const { HostConfig: host } = original.container;
    const value = read(host, original);
    if (value === 0 || value === usual(host, original)) return undefined;
    const text = value < 0 ? String(value) : bytesText(value);
    return { run: [flag, text], compose: { [key]: text } };
  };
}

function flag(name: string, key: string, read: Read<boolean | null | undefined>): Field {
  return (original) =>
    read(original.container.HostConfig, original) ? { run: [name], compose: { [key]: true } } : undefined;
}

/** A list: the flag before each. */
function list(name: string, key: string, read: Read<readonly string[] | null | undefined>): Field {
  return (original) => {
    const values = read(original.container.HostConfig, original) ?? [];
    return values.map((value) => ({ run: [name, value], compose: { [key]: [value] } }));
  };
}

function map(name: string, key: string, read: Read<Readonly<Record<string, string>> | null | undefined>): Field {
  return (original) =>
    Object.entries(read(original.container.HostConfig, original) ?? {}).map(([entry, value]) => ({
      run: [name, `${entry}=${value}`],
      compose: { [key]: { [entry]: value } },
    }));
}

/** In the order in which they are printed. */
export const fields: readonly Field[] = [
  attachment,
  ({ container }) => ({ run: ['--name', container.Name.slice(1)] }),
  ({ container: { HostConfig } }) =>
    HostConfig.AutoRemove ? { run: ['--rm'], composeNotes: ['Compose has nothing like --rm'] } : undefined,
  ({ container: { HostConfig } }) => {
    const { Name, MaximumRetryCount: most } = HostConfig.RestartPolicy;
    if (Name === '' || Name === 'no') return undefined;
    const text = most > 0 ? `${Name}:${most}` : Name;
    return { run: ['--restart', text], compose: { restart: text } };
  },
  hostname,
  word('--domainname', 'domainname', (_, { container }) => container.Config.Domainname),
  word(
    '--user',
    'user',
    (_, { container }) => container.Config.User,
    (_, { image }) => image.User ?? '',
  ),
  word(
    '--workdir',
    'working_dir',
    (_, { container }) => container.Config.WorkingDir,
    (_, { image }) => image.WorkingDir ?? '',
  ),
  environment,
  labels,
  ports,
  ...networkParts,
  list('--volume', 'volumes', (host) => host.Binds),
  namedVolumes,
  list('--volume', 'volumes', (_, { container, image }) =>
    Object.keys(container.Config.Volumes ?? {}).filter((path) => !(path in (image.Volumes ?? {}))),
  ),
  ({ container: { HostConfig } }) => (HostConfig.Mounts ?? []).map(mountPart),
  ({ container: { HostConfig } }) =>
    Object.entries(HostConfig.Tmpfs ?? {}).map(([path, options]) => {
      const text = options === '' ? path : `${path}:${options}`;
      return { run: ['--tmpfs', text], compose: { tmpfs: [text] } };
    }),
  list('--volumes-from', 'volumes_from', (host) => host.VolumesFrom),
  word('--volume-driver', 'volume_driver', (host) => host.VolumeDriver),
  bytes('--memory', 'mem_limit', (host) => host.Memory),
  // Twice the memory is what is taken when nothing was said.
  bytes(
    '--memory-swap',
    'memswap_limit',
    (host) => host.MemorySwap,
    (host) => host.Memory * 2,
  ),
  bytes('--memory-reservation', 'mem_reservation', (host) => host.MemoryReservation),
  number('--memory-swappiness', 'mem_swappiness', (host) => host.MemorySwappiness, -1),
  number('--cpus', 'cpus', (host) => host.NanoCpus / 1e9),
  number('--cpu-shares', 'cpu_shares', (host) => host.CpuShares),
  number('--cpu-period', 'cpu_period', (host) => host.CpuPeriod),
  number('--cpu-quota', 'cpu_quota', (host) => host.CpuQuota),
  number('--cpu-rt-period', 'cpu_rt_period', (host) => host.CpuRealtimePeriod),
  number('--cpu-rt-runtime', 'cpu_rt_runtime', (host) => host.CpuRealtimeRuntime),
  word('--cpuset-cpus', 'cpuset', (host) => host.CpusetCpus),
  ({ container: { HostConfig } }) =>
    HostConfig.CpusetMems
      ? { run: ['--cpuset-mems', HostConfig.CpusetMems], composeNotes: ['Compose has nothing like --cpuset-mems'] }
      : undefined,
  number('--pids-limit', 'pids_limit', (host) => host.PidsLimit),
  blockIo,
  ({ container: { HostConfig } }) =>
    (HostConfig.Ulimits ?? []).map(({ Name, Soft, Hard }) => ({
      run: ['--ulimit', `${Name}=${Soft}:${Hard}`],
      compose: { ulimits: { [Name]: { soft: Soft, hard: Hard } } },
    })),
  number('--oom-score-adj', 'oom_score_adj', (host) => host.OomScoreAdj),
  flag('--oom-kill-disable', 'oom_kill_disable', (host) => host.OomKillDisable),
  bytes(
    '--shm-size',
    'shm_size',
    (host) => host.ShmSize,
    () => 64 * 1024 ** 2,
  ),
  flag('--privileged', 'privileged', (host) => host.Privileged),
  flag('--read-only', 'read_only', (host) => host.ReadonlyRootfs),
  ({ container: { HostConfig } }) =>
    typeof HostConfig.Init === 'boolean'
      ? { run: [HostConfig.Init ? '--init' : '--init=false'], compose: { init: HostConfig.Init } }
      : undefined,
  list('--cap-add', 'cap_add', (host) => host.CapAdd),
  list('--cap-drop', 'cap_drop', (host) => host.CapDrop),
  security,
  list('--group-add', 'group_add', (host) => host.GroupAdd),
  ({ container: { HostConfig } }) =>
    HostConfig.Devices.map(({ PathOnHost, PathInContainer, CgroupPermissions }) => {
      const text = `${PathOnHost}:${PathInContainer}:${CgroupPermissions}`;
      return { run: ['--device', text], compose: { devices: [text] } };
    }),
  list('--device-cgroup-rule', 'device_cgroup_rules', (host) => host.DeviceCgroupRules),
  ({ container: { HostConfig } }) =>
    (HostConfig.DeviceRequests ?? []).flatMap((request): readonly Part[] =>
      request.Driver === 'cdi'
        ? (request.DeviceIDs ?? []).map((name) => ({ run: ['--device', name], compose: { devices: [name] } }))
        : [{ notes: [`--gpus is to be added by hand: ${JSON.stringify(request)}`] }],
    ),
  word('--pid', 'pid', (host) => host.PidMode),
  word(
    '--ipc',
    'ipc',
    (host) => host.IpcMode,
    () => 'private',
  ),
  word('--uts', 'uts', (host) => host.UTSMode),
  word('--userns', 'userns_mode', (host) => host.UsernsMode),
  word(
    '--cgroupns',
    'cgroup',
    (host) => host.CgroupnsMode,
    (_, { engine }) => engine.cgroupnsMode,
  ),
  word('--cgroup-parent', 'cgroup_parent', (host) => host.CgroupParent),
  word(
    '--runtime',
    'runtime',
    (host) => host.Runtime,
    (_, { engine }) => engine.runtime,
  ),
  word('--isolation', 'isolation', (host) => (host.Isolation === 'default' ? '' : host.Isolation)),
  map('--sysctl', 'sysctls', (host) => host.Sysctls),
  map('--storage-opt', 'storage_opt', (host) => host.StorageOpt),
  map('--annotation', 'annotations', (host) => host.Annotations),
  logging,
  word(
    '--stop-signal',
    'stop_signal',
    (_, { container }) => container.Config.StopSignal,
    (_, { image }) => image.StopSignal ?? '',
  ),
  ({ container: { Config } }) =>
    Config.StopTimeout === undefined || Config.StopTimeout === null
      ? undefined
      : {
          run: ['--stop-timeout', String(Config.StopTimeout)],
          compose: { stop_grace_period: `${Config.StopTimeout}s` },
        },
  healthcheck,
];

/** Detached, or with the streams that its first client took. */
function attachment({ container: { Config } }: Original): Part {
  const { AttachStdin: stdin, AttachStdout: stdout, AttachStderr: stderr, OpenStdin, Tty } = Config;
  const compose = { ...(OpenStdin && { stdin_open: true }), ...(Tty && { tty: true }) };
  const letters = `${OpenStdin ? 'i' : ''}${Tty ? 't' : ''}`;
  if (!stdin && !stdout && !stderr) return { run: [`-d${letters}`], compose };
  const run = letters === '' ? [] : [`-${letters}`];
  if (!(stdout && stderr && stdin === OpenStdin))
    for (const [name, on] of Object.entries({ stdin, stdout, stderr })) if (on) run.push('--attach', name);
  return run.length > 0 ? { run, compose } : { compose };
}

function hostname({ container: { Id, Config, HostConfig }, engine }: Original): Part | undefined {
  const { Hostname: name } = Config;
  const shared = HostConfig.NetworkMode.startsWith('container:') || HostConfig.UTSMode === 'host';
  const usual = HostConfig.NetworkMode === 'host' ? engine.name : Id.slice(0, 12);
  return shared || name === '' || name === usual
    ? undefined
    : { run: ['--hostname', name], compose: { hostname: name } };
}

function environment({ container: { Config }, image }: Original): readonly Part[] {
  const own = new Set(image.Env ?? []);
  return Config.Env.filter((entry) => !own.has(entry)).map((entry) => ({
    run: ['--env', entry],
    compose: { environment: [entry] },
  }));
}

function labels({ container: { Config }, image }: Original): readonly Part[] {
  return Object.entries(Config.Labels)
    .filter(([name, value]) => image.Labels?.[name] !== value)
    .map(([name, value]) => ({
      run: ['--label', `${name}=${value}`],
      // Compose writes these itself.
      ...(!name.startsWith('com.docker.compose.') && { compose: { labels: { [name]: value } } }),
    }));
}

function ports({ container: { Config, HostConfig }, image }: Original): readonly Part[] {
  const { PortBindings: bindings, PublishAllPorts } = HostConfig;
  const exposed = Object.keys(Config.ExposedPorts ?? {}).filter(
    (port) => !(port in bindings) && !(port in (image.ExposedPorts ?? {})),
  );
  return [
    ...Object.entries(bindings).flatMap(([port, own]) =>
      (own ?? []).map(({ HostIp, HostPort }) => {
        const address = HostIp.includes(':') ? `[${HostIp}]:` : HostIp === '' ? '' : `${HostIp}:`;
        const text = `${address}${HostPort === '' && address === '' ? '' : `${HostPort}:`}${port.replace(/\/tcp$/, '')}`;
        return { run: ['--publish', text], compose: { ports: [text] } };
      }),
    ),
    ...(PublishAllPorts ? [{ run: ['--publish-all'], composeNotes: ['Compose has nothing like --publish-all'] }] : []),
    ...exposed.map((port) => ({ run: ['--expose', port], compose: { expose: [port] } })),
  ];
}

/** Without this, Compose would make new ones with the project's name before theirs. */
function namedVolumes({ container: { HostConfig } }: Original): readonly Part[] {
  const names = (HostConfig.Binds ?? []).map((bind) => bind.split(':')[0]!).filter((source) => /^[^/.~]/.test(source));
  return names.map((name) => ({ top: { volumes: { [name]: { external: true } } } }));
}

function blockIo({ container: { HostConfig: host } }: Original): readonly Part[] {
  const parts: Part[] = [];
  if (host.BlkioWeight > 0)
    parts.push({
      run: ['--blkio-weight', String(host.BlkioWeight)],
      compose: { blkio_config: { weight: host.BlkioWeight } },
    });
  const devices = (
    flagName: string,
    key: string,
    entries: readonly (readonly [path: string, amount: number])[],
    unit: string,
  ) => {
    for (const [path, amount] of entries) parts.push({ run: [flagName, `${path}:${amount}`] });
    if (entries.length > 0)
      parts.push({
        compose: { blkio_config: { [key]: entries.map(([path, amount]): Yaml => ({ path, [unit]: amount })) } },
      });
  };
  const rates = (given: HostConfig['BlkioDeviceReadBps']) => given.map(({ Path, Rate }) => [Path, Rate] as const);
  devices(
    '--blkio-weight-device',
    'weight_device',
    host.BlkioWeightDevice.map(({ Path, Weight }) => [Path, Weight] as const),
    'weight',
  );
  devices('--device-read-bps', 'device_read_bps', rates(host.BlkioDeviceReadBps), 'rate');
  devices('--device-write-bps', 'device_write_bps', rates(host.BlkioDeviceWriteBps), 'rate');
  devices('--device-read-iops', 'device_read_iops', rates(host.BlkioDeviceReadIOps), 'rate');
  devices('--device-write-iops', 'device_write_iops', rates(host.BlkioDeviceWriteIOps), 'rate');
  return parts;
}

function security({ container: { HostConfig: host } }: Original): readonly Part[] {
  const parts = (host.SecurityOpt ?? []).map((option): Part => {
    // The client has put the file's text in its place.
    if (/^seccomp[=:]\s*\{/.test(option))
      return { notes: ['its seccomp profile is to be written to a file, for --security-opt seccomp=FILE'] };
    return { run: ['--security-opt', option], compose: { security_opt: [option] } };
  });
  const open = !host.Privileged && host.MaskedPaths?.length === 0 && host.ReadonlyPaths?.length === 0;
  const option = 'systempaths=unconfined';
  return open ? [...parts, { run: ['--security-opt', option], compose: { security_opt: [option] } }] : parts;
}

function logging({ container: { HostConfig }, engine }: Original): Part | undefined {
  const { Type, Config } = HostConfig.LogConfig;
  const options = Object.entries(Config ?? {});
  if (Type === engine.logDriver && options.length === 0) return undefined;
  return {
    run: [
      ...(Type === engine.logDriver ? [] : ['--log-driver', Type]),
      ...options.flatMap(([name, value]) => ['--log-opt', `${name}=${value}`]),
    ],
    compose: { logging: { driver: Type, ...(options.length > 0 && { options: Config }) } },
  };
}

function healthcheck({ container: { Config }, image }: Original): Part | undefined {
  const { Healthcheck: check } = Config;
  if (!check || JSON.stringify(check) === JSON.stringify(image.Healthcheck)) return undefined;
  const [kind, ...words] = check.Test ?? [];
  if (kind === 'NONE') return { run: ['--no-healthcheck'], compose: { healthcheck: { disable: true } } };
  const run: string[] = [];
  const compose: { [key: string]: Yaml } = {};
  if (kind !== undefined) {
    run.push('--health-cmd', kind === 'CMD-SHELL' ? (words[0] ?? '') : words.map(shellWord).join(' '));
    compose['test'] = check.Test!;
  }
  for (const [name, key, value] of [
    ['--health-interval', 'interval', check.Interval],
    ['--health-timeout', 'timeout', check.Timeout],
    ['--health-start-period', 'start_period', check.StartPeriod],
    ['--health-start-interval', 'start_interval', check.StartInterval],
  ] as const) {
    if (!value) continue;
    run.push(name, durationText(value));
    compose[key] = durationText(value);
  }
  if (check.Retries) {
    run.push('--health-retries', String(check.Retries));
    compose['retries'] = check.Retries;
  }
  return { run, compose: { healthcheck: compose } };
}

/** `512m` where it is that, else the number. */
export function bytesText(value: number): string {
  for (const [unit, size] of [
    ['g', 1024 ** 3],
    ['m', 1024 ** 2],
    ['k', 1024],
  ] as const)
    if (value >= size && value % size === 0) return `${value / size}${unit}`;
  return `${value}b`;
}

/** Nanoseconds as Go writes and reads them. */
function durationText(nanoseconds: number): string {
  if (nanoseconds % 1e9 === 0) return `${nanoseconds / 1e9}s`;
  return nanoseconds % 1e6 === 0 ? `${nanoseconds / 1e6}ms` : `${nanoseconds}ns`;
}
