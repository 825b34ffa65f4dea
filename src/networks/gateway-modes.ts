import { isIPv4, isIPv6 } from 'node:net';
import { EngineError } from '../base/errors.ts';
import type { Endpoint, PortRequest, PublishedPort } from './networks.ts';

/**
 * How the host is between a bridge's containers and the world. `nat`: they have its address, and only what is published is
 * reached. `nat-unprotected`: they have its address, and all their ports are reached by their own. `routed`: they keep their
 * own, and only published ports are reached by it. `isolated`: the host has no address on the bridge.
 */
export type GatewayMode = 'nat' | 'nat-unprotected' | 'routed' | 'isolated';

const modes: readonly string[] = ['nat', 'nat-unprotected', 'routed', 'isolated'] satisfies GatewayMode[];

export interface ForFamilies<T> {
  readonly ipv4: T;
  readonly ipv6: T;
}

type Options = Readonly<Record<string, string>>;

const unparsed = (option: string, value: string, why: string) =>
  new EngineError('invalid', `failed to parse ${option} value: ${value} (${why})`);

export function readGatewayModes(options: Options): ForFamilies<GatewayMode> {
  const read = (family: 'ipv4' | 'ipv6') => {
    const option = `com.docker.network.bridge.gateway_mode_${family}`;
    const mode = options[option] ?? 'nat';
    if (!modes.includes(mode)) throw unparsed(option, mode, `unknown gateway mode ${mode}`);
    return mode as GatewayMode;
  };
  return { ipv4: read('ipv4'), ipv6: read('ipv6') };
}

/** Docker answers 500. */
export function checkIsolated({ ipv4, ipv6 }: ForFamilies<GatewayMode>, internal: boolean): void {
  if (!internal && (ipv4 === 'isolated' || ipv6 === 'isolated'))
    throw new EngineError('internal', "gateway mode 'isolated' can only be used for an internal network");
}

/** What leaves the host has this address instead of that of the interface; '' is the latter. */
export function readHostAddresses(options: Options): ForFamilies<string> {
  const read = (family: 'ipv4' | 'ipv6', isRight: (text: string) => boolean) => {
    const option = `com.docker.network.host_${family}`;
    const address = options[option];
    if (address !== undefined && !isRight(address)) throw unparsed(option, address, 'nil ip');
    return address ?? '';
  };
  return { ipv4: read('ipv4', isIPv4), ipv6: read('ipv6', isIPv6) };
}

/** Interfaces of the host from which containers are reached by their own addresses. Docker parts them by colons. */
export function readTrustedInterfaces(options: Options): readonly string[] {
  const option = 'com.docker.network.bridge.trusted_host_interfaces';
  const names = (options[option] ?? '').split(':').filter(Boolean);
  const wrong = names.find((name) => !/^[\w.@-]{1,15}$/.test(name));
  if (wrong !== undefined) throw unparsed(option, options[option] ?? '', `invalid interface name ${wrong}`);
  return names;
}

/** How ports of a network are published. */
export interface Publishing {
  /** The address of the host for ports that name none; '' is all. */
  readonly binding: string;
  readonly modes: ForFamilies<GatewayMode>;
}

/** It is reached at the container's own address: no port of the host is taken for it. */
export const isOpened = ({ hostPort }: PublishedPort) => hostPort === 0;

/** Which of the ports that were asked for need one of the host, and which are opened on the container's own address. */
export function partRequests(
  requests: readonly PortRequest[],
  { binding, modes: { ipv4, ipv6 } }: Publishing,
  endpoint: Pick<Endpoint, 'address' | 'ipv6'>,
): { readonly held: readonly PortRequest[]; readonly opened: readonly PublishedPort[] } {
  const bound = requests.map((request) => ({ ...request, hostAddress: request.hostAddress || binding }));
  const routed = { ipv4: ipv4 === 'routed', ipv6: ipv6 === 'routed' };
  const wants = ({ hostAddress }: PortRequest, family: 'ipv4' | 'ipv6') =>
    hostAddress === '' || isIPv6(hostAddress) === (family === 'ipv6');
  const opened = bound.flatMap((request) => {
    const { port, protocol } = request;
    const at = (hostAddress: string): PublishedPort => ({ port, protocol, hostAddress, hostPort: 0 });
    return [
      ...(routed.ipv4 && endpoint.address !== '' && wants(request, 'ipv4') ? [at('0.0.0.0')] : []),
      ...(routed.ipv6 && endpoint.ipv6 && wants(request, 'ipv6') ? [at('::')] : []),
    ];
  });
  const held = bound.flatMap((request) => {
    const families = (['ipv4', 'ipv6'] as const).filter((family) => wants(request, family) && !routed[family]);
    if (families.length === 0) return [];
    if (request.hostAddress !== '' || families.length === 2) return [request];
    return [{ ...request, hostAddress: families[0] === 'ipv4' ? '0.0.0.0' : '::' }];
  });
  return { held, opened };
}
