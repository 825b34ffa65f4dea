import { EngineError } from '../base/errors.ts';

export interface Subnet {
  readonly base: number;
  readonly prefixLength: number;
}

export function parseSubnet(text: string): Subnet {
  const [address = '', length = ''] = text.split('/');
  const base = parseAddress(address);
  const prefixLength = Number(length);
  if (base === undefined || !/^\d{1,2}$/.test(length) || prefixLength < 8 || prefixLength > 30)
    throw new EngineError('invalid', `invalid subnet ${text}: an IPv4 subnet from /8 to /30 is needed`);
  return { base: (base & mask(prefixLength)) >>> 0, prefixLength };
}

/** Any block, /0 to /32; undefined when it is none. */
export function parseBlock4(text: string): Subnet | undefined {
  const [address = '', length = ''] = text.split('/');
  const base = parseAddress(address);
  const prefixLength = Number(length);
  if (base === undefined || !/^\d{1,2}$/.test(length) || prefixLength > 32) return undefined;
  return { base: prefixLength === 0 ? 0 : (base & mask(prefixLength)) >>> 0, prefixLength };
}

export const formatSubnet = ({ base, prefixLength }: Subnet) => `${formatAddress(base)}/${prefixLength}`;

export function parseAddress(text: string): number | undefined {
  const parts = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(text)?.slice(1).map(Number);
  if (!parts || parts.some((part) => part > 255)) return undefined;
  return parts.reduce((sum, part) => sum * 256 + part, 0);
}

export const formatAddress = (address: number) =>
  [address >>> 24, (address >>> 16) & 255, (address >>> 8) & 255, address & 255].join('.');

export const contains = (subnet: Subnet, address: number) => address >= subnet.base && address <= last(subnet);

const mask = (prefixLength: number) => (0xffffffff << (32 - prefixLength)) >>> 0;
const last = ({ base, prefixLength }: Subnet) => (base | ~mask(prefixLength)) >>> 0;

export const overlap = (a: Subnet, b: Subnet) => a.base <= last(b) && b.base <= last(a);

/** What the default bridge may use when none is configured, in this order. Docker's own 172.17.0.0/16 is not among them. */
const candidates = [
  ...[29, 28, 27, 26, 25, 24, 23, 22, 21, 20, 30, 31, 19, 18].map((second) => `172.${second}.0.0/16`),
  ...Array.from({ length: 16 }, (_, index) => `192.168.${index * 16}.0/20`),
].map(parseSubnet);

/** For networks without a subnet of their own, behind what the default bridge chooses from: 4,096 of 1,021 addresses. */
const morePools: Subnet = parseSubnet('10.192.0.0/10');
const morePrefix = 22;

const poolCount = candidates.length + 2 ** (morePrefix - morePools.prefixLength);

/** In the order in which they are chosen. */
function poolAt(at: number): Subnet {
  const candidate = candidates[at];
  if (candidate) return candidate;
  return { base: morePools.base + (at - candidates.length) * 2 ** (32 - morePrefix), prefixLength: morePrefix };
}

/**
 * The subnets of all networks. Most of them are pools, told apart by a key: to compare each pool with each of thousands of
 * networks takes too long.
 */
export class TakenSubnets {
  readonly #all = new Map<number, { readonly subnet: Subnet; count: number }>();
  readonly #odd = new Map<number, Subnet>();
  /** Every pool before this one is a network's. */
  #next = 0;

  add(subnet: Subnet): void {
    const key = keyOf(subnet);
    const known = this.#all.get(key);
    if (known) known.count++;
    else this.#all.set(key, { subnet, count: 1 });
    if (!isPool(subnet)) this.#odd.set(key, subnet);
  }

  delete(subnet: Subnet): void {
    const key = keyOf(subnet);
    const known = this.#all.get(key);
    if (!known || --known.count > 0) return;
    this.#all.delete(key);
    this.#odd.delete(key);
    this.#next = 0;
  }

  /** Some network has a part of it. */
  overlaps(subnet: Subnet): boolean {
    return this.#all.values().some((one) => overlap(one.subnet, subnet));
  }

