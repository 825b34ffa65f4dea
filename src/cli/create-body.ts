import { readFileSync } from 'node:fs';
import { messageOf } from '../base/errors.ts';
import { type Parsed, UsageError } from './command.ts';
import { environmentOf, linesOf } from './environment.ts';
import { mountOf, volumeOf } from './mount-option.ts';
import { networkFields } from './network-option.ts';
import { pairsOf, splitOnce } from './pairs.ts';
import { type Bindings, exposedPorts, publishedPorts } from './publish-option.ts';
import { bytesOf, commaSeparated, cpusOf, durationOf, policyOf, wholeNumber } from './values.ts';

/** Most processes of a container that asks for no other number. */
const usualProcesses = 4096;

export interface CreateBodyDeps {
  readonly help: string;
  /** Its client goes when it is started. */
  readonly detach: boolean;
}

/**
 * The body of `POST /containers/create`. Its defaults protect, which through the API they may not: ports are published on
 * loopback unless an address is given, an init process reaps, processes are limited, raw sockets and new privileges are
 * withheld; each can be switched off.
 */
export function createBody(parsed: Parsed, { help, detach }: CreateBodyDeps): Record<string, unknown> {
  const [image, ...command] = parsed.operands;
  const text = (name: string) => parsed.value(name) ?? '';
  const stdin = parsed.flag('interactive');
  const streams = parsed.values('attach').map((stream) => stream.toLowerCase());
  for (const stream of streams)
    if (!['stdin', 'stdout', 'stderr'].includes(stream))
      throw new UsageError(`--attach ${stream}: valid streams are stdin, stdout and stderr`, help);
  if (detach && streams.length > 0) throw new UsageError('-d and -a are of different minds', help);
  const attached = (stream: string) => !detach && (streams.length === 0 || streams.includes(stream));
  const published = publishedPorts(parsed.values('publish'), publicAddress(parsed), help);
  const exposed = {
    ...Object.fromEntries(Object.keys(published).map((port) => [port, {}])),
    ...exposedPorts(parsed.values('expose'), help),
  };
  const entrypoint = parsed.value('entrypoint');
  const volumes = parsed.values('volume').map((volume) => volumeOf(volume, help));
  const anonymous = volumes.flatMap((volume) => ('anonymous' in volume ? [volume.anonymous] : []));
  const { NetworkMode, EndpointsConfig } = networkFields(parsed, help);
  const health = healthcheckOf(parsed, help);
  const timeout = parsed.value('stop-timeout');
  return {
    Image: image,
    ...(command.length > 0 && { Cmd: command }),
    // An empty one takes the image's away.
    ...(entrypoint !== undefined && { Entrypoint: [entrypoint] }),
    Env: environmentOf(parsed, help),
    Tty: parsed.flag('tty'),
    OpenStdin: stdin,
    // Who asks for an open stdin is attached to it, whatever else was named.
    StdinOnce: stdin && !detach,
    AttachStdin: stdin ? !detach : streams.includes('stdin'),
    AttachStdout: attached('stdout'),
    AttachStderr: attached('stderr'),
    WorkingDir: text('workdir'),
    User: text('user'),
    Hostname: text('hostname'),
    Domainname: text('domainname'),
    Labels: labelsOf(parsed, help),
    ...(Object.keys(exposed).length > 0 && { ExposedPorts: exposed }),
    ...(anonymous.length > 0 && { Volumes: Object.fromEntries(anonymous.map((path) => [path, {}])) }),
    ...(health && { Healthcheck: health }),
    ...(parsed.value('stop-signal') !== undefined && { StopSignal: text('stop-signal') }),
    ...(timeout !== undefined && { StopTimeout: wholeNumber(timeout, '--stop-timeout', help) }),
    HostConfig: {
      Binds: volumes.flatMap((volume) => ('bind' in volume ? [volume.bind] : [])),
      NetworkMode,
      ...hostConfig(parsed, published, help),
    },
    NetworkingConfig: { EndpointsConfig },
  };
}

