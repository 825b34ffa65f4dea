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
  const { endpoint, config } = container;
  if (!endpoint) return {};
  const ports: Record<string, Binding[] | null> = {};
  for (const port of Object.keys(config.ExposedPorts ?? {})) ports[port] = null;
  for (const { port, protocol, hostAddress, hostPort } of endpoint.ports) {
    const bindings = (ports[`${port}/${protocol}`] ??= []);
    for (const HostIp of addressesOf(hostAddress)) bindings.push({ HostIp, HostPort: String(hostPort) });
  }
  return ports;
}

export interface ListPort {
  readonly IP?: string;
  readonly PrivatePort: number;
  readonly PublicPort?: number;
  readonly Type: string;
}

/** `Ports` of a list item. */
export function portList({ endpoint, config }: Container): ListPort[] {
  if (!endpoint) return [];
  const ports: ListPort[] = [];
  const published = new Set<string>();
  for (const { port, protocol, hostAddress, hostPort } of endpoint.ports) {
    published.add(`${port}/${protocol}`);
    for (const IP of addressesOf(hostAddress))
      ports.push({ IP, PrivatePort: port, PublicPort: hostPort, Type: protocol });
  }
  for (const key of Object.keys(config.ExposedPorts ?? {})) {
    if (published.has(key)) continue;
    for (const { port, protocol } of parsePorts(key)) ports.push({ PrivatePort: port, Type: protocol });
  }
  return ports;
}

/** Every network that the container is in or will be in, with what was asked and what it got. */
export function networksOf(container: Container, version: ApiVersion): Record<string, unknown> {
  const { endpoint, endpoints, hostConfig, id, name } = container;
  const mode = hostConfig.NetworkMode;
  if (mode.startsWith('container:')) return {};
  const names = new Set([endpoint?.network ?? mode, ...Object.keys(endpoints)]);
  return Object.fromEntries(
    [...names].map((network) => {
      const asked = endpoints[network] ?? {};
      const got = endpoint?.network === network ? endpoint : undefined;
      // Predefined networks have no names of their own.
      const names = ['bridge', 'host', 'none'].includes(network)
        ? null
        : [name, ...(asked.Aliases ?? []), id.slice(0, 12)];
      return [
        network,
        {
          IPAMConfig: asked.IPAMConfig ?? null,
          Links: asked.Links ?? null,
          Aliases: asked.Aliases ?? null,
          ...(version >= 1044 && { MacAddress: got?.mac ?? asked.MacAddress ?? '' }),
          DriverOpts: asked.DriverOpts ?? null,
          ...(version >= 1048 && { GwPriority: asked.GwPriority ?? 0 }),
          NetworkID: got?.networkId ?? '',
          EndpointID: got?.id ?? '',
          Gateway: got?.gateway ?? '',
          IPAddress: got?.address ?? '',
          ...(version < 1044 && { MacAddress: got?.mac ?? '' }),
          IPPrefixLen: got?.prefixLength ?? 0,
          IPv6Gateway: '',
          GlobalIPv6Address: '',
          GlobalIPv6PrefixLen: 0,
          ...(version >= 1044 && { DNSNames: names }),
        },
      ];
    }),
  );
}