  /** The first pool that nothing lies in; `foreign` is what this host has beside networks. */
  choose(foreign: readonly Subnet[], configured: readonly string[] = []): Subnet {
    if (configured.length > 0) return this.#chooseConfigured(foreign, configured);
    const odd = [...this.#odd.values(), ...foreign.filter((subnet) => !this.#all.has(keyOf(subnet)))];
    for (let at = this.#next; at < poolCount; at++) {
      const pool = poolAt(at);
      if (this.#all.has(keyOf(pool))) {
        if (at === this.#next) this.#next++;
      } else if (!odd.some((subnet) => overlap(pool, subnet))) return pool;
    }
    throw exhausted(this.#all.size, foreign, 'create this one with --subnet');
  }

  /** The first part that nothing lies in, of what somebody configured: `10.10.0.0/16:24`. */
  #chooseConfigured(foreign: readonly Subnet[], configured: readonly string[]): Subnet {
    const used = [...[...this.#all.values()].map(({ subnet }) => subnet), ...foreign];
    for (const text of configured) {
      const [network = '', length] = text.split(':');
      const whole = parseSubnet(network);
      const prefixLength = Number(length);
      for (let base = whole.base; base <= last(whole); base += 2 ** (32 - prefixLength)) {
        const pool = { base, prefixLength };
        if (!this.#all.has(keyOf(pool)) && !used.some((subnet) => overlap(pool, subnet))) return pool;
      }
    }
    throw exhausted(this.#all.size, foreign, 'add to defaultAddressPools');
  }
}

/** What takes the pools: networks by their number, and subnets of this host by some of their names, the largest first. */
function exhausted(networks: number, foreign: readonly Subnet[], otherwise: string): EngineError {
  const largest = foreign.toSorted((a, b) => a.prefixLength - b.prefixLength).slice(0, 4);
  const more = foreign.length > largest.length ? ', ...' : '';
  const hosts =
    foreign.length > 0
      ? ` and routes and name servers of this host (${largest.map(formatSubnet).join(', ')}${more})`
      : '';
  return new EngineError('invalid', 'all predefined address pools have been fully subnetted', {
    hint: `${networks} networks${hosts} take them: remove networks that nobody uses (docker network prune), or ${otherwise}`,
  });
}

const keyOf = ({ base, prefixLength }: Subnet) => base * 64 + prefixLength;

function isPool({ base, prefixLength }: Subnet): boolean {
  if (prefixLength === morePrefix) return contains(morePools, base);
  return candidates.some((candidate) => candidate.base === base && candidate.prefixLength === prefixLength);
}

/** The first candidate that no route of the host and no resolver of it lies in. */
export function chooseSubnet(routes: readonly Subnet[], addresses: readonly string[]): Subnet {
  const used = [
    ...routes,
    ...addresses.flatMap((address) => {
      const base = parseAddress(address);
      return base === undefined ? [] : [{ base, prefixLength: 32 }];
    }),
  ];
  const free = candidates.find((candidate) => !used.some((subnet) => overlap(candidate, subnet)));
  if (!free)
    throw new EngineError(
      'unavailable',
      'no free subnet for the default bridge: every private range has a route on this host',
      {
        hint: 'set the subnet of the default bridge in the configuration',
      },
    );
  return free;
}

export interface Route extends Subnet {
  /** The interface that it leads to. */
  readonly device: string;
}

/** The routes in /proc/net/route, without the default one. */
export function parseRoutes(table: string): Route[] {
  return table
    .split('\n')
    .slice(1)
    .flatMap((line) => {
      const [device = '', destination, , , , , , netmask] = line.trim().split(/\s+/);
      if (!destination || !netmask) return [];
      const ones = swap(Number.parseInt(netmask, 16)).toString(2).replaceAll('0', '').length;
      return ones === 0 ? [] : [{ device, base: swap(Number.parseInt(destination, 16)), prefixLength: ones }];
    });
}

const swap = (word: number) =>
  (((word & 0xff) << 24) | ((word & 0xff00) << 8) | ((word >>> 8) & 0xff00) | (word >>> 24)) >>> 0;

export interface PoolOptions {
  /** For messages. */
  readonly network: string;
  readonly gateway: string | undefined;
  /** What is given without being asked for; undefined is the whole subnet. */
  readonly range: Subnet | undefined;
  /** Never given: the auxiliary addresses. */
  readonly reserved: readonly string[];
}

/**
 * The addresses of a subnet: the gateway has the first. The next one is given, not the lowest: what was just freed
 * may still stand in a neighbour's ARP cache or in a connection's NAT state.
 */
export class AddressPool {
  readonly subnet: Subnet;
  readonly gateway: string;
  readonly #network: string;
  readonly #first: number;
  readonly #last: number;
  /** Those from `#first` to `#last` that are taken, and beside them those that were asked for from elsewhere in the subnet. */
  readonly #used = new Set<number>();
  readonly #outside = new Set<number>();
  readonly #reserved = new Set<number>();
  #next: number;

  constructor(subnet: Subnet, options: Partial<PoolOptions> = {}) {
    const { network = 'bridge', range = subnet, gateway, reserved = [] } = options;
    this.subnet = subnet;
    this.#network = network;
    this.#first = Math.max(range.base, subnet.base + 1);
    this.#last = Math.min(last(range), last(subnet) - 1);
    this.gateway = gateway ?? formatAddress(this.#first);
    for (const address of [this.gateway, ...reserved]) this.#reserve(parseAddress(address));
    this.#next = this.#first;
    while (this.#used.has(this.#next) && this.#next < this.#last) this.#advance();
  }

  #reserve(value: number | undefined): void {
    if (value === undefined) return;
    this.#reserved.add(value);
    this.#take(value);
  }

  #take(value: number): void {
    (value >= this.#first && value <= this.#last ? this.#used : this.#outside).add(value);
  }

  /** By endpoints. */
  get used(): number {
    return this.#used.size + this.#outside.size - this.#reserved.size;
  }

  take(): string {
    if (this.#used.size > this.#last - this.#first)
      throw new EngineError(
        'unavailable',
        `no available IPv4 addresses on this network's address pools: ${this.#network} (${formatSubnet(this.subnet)})`,
        {
          hint: 'remove containers that are no longer needed, or configure a larger subnet',
        },
      );
    while (this.#used.has(this.#next)) this.#advance();
    const taken = this.#next;
    this.#used.add(taken);
    this.#advance();
    return formatAddress(taken);
  }

  /** One that was asked for by its number; false when it is not a host's of the subnet, or somebody has it. */
  takeThis(address: string): boolean {
    const value = parseAddress(address);
    if (value === undefined || value <= this.subnet.base || value >= last(this.subnet)) return false;
    if (this.#used.has(value) || this.#outside.has(value)) return false;
    this.#take(value);
    return true;
  }

  /** An address that an endpoint already has. The search goes on above it. */
  claim(address: string): void {
    const value = parseAddress(address);
    if (value === undefined || !contains(this.subnet, value) || this.#reserved.has(value)) return;
    this.#take(value);
    if (value >= this.#next && value <= this.#last) {
      this.#next = value;
      this.#advance();
    }
  }

  release(address: string): void {
    const value = parseAddress(address);
    if (value === undefined || this.#reserved.has(value)) return;
    this.#used.delete(value);
    this.#outside.delete(value);
  }

  #advance(): void {
    this.#next = this.#next >= this.#last ? this.#first : this.#next + 1;
  }
}

/** Docker's way: 02:42 and the address, so that an address that comes back has the MAC that neighbours remember. */
export function macOf(address: string): string {
  return ['02', '42', ...address.split('.').map((part) => Number(part).toString(16).padStart(2, '0'))].join(':');
}

export function parseMac(text: string): string {
  const value = text.toLowerCase().replaceAll('-', ':');
  const first = Number.parseInt(value.slice(0, 2), 16);
  if (!/^[\da-f]{2}(:[\da-f]{2}){5}$/.test(value) || first % 2 === 1 || value === '00:00:00:00:00:00')
    throw new EngineError('invalid', `invalid MAC address: ${text}`);
  return value;
}
