import { isIPv6 } from 'node:net';
import { addressBytes } from './address-bytes.ts';
import { attribute, type NetlinkRequest, type NetlinkSocket, nested, nl, text } from './netlink.ts';

/** linux/netfilter/nf_tables.h. */
const NFT_MSG_NEWSETELEM = 0x0a0c;
const NFT_MSG_DELSETELEM = 0x0a0e;
const NFTA_LIST_ELEM = 1;
const NFTA_SET_ELEM_LIST_TABLE = 1;
const NFTA_SET_ELEM_LIST_SET = 2;
const NFTA_SET_ELEM_LIST_ELEMENTS = 3;
const NFTA_SET_ELEM_KEY = 1;
const NFTA_SET_ELEM_DATA = 2;
const NFTA_SET_ELEM_FLAGS = 3;
const NFTA_SET_ELEM_KEY_END = 10;
const NFTA_DATA_VALUE = 1;
const NFT_SET_ELEM_INTERVAL_END = Buffer.of(0, 0, 0, 1);
const NFPROTO_INET = 1;

/** One message holds no more: the kernel sends back what it refuses, and the length of an attribute has 16 bits. */
const mostBytes = 16 * 1024;

/** Elements to add to one set or map of a table of the family inet, or to take from it. */
export interface ElementChange {
  readonly verb: 'add' | 'delete';
  readonly table: string;
  readonly set: string;
  /** As nft(8) declares it: `type ifname . ipv4_addr; flags interval`, `type inet_service : ipv4_addr`. */
  readonly type: string;
  /** As nft(8) writes them: `"eth0" . 10.0.0.0/8`, `80 : 10.0.0.2`. */
  readonly elements: readonly string[];
}

/**
 * Changes elements in one transaction. libnftables reads what is in the table before each change of it, which takes the
 * longer the more there is; this asks the kernel for nothing. Throws the kernel's refusal; then nothing was changed.
 */
export function changeElements(socket: NetlinkSocket, changes: readonly ElementChange[]): void {
  socket.transact(changes.flatMap(elementRequests));
}

/** The messages of one change. */
export function elementRequests({ verb, table, set, type, elements }: ElementChange): NetlinkRequest[] {
  const layout = readType(type);
  const requests: NetlinkRequest[] = [];
  let encoded: Buffer[] = [];
  let size = 0;
  const finish = () => {
    requests.push({
      type: verb === 'add' ? NFT_MSG_NEWSETELEM : NFT_MSG_DELSETELEM,
      flags: verb === 'add' ? nl.NLM_F_CREATE : 0,
      body: Buffer.concat([
        Buffer.of(NFPROTO_INET, 0, 0, 0),
        text(NFTA_SET_ELEM_LIST_TABLE, table),
        text(NFTA_SET_ELEM_LIST_SET, set),
        nested(NFTA_SET_ELEM_LIST_ELEMENTS, ...encoded),
      ]),
      subject: `${verb} element inet ${table} ${set}`,
    });
    encoded = [];
    size = 0;
  };
  for (const element of elements) {
    const bytes = encodeElement(layout, element, verb);
    if (size + bytes.length > mostBytes) finish();
    encoded.push(bytes);
    size += bytes.length;
  }
  if (encoded.length > 0) finish();
  return requests;
}

interface Layout {
  readonly key: readonly string[];
  readonly data: readonly string[] | undefined;
  readonly interval: boolean;
}

function readType(declared: string): Layout {
  const [, types = '', flags = ''] = /^type ([^;]*)(?:; flags (.*))?$/.exec(declared) ?? [];
  const [key = '', data] = types.split(' : ');
  return { key: key.split(' . '), data: data?.split(' . '), interval: flags === 'interval' };
}

function encodeElement({ key, data, interval }: Layout, element: string, verb: ElementChange['verb']): Buffer {
  const [keys = '', values] = element.split(' : ');
  const ranges = keys.split(' . ').map((part, at) => rangeOf(key[at] ?? '', part));
  const first = value(NFTA_SET_ELEM_KEY, join(ranges.map((range) => range.first)));
  const target =
    data && values !== undefined && verb === 'add'
      ? [value(NFTA_SET_ELEM_DATA, join(values.split(' . ').map((part, at) => rangeOf(data[at] ?? '', part).first)))]
      : [];
  if (!interval) return nested(NFTA_LIST_ELEM, first, ...target);
  if (ranges.length > 1)
    return nested(
      NFTA_LIST_ELEM,
      first,
      value(NFTA_SET_ELEM_KEY_END, join(ranges.map((range) => range.last))),
      ...target,
    );
  // A set of plain intervals has where one begins, and the first that is not in it any more.
  const after = next(ranges[0]!.last);
  const end = after && [
    nested(NFTA_LIST_ELEM, attribute(NFTA_SET_ELEM_FLAGS, NFT_SET_ELEM_INTERVAL_END), value(NFTA_SET_ELEM_KEY, after)),
  ];
  return Buffer.concat([nested(NFTA_LIST_ELEM, first, ...target), ...(end ?? [])]);
}

const value = (type: number, bytes: Buffer) => nested(type, attribute(NFTA_DATA_VALUE, bytes));

/** Parts of a concatenation begin at registers, of four bytes each. */
function join(parts: readonly Buffer[]): Buffer {
  if (parts.length === 1) return parts[0]!;
  return Buffer.concat(parts.flatMap((part) => [part, Buffer.alloc((4 - (part.length % 4)) % 4)]));
}

const protocols: Readonly<Record<string, number>> = { tcp: 6, udp: 17, sctp: 132 };

function rangeOf(type: string, written: string): { readonly first: Buffer; readonly last: Buffer } {
  const one = (bytes: Buffer) => ({ first: bytes, last: bytes });
  switch (type) {
    case 'ifname': {
      const bytes = Buffer.alloc(16);
      bytes.write(written.replaceAll('"', ''), 'latin1');
      return one(bytes);
    }
    case 'inet_proto':
      return one(Buffer.of(protocols[written] ?? Number(written)));
    case 'inet_service': {
      const bytes = Buffer.alloc(2);
      bytes.writeUInt16BE(Number(written));
      return one(bytes);
    }
    case 'ipv4_addr':
    case 'ipv6_addr': {
      const [address = '', length] = written.split('/');
      if (isIPv6(address) !== (type === 'ipv6_addr')) break;
      const bytes = addressBytes(address);
      return length === undefined ? one(bytes) : blockOf(bytes, Number(length));
    }
  }
  throw new TypeError(`no element of the type ${type}: ${written}`);
}

function blockOf(address: Buffer, prefixLength: number) {
  const first = Buffer.from(address);
  const last = Buffer.from(address);
  for (let at = 0; at < address.length; at++) {
    const free = 0xff >> Math.min(8, Math.max(0, prefixLength - at * 8));
    first[at] = address[at]! & ~free;
    last[at] = address[at]! | free;
  }
  return { first, last };
}

/** The number behind it; undefined behind the last. */
function next(bytes: Buffer): Buffer | undefined {
  const out = Buffer.from(bytes);
  for (let at = out.length - 1; at >= 0; at--) {
    out[at] = (out[at]! + 1) & 0xff;
    if (out[at] !== 0) return out;
  }
  return undefined;
}
