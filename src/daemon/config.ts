import { readFileSync } from 'node:fs';
import { closest } from '../base/edit-distance.ts';
import { codeOf, EngineError } from '../base/errors.ts';
import { readProxy } from '../remotes/proxies.ts';
import { type DaemonJson, defaultDaemonJson, readDaemonJson, refuseConflicts } from './daemon-json.ts';
import { longestShutdown } from './machine-shutdown.ts';

/**
 * One setting: where it is read from, what it may be, and what it is when nobody says. The table below is the schema: the
 * file, the environment and the flags are checked against it, and docs/configuration.md and `berth engine --help` are
 * written from it.
 */
export interface Setting<T> {
  /** The key in the file; `logLevel` is `--log-level` and `BERTH_LOG_LEVEL`. */
  readonly key: string;
  readonly default: T;
  /** What it may be, for people: `a path`, `bytes`, `one of ...`. */
  readonly form: string;
  readonly about: string;
  /** From JSON or from text. Returns undefined when the value is not of this form. */
  readonly read: (value: unknown) => T | undefined;
  /** Variables of the whole machine that say it where nothing else does, the first that is there. */
  readonly usual?: readonly string[];
  /** May hold a password: never shown, in no message and on no command line. */
  readonly secret?: boolean;
}

interface Kind<T> {
  readonly form: string;
  readonly read: (value: unknown) => T | undefined;
}

const text = (form: string, pattern = /^.+$/s) => ({
  form,
  read: (value: unknown) => (typeof value === 'string' && pattern.test(value) ? value : undefined),
});
const optionalText = (form: string) => ({
  form,
  read: (value: unknown) => (typeof value === 'string' ? value : undefined),
});
const path = text('an absolute path', /^\/[^\0]*$/);
/** sun_path (unix(7)) has room for 108 bytes, with the one that ends it. */
const socketPath = {
  form: 'an absolute path of at most 107 bytes',
  read: (value: unknown) => {
    const known = path.read(value);
    return known !== undefined && Buffer.byteLength(known) <= 107 ? known : undefined;
  },
};
const oneOf = <T extends string>(...values: readonly T[]) => ({
  form: `one of ${values.join(', ')}`,
  read: (value: unknown) => values.find((known) => known === value),
});
const whole = (form: string, least: number, most: number) => ({
  form: `${form}, ${least} to ${most}`,
  read: (value: unknown) => {
    const number = typeof value === 'string' && /^\d+$/.test(value) ? Number(value) : value;
    return typeof number === 'number' && Number.isInteger(number) && number >= least && number <= most
      ? number
      : undefined;
  },
});
const flag = {
  form: 'true or false',
  read: (value: unknown) =>
    value === true || value === 'true' ? true : value === false || value === 'false' ? false : undefined,
};
const units: Readonly<Record<string, number>> = { '': 1, k: 1024, m: 1024 ** 2, g: 1024 ** 3, t: 1024 ** 4 };
const bytes = {
  form: 'bytes, as 10m or 10485760',
  read: (value: unknown) => {
    const match = /^(\d+)([kmgt]?)b?$/i.exec(String(value));
    return match ? Number(match[1]) * units[match[2]!.toLowerCase()]! : undefined;
  },
};
const list: Kind<readonly string[]> = {
  form: 'a list of texts; comma-separated outside the file',
  read: (value: unknown): readonly string[] | undefined => {
    if (typeof value === 'string') {
      if (value.startsWith('[')) return list.read(fromJson(value));
      return value === '' ? [] : value.split(',').map((part) => part.trim());
    }
    return Array.isArray(value) && value.every((part) => typeof part === 'string') ? value : undefined;
  },
};
const proxy = {
  form: "a proxy's URL, as http://user:password@host:port, or empty",
  read: (value: unknown) => (typeof value === 'string' && (value === '' || readProxy(value)) ? value : undefined),
};
/** `{"a": "x"}` in the file, `a=x,b=y` outside. */
const pairs: Kind<Readonly<Record<string, string>>> = {
  form: 'names with a text each; name=text,name=text outside the file',
  read: (value: unknown): Readonly<Record<string, string>> | undefined => {
    if (typeof value === 'string') {
      if (value.startsWith('{')) return pairs.read(fromJson(value));
      const split = value === '' ? [] : value.split(',').map((part) => part.split('='));
      return split.every((part) => part.length === 2 && part[0]) ? Object.fromEntries(split) : undefined;
    }
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined;
    const record = value as Record<string, unknown>;
    return Object.values(record).every((part) => typeof part === 'string')
      ? (record as Record<string, string>)
      : undefined;
  },
};

