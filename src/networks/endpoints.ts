import { randomBytes } from 'node:crypto';
import { EngineError } from '../base/errors.ts';
import { macOf, parseMac } from './addresses.ts';
import type { BridgeNetwork } from './bridge-network.ts';
import type { Endpoint, JoinRequest } from './networks.ts';
import { type DefaultRoutes, vethOf, type Wiring } from './sandboxes.ts';

/** The endpoint whose network leads out: the highest priority, then the first name. Internal ones lead nowhere. */
export function gatewayOf(endpoints: readonly Endpoint[], family: 'ipv4' | 'ipv6'): Endpoint | undefined {
  return endpoints
    .filter((endpoint) => (family === 'ipv4' ? endpoint.gateway : endpoint.ipv6?.gateway))
    .toSorted((a, b) => (b.priority ?? 0) - (a.priority ?? 0) || (a.network < b.network ? -1 : 1))[0];
}

export function routesOf(endpoints: readonly Endpoint[]): DefaultRoutes {
  const four = gatewayOf(endpoints, 'ipv4');
  const six = gatewayOf(endpoints, 'ipv6');
  return {
    ipv4: four && { interface: four.interface, gateway: four.gateway },
    ipv6: six?.ipv6 && { interface: six.interface, gateway: six.ipv6.gateway },
  };
}

/** The endpoint that ports are published by. */
export const publisherOf = (endpoints: readonly Endpoint[]) =>
  gatewayOf(endpoints, 'ipv4') ?? gatewayOf(endpoints, 'ipv6');

/** Where a published port leads. */
export const targetOf = ({ address, ipv6 }: Endpoint) => address || ipv6?.address || '';

export function wiringOf(network: BridgeNetwork, endpoint: Endpoint): Wiring {
  const { address, prefixLength, ipv6, mac } = endpoint;
  return {
    bridge: network.bridge,
    veth: vethOf(endpoint.id),
    interface: endpoint.interface,
    mac,
    ipv4: address === '' ? undefined : { address, prefixLength },
    ipv6: ipv6 && { address: ipv6.address, prefixLength: ipv6.prefixLength },
  };
}

/** The lowest number that none of the others has. */
export function freeInterface(prefix: string, others: readonly Endpoint[]): string {
  const taken = new Set(others.map((endpoint) => endpoint.interface));
  for (let number = 0; ; number++) if (!taken.has(`${prefix}${number}`)) return `${prefix}${number}`;
}

/** An endpoint with addresses of its own, which are taken when this returns. All or nothing. */
export function planEndpoint(
  containerId: string,
  network: BridgeNetwork,
  join: JoinRequest,
  others: readonly Endpoint[],
): Endpoint {
  const { addresses, addresses6, definition, bridge, options } = network;
  const mac = join.mac === undefined ? undefined : parseMac(join.mac);
  if (others.some((other) => other.interface === join.interface))
    throw new EngineError('conflict', `interface ${join.interface} is there already: another network has it`);
  const address = addresses ? take(addresses, join.address) : '';
  let address6: string | undefined;
  try {
    address6 = addresses6 && take(addresses6, join.address6);
  } catch (error) {
    addresses?.release(address);
    throw error;
  }
  return {
    id: randomBytes(32).toString('hex'),
    containerId,
    networkId: definition.id,
    network: definition.name,
    interface: join.interface ?? freeInterface(options.interfacePrefix, others),
    address,
    prefixLength: bridge.ipv4?.prefixLength ?? 0,
    gateway: definition.internal ? '' : (bridge.ipv4?.gateway ?? ''),
    ...(address6 !== undefined &&
      bridge.ipv6 && {
        ipv6: {
          address: address6,
          prefixLength: bridge.ipv6.prefixLength,
          gateway: definition.internal ? '' : bridge.ipv6.gateway,
        },
      }),
    mac: mac ?? (address === '' ? randomMac() : macOf(address)),
    ports: [],
    names: join.names ?? [],
    ...(join.links && { links: join.links }),
    priority: join.priority ?? 0,
  };
}

function take(pool: { take(): string; takeThis(address: string): boolean }, wanted: string | undefined): string {
  if (!wanted) return pool.take();
  if (!pool.takeThis(wanted)) throw new EngineError('forbidden', 'Address already in use');
  return wanted;
}

function randomMac(): string {
  return ['02', ...randomBytes(5).toString('hex').match(/../g)!].join(':');
}
