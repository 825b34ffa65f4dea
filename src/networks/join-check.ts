import { isIPv4, isIPv6 } from 'node:net';
import { EngineError } from '../base/errors.ts';
import { isV4, joinFaults, parseBlock } from './definition.ts';
import type { EndpointNetwork } from './endpoint-network.ts';
import type { JoinRequest } from './networks.ts';

/** Refuses what a network cannot give, in Docker's words. Whether somebody has the address is seen when it is taken. */
export function checkJoin({ definition }: EndpointNetwork, join: JoinRequest): void {
  const { address, address6, interface: name } = join;
  const faults: string[] = [];
  if (name !== undefined && (!/^[\w.-]{1,15}$/.test(name) || ['.', '..', 'lo'].includes(name)))
    faults.push(`invalid interface name ${JSON.stringify(name)}`);
  if (definition.name === 'bridge') {
    if (address || address6) faults.push('user specified IP address is supported on user defined networks only');
  } else {
    for (const [asked, isRight, family, chosen] of [
      [address, isIPv4, 'IPv4', definition.chosenSubnets.ipv4],
      [address6, isIPv6, 'IPv6', definition.chosenSubnets.ipv6],
    ] as const) {
      if (!asked) continue;
      if (!isRight(asked)) faults.push(`invalid ${family} address: ${asked}`);
      if (!chosen)
        faults.push(
          'user specified IP address is supported only when connecting to networks with user configured subnets',
        );
      else if (
        !definition.configs.some(({ subnet }) => isV4(subnet) === (family === 'IPv4') && contains(subnet, asked))
      )
        faults.push(`no configured subnet or ip-range contain the IP address ${asked}`);
    }
  }
  if (faults.length > 0) throw new EngineError('invalid', `invalid endpoint settings:\n${joinFaults(faults)}`);
}

const contains = (subnet: string, address: string) => parseBlock(subnet)?.contains(address) ?? false;
