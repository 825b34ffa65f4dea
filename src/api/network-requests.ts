import { EngineError } from '../base/errors.ts';
import { onlyConfiguration } from '../networks/config-only.ts';
import type { NetworkRequest } from '../networks/definition.ts';
import type { EndpointSettings } from '../protocol/container.ts';
import { endpoint } from '../protocol/create-fields.ts';
import { boolean, list, object, string, stringMap } from '../protocol/decode.ts';
import { nowNano, parseMoment, parseTime } from '../protocol/time.ts';

const createFields = object('CreateRequest', {
  Name: string,
  Driver: string,
  Scope: string,
  EnableIPv4: boolean,
  EnableIPv6: boolean,
  IPAM: object('IPAM', {
    Driver: string,
    Options: stringMap,
    Config: list(
      object('IPAMConfig', { Subnet: string, IPRange: string, Gateway: string, AuxiliaryAddresses: stringMap }),
      { type: '[]network.IPAMConfig' },
    ),
  }),
  Internal: boolean,
  Attachable: boolean,
  Ingress: boolean,
  ConfigOnly: boolean,
  ConfigFrom: object('ConfigReference', { Network: string }),
  Options: stringMap,
  Labels: stringMap,
});

/** The body of `POST /networks/create`. What belongs to clusters is refused here. */
export function readNetworkRequest(body: unknown): NetworkRequest {
  const fields = createFields(body) ?? {};
  const { IPAM = {} } = fields;
  if (fields.ConfigOnly && (fields.Scope || fields.Ingress)) throw onlyConfiguration();
  if (fields.Scope === 'swarm')
    throw new EngineError('forbidden', 'cannot create a swarm scoped network when swarm is not active');
  if (fields.Ingress) throw new EngineError('forbidden', 'Ingress network can only be global scope network');
  return {
    name: fields.Name ?? '',
    driver: fields.Driver ?? '',
    internal: fields.Internal ?? false,
    attachable: fields.Attachable ?? false,
    ipv4: fields.EnableIPv4 ?? true,
    ipv6: fields.EnableIPv6 ?? false,
    labels: fields.Labels ?? {},
    options: fields.Options ?? {},
    ipam: {
      driver: IPAM.Driver ?? '',
      options: IPAM.Options,
      configs: (IPAM.Config ?? []).map((config) => ({
        subnet: config?.Subnet ?? '',
        ...(config?.IPRange && { ipRange: config.IPRange }),
        ...(config?.Gateway && { gateway: config.Gateway }),
        ...(config?.AuxiliaryAddresses && { auxiliaryAddresses: config.AuxiliaryAddresses }),
      })),
    },
    ...(fields.ConfigOnly && { configOnly: true }),
    ...(fields.ConfigFrom?.Network && { configFrom: fields.ConfigFrom.Network }),
  };
}

const connectFields = object('ConnectOptions', { Container: string, EndpointConfig: endpoint });

export function readConnectRequest(body: unknown) {
  const { Container, EndpointConfig = {} } = connectFields(body) ?? {};
  return { container: named(Container), settings: EndpointConfig as EndpointSettings };
}

const disconnectFields = object('DisconnectOptions', { Container: string, Force: boolean });

export function readDisconnectRequest(body: unknown) {
  const { Container, Force = false } = disconnectFields(body) ?? {};
  return { container: named(Container), force: Force };
}

function named(container: string | undefined): string {
  if (container) return container;
  throw new EngineError('invalid', 'invalid name or ID supplied: ""');
}

/** The filter `until` of a prune: what was made before one moment. */
export function readUntil(values: readonly string[]): (created: string) => boolean {
  if (values.length === 0) return () => true;
  if (values.length > 1) throw new EngineError('invalid', 'more than one until filter specified');
  const moment = parseMoment(values[0]!, nowNano());
  if (moment === undefined)
    throw new EngineError('invalid', `failed to parse value as time or duration: ${JSON.stringify(values[0])}`);
  return (created) => (parseTime(created) ?? 0n) < moment;
}
