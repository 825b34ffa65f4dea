import { EngineError } from '../base/errors.ts';
import { type IpamConfig, type NetworkRequest, parseBlock } from '../networks/definition.ts';
import { type JsonObject, member, object, optional, parseJsonObject, stringMap, text } from '../oci/validate-json.ts';
import { Bolt } from './bolt.ts';
import type { ForeignRoot } from './foreign-root.ts';
import type { Finds } from './observe.ts';
import type { ObservedNetwork } from './observed.ts';

const database = 'network/files/local-kv.db';
const prefix = 'docker/network/v1.0/network/';
/** libkv puts a counter of changes before each value. */
const counterBytes = 8;

/** Networks that somebody made stand in a Bolt database, each as a JSON document below `docker/network/v1.0/network/ID/`. */
export async function observeNetworks(root: ForeignRoot, finds: Finds<ObservedNetwork>): Promise<void> {
  const bytes = root.read(database);
  if (!bytes) return;
  for (const [key, value] of new Bolt(bytes, database).root.bucket('libnetwork')?.entries() ?? []) {
    if (!key.startsWith(prefix) || !Buffer.isBuffer(value)) continue;
    const id = key.slice(prefix.length).replace(/\/$/, '');
    let name = id;
    await finds.try(id.slice(0, 12), () => {
      const body = parseJsonObject(`network ${id.slice(0, 12)}`, value.subarray(counterBytes), value.length);
      name = optional(body, 'name', text, id) ?? '';
      return observeNetwork(id, name, body);
    });
  }
}

function observeNetwork(id: string, name: string, body: JsonObject): ObservedNetwork | undefined {
  const what = `network ${name}`;
  const driver = optional(body, 'networkType', text, what) ?? '';
  if (['bridge', 'host', 'none'].includes(name) || driver === 'host' || driver === 'null') return undefined;
  if (!/^[0-9a-f]{64}$/.test(id)) throw new EngineError('corrupt', `network ${name}: ${JSON.stringify(id)} is no ID`);
  if (member(body, 'ingress') === true || optional(body, 'scope', text, what) === 'swarm')
    throw new EngineError('unsupported', `network ${name} belongs to a swarm`);
  if (member(body, 'configOnly') === true || optional(body, 'configFrom', text, what))
    throw new EngineError('unsupported', `network ${name} is a configuration for other networks, or made of one`);
  const generic = object(member(body, 'generic') ?? {}, what);
  const given = [...ipam(body, 'ipamV4Config', what), ...ipam(body, 'ipamV6Config', what)];
  const used = [...ipamInfo(body, 'ipamV4Info', what), ...ipamInfo(body, 'ipamV6Info', what)];
  const ipv6 = member(body, 'enableIPv6') === true;
  const isV6 = (subnet: string) => subnet.includes(':');
  const chose = (v6: boolean) => given.some(({ subnet }) => subnet !== '' && isV6(subnet) === v6);
  const options = optional(generic, 'com.docker.network.generic', stringMap, what) ?? {};
  const request: NetworkRequest = {
    name,
    driver,
    internal: member(body, 'internal') === true,
    attachable: member(body, 'attachable') === true,
    ipv4: member(body, 'enableIPv4') !== false,
    ipv6,
    labels: optional(body, 'labels', stringMap, what) ?? {},
    options,
    ipam: {
      driver: optional(body, 'ipamType', text, what) ?? 'default',
      options: optional(body, 'ipamOptions', stringMap, what),
      configs: used.filter(({ subnet }) => !isV6(subnet) || ipv6).map((pool) => withWishes(pool, given)),
    },
    kept: {
      id,
      created: optional(body, 'created', text, what) ?? '',
      chosenSubnets: { ipv4: chose(false), ipv6: chose(true) },
    },
  };
  return { id, request, link: options['com.docker.network.bridge.name'] || `br-${id.slice(0, 12)}` };
}

/** The range and the names of addresses, which only the request has. */
function withWishes(pool: IpamConfig, given: readonly IpamConfig[]): IpamConfig {
  const wish = given.find(({ subnet }) => subnet === pool.subnet);
  return {
    ...pool,
    ...(wish?.ipRange ? { ipRange: wish.ipRange } : {}),
    ...(wish?.auxiliaryAddresses ? { auxiliaryAddresses: wish.auxiliaryAddresses } : {}),
  };
}

/** Both lists are JSON inside of a string of the document. */
function inner(body: JsonObject, key: string, what: string): readonly JsonObject[] {
  const written = optional(body, key, text, what);
  if (!written) return [];
  const list: unknown = JSON.parse(written);
  if (list === null) return [];
  if (!Array.isArray(list) || list.length > 64) throw new EngineError('corrupt', `${what}: ${key} is no short list`);
  return list.map((entry) => object(entry, `${what} ${key}`));
}

function ipam(body: JsonObject, key: string, what: string): IpamConfig[] {
  return inner(body, key, what).map((entry) => {
    const auxiliary = optional(entry, 'AuxAddresses', stringMap, what) ?? {};
    return {
      subnet: optional(entry, 'PreferredPool', text, what) ?? '',
      ipRange: optional(entry, 'SubPool', text, what) ?? '',
      ...(Object.keys(auxiliary).length > 0 ? { auxiliaryAddresses: auxiliary } : {}),
    };
  });
}

/** What was given out in the end: the subnet, and the gateway with the length of the prefix behind it. */
function ipamInfo(body: JsonObject, key: string, what: string): IpamConfig[] {
  return inner(body, key, what).flatMap((entry) => {
    const data = optional(entry, 'IPAMData', text, what);
    if (!data) return [];
    const facts = object(JSON.parse(data), what);
    const subnet = optional(facts, 'Pool', text, what) ?? '';
    const gateway = (optional(facts, 'Gateway', text, what) ?? '').split('/')[0];
    if (subnet !== '' && !parseBlock(subnet)) throw new EngineError('corrupt', `${what}: ${subnet} is no subnet`);
    return subnet === '' ? [] : [{ subnet, ...(gateway ? { gateway } : {}) }];
  });
}
