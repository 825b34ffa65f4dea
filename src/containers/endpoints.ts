import { EngineError, messageOf } from '../base/errors.ts';
import type { JoinRequest } from '../networks/networks.ts';
import type { EndpointSettings } from '../protocol/container.ts';
import type { ContainerRecord } from './record.ts';
import type { Room } from './room.ts';

/** What is not a network that somebody made: it knows no names and no addresses of one's choice. */
export const isPredefined = (network: string) => ['bridge', 'host', 'none'].includes(network);

/** By the names of networks, with the container's own mode among them. One that is not there yet stays as it was asked for. */
export function endpointsOf(
  { deps }: Room,
  mode: string,
  asked: Readonly<Record<string, EndpointSettings>>,
): Readonly<Record<string, EndpointSettings>> {
  if (mode.startsWith('container:')) return asked;
  const nameOf = (network: string) => {
    try {
      return deps.networks.get(network).name;
    } catch {
      return network;
    }
  };
  const named = Object.entries(asked).map(([network, settings]) => [nameOf(network), settings] as const);
  return { [nameOf(mode)]: {}, ...Object.fromEntries(named) };
}

/** What can be told of them before a start, in Docker's words. Whether a network is there is seen at the start. */
export function checkEndpoints({ deps }: Room, endpoints: Readonly<Record<string, EndpointSettings>>): void {
  for (const [network, settings] of Object.entries(endpoints)) {
    try {
      checkSettings(network, settings);
      if (!['host', 'none'].includes(network)) deps.networks.check(joinOf(network, settings));
    } catch (cause) {
      if (cause instanceof EngineError && cause.kind === 'not-found') continue;
      throw new EngineError('invalid', `invalid config for network ${network}: ${messageOf(cause)}`, { cause });
    }
  }
}

export function checkSettings(network: string, { Aliases, IPAMConfig }: EndpointSettings): void {
  if (!isPredefined(network)) return;
  const bad = (why: string) => new EngineError('invalid', `invalid endpoint settings:\n${why}`);
  if (Aliases?.length) throw bad('network-scoped alias is supported only for containers in user defined networks');
  if (IPAMConfig?.IPv4Address || IPAMConfig?.IPv6Address)
    throw bad('user specified IP address is supported on user defined networks only');
}

const interfaceOption = 'com.docker.network.endpoint.ifname';

function joinOf(network: string, settings: EndpointSettings): JoinRequest {
  const { IPAMConfig, GwPriority, MacAddress, DriverOpts } = settings;
  return {
    network,
    mac: MacAddress || undefined,
    interface: DriverOpts?.[interfaceOption] || undefined,
    address: IPAMConfig?.IPv4Address || undefined,
    address6: IPAMConfig?.IPv6Address || undefined,
    priority: GwPriority ?? 0,
  };
}

/** What the container is called in a network: its name, its aliases there, the short form of its id, its host name. */
export function namesIn({ id, name, endpoints, config }: ContainerNamesOf, network: string): readonly string[] {
  return [...new Set([name, ...(endpoints[network]?.Aliases ?? []), id.slice(0, 12), config.Hostname])].filter(Boolean);
}

type ContainerNamesOf = Pick<ContainerRecord, 'id' | 'name' | 'endpoints' | 'config'>;

/** Its place in one network, as it was asked for. */
export function joinRequest(room: Room, container: ContainerRecord, network: string): JoinRequest {
  const settings = container.endpoints[network] ?? {};
  const isMode = network === modeNetwork(container);
  const mac = settings.MacAddress || (isMode ? container.config.MacAddress : undefined) || undefined;
  return {
    // The predefined ones are always there, by whatever id.
    ...joinOf((!isPredefined(network) && settings.NetworkID) || network, settings),
    mac,
    names: namesIn(container, network),
    ...linksIn(room, [...(settings.Links ?? []), ...((isMode && container.hostConfig.Links) || [])]),
  };
}

/** `name:alias`, or a name that is its own alias. The other is known by the short form of its id, which it keeps. */
function linksIn({ store }: Room, links: readonly string[]): Pick<JoinRequest, 'links'> {
  if (links.length === 0) return {};
  const pairs = links.map((link) => {
    const [name = '', alias = name] = link.split(':');
    return [alias.replace(/^\//, '').toLowerCase(), store.find(name)?.id.slice(0, 12) ?? name.replace(/^\//, '')];
  });
  return { links: Object.fromEntries(pairs) };
}

/** The networks to join, in order: that of its mode is the first, the others by their names. */
export function networksToJoin(container: ContainerRecord): readonly string[] {
  const first = modeNetwork(container);
  return Object.keys(container.endpoints).toSorted((a, b) => {
    if (a === first || b === first) return a === first ? -1 : 1;
    return a < b ? -1 : 1;
  });
}

/** The mode is a name, or an id when it was asked for by id: then it is the key that was made of it at first. */
function modeNetwork({ endpoints, hostConfig }: ContainerRecord): string {
  return hostConfig.NetworkMode in endpoints ? hostConfig.NetworkMode : (Object.keys(endpoints)[0] ?? '');
}