/** Where ports are published of which no address is said; '' is everywhere. */
export const publicAddress = (parsed: Parsed): string => (parsed.flag('public') ? '' : '127.0.0.1');

function labelsOf(parsed: Parsed, help: string): Record<string, string> {
  const action = parsed.value('on-unhealthy');
  if (action !== undefined && !['restart', 'stop', 'none'].includes(action))
    throw new UsageError(`--on-unhealthy ${action}: expected restart, stop or none`, help);
  return Object.fromEntries([
    ...parsed
      .values('label-file')
      .flatMap((file) => linesOf(file, '--label-file', help))
      .map(splitOnce),
    ...parsed.values('label').map(splitOnce),
    ...(action === undefined ? [] : [['berth.on-unhealthy', action] as const]),
  ]);
}

function hostConfig(parsed: Parsed, published: Bindings, help: string): Record<string, unknown> {
  const text = (name: string) => parsed.value(name) ?? '';
  const bytes = (name: string) => {
    const value = parsed.value(name);
    return value === undefined ? 0 : value === '-1' ? -1 : bytesOf(value, `--${name}`, help);
  };
  const number = (name: string, otherwise = 0) => {
    const value = parsed.value(name);
    return value === undefined ? otherwise : wholeNumber(value, `--${name}`, help);
  };
  const list = (name: string) => parsed.values(name);
  const map = (name: string) => Object.fromEntries(pairsOf(list(name), `--${name}`, help));
  const perDevice = (name: string, key: string, read: (value: string) => number) =>
    list(name).map((entry) => {
      const match = /^(\/dev\/.+):([^:]+)$/.exec(entry);
      if (!match) throw new UsageError(`--${name} ${entry}: expected /dev/NAME:VALUE`, help);
      return { Path: match[1], [key]: read(match[2]!) };
    });
  const rate = (name: string) => perDevice(name, 'Rate', (value) => bytesOf(value, `--${name}`, help));
  const times = (name: string) => perDevice(name, 'Rate', (value) => wholeNumber(value, `--${name}`, help));
  const weight = (value: string) => wholeNumber(value, '--blkio-weight-device', help);
  const cpus = parsed.value('cpus');
  const { devices, requests } = devicesOf(parsed, help);
  const mounts = list('mount').map((mount) => mountOf(mount, help));
  const annotations = map('annotation');
  return {
    PortBindings: published,
    PublishAllPorts: parsed.flag('publish-all'),
    AutoRemove: parsed.flag('rm'),
    RestartPolicy: policyOf(parsed.value('restart') ?? 'no'),
    ReadonlyRootfs: parsed.flag('read-only'),
    Init: parsed.flag('init', true),
    ...securityOf(parsed, help),
    ...(mounts.length > 0 && { Mounts: mounts }),
    ...(list('tmpfs').length > 0 && {
      Tmpfs: Object.fromEntries(list('tmpfs').map((entry) => splitAt(entry, ':'))),
    }),
    VolumesFrom: list('volumes-from'),
    VolumeDriver: text('volume-driver'),
    ...(list('storage-opt').length > 0 && { StorageOpt: map('storage-opt') }),
    ...(list('sysctl').length > 0 && { Sysctls: map('sysctl') }),
    ...(Object.keys(annotations).length > 0 && { Annotations: annotations }),
    Links: list('link'),
    // `name=address` is the newer way to write it.
    ExtraHosts: list('add-host').map((entry) => {
      const match = /^([^:=]+)[:=](.+)$/.exec(entry);
      if (!match) throw new UsageError(`--add-host ${entry}: expected NAME:ADDRESS`, help);
      return `${match[1]}:${match[2]!.replace(/^\[(.*)\]$/, '$1')}`;
    }),
    Dns: list('dns'),
    DnsSearch: list('dns-search'),
    DnsOptions: list('dns-option'),
    GroupAdd: list('group-add'),
    Memory: bytes('memory'),
    MemorySwap: bytes('memory-swap'),
    MemoryReservation: bytes('memory-reservation'),
    MemorySwappiness: number('memory-swappiness', -1),
    OomKillDisable: parsed.flag('oom-kill-disable'),
    OomScoreAdj: number('oom-score-adj'),
    ShmSize: bytes('shm-size'),
    NanoCpus: cpus === undefined ? 0 : cpusOf(cpus, '--cpus', help),
    CpuShares: number('cpu-shares'),
    CpuPeriod: number('cpu-period'),
    CpuQuota: number('cpu-quota'),
    CpuRealtimePeriod: number('cpu-rt-period'),
    CpuRealtimeRuntime: number('cpu-rt-runtime'),
    CpusetCpus: text('cpuset-cpus'),
    CpusetMems: text('cpuset-mems'),
    CpuCount: number('cpu-count'),
    CpuPercent: number('cpu-percent'),
    IOMaximumBandwidth: bytes('io-maxbandwidth'),
    IOMaximumIOps: number('io-maxiops'),
    PidsLimit: number('pids-limit', usualProcesses),
    BlkioWeight: number('blkio-weight'),
    BlkioWeightDevice: perDevice('blkio-weight-device', 'Weight', weight),
    BlkioDeviceReadBps: rate('device-read-bps'),
    BlkioDeviceWriteBps: rate('device-write-bps'),
    BlkioDeviceReadIOps: times('device-read-iops'),
    BlkioDeviceWriteIOps: times('device-write-iops'),
    Ulimits: list('ulimit').map((entry) => ulimitOf(entry, help)),
    Devices: devices,
    DeviceRequests: requests,
    DeviceCgroupRules: list('device-cgroup-rule'),
    PidMode: text('pid'),
    IpcMode: text('ipc'),
    UTSMode: text('uts'),
    UsernsMode: text('userns'),
    CgroupnsMode: text('cgroupns'),
    CgroupParent: text('cgroup-parent'),
    Isolation: text('isolation'),
    Runtime: text('runtime'),
    LogConfig: { Type: text('log-driver'), Config: map('log-opt') },
  };
}

