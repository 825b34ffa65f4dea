import { readFileSync } from 'node:fs';
import { closest } from '../base/edit-distance.ts';
import { codeOf, EngineError } from '../base/errors.ts';
import { readProxy } from '../remotes/proxies.ts';

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
const list = {
  form: 'a list of texts; comma-separated outside the file',
  read: (value: unknown): readonly string[] | undefined => {
    if (typeof value === 'string') return value === '' ? [] : value.split(',').map((part) => part.trim());
    return Array.isArray(value) && value.every((part) => typeof part === 'string') ? value : undefined;
  },
};
const proxy = {
  form: "a proxy's URL, as http://user:password@host:port, or empty",
  read: (value: unknown) => (typeof value === 'string' && (value === '' || readProxy(value)) ? value : undefined),
};
/** `{"a": "x"}` in the file, `a=x,b=y` outside. */
const pairs = {
  form: 'names with a text each; name=text,name=text outside the file',
  read: (value: unknown): Readonly<Record<string, string>> | undefined => {
    if (typeof value === 'string') {
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
}

/** Flags over environment over file over what the machine says over defaults. Throws `invalid` that names the source, the key and what it may be. */
export function readConfig({ file, env, flags }: ConfigSources): Config {
  const values: Record<string, unknown> = {};
  // Taken as it is: what others set for all programs must not keep the engine from running; a pull says what is wrong.
  for (const { key, default: fallback, usual = [] } of Object.values(settings) as Setting<unknown>[])
    values[key] = usual.map((name) => env[name]).find((value) => value) ?? fallback;
  const take = (key: string, value: unknown, source: string) => {
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
    values[key] = read;
  };
  const from = file ?? defaultConfigFile;
  for (const [key, value] of Object.entries(readFile(from, file !== undefined))) take(key, value, `${from}: ${key}`);
  for (const key of Object.keys(settings)) {
    const value = env[variableOf(key)];
    if (value !== undefined) take(key, value, variableOf(key));
  }
  for (const [key, value] of Object.entries(flags)) take(key, value, flagOf(key));
  return values as Config;
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
