import type { Containers } from '../../containers/containers.ts';
import type { NetworkInfo, Networks } from '../../networks/networks.ts';
import { Filters } from '../../protocol/filters.ts';
import { json } from '../reply.ts';
import { get, type Route } from '../router.ts';

const predefined = ['bridge', 'host', 'none'];
const known = ['dangling', 'driver', 'id', 'label', 'label!', 'name', 'scope', 'type'] as const;

export interface NetworkRouteDeps {
  readonly networks: Networks;
  readonly containers: Containers;
}

export function networkRoutes({ networks, containers }: NetworkRouteDeps): Route[] {
  const nameOf = (id: string) => containers.list().find((container) => container.id === id)?.name ?? '';
  return [
    get('/networks', ({ query, version }) => {
      const filters = Filters.parse(query.get('filters'), known);
      filters.oneOf('type', ['custom', 'builtin']);
      filters.oneOf('scope', ['local', 'swarm', 'global']);
      const dangling = filters.boolean('dangling');
      const chosen = networks.list().filter((network) => {
        const builtin = predefined.includes(network.name);
        return (
          filters.matches('name', network.name) &&
          filters.matches('id', network.id) &&
          filters.exact('driver', network.driver) &&
          filters.exact('scope', 'local') &&
          filters.labels(network.labels) &&
          filters.exact('type', builtin ? 'builtin' : 'custom') &&
          (dangling === undefined || dangling === (!builtin && network.endpoints.length === 0))
        );
      });
      return json(
        200,
        chosen.map((network) => ({ ...toWire(network, version), Containers: {} })),
      );
    }),
    get('/networks/:id', ({ params, version }) => {
      const network = networks.get(params['id']!);
      const members = network.endpoints.map((endpoint) => [
        endpoint.containerId,
        {
          Name: nameOf(endpoint.containerId),
          EndpointID: endpoint.id,
          MacAddress: endpoint.mac,
          IPv4Address: endpoint.address === '' ? '' : `${endpoint.address}/${endpoint.prefixLength}`,
          IPv6Address: '',
        },
      ]);
      return json(200, { ...toWire(network, version), Containers: Object.fromEntries(members) });
    }),
  ];
}

function toWire(network: NetworkInfo, version: number) {
  return {
    Name: network.name,
    Id: network.id,
    Created: network.created,
    Scope: 'local',
    Driver: network.driver,
    ...(version >= 1048 && { EnableIPv4: true }),
    EnableIPv6: network.ipv6,
    IPAM: {
      Driver: 'default',
      Options: null,
      Config: network.subnets.map(({ subnet, gateway }) => ({
        Subnet: subnet,
        ...(gateway !== '' && { Gateway: gateway }),
      })),
    },
    Internal: network.internal,
    Attachable: false,
    Ingress: false,
    ConfigFrom: { Network: '' },
    ConfigOnly: false,
    Containers: {},
    Options: network.options,
    Labels: network.labels,
  };
}
