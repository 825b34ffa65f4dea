import { EngineError } from '../base/errors.ts';
import type { NetworkDefinition, NetworkRequest } from './definition.ts';

const forbidden = (message: string) => new EngineError('forbidden', message);

/** A network that only holds a configuration says what its driver is to do, not how a cluster or a host uses it. */
export function checkConfiguration({ internal, attachable, configFrom }: NetworkRequest): void {
  if (internal || attachable) throw onlyConfiguration();
  if (configFrom) throw forbidden('a configuration network cannot depend on another configuration network');
}

export const onlyConfiguration = () =>
  forbidden(
    'configuration network can only contain network specific fields. Network operator fields like [ ingress | internal | attachable | scope ] are not supported.',
  );

/** What was asked for with `--config-from`, with the configuration that it names; its name stays in the record. */
export function withConfiguration(
  request: NetworkRequest,
  configurations: readonly NetworkDefinition[],
): NetworkRequest {
  const { configFrom, ipam, ipv4, ipv6, labels, options } = request;
  if (!configFrom) return request;
  const given = ipam.configs.length > 0 || Object.keys(ipam.options ?? {}).length > 0 || !isDefault(ipam.driver);
  if (given || !ipv4 || ipv6 || Object.keys(labels).length > 0)
    throw forbidden(
      'user specified configurations are not supported if the network depends on a configuration network',
    );
  if (Object.keys(options).length > 0)
    throw forbidden('network driver options are not supported if the network depends on a configuration network');
  const found = configurations.find(({ name }) => name === configFrom);
  if (!found) throw new EngineError('not-found', `configuration network "${configFrom}" does not exist`);
  return {
    ...request,
    ipv4: found.ipv4,
    ipv6: found.ipv6,
    labels: found.labels,
    options: found.options,
    ipam: { driver: ipam.driver, options: found.ipamOptions, configs: found.configs },
  };
}

const isDefault = (driver: string) => ['', 'default'].includes(driver);

/** Refused as long as a network was made of it: its name is what that one shows. */
export function checkUnused(configuration: NetworkDefinition, networks: readonly NetworkDefinition[]): void {
  if (networks.some(({ configFrom }) => configFrom === configuration.name))
    throw forbidden(`error while removing network: configuration network "${configuration.name}" is in use`);
}