const optionalPath = {
  form: 'an absolute path, or empty',
  read: (value: unknown) => (value === '' ? '' : path.read(value)),
};

function fromJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

const setting = <T>(
  key: string,
  fallback: T,
  kind: { form: string; read: (value: unknown) => T | undefined },
  about: string,
): Setting<T> => ({
  key,
  default: fallback,
  about,
  ...kind,
});

export const settings = {
  socket: setting('socket', '/run/berth/berth.sock', socketPath, 'where the Engine API is served'),
  group: setting(
    'group',
    'docker',
    optionalText('the name or number of a group, or empty'),
    'who may use the socket beside root; left to root where there is no such group',
  ),
  root: setting('root', '/var/lib/berth', path, 'where images, volumes and records are kept; one engine per root'),
  runDir: setting('runDir', '/run/berth', path, 'where what a reboot forgets is kept: mounts, namespaces, monitors'),
  logLevel: setting(
    'logLevel',
    'info',
    oneOf('debug', 'info', 'warn', 'error'),
    "the least that goes into the engine's log",
  ),
  logFormat: setting('logFormat', 'text', oneOf('text', 'json'), "the form of the engine's log"),
  logFile: setting(
    'logFile',
    '/var/log/berth.log',
    path,
    "the engine's log when `berth engine start` runs it in the background",
  ),
  snapshotter: setting(
    'snapshotter',
    'auto',
    oneOf('auto', 'erofs', 'overlay'),
    'how layers are kept: EROFS over the tar, or unpacked directories',
  ),
  defaultRuntime: setting(
    'defaultRuntime',
    '',
    optionalText('the name of a runtime, or empty'),
    'which OCI runtime runs what names none; empty is crun where it works, else runc',
  ),
  runtimes: setting('runtimes', {}, pairs, 'further OCI runtimes by name, each with its path'),
  init: setting('init', '/usr/bin/tini-static', path, 'the init process of --init'),
  cdiSpecDirs: setting(
    'cdiSpecDirs',
    ['/etc/cdi', '/var/run/cdi'],
    list,
    'where files of the Container Device Interface are, for --device vendor.com/class=name and --gpus; later ones win',
  ),
  cgroupParent: setting(
    'cgroupParent',
    '/berth',
    text('a cgroup path', /^\/[\w./-]+$/),
    'the cgroup above those of the containers',
  ),
  insecureRegistries: setting(
    'insecureRegistries',
    [],
    list,
    'registry hosts and networks (CIDR) spoken to without TLS or with an unknown certificate',
  ),
  registryMirrors: setting(
    'registryMirrors',
    {},
    pairs,
    'URLs to try before a registry, by its domain; several with spaces between',
  ),
  registryCertificates: setting(
    'registryCertificates',
    '/etc/berth/certs.d',
    path,
    'ca.crt, client.cert and client.key by registry host, as in /etc/docker/certs.d',
  ),
  registryTimeout: setting(
    'registryTimeout',
    30,
    whole('seconds', 1, 3600),
    'how long a registry may send nothing before it is asked again',
  ),
  httpProxy: {
    ...setting(
      'httpProxy',
      '',
      proxy,
      'the proxy to registries without TLS; where nothing is set, what HTTP_PROXY says',
    ),
    usual: ['HTTP_PROXY', 'http_proxy'],
    secret: true,
  },
  httpsProxy: {
    ...setting('httpsProxy', '', proxy, 'the proxy to registries; where nothing is set, what HTTPS_PROXY says'),
    usual: ['HTTPS_PROXY', 'https_proxy'],
    secret: true,
  },
  noProxy: {
    ...setting(
      'noProxy',
      '',
      optionalText('hosts, .domains, addresses, networks (CIDR), each with a port or not, comma-separated; * is all'),
      'registries that are reached without a proxy; where nothing is set, what NO_PROXY says',
    ),
    usual: ['NO_PROXY', 'no_proxy'],
  },
  maxDownloads: setting('maxDownloads', 4, whole('a number', 1, 64), 'layers of one pull that are fetched at a time'),
  maxUploads: setting('maxUploads', 5, whole('a number', 1, 64), 'parts of one image that are pushed at a time'),
  downloadAttempts: setting(
    'downloadAttempts',
    5,
    whole('a number', 1, 100),
    'how often a transfer with a registry is tried that brings nothing',
  ),
  shutdownTimeout: setting(
    'shutdownTimeout',
    longestShutdown,
    whole('seconds', 1, longestShutdown),
    'the most that a container may take to stop when the machine goes down, whatever its own timeout says',
  ),
  defaultNetworkOptions: setting(
    'defaultNetworkOptions',
    {},
    pairs,
    'options of networks that are created without them, by driver: bridge:com.docker.network.driver.mtu=1400',
  ),
  maxLayerSize: setting('maxLayerSize', 20 * 1024 ** 3, bytes, 'the most that one layer may unpack to'),
  bridge: setting('bridge', 'berth0', text('an interface name', /^[\w.-]{1,15}$/), "the default network's bridge"),
  bridgeSubnet: setting(
    'bridgeSubnet',
    '',
    text('an IPv4 network, or empty', /^(\d+\.\d+\.\d+\.\d+\/\d+)?$/),
    "the default network's addresses; empty is one that no route of the host uses",
  ),
  mtu: setting('mtu', 1500, whole('bytes', 576, 65535), "the default network's largest packet"),
  logMaxSize: setting(
    'logMaxSize',
    10 * 1024 ** 2,
    bytes,
    "a container log's size before it is rotated, where the container names none",
  ),
  logMaxFiles: setting(
    'logMaxFiles',
    5,
    whole('a number', 1, 1000),
    'files that are kept of a container log, where the container names none',
  ),
  logCompress: setting(
    'logCompress',
    true,
    flag,
    'whether rotated files of container logs are compressed, where the container does not say',
  ),
  logCap: setting(
    'logCap',
    0,
    bytes,
    'what the logs of all containers may take together, before the oldest rotated files go; 0 is a tenth of the disk, at most 20g',
  ),
  logKeepRemoved: setting(
    'logKeepRemoved',
    86_400,
    whole('seconds', 0, 31_536_000),
    'how long the log of a removed container is kept for `berth logs` and `berth why`, of a thousand at most; 0 keeps none',
  ),
  stopTimeout: setting(
    'stopTimeout',
    10,
    whole('seconds', 0, 86400),
    'how long a container may take to stop before it is killed',
  ),
  drainTimeout: setting(
    'drainTimeout',
    8,
    whole('seconds', 0, 60),
    'how long requests may take to end when the engine stops; containers are not touched',
  ),
  asDocker: setting(
    'asDocker',
    false,
    flag,
    "takes Docker's place: /var/run/docker.sock where hosts says nothing else, /etc/docker/daemon.json, /var/run/docker.pid",
  ),
  daemonJson: setting('daemonJson', '', optionalPath, "dockerd's configuration file, which is read below ours"),
  hosts: setting(
    'hosts',
    [],
    list,
    'where the Engine API is served beside socket: unix://PATH, tcp://HOST:PORT with tls or tlsVerify, fd:// of systemd',
  ),
  tls: setting('tls', false, flag, 'ports of hosts speak TLS'),
  tlsVerify: setting(
    'tlsVerify',
    false,
    flag,
    'ports of hosts speak TLS, with clients whose certificate tlsCaCert signed',
  ),
  tlsCaCert: setting('tlsCaCert', '/root/.docker/ca.pem', path, 'who signs the certificates of clients'),
  tlsCert: setting('tlsCert', '/root/.docker/cert.pem', path, 'the certificate of ports'),
  tlsKey: setting('tlsKey', '/root/.docker/key.pem', path, 'the key of that certificate'),
  pidFile: setting('pidFile', '', optionalPath, 'where the process ID of the engine is written'),
  labels: setting('labels', [], list, "what `docker info` shows as the engine's labels, name=text each"),
  dns: setting('dns', [], list, 'name servers of containers that name none; empty is those of the host'),
  dnsOptions: setting('dnsOptions', [], list, 'options of resolv.conf for containers that name none'),
  dnsSearch: setting('dnsSearch', [], list, 'search domains of containers that name none'),
  hostGateway: setting(
    'hostGateway',
    '',
    text('an IPv4 address, or empty', /^(\d+\.\d+\.\d+\.\d+)?$/),
    "what host-gateway stands for; empty is the bridge's address",
  ),
  defaultAddressPools: setting(
    'defaultAddressPools',
    [],
    {
      form: 'a list of NETWORK:LENGTH, as 10.10.0.0/16:24',
      read: (value: unknown) => {
        const known = list.read(value);
        return known?.every((one) => isPoolText(one)) ? known : undefined;
      },
    },
    'what networks without a subnet take theirs from; empty is what Berth chooses from',
  ),
  defaultUlimits: setting('defaultUlimits', {}, pairs, 'limits by name, SOFT:HARD, of containers that do not say'),
  defaultShmSize: setting(
    'defaultShmSize',
    64 * 1024 ** 2,
    bytes,
    'the size of /dev/shm of containers that do not say',
  ),
  containerSize: setting(
    'containerSize',
    0,
    bytes,
    'what a container without --storage-opt size may write over its image; 0 is as much as there is',
  ),
  defaultIpcMode: setting('defaultIpcMode', 'private', oneOf('private', 'shareable'), 'of containers that do not say'),
  defaultCgroupnsMode: setting(
    'defaultCgroupnsMode',
    '',
    { form: 'private, host, or empty', read: (value: unknown) => ['', 'private', 'host'].find((one) => one === value) },
    'of containers that do not say; empty is private with cgroup v2, else host',
  ),
  noNewPrivileges: setting('noNewPrivileges', false, flag, 'no-new-privileges for containers that do not say'),
  initAlways: setting('initAlways', false, flag, 'an init process for containers that do not say'),
  seccompProfile: setting(
    'seccompProfile',
    'builtin',
    text('builtin, unconfined, or a path', /^(builtin|unconfined|\/.*)$/s),
    'the seccomp profile of containers that name none',
  ),
  usernsRemap: setting(
    'usernsRemap',
    '',
    text('default, USER or USER:GROUP by name or number, or empty', /^([\w.-]+(:[\w.-]+)?)?$/),
    'whose IDs of /etc/subuid and /etc/subgid containers have in a user namespace, where they do not say --userns host; default makes the user dockremap; empty is none',
  ),
  logDriver: setting('logDriver', 'json-file', text('the name of a log driver'), 'of containers that name none'),
  logOptions: setting('logOptions', {}, pairs, 'options of logDriver for containers that name no driver'),
  bridgeGateway: setting(
    'bridgeGateway',
    '',
    text('an IPv4 address, or empty', /^(\d+\.\d+\.\d+\.\d+)?$/),
    "the default bridge's own address; empty is the first of bridgeSubnet",
  ),
  bridgeRange: setting(
    'bridgeRange',
    '',
    text('an IPv4 network, or empty', /^(\d+\.\d+\.\d+\.\d+\/\d+)?$/),
    'the part of bridgeSubnet that containers get addresses from',
  ),
  bridgeIcc: setting('bridgeIcc', true, flag, 'containers of the default bridge reach each other'),
  bridgeMasquerade: setting('bridgeMasquerade', true, flag, "what leaves the default bridge gets the host's address"),
  bridgeHostIp: setting(
    'bridgeHostIp',
    '0.0.0.0',
    text('an IPv4 address', /^\d+\.\d+\.\d+\.\d+$/),
    'where the default bridge publishes ports that name no address',
  ),
  debug: setting('debug', false, flag, 'what `docker info` shows as Debug'),
} as const;

