import type { Container } from '../../containers/containers.ts';
import { parsePorts } from '../../protocol/ports.ts';
import type { ApiVersion } from '../../protocol/version.ts';

interface Binding {
  readonly HostIp: string;
  readonly HostPort: string;
}

/** Both families where a port is published on all addresses. */
function addressesOf(hostAddress: string): readonly string[] {
  return hostAddress === '' ? ['0.0.0.0', '::'] : [hostAddress];
}

/** `Ports` of inspect: what is published now, and null for what is only exposed. */
export function portMap(container: Container): Record<string, Binding[] | null> {
  const { attached, config } = container;
  // Without a way out nothing is published, and nothing is said of what could be.
  if (!canPublish(attached)) return {};
  const ports: Record<string, Binding[] | null> = {};
  for (const port of Object.keys(config.ExposedPorts ?? {})) ports[port] = null;
  for (const { port, protocol, hostAddress, hostPort } of attached.flatMap(({ ports }) => ports)) {
    const bindings = (ports[`${port}/${protocol}`] ??= []);
    for (const HostIp of addressesOf(hostAddress))
      bindings.push({ HostIp, HostPort: hostPort === 0 ? '' : String(hostPort) });
  }
  return ports;
}

/** Some network leads out by the host, which can translate then. */
const canPublish = (attached: Container['attached']) =>
  attached.some(({ gateway, ipv6, driver }) => driver === undefined && (gateway || ipv6?.gateway));

export interface ListPort {
  readonly IP?: string;
  readonly PrivatePort: number;
  readonly PublicPort?: number;
  readonly Type: string;
}

/** `Ports` of a list item. */
export function portList({ attached, config }: Container): ListPort[] {
  // Nothing is exposed where the host is not on the way.
  if (attached.every(({ driver }) => driver !== undefined)) return [];
  const ports: ListPort[] = [];
  const published = new Set<string>();
  for (const { port, protocol, hostAddress, hostPort } of attached.flatMap(({ ports }) => ports)) {
    published.add(`${port}/${protocol}`);
    for (const IP of addressesOf(hostAddress))
      ports.push({ IP, PrivatePort: port, ...(hostPort !== 0 && { PublicPort: hostPort }), Type: protocol });
  }
  for (const key of Object.keys(config.ExposedPorts ?? {})) {
    if (published.has(key)) continue;
    for (const { port, protocol } of parsePorts(key)) ports.push({ PrivatePort: port, Type: protocol });
  }
  return ports;
}

const predefined = ['bridge', 'host', 'none'];

/** Every network that the container is in or will be in, with what was asked and what it got. */
export function networksOf(container: Container, version: ApiVersion): Record<string, unknown> {
  const { attached, endpoints, id, name, config } = container;
  return Object.fromEntries(
    Object.entries(endpoints).map(([network, asked]) => {
      const got = attached.find((endpoint) => endpoint.network === network);
      // Predefined networks have no names of their own, and others none before the first start.
      const named = !predefined.includes(network) && (got || asked.NetworkID);
      const aliases = asked.Aliases ?? [];
      const names = got?.names ?? [...new Set([name, ...aliases, id.slice(0, 12), config.Hostname])].filter(Boolean);
      // As clients of that time read them.
      const old = version < 1045 && named ? [...new Set([...aliases, id.slice(0, 12)])] : aliases;
      return [
        network,
        {
          IPAMConfig: asked.IPAMConfig ?? null,
          Links: asked.Links ?? null,
          Aliases: old.length > 0 ? old : null,
          ...(version >= 1044 && { MacAddress: got?.mac ?? asked.MacAddress ?? '' }),
          DriverOpts: asked.DriverOpts ?? null,
          ...(version >= 1048 && { GwPriority: asked.GwPriority ?? 0 }),
          NetworkID: got?.networkId ?? asked.NetworkID ?? '',
          EndpointID: got?.id ?? '',
          Gateway: got?.gateway ?? '',
          IPAddress: got?.address ?? '',
          ...(version < 1044 && { MacAddress: got?.mac ?? '' }),
          IPPrefixLen: got?.prefixLength ?? 0,
          IPv6Gateway: got?.ipv6?.gateway ?? '',
          GlobalIPv6Address: got?.ipv6?.address ?? '',
          GlobalIPv6PrefixLen: got?.ipv6?.prefixLength ?? 0,
          ...(version >= 1044 && { DNSNames: named ? names : null }),
        },
      ];
    }),
  );
}
