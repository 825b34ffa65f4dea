import { isIPv6 } from 'node:net';
import type { NetworkInterfaceInfo } from 'node:os';

export interface HostAddress {
  readonly address: string;
  readonly interface: string;
}

export type Scope = 'internet' | 'local network' | 'link';

export interface ReachedAt extends HostAddress {
  /** Who may come by it, as far as the address says. */
  readonly scope: Scope;
}

export interface Reach {
  /** Loopback only. */
  readonly localOnly: boolean;
  readonly at: readonly ReachedAt[];
  /** Published on an address that no interface has now. */
  readonly lost: readonly string[];
}

/** Bridges and ends of cables that lead to containers and virtual machines, not to anybody else. */
const inner = /^(?:lo|docker\d+|br-[0-9a-f]{12}|veth\w*|bth[0-9a-f]+|virbr\d+|vnet\d+|tap\w*)$/;

export function outerAddresses(
  interfaces: Readonly<Record<string, readonly NetworkInterfaceInfo[] | undefined>>,
  bridge: string,
): readonly HostAddress[] {
  return Object.entries(interfaces)
    .filter(([name]) => name !== bridge && !inner.test(name))
    .flatMap(([name, infos]) => (infos ?? []).map(({ address }) => ({ address, interface: name })));
}

/** Who can reach a port that is published on these addresses, before any firewall. */
export function reachOf(published: readonly string[], host: readonly HostAddress[]): Reach {
  const at: ReachedAt[] = [];
  const lost: string[] = [];
  for (const address of new Set(published.filter((one) => !isLoopback(one)))) {
    const found = host.filter((own) =>
      address === '0.0.0.0'
        ? !isIPv6(own.address)
        : address === '::'
          ? isIPv6(own.address)
          : own.address === address || address === '',
    );
    if (found.length === 0 && !isAny(address)) lost.push(address);
    for (const one of found)
      if (!at.some((known) => known.address === one.address)) at.push({ ...one, scope: scopeOf(one.address) });
  }
  return { localOnly: published.every(isLoopback), at, lost };
}

/** `this machine only`; `the internet at 203.0.113.5 (eth0)`, the widest first. */
export function reachText({ localOnly, at, lost }: Reach): string {
  if (localOnly) return 'this machine only';
  const parts = (['internet', 'local network'] as const).flatMap((scope) => {
    const own = at.filter((one) => one.scope === scope).map((one) => `${one.address} (${one.interface})`);
    return own.length > 0 ? [`the ${scope} at ${own.join(', ')}`] : [];
  });
  const links = at.filter(({ scope }) => scope === 'link');
  if (parts.length === 0 && links.length > 0)
    parts.push(`neighbours on the link at ${links.map((one) => `${one.address} (${one.interface})`).join(', ')}`);
  parts.push(...lost.map((address) => `nobody at ${address}: no interface has it now`));
  return parts.length > 0 ? parts.join('; ') : 'this machine and its containers: there is no other network';
}

const isAny = (address: string) => address === '' || address === '0.0.0.0' || address === '::';
const isLoopback = (address: string) => /^127\./.test(address) || address === '::1';

export function scopeOf(address: string): Scope {
  if (isIPv6(address)) {
    if (/^fe[89ab]/i.test(address)) return 'link';
    return /^f[cd]/i.test(address) ? 'local network' : 'internet';
  }
  const [a = 0, b = 0] = address.split('.').map(Number);
  if (a === 169 && b === 254) return 'link';
  // The last is what providers and overlay VPNs share out.
  const inside =
    a === 10 || (a === 172 && b >= 16 && b < 32) || (a === 192 && b === 168) || (a === 100 && b >= 64 && b < 128);
  return inside ? 'local network' : 'internet';
}
