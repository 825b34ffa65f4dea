import { randomBytes } from 'node:crypto';
import { mkdir, readFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { writeFileAtomic } from '../base/atomic-file.ts';
import { codeOf, EngineError } from '../base/errors.ts';
import { formatSubnet, parseSubnet, type Subnet } from './addresses.ts';
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

export interface BridgeDescription {
  readonly name: string;
  readonly subnet: string;
  readonly gateway: string;
  readonly mtu: number;
}

export function describePredefined(
  { ids, created }: NetworksRecord,
  bridge: BridgeDescription,
  endpoints: readonly Endpoint[],
): NetworkInfo[] {
  const plain = { created, subnets: [], internal: false, ipv6: false, labels: {}, options: {}, endpoints: [] };
  return [
    {
      ...plain,
      id: ids.bridge,
      name: 'bridge',
      driver: 'bridge',
      subnets: [{ subnet: bridge.subnet, gateway: bridge.gateway }],
      options: {
        'com.docker.network.bridge.default_bridge': 'true',
        'com.docker.network.bridge.enable_icc': 'true',
        'com.docker.network.bridge.enable_ip_masquerade': 'true',
        'com.docker.network.bridge.host_binding_ipv4': '0.0.0.0',
        'com.docker.network.bridge.name': bridge.name,
        'com.docker.network.driver.mtu': String(bridge.mtu),
      },
      endpoints,
    },
    { ...plain, id: ids.host, name: 'host', driver: 'host' },
    { ...plain, id: ids.none, name: 'none', driver: 'null' },
  ];
}