/** Capabilities and options of security, with what is withheld unless it is asked for. */
function securityOf(parsed: Parsed, help: string): Record<string, unknown> {
  const privileged = parsed.flag('privileged');
  const added = parsed.values('cap-add').map(capability);
  const dropped = parsed.values('cap-drop').map(capability);
  const options = parsed.values('security-opt').map((option) => securityOption(option, help));
  const open = options.includes('systempaths=unconfined');
  const raw = [...added, ...dropped].some((name) => name === 'CAP_NET_RAW' || name === 'ALL');
  const told = options.some((option) => option.startsWith('no-new-privileges'));
  return {
    Privileged: privileged,
    CapAdd: added,
    CapDrop: privileged || raw ? dropped : [...dropped, 'CAP_NET_RAW'],
    SecurityOpt: [
      ...options.filter((option) => option !== 'systempaths=unconfined'),
      ...(privileged || told ? [] : ['no-new-privileges']),
    ],
    ...(open && { MaskedPaths: [], ReadonlyPaths: [] }),
  };
}

/** In the form that docker's CLI sends. */
function capability(name: string): string {
  const upper = name.trim().toUpperCase();
  return upper === 'ALL' || upper.startsWith('CAP_') ? upper : `CAP_${upper}`;
}

/** A seccomp profile is a file of this machine: its text is sent. */
function securityOption(option: string, help: string): string {
  const [, kind, value] = /^([^=:]+)[=:](.*)$/s.exec(option) ?? [];
  if (kind === undefined && option !== 'no-new-privileges')
    throw new UsageError(`--security-opt ${option}: expected NAME=VALUE`, help);
  if (kind === 'systempaths') return `systempaths=${value}`;
  if (kind !== 'seccomp' || value === 'unconfined' || value === 'builtin') return option;
  try {
    return `seccomp=${JSON.stringify(JSON.parse(readFileSync(value!, 'utf8')))}`;
  } catch (error) {
    throw new UsageError(`--security-opt ${option}: the profile cannot be read: ${messageOf(error)}`, help);
  }
}

