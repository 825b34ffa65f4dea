import { randomBytes } from 'node:crypto';
import { EngineError } from '../base/errors.ts';
import { macOf, parseMac } from './addresses.ts';
import { BridgeNetwork } from './bridge-network.ts';
import type { EndpointNetwork, Range } from './endpoint-network.ts';
import type { Endpoint, JoinRequest } from './networks.ts';
import type { ParentNetwork } from './parent-network.ts';
import { type DefaultRoutes, type PluggedLink, vethOf, type Wiring } from './sandboxes.ts';

/** The endpoint whose network leads out: the highest priority, then the first name. Internal ones lead nowhere. */
export function gatewayOf(endpoints: readonly Endpoint[], family: 'ipv4' | 'ipv6'): Endpoint | undefined {
  return endpoints
    .filter((endpoint) => leadsOut(endpoint, family))
    .toSorted((a, b) => (b.priority ?? 0) - (a.priority ?? 0) || (a.network < b.network ? -1 : 1))[0];
}

const leadsOut = ({ address, gateway, ipv6, isRouted }: Endpoint, family: 'ipv4' | 'ipv6') =>
  family === 'ipv4' ? address !== '' && (gateway !== '' || isRouted) : ipv6 && (ipv6.gateway !== '' || isRouted);

export function routesOf(endpoints: readonly Endpoint[]): DefaultRoutes {
  const four = gatewayOf(endpoints, 'ipv4');
  const six = gatewayOf(endpoints, 'ipv6');
  return {
    ipv4: four && { interface: four.interface, gateway: four.gateway },
    ipv6: six?.ipv6 && { interface: six.interface, gateway: six.ipv6.gateway },
  };
}

/** The endpoint that ports are published by. None where the way out does not pass the host: it could translate nothing. */
export function publisherOf(endpoints: readonly Endpoint[]): Endpoint | undefined {
  const way = gatewayOf(endpoints, 'ipv4') ?? gatewayOf(endpoints, 'ipv6');
  return way?.driver === undefined ? way : undefined;
}

/** What is to be undone when it leaves a namespace that stays. */
export const linkOf = ({ id, driver, interface: name }: Endpoint): PluggedLink =>
  driver === undefined ? { veth: vethOf(id) } : { interface: name };

/** The interfaces that do not go with a bridge's ports. */
export const standingOf = (endpoints: readonly Endpoint[]) =>
  endpoints.filter(({ driver }) => driver !== undefined).map((endpoint) => endpoint.interface);

/** Where a published port leads. */
export const targetOf = ({ address, ipv6 }: Endpoint) => address || ipv6?.address || '';

export function wiringOf(network: EndpointNetwork, endpoint: Endpoint): Wiring {
  const { address, prefixLength, ipv6, mac } = endpoint;
  const inside = {
    interface: endpoint.interface,
    mac,
    ipv4: address === '' ? undefined : { address, prefixLength },
    ipv6: ipv6 && { address: ipv6.address, prefixLength: ipv6.prefixLength },
  };
  return network instanceof BridgeNetwork
    ? { ...inside, bridge: network.bridge, veth: vethOf(endpoint.id) }
    : { ...inside, parent: (network as ParentNetwork).parent };
}

/** The lowest number that none of the others has. */
export function freeInterface(prefix: string, others: readonly Endpoint[]): string {
  const taken = new Set(others.map((endpoint) => endpoint.interface));
  for (let number = 0; ; number++) if (!taken.has(`${prefix}${number}`)) return `${prefix}${number}`;
}

/** An endpoint with addresses of its own, which are taken when this returns. All or nothing. */
export function planEndpoint(
  containerId: string,
  network: EndpointNetwork,
  join: JoinRequest,
  others: readonly Endpoint[],
): Endpoint {
  const { definition, driver, isRouted, hasMacs } = network;
  if (join.mac !== undefined && !hasMacs)
    throw new EngineError(
      'invalid',
      `failed to create endpoint ${join.names?.[0] ?? containerId} on network ${definition.name}: ipvlan interfaces do not support custom mac address assignment`,
    );
  const mac = join.mac === undefined ? undefined : parseMac(join.mac);
  if (others.some((other) => other.interface === join.interface))
    throw new EngineError('conflict', `interface ${join.interface} is there already: another network has it`);
  const four = take(network.ipv4, join.address);
  let six: Taken | undefined;
  try {
    six = take(network.ipv6, join.address6);
  } catch (error) {
    network.release({ address: four?.address ?? '' });
    throw error;
  }
  const gateway = (taken: Taken | undefined) => (definition.internal || isRouted ? '' : (taken?.gateway ?? ''));
  const address = four?.address ?? '';
  return {
    id: randomBytes(32).toString('hex'),
    containerId,
    networkId: definition.id,
    network: definition.name,
    interface: join.interface ?? freeInterface(network.interfacePrefix, others),
    address,
    prefixLength: four?.prefixLength ?? 0,
    gateway: gateway(four),
    ...(six && { ipv6: { address: six.address, prefixLength: six.prefixLength, gateway: gateway(six) } }),
    mac: hasMacs ? (mac ?? (address === '' ? randomMac() : macOf(address))) : '',
    ports: [],
    names: join.names ?? [],
    ...(join.links && { links: join.links }),
    priority: join.priority ?? 0,
    ...(driver && { driver }),
    ...(isRouted && { isRouted }),
  };
}

interface Taken {
  readonly address: string;
  readonly prefixLength: number;
  readonly gateway: string;
}

interface Pool {
  take(): string;
  takeThis(address: string): boolean;
}

/** From the first subnet that has one, or the one that was asked for. Undefined where the network has none of the family. */
function take(ranges: readonly Range<Pool>[], wanted: string | undefined): Taken | undefined {
  let full: unknown;
  for (const { pool, prefixLength, gateway } of ranges) {
    if (wanted) {
      if (pool.takeThis(wanted)) return { address: wanted, prefixLength, gateway };
      continue;
    }
    try {
      return { address: pool.take(), prefixLength, gateway };
    } catch (error) {
      full ??= error;
    }
  }
  if (ranges.length === 0) return undefined;
  throw full ?? new EngineError('forbidden', 'Address already in use', { code: 'E_ADDRESS_IN_USE' });
}

function randomMac(): string {
  return ['02', ...randomBytes(5).toString('hex').match(/../g)!].join(':');
}
