import { DiskUsage } from '../base/disk-usage.ts';
import { EngineError } from '../base/errors.ts';
import { parseDigest } from '../oci/digest.ts';
import { type JsonObject, member, object, optional, stringArray, stringMap, text } from '../oci/validate-json.ts';
import { readCreateRequest } from '../protocol/create-request.ts';
import { checkLogOptions } from '../protocol/log-options.ts';
import { maxVersion } from '../protocol/version.ts';
import { cleanPath } from '../protocol/volume-spec.ts';
import type { ForeignRoot } from './foreign-root.ts';
import type { Finds } from './observe.ts';
import { treeOf } from './observe-images.ts';
import type { ObservedContainer } from './observed.ts';

const never = '0001-01-01T00:00:00Z';
const mostRotated = 100;

/** `containers/ID/{config.v2.json,hostconfig.json}`; the writable layer's folder stands in `image/<driver>/layerdb/mounts/ID`. */
export async function observeContainers(root: ForeignRoot, finds: Finds<ObservedContainer>): Promise<void> {
  for (const id of root.names('containers')) {
    if (!/^[0-9a-f]{64}$/.test(id)) continue;
    let name = id.slice(0, 12);
    try {
      const body = root.json(`containers/${id}/config.v2.json`);
      if (!body) throw new EngineError('corrupt', 'its config.v2.json is missing');
      name = (optional(body, 'Name', text, id) ?? '').replace(/^\//, '') || name;
      finds.add(await observeContainer(root, id, name, body));
    } catch (error) {
      const hint = error instanceof EngineError ? error.hint : undefined;
      finds.fault(name, error instanceof Error ? error.message : String(error), hint);
    }
  }
}

async function observeContainer(
  root: ForeignRoot,
  id: string,
  name: string,
  body: JsonObject,
): Promise<ObservedContainer> {
  const what = `container ${name}`;
  const hostConfig = root.json(`containers/${id}/hostconfig.json`);
  if (!hostConfig) throw new EngineError('corrupt', 'its hostconfig.json is missing');
  const driver = optional(body, 'Driver', text, what) ?? '';
  const state = object(member(body, 'State') ?? {}, what);
  const flag = (key: string) => member(state, key) === true;
  if (flag('Dead') || flag('RemovalInProgress')) throw new EngineError('unsupported', 'its removal has begun');
  if (driver !== 'overlay2')
    throw new EngineError(
      'unsupported',
      `what it wrote is kept by the storage driver ${driver || 'of an unknown name'}, which is not read here`,
      { hint: 'start Docker once more and docker commit it; or make it anew from its image' },
    );
  const mountId = root.word(`image/${driver}/layerdb/mounts/${id}/mount-id`);
  if (mountId === undefined) throw new EngineError('corrupt', 'the name of the folder of what it wrote is missing');
  const upper = treeOf(driver, mountId);
  using tree = root.find(upper, { directory: true });
  if (!tree) throw new EngineError('corrupt', 'the folder of what it wrote is missing');
  const usage = new DiskUsage();
  await usage.add(tree.path);
  const ran = flag('Running') || flag('Paused') || flag('Restarting');
  const startedAt = optional(state, 'StartedAt', text, what) ?? never;
  const exitCode = member(state, 'ExitCode');
  const restarts = member(body, 'RestartCount');
  const stoppedByUser = member(body, 'HasBeenManuallyStopped') === true;
  const log = logConfigOf(hostConfig, what);
  const request = requestOf(body, { ...hostConfig, LogConfig: log.here }, what);
  const { Name: policy } = request.hostConfig.RestartPolicy;
  const started = startedAt !== never && !startedAt.startsWith('0001-');
  return {
    ...{ id, name, upper, request, stoppedByUser, logDriver: log.driver },
    created: optional(body, 'Created', text, what) ?? never,
    image: parseDigest(optional(body, 'Image', text, what) ?? ''),
    volumes: volumesOf(body, what),
    state: {
      started,
      // Docker was killed while it ran, and did not see how it ended.
      exitCode: ran ? 255 : typeof exitCode === 'number' && Number.isInteger(exitCode) ? exitCode : 0,
      error: optional(state, 'Error', text, what) ?? '',
      oomKilled: flag('OOMKilled'),
      startedAt: started ? startedAt : never,
      finishedAt: optional(state, 'FinishedAt', text, what) ?? never,
    },
    restartCount: typeof restarts === 'number' && Number.isSafeInteger(restarts) && restarts >= 0 ? restarts : 0,
    wasRunning: ran || (started && !stoppedByUser && ['always', 'unless-stopped'].includes(policy)),
    bytes: usage.bytes,
    logs: logsOf(root, id),
  };
}

/** The log driver that it had, and what it logs with here: json-file where its own is not done. */
function logConfigOf(hostConfig: JsonObject, what: string) {
  const given = object(member(hostConfig, 'LogConfig') ?? {}, what);
  const Type = optional(given, 'Type', text, what) || 'json-file';
  const Config = optional(given, 'Config', stringMap, what) ?? {};
  try {
    checkLogOptions({ Type, Config });
    return { driver: Type, here: { Type, Config } };
  } catch {
    return { driver: Type, here: { Type: 'json-file', Config: {} } };
  }
}

/** What was asked for when it was made, as it would be asked of this engine. */
function requestOf(body: JsonObject, hostConfig: JsonObject, what: string) {
  const config = object(member(body, 'Config') ?? {}, what);
  const mode = optional(hostConfig, 'NetworkMode', text, what) ?? '';
  const shared = mode === 'host' || mode.startsWith('container:') || member(hostConfig, 'UTSMode') === 'host';
  // A host name that is not its own was filled in when it was made or started; whoever asks for one is refused.
  const own = shared ? { ...config, Hostname: '' } : config;
  const settings = object(member(body, 'NetworkSettings') ?? {}, what);
  const networks = object(member(settings, 'Networks') ?? {}, what);
  const endpoints = Object.entries(networks).flatMap(([network, given]) => {
    if (given === null || mode.startsWith('container:')) return [];
    return [[network, endpointOf(object(given, network), network)] as const];
  });
  return readCreateRequest(
    { ...own, HostConfig: hostConfig, NetworkingConfig: { EndpointsConfig: Object.fromEntries(endpoints) } },
    maxVersion,
  );
}

/** Only what was asked for: addresses and the like that it had while it ran are given anew. */
function endpointOf(given: JsonObject, network: string): JsonObject {
  const aliases = optional(given, 'Aliases', stringArray, network) ?? [];
  const predefined = ['bridge', 'host', 'none'].includes(network);
  return {
    IPAMConfig: member(given, 'IPAMConfig') ?? null,
    Links: member(given, 'Links') ?? null,
    // Docker 20.10 puts the short form of its ID among them, which everything is called here anyway.
    Aliases: predefined ? null : aliases.filter((alias) => !/^[0-9a-f]{12}$/.test(alias)),
    MacAddress: member(given, 'DesiredMacAddress') ?? '',
    DriverOpts: member(given, 'DriverOpts') ?? null,
    GwPriority: member(given, 'GwPriority') ?? 0,
  };
}

function volumesOf(body: JsonObject, what: string): Readonly<Record<string, string>> {
  const points = object(member(body, 'MountPoints') ?? {}, what);
  const volumes = Object.values(points).flatMap((given): [string, string][] => {
    const point = object(given, what);
    const volume = optional(point, 'Name', text, what) ?? '';
    const at = optional(point, 'Destination', text, what) ?? '';
    return member(point, 'Type') === 'volume' && volume !== '' && at.startsWith('/') ? [[cleanPath(at), volume]] : [];
  });
  return Object.fromEntries(volumes);
}

/** The log of the driver json-file, and what was rotated away. */
function logsOf(root: ForeignRoot, id: string): readonly string[] {
  const directory = `containers/${id}`;
  const names = new Set(root.names(directory));
  const base = `${id}-json.log`;
  if (!names.has(base)) return [];
  const rotated = Array.from({ length: mostRotated }, (_, at) => [`${base}.${at + 1}`, `${base}.${at + 1}.gz`]).flat();
  return [base, ...rotated.filter((name) => names.has(name))].map((name) => `${directory}/${name}`);
}
