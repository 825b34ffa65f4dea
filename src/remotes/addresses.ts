import { BlockList, isIP, type LookupFunction } from 'node:net';
import { EngineError } from '../base/errors.ts';
import { RegistryError } from './errors.ts';

/**
 * Addresses that mean this machine, or the cloud's metadata service, to whoever connects to them. A registry on the
 * internet that sends its client there is after something that it can't reach itself (S33).
 */
type AddressClass = 'loopback' | 'link-local' | 'other';

function block(...subnets: readonly [string, number][]): BlockList {
  const list = new BlockList();
  for (const [net, prefix] of subnets) list.addSubnet(net, prefix, net.includes(':') ? 'ipv6' : 'ipv4');
  return list;
}

// The unspecified address connects to this machine on Linux.
const loopback = block(['127.0.0.0', 8], ['0.0.0.0', 8], ['::1', 128], ['::', 128]);
// With the metadata services that live outside of link-local: AWS over IPv6, Alibaba, Oracle.
const linkLocal = block(
  ['169.254.0.0', 16],
  ['fe80::', 10],
  ['fd00:ec2::', 32],
  ['100.100.100.200', 32],
  ['192.0.0.192', 32],
);

function classOf(address: string): AddressClass {
  const plain = embeddedIpv4(address.replace(/%.*$/, ''));
  const family = isIP(plain) === 6 ? 'ipv6' : 'ipv4';
  if (loopback.check(plain, family)) return 'loopback';
  return linkLocal.check(plain, family) ? 'link-local' : 'other';
}

/** The IPv4 address inside an IPv6 one: mapped (::ffff:0:0/96) or for NAT64 (64:ff9b::/96). */
function embeddedIpv4(address: string): string {
  if (isIP(address) !== 6) return address;
  const full = new URL(`http://[${address}]`).hostname.slice(1, -1);
  const match = /^(?:::ffff:|64:ff9b::)([0-9a-f]{1,4}):([0-9a-f]{1,4})$/.exec(full);
  if (!match) return full;
  const [high, low] = [Number.parseInt(match[1]!, 16), Number.parseInt(match[2]!, 16)];
  return [high >> 8, high & 255, low >> 8, low & 255].join('.');
}

/** Whether a host that a registry named may be connected to at this address. */
export interface AddressGuard {
  /** Guards with the same key decide alike. */
  readonly key: string;
  allows(address: string): boolean;
}

/** What the registry at `address` may send its client to: a registry on this machine may name others on it. */
export function guardFor(address: string | undefined): AddressGuard {
  const own = address === undefined ? 'other' : classOf(address);
  return {
    key: own === 'link-local' ? `only ${address}` : own,
    allows: (target) => {
      const asked = classOf(target);
      if (asked === 'other') return true;
      return asked === 'loopback' ? own === 'loopback' : target === address;
    },
  };
}

/** A name lookup that leaves only what the guard allows; the socket connects to what was checked, not to a second answer. */
export function guardedLookup(lookup: LookupFunction, guard: AddressGuard): LookupFunction {
  return (hostname, options, callback) =>
    lookup(hostname, options, (error, found, family) => {
      if (error) return callback(error, found, family);
      if (typeof found === 'string')
        return guard.allows(found) ? callback(null, found, family) : callback(refused(hostname, found), '', 0);
      const allowed = found.filter(({ address }) => guard.allows(address));
      if (allowed.length > 0) return callback(null, allowed);
      return callback(refused(hostname, found[0]?.address ?? 'no address'), []);
    });
}

/** For hosts that are addresses themselves: no lookup happens for those. */
export function checkLiteral(hostname: string, guard: AddressGuard): void {
  const bare = hostname.replace(/^\[|\]$/g, '');
  if (isIP(bare) !== 0 && !guard.allows(bare)) throw refused(hostname, bare);
}

function refused(hostname: string, address: string): RegistryError {
  return new RegistryError(
    'forbidden',
    `the registry sends its client to ${hostname} (${address}), an address that only this machine can reach; refused`,
  );
}

/** Addresses by CIDR block; throws `invalid` for what is none. */
export function parseBlock(text: string): BlockList {
  const [net = '', prefix = ''] = text.split('/');
  const family = isIP(net);
  const bits = Number(prefix);
  if (family === 0 || !/^\d+$/.test(prefix) || bits > (family === 6 ? 128 : 32))
    throw new EngineError('invalid', `invalid CIDR block ${JSON.stringify(text)}`);
  return block([net, bits]);
}