export type SettingName = keyof typeof settings;
export type Config = { readonly [K in SettingName]: (typeof settings)[K] extends Setting<infer T> ? T : never };

export const defaultConfigFile = '/etc/berth/berth.json';

export function flagOf(key: string): string {
  return `--${key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
}

export function variableOf(key: string): string {
  return `BERTH_${key.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()}`;
}

export interface ConfigSources {
  /** The file that was asked for; undefined reads the default one where it exists. */
  readonly file: string | undefined;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** By key, as given. */
  readonly flags: Readonly<Record<string, string>>;
  /** The flags are what another process made of all sources: they contradict no file. */
  readonly settled?: boolean;
}

/**
 * Flags over environment over file over dockerd's file over what the machine says over defaults. Throws `invalid` that names
 * the source, the key and what it may be.
 */
export function readConfig(sources: ConfigSources): Config {
  return readSources(sources).config;
}

/** As `readConfig`, with dockerd's file where one is read. */
export function readSources({ file, env, flags, settled = false }: ConfigSources): {
  readonly config: Config;
  readonly docker: DaemonJson | undefined;
} {
  const given: Record<string, unknown> = {};
  const from = file ?? defaultConfigFile;
  for (const [key, value] of Object.entries(readFile(from, file !== undefined)))
    given[key] = readSetting(key, value, `${from}: ${key}`);
  for (const key of Object.keys(settings)) {
    const value = env[variableOf(key)];
    if (value !== undefined) given[key] = readSetting(key, value, variableOf(key));
  }
  for (const [key, value] of Object.entries(flags)) given[key] = readSetting(key, value, flagOf(key));

  const values: Record<string, unknown> = {};
  // Taken as it is: what others set for all programs must not keep the engine from running; a pull says what is wrong.
  for (const { key, default: fallback, usual = [] } of Object.values(settings) as Setting<unknown>[])
    values[key] = usual.map((name) => env[name]).find((value) => value) ?? fallback;
  const asDocker = given['asDocker'] === true;
  if (asDocker) Object.assign(values, { hosts: [dockerSocket], pidFile: dockerPidFile, daemonJson: defaultDaemonJson });
  const path = (given['daemonJson'] ?? values['daemonJson']) as string;
  // dockerd too does without its file where nobody named one.
  const docker = path === '' ? undefined : readDaemonJson(path, { required: !asDocker || path !== defaultDaemonJson });
  if (docker) {
    if (!settled) refuseConflicts(docker, flags);
    for (const [key, value] of Object.entries(docker.settings))
      values[key] = readSetting(key, value, `${docker.path}: ${keyOf(docker, key)}`);
  }
  return { config: { ...values, ...given } as Config, docker };
}

/** Docker's own places. */
export const dockerSocket = 'unix:///var/run/docker.sock';
export const dockerPidFile = '/var/run/docker.pid';

const keyOf = ({ settingsOf }: DaemonJson, setting: string) =>
  [...settingsOf].find(([, names]) => names.includes(setting))?.[0] ?? setting;

function readSetting(key: string, value: unknown, source: string): unknown {
  const known = (settings as Record<string, Setting<unknown>>)[key];
  if (!known)
    throw new EngineError('invalid', `${source}: no such setting${nearest(key)}`, {
      hint: 'berth engine --help lists all settings',
    });
  const read = known.read(value);
  if (read === undefined)
    throw new EngineError(
      'invalid',
      `${source}: expected ${known.form}${known.secret ? '' : `, got ${JSON.stringify(value)}`}`,
    );
  return read;
}

/** A network, and how long the prefix of each part of it is. */
function isPoolText(text: string): boolean {
  const [, own, part] = /^\d+\.\d+\.\d+\.\d+\/(\d+):(\d+)$/.exec(text) ?? [];
  return own !== undefined && Number(own) <= Number(part) && Number(part) <= 30;
}

function readFile(path: string, required: boolean): Record<string, unknown> {
  let content: string;
  try {
    content = readFileSync(path, 'utf8');
  } catch (error) {
    if (codeOf(error) === 'ENOENT' && !required) return {};
    throw new EngineError('invalid', `the configuration file ${path} cannot be read: ${codeOf(error)}`, {
      cause: error,
      hint: `ls -l ${path}, or name another with --config`,
    });
  }
  try {
    const parsed: unknown = JSON.parse(content);
    if (typeof parsed === 'object' && parsed !== null && !Array.isArray(parsed))
      return parsed as Record<string, unknown>;
  } catch (error) {
    throw new EngineError(
      'invalid',
      `the configuration file ${path} is not JSON: ${error instanceof Error ? error.message : error}`,
    );
  }
  throw new EngineError('invalid', `the configuration file ${path} is not a JSON object`);
}

function nearest(key: string): string {
  const close = closest(key.replace(/[^a-zA-Z]/g, ''), Object.keys(settings));
  return close ? `; did you mean ${close}?` : '';
}
