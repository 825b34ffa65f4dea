import type { Config, SettingName } from './config.ts';
import type { DaemonJson } from './daemon-json.ts';

/** What a running engine takes anew. Everything else is for its next start. */
const reloadable: readonly SettingName[] = [
  'debug',
  'logLevel',
  'labels',
  'defaultRuntime',
  'insecureRegistries',
  'registryMirrors',
  'maxDownloads',
  'maxUploads',
  'shutdownTimeout',
];

export interface ReloadPlan {
  /** What is true from now on. */
  readonly config: Config;
  /** Settings that the files say anew, for the next start. */
  readonly later: readonly SettingName[];
  /** Of the event, with dockerd's names. */
  readonly attributes: Readonly<Record<string, string>>;
}

/** What SIGHUP changes: the part of `next` that can change while the engine runs. `runtime` is the default one. */
export function reloadPlan(
  before: Config,
  next: Config,
  {
    docker,
    name,
    runtime,
  }: { readonly docker: DaemonJson | undefined; readonly name: string; readonly runtime: string },
): ReloadPlan {
  const differs = (key: SettingName) => JSON.stringify(before[key]) !== JSON.stringify(next[key]);
  const changed = (Object.keys(next) as SettingName[]).filter(differs);
  const taken = Object.fromEntries(changed.filter((key) => reloadable.includes(key)).map((key) => [key, next[key]]));
  const config: Config = { ...before, ...taken };
  const { 'max-concurrent-downloads': downloads = 3, 'max-concurrent-uploads': uploads = 5 } = docker?.keys ?? {};
  const {
    'max-download-attempts': attempts = 5,
    'shutdown-timeout': shutdown = 15,
    features = {},
  } = docker?.keys ?? {};
  return {
    config,
    later: changed.filter((key) => !reloadable.includes(key)),
    attributes: {
      'allow-nondistributable-artifacts': '[]',
      debug: String(config.debug),
      'default-runtime': config.defaultRuntime || runtime,
      features: `map[${Object.entries(features as object)
        .map(([key, value]) => `${key}:${value}`)
        .toSorted()
        .join(' ')}]`,
      'insecure-registries': JSON.stringify(config.insecureRegistries),
      labels: JSON.stringify(config.labels),
      'live-restore': 'true',
      'max-concurrent-downloads': String(downloads),
      'max-concurrent-uploads': String(uploads),
      'max-download-attempts': String(attempts),
      name,
      'registry-mirrors': JSON.stringify(config.registryMirrors['docker.io']?.split(/\s+/) ?? []),
      runtimes: Object.entries(config.runtimes)
        .map(([key, path]) => `${key}:${path}`)
        .join(' '),
      'shutdown-timeout': String(shutdown),
    },
  };
}
