import { randomBytes } from 'node:crypto';
import { mkdir, readFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { writeFileAtomic } from '../base/atomic-file.ts';
import { codeOf, EngineError } from '../base/errors.ts';
import { formatSubnet, parseSubnet, type Subnet } from './addresses.ts';
import type { NetworkDefinition } from './definition.ts';
import type { Endpoint, NetworkInfo } from './networks.ts';

const predefinedNames = ['bridge', 'host', 'none'] as const;
export type PredefinedName = (typeof predefinedNames)[number];

/** What networks.json keeps: ids that stay, and the subnet that was chosen, since running containers have addresses in it. */
export interface NetworksRecord {
  readonly version: 1;
  readonly created: string;
  readonly ids: Readonly<Record<PredefinedName, string>>;
  readonly subnet: string;
  /** ip_forward was off before Berth. */
  readonly forwardingEnabled: boolean;
}

/** Reads the record; one that is missing or damaged is made anew, around `chooseSubnet`. */
export async function loadNetworks(
  path: string,
  chooseSubnet: () => Subnet,
): Promise<{ readonly record: NetworksRecord; readonly damaged: boolean }> {
  let damaged = false;
  try {
    const found = parseRecord(await readFile(path, 'utf8'));
    if (found) return { record: found, damaged };
    damaged = true;
  } catch (error) {
    if (codeOf(error) !== 'ENOENT') throw error;
  }
  const id = () => randomBytes(32).toString('hex');
  const record: NetworksRecord = {
    version: 1,
    created: new Date().toISOString(),
    ids: { bridge: id(), host: id(), none: id() },
    subnet: formatSubnet(chooseSubnet()),
    forwardingEnabled: false,
  };
  await saveNetworks(path, record);
  return { record, damaged };
}

export async function saveNetworks(path: string, record: NetworksRecord): Promise<void> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  await writeFileAtomic(path, `${JSON.stringify(record, undefined, 2)}\n`);
}

function parseRecord(text: string): NetworksRecord | undefined {
  try {
    const value: Partial<NetworksRecord> = JSON.parse(text);
    const { created, ids, subnet, forwardingEnabled = false } = value;
    if (typeof created !== 'string' || typeof subnet !== 'string' || !ids) return undefined;
    if (!predefinedNames.every((name) => /^[0-9a-f]{64}$/.test(ids[name]))) return undefined;
    parseSubnet(subnet);
    return { version: 1, created, ids, subnet, forwardingEnabled };
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof TypeError || error instanceof EngineError) return undefined;
    throw error;
  }
}

/** The default bridge as any other network is defined. */
export function defaultDefinition(
  { ids, created }: NetworksRecord,
  bridge: {
    readonly name: string;
    readonly subnet: string;
    readonly gateway: string;
    readonly mtu: number;
    readonly range: string | undefined;
    readonly icc: boolean;
    readonly masquerade: boolean;
    readonly hostIp: string;
  },
): NetworkDefinition {
  return {
    id: ids.bridge,
    name: 'bridge',
    created,
    driver: 'bridge',
    internal: false,
    attachable: false,
    ipv4: true,
    ipv6: false,
    labels: {},
    options: {
      'com.docker.network.bridge.default_bridge': 'true',
      'com.docker.network.bridge.enable_icc': String(bridge.icc),
      'com.docker.network.bridge.enable_ip_masquerade': String(bridge.masquerade),
      'com.docker.network.bridge.host_binding_ipv4': bridge.hostIp,
      'com.docker.network.bridge.name': bridge.name,
      'com.docker.network.driver.mtu': String(bridge.mtu),
    },
    ipamOptions: undefined,
    configs: [{ subnet: bridge.subnet, gateway: bridge.gateway, ...(bridge.range && { ipRange: bridge.range }) }],
    chosenSubnets: { ipv4: false, ipv6: false },
    bridge: bridge.name,
    ownsBridge: true,
  };
}

export function describe(definition: NetworkDefinition, endpoints: readonly Endpoint[]): NetworkInfo {
  const { configs, bridge: _, ownsBridge: _owns, chosenSubnets: _chosen, parent: _parent, ...info } = definition;
  return { ...info, subnets: configs, endpoints };
}

/** `host` and `none`: no bridge, no endpoints. */
export function describeOthers({ ids, created }: NetworksRecord): NetworkInfo[] {
  const plain = {
    created,
    subnets: [],
    ipamOptions: undefined,
    internal: false,
    attachable: false,
    ipv4: true,
    ipv6: false,
    labels: {},
    options: {},
    endpoints: [],
  };
  return [
    { ...plain, id: ids.host, name: 'host', driver: 'host' },
    { ...plain, id: ids.none, name: 'none', driver: 'null' },
  ];
}
