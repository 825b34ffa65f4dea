import { readdirSync, readFileSync } from 'node:fs';
import { codeOf } from '../base/errors.ts';
import { chooseSubnet, parseRoutes, type Route, type Subnet } from './addresses.ts';
import { parseResolver, publicServers, readResolver } from './resolver.ts';

/** Where the servers behind systemd-resolved's stub stand. */
export const upstreamResolvConf = '/run/systemd/resolve/resolv.conf';

/** A subnet for the default bridge in which neither a route nor a name server of this host lies. */
export function freeSubnet(resolvConf: string): Subnet {
  const { resolver } = readResolver({ main: resolvConf, upstream: upstreamResolvConf });
  return chooseSubnet(hostRoutes(), resolver.servers);
}

export function hostRoutes(): Route[] {
  return parseRoutes(readFileSync('/proc/self/net/route', 'utf8'));
}

/** The name servers that this host itself asks: also those on its loopback. Docker's where it has none. */
export function hostServers(resolvConf: string): readonly string[] {
  let text = '';
  try {
    text = readFileSync(resolvConf, 'utf8');
  } catch {
    // No file is no servers: resolv.conf(5) allows it.
  }
  const { servers } = parseResolver(text);
  return servers.length > 0 ? servers : publicServers;
}

/** The kernel's range for ports that nobody chose. */
export function ephemeralPorts(): { readonly first: number; readonly last: number } {
  const [first = 32_768, last = 60_999] = readFileSync('/proc/sys/net/ipv4/ip_local_port_range', 'utf8')
    .trim()
    .split(/\s+/)
    .map(Number);
  return { first, last };
}

/** Without an address on loopback nothing of IPv6 can be held: it is disabled, or not in the kernel. */
export function hasIpv6(): boolean {
  try {
    return readFileSync('/proc/self/net/if_inet6', 'utf8').includes(`${'0'.repeat(31)}1`);
  } catch {
    return false;
  }
}

/** The names of this namespace's interfaces. */
export function interfaceNames(): string[] {
  const table = readFileSync('/proc/self/net/dev', 'utf8');
  return table.split('\n').flatMap((line) => /^ *([^:|]+):/.exec(line)?.[1] ?? []);
}

/** Nothing is in it, or it does not exist. */
export function isEmpty(directory: string): boolean {
  try {
    return readdirSync(directory).length === 0;
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return true;
    throw error;
  }
}
