import { EngineError } from '../../base/errors.ts';
import type { Containers } from '../../containers/containers.ts';
import type { Events } from '../../events/bus.ts';
import type { NetworkInfo, Networks } from '../../networks/networks.ts';
import { Filters } from '../../protocol/filters.ts';
import { readConnectRequest, readDisconnectRequest, readNetworkRequest, readUntil } from '../network-requests.ts';
import { empty, json } from '../reply.ts';
import { del, get, post, type Route } from '../router.ts';

const predefined = ['bridge', 'host', 'none'];
const known = ['dangling', 'driver', 'id', 'label', 'label!', 'name', 'scope', 'type'] as const;

export interface NetworkRouteDeps {
  readonly networks: Networks;
  readonly containers: Containers;
  readonly events: Events;
}

export function networkRoutes({ networks, containers, events }: NetworkRouteDeps): Route[] {
  const nameOf = (id: string) => containers.list().find((container) => container.id === id)?.name ?? '';
  return [
    get('/networks', ({ query, version }) => {
      const filters = Filters.parse(query.get('filters'), known);
      filters.oneOf('type', ['custom', 'builtin']);
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
    get('/networks/:id', ({ params, query, version }) => {
      const verbose = query.get('verbose') ?? '';
      if (!/^(|1|t|T|TRUE|true|True|0|f|F|FALSE|false|False)$/.test(verbose))
        throw new EngineError(
          'invalid',
          `invalid value for verbose: ${verbose}: strconv.ParseBool: parsing ${JSON.stringify(verbose)}: invalid syntax`,
        );
      const network = networks.get(params['id']!);
      // All networks are this machine's alone.
      if (!['', 'local'].includes(query.get('scope') ?? ''))
        throw new EngineError('not-found', `network ${params['id']} not found`);
      const members = network.endpoints.map((endpoint) => [
        endpoint.containerId,
        {
          Name: nameOf(endpoint.containerId),
          EndpointID: endpoint.id,
          MacAddress: endpoint.mac,
          IPv4Address: endpoint.address === '' ? '' : `${endpoint.address}/${endpoint.prefixLength}`,
          IPv6Address: endpoint.ipv6 ? `${endpoint.ipv6.address}/${endpoint.ipv6.prefixLength}` : '',
        },
      ]);
      return json(200, { ...toWire(network, version), Containers: Object.fromEntries(members) });
    }),
    post('/networks/create', async (request) => {
      const { id } = await networks.create(readNetworkRequest(await request.json()));
      return json(201, { Id: id, Warning: '' });
    }),
    post('/networks/prune', async ({ query }) => {
      const filters = Filters.parse(query.get('filters'), ['label', 'label!', 'until']);
      const before = readUntil(filters.get('until'));
      const removed = await networks.prune(({ labels, created }) => filters.labels(labels) && before(created));
      events.emit({ type: 'network', action: 'prune', actor: { id: '', attributes: { reclaimed: '0' } } });
      return json(200, { NetworksDeleted: removed.length > 0 ? removed : null });
    }),
    post('/networks/:id/connect', async (request) => {
      const { container, settings } = readConnectRequest(await request.json());
      await containers.connect(container, request.params['id']!, settings);
      return { status: 200 };
    }),
    post('/networks/:id/disconnect', async (request) => {
      const { container, force } = readDisconnectRequest(await request.json());
      await containers.disconnect(container, request.params['id']!, { force });
      return { status: 200 };
    }),
    del('/networks/:id', async ({ params }) => {
      await networks.remove(params['id']!);
      return empty(204);
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
    ...(version >= 1048 && { EnableIPv4: network.ipv4 }),
    EnableIPv6: network.ipv6,
    IPAM: {
      Driver: 'default',
      Options: network.ipamOptions ?? null,
      Config:
        network.configOnly && network.subnets.length === 0
          ? null
          : network.subnets.map(({ subnet, ipRange, gateway, auxiliaryAddresses }) => ({
              Subnet: subnet,
              ...(ipRange !== undefined && { IPRange: ipRange }),
              ...(gateway !== undefined && { Gateway: gateway }),
              ...(auxiliaryAddresses && { AuxiliaryAddresses: auxiliaryAddresses }),
            })),
    },
    Internal: network.internal,
    Attachable: network.attachable,
    Ingress: false,
    ConfigFrom: { Network: network.configFrom ?? '' },
    ConfigOnly: network.configOnly ?? false,
    Containers: {},
    Options: network.options,
    Labels: network.labels,
  };
}