function devicesOf(parsed: Parsed, help: string) {
  const devices: Record<string, string>[] = [];
  const named: string[] = [];
  for (const entry of parsed.values('device')) {
    // `vendor.com/class=name` is a name of the Container Device Interface.
    if (/^[a-z][\w.-]*\/[\w-]+=[\w.:-]+$/i.test(entry)) {
      named.push(entry);
      continue;
    }
    const [PathOnHost = '', second, third] = entry.split(':');
    const isRights = (word: string | undefined) => word !== undefined && /^[rwm]{1,3}$/.test(word);
    const rights = third ?? (isRights(second) ? second : undefined) ?? 'rwm';
    if (!isRights(rights) || PathOnHost === '')
      throw new UsageError(`--device ${entry}: expected DEVICE[:TARGET[:rwm]]`, help);
    const target = second === undefined || (third === undefined && isRights(second)) ? PathOnHost : second;
    devices.push({ PathOnHost, PathInContainer: target, CgroupPermissions: rights });
  }
  const gpus = parsed.value('gpus');
  const requests = [
    ...(named.length > 0 ? [{ Driver: 'cdi', DeviceIDs: named }] : []),
    ...(gpus === undefined ? [] : [gpuRequest(gpus, help)]),
  ];
  return { devices, requests: requests.length > 0 ? requests : null };
}

/** `all`, a number, or `device=0,capabilities=utility` in docker's fields. */
function gpuRequest(text: string, help: string): Record<string, unknown> {
  let count: number | undefined;
  const request: Record<string, unknown> = { Capabilities: [['gpu']] };
  for (const field of commaSeparated(text)) {
    const [key, value] = field.includes('=') ? splitOnce(field) : ['count', field];
    const words = value.split(',');
    if (key === 'count') count = value === 'all' ? -1 : wholeNumber(value, '--gpus', help);
    else if (key === 'device') request['DeviceIDs'] = words;
    else if (key === 'driver') request['Driver'] = value;
    else if (key === 'capabilities') request['Capabilities'] = [[...new Set(['gpu', ...words])]];
    else throw new UsageError(`--gpus ${text}: unexpected key '${key}'`, help);
  }
  if (request['DeviceIDs'] === undefined) request['Count'] = count ?? 1;
  else if (count !== undefined) throw new UsageError(`--gpus ${text}: a number or devices, not both`, help);
  return request;
}

function ulimitOf(text: string, help: string) {
  const match = /^([a-z]+)=(-?\d+)(?::(-?\d+))?$/.exec(text);
  if (!match) throw new UsageError(`--ulimit ${text}: expected NAME=SOFT[:HARD]`, help);
  const Soft = Number(match[2]);
  return { Name: match[1]!, Soft, Hard: match[3] === undefined ? Soft : Number(match[3]) };
}

function healthcheckOf(parsed: Parsed, help: string): Record<string, unknown> | undefined {
  const command = parsed.value('health-cmd');
  const times = {
    Interval: 'health-interval',
    Timeout: 'health-timeout',
    StartPeriod: 'health-start-period',
    StartInterval: 'health-start-interval',
  };
  const retries = parsed.value('health-retries');
  const given = Object.entries(times).flatMap(([field, name]) => {
    const value = parsed.value(name);
    return value === undefined ? [] : [[field, durationOf(value, `--${name}`, help)] as const];
  });
  const some = command !== undefined || retries !== undefined || given.length > 0;
  if (parsed.flag('no-healthcheck')) {
    if (some) throw new UsageError('--no-healthcheck conflicts with --health-* options', help);
    return { Test: ['NONE'] };
  }
  if (!some) return undefined;
  return {
    ...(command !== undefined && command !== '' && { Test: ['CMD-SHELL', command] }),
    ...Object.fromEntries(given),
    ...(retries !== undefined && { Retries: wholeNumber(retries, '--health-retries', help) }),
  };
}

function splitAt(text: string, separator: string): readonly [string, string] {
  const at = text.indexOf(separator);
  return at < 0 ? [text, ''] : [text.slice(0, at), text.slice(at + 1)];
}
