import { isIPv6 } from 'node:net';
import { EngineError } from '../base/errors.ts';

export interface Subnet6 {
  readonly base: bigint;
  readonly prefixLength: number;
}

export function parseAddress6(text: string): bigint | undefined {
  if (!isIPv6(text) || text.includes('%')) return undefined;
  const plain = text.replace(/(\d+)\.(\d+)\.(\d+)\.(\d+)$/, (_, a, b, c, d) => {
    const word = (high: string, low: string) => (Number(high) * 256 + Number(low)).toString(16);
    return `${word(a, b)}:${word(c, d)}`;
  });
  const [head = '', tail] = plain.split('::');
  const words = (part: string) => part.split(':').filter(Boolean);
  const [before, after] = [words(head), words(tail ?? '')];
  const gap = Array<string>(8 - before.length - after.length).fill('0');
  return [...before, ...gap, ...after].reduce((sum, word) => (sum << 16n) | BigInt(`0x${word}`), 0n);
}

/** RFC 5952: lower case, no leading zeros, the longest run of two or more zeros as `::`. */
export function formatAddress6(address: bigint): string {
  const words = Array.from({ length: 8 }, (_, at) => ((address >> BigInt((7 - at) * 16)) & 0xffffn).toString(16));
  const runs = [...words.join(':').matchAll(/(?:^|:)0(?::0)+(?=:|$)/g)].map(([run]) => run);
  const longest = runs.toSorted((a, b) => b.split('0').length - a.split('0').length)[0];
  if (longest === undefined) return words.join(':');
  const joined = words.join(':');
  const at = joined.indexOf(longest);
  return `${joined.slice(0, at)}::${joined.slice(at + longest.length).replace(/^:/, '')}`;
}

const mask6 = (prefixLength: number) => ((1n << BigInt(prefixLength)) - 1n) << BigInt(128 - prefixLength);

export function parseSubnet6(text: string): Subnet6 | undefined {
  const [address = '', length = ''] = text.split('/');
  const base = parseAddress6(address);
  const prefixLength = Number(length);
  if (base === undefined || !/^\d{1,3}$/.test(length) || prefixLength > 128) return undefined;
  return { base: base & mask6(prefixLength), prefixLength };
}

export const formatSubnet6 = ({ base, prefixLength }: Subnet6) => `${formatAddress6(base)}/${prefixLength}`;

const last6 = ({ base, prefixLength }: Subnet6) => base | ((1n << BigInt(128 - prefixLength)) - 1n);

export const overlap6 = (a: Subnet6, b: Subnet6) => a.base <= last6(b) && b.base <= last6(a);

export const contains6 = (subnet: Subnet6, address: bigint) => address >= subnet.base && address <= last6(subnet);

/** The addresses of an IPv6 subnet, given in order from the second on; what was freed is given again last. */
export class AddressPool6 {
  readonly subnet: Subnet6;
  readonly gateway: string;
  readonly #network: string;
  readonly #first: bigint;
  readonly #last: bigint;
  readonly #used = new Set<bigint>();
  #next: bigint;

  constructor(
    subnet: Subnet6,
    options: {
      readonly network: string;
      readonly gateway: string | undefined;
      readonly range: Subnet6 | undefined;
      readonly reserved: readonly string[];
    },
  ) {
    const range = options.range ?? subnet;
    this.subnet = subnet;
    this.#network = options.network;
    this.#first = range.base === subnet.base ? subnet.base + 1n : range.base;
    this.#last = last6(range);
    this.gateway = options.gateway ?? formatAddress6(this.#first);
    for (const address of [this.gateway, ...options.reserved]) this.claim(address);
    this.#next = this.#first;
  }

  take(): string {
    const from = this.#next;
    do {
      const found = this.#next;
      this.#next = found >= this.#last ? this.#first : found + 1n;
      if (!this.#used.has(found)) {
        this.#used.add(found);
        return formatAddress6(found);
      }
    } while (this.#next !== from);
    throw new EngineError(
      'unavailable',
      `no available IPv6 addresses on this network's address pools: ${this.#network} (${formatSubnet6(this.subnet)})`,
    );
  }

  /** One that was asked for by its number; false when it is not of the subnet or somebody has it. */
  takeThis(address: string): boolean {
    const value = parseAddress6(address);
    if (value === undefined || !contains6(this.subnet, value) || value === this.subnet.base) return false;
    if (this.#used.has(value)) return false;
    this.#used.add(value);
    return true;
  }

  claim(address: string): void {
    const value = parseAddress6(address);
    if (value !== undefined) this.#used.add(value);
  }

  release(address: string): void {
    const value = parseAddress6(address);
    if (value !== undefined) this.#used.delete(value);
  }
}
