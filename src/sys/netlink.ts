import { isIPv6 } from 'node:net';
import { addressBytes } from './address-bytes.ts';
import { check, errnoName, libc, SyscallError } from './libc.ts';

/** linux/netlink.h, linux/rtnetlink.h, linux/if_link.h: the numbers that are used here, under their own names. */
export const nl = {
  NLMSG_ERROR: 2,
  NLMSG_DONE: 3,
  NLM_F_REQUEST: 0x1,
  NLM_F_ACK: 0x4,
  NLM_F_DUMP: 0x300,
  NLM_F_REPLACE: 0x100,
  NLM_F_EXCL: 0x200,
  NLM_F_CREATE: 0x400,
  RTM_NEWLINK: 16,
  RTM_DELLINK: 17,
  RTM_GETLINK: 18,
  RTM_SETLINK: 19,
  RTM_NEWADDR: 20,
  RTM_GETADDR: 22,
  RTM_NEWROUTE: 24,
  RTM_DELROUTE: 25,
  IFF_UP: 1,
  IFLA_ADDRESS: 1,
  IFLA_IFNAME: 3,
  IFLA_MTU: 4,
  IFLA_MASTER: 10,
  IFLA_PROTINFO: 12,
  IFLA_LINKINFO: 18,
  IFLA_GROUP: 27,
  IFLA_NET_NS_FD: 28,
  IFLA_INFO_KIND: 1,
  IFLA_INFO_DATA: 2,
  IFLA_BRPORT_MODE: 4,
  IFLA_BRPORT_ISOLATED: 33,
  VETH_INFO_PEER: 1,
  IFA_ADDRESS: 1,
  IFA_LOCAL: 2,
  RTA_DST: 1,
  RTA_OIF: 4,
  RTA_GATEWAY: 5,
} as const;

const NLA_F_NESTED = 0x8000;
const AF_NETLINK = 16;
const AF_INET = 2;
const AF_INET6 = 10;
/** No duplicate address detection: the address can be used at once. */
const IFA_F_NODAD = 2;
const AF_BRIDGE = 7;
const SOCK_RAW_CLOEXEC = 3 | 0o2000000;
const headerSize = 16;

const align = (length: number) => (length + 3) & ~3;

/** One attribute: length, type, value, padded to four bytes. */
export function attribute(type: number, value: Uint8Array): Buffer {
  const out = Buffer.alloc(align(4 + value.length));
  out.writeUInt16LE(4 + value.length, 0);
  out.writeUInt16LE(type, 2);
  out.set(value, 4);
  return out;
}

export const nested = (type: number, ...attributes: Buffer[]) =>
  attribute(type | NLA_F_NESTED, Buffer.concat(attributes));

export const text = (type: number, value: string) => attribute(type, Buffer.from(`${value}\0`));

export function uint32(type: number, value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return attribute(type, bytes);
}

const familyOf = (address: string) => (isIPv6(address) ? AF_INET6 : AF_INET);
export const mac = (address: string) => Buffer.from(address.replaceAll(':', ''), 'hex');

/** A request before it has its length and sequence number. */
export interface NetlinkRequest {
  readonly type: number;
  readonly flags: number;
  readonly body: Buffer;
  /** For the message of an error: `veth bth0a1b`. */
  readonly subject: string;
}

/** struct ifinfomsg. */
export function linkHeader({ family = 0, index = 0, flags = 0, change = 0 } = {}): Buffer {
  const out = Buffer.alloc(16);
  out.writeUInt8(family, 0);
  out.writeInt32LE(index, 4);
  out.writeUInt32LE(flags, 8);
  out.writeUInt32LE(change, 12);
  return out;
}

export const linkKind = (kind: string, ...data: Buffer[]) =>
  nested(
    nl.IFLA_LINKINFO,
    text(nl.IFLA_INFO_KIND, kind),
    ...(data.length > 0 ? [nested(nl.IFLA_INFO_DATA, ...data)] : []),
  );

/** The messages of rtnetlink(7) that a bridge with veth pairs needs, as data. */
export const routeRequests = {
  addBridge: (name: string, options: { readonly mac: string; readonly mtu: number }): NetlinkRequest => ({
    type: nl.RTM_NEWLINK,
    flags: nl.NLM_F_CREATE | nl.NLM_F_EXCL,
    // The address is set so that it is not the lowest of the ports' any more, and does not change as they come and go.
    body: Buffer.concat([
      linkHeader({ flags: nl.IFF_UP, change: nl.IFF_UP }),
      text(nl.IFLA_IFNAME, name),
      attribute(nl.IFLA_ADDRESS, mac(options.mac)),
      uint32(nl.IFLA_MTU, options.mtu),
      linkKind('bridge'),
    ]),
    subject: `bridge ${name}`,
  }),

  /** The host's end is up and a port of `master`, its peer is in the namespace, in one step: no half of it can stay. */
  addVeth: (options: {
    readonly name: string;
    readonly master: number;
    readonly mtu: number;
    readonly peer: { readonly name: string; readonly mac: string; readonly namespace: number };
  }): NetlinkRequest => ({
    type: nl.RTM_NEWLINK,
    flags: nl.NLM_F_CREATE | nl.NLM_F_EXCL,
    body: Buffer.concat([
      linkHeader({ flags: nl.IFF_UP, change: nl.IFF_UP }),
      text(nl.IFLA_IFNAME, options.name),
      uint32(nl.IFLA_MTU, options.mtu),
      uint32(nl.IFLA_MASTER, options.master),
      linkKind(
        'veth',
        nested(
          nl.VETH_INFO_PEER,
          linkHeader(),
          text(nl.IFLA_IFNAME, options.peer.name),
          uint32(nl.IFLA_MTU, options.mtu),
          attribute(nl.IFLA_ADDRESS, mac(options.peer.mac)),
          uint32(nl.IFLA_NET_NS_FD, options.peer.namespace),
        ),
      ),
    ]),
    subject: `veth ${options.name}`,
  }),

  linkUp: (index: number): NetlinkRequest => ({
    type: nl.RTM_NEWLINK,
    flags: 0,
    body: linkHeader({ index, flags: nl.IFF_UP, change: nl.IFF_UP }),
    subject: `link ${index}`,
  }),

  setMaster: (index: number, master: number): NetlinkRequest => ({
    type: nl.RTM_NEWLINK,
    flags: 0,
    body: Buffer.concat([linkHeader({ index, flags: nl.IFF_UP, change: nl.IFF_UP }), uint32(nl.IFLA_MASTER, master)]),
    subject: `link ${index}`,
  }),

  /**
   * A frame may leave by the port it came from: a container that reaches itself through its published port. An isolated
   * port exchanges no frames with other isolated ones.
   */
  port: (index: number, { isolated }: { readonly isolated: boolean }): NetlinkRequest => ({
    type: nl.RTM_SETLINK,
    flags: 0,
    body: Buffer.concat([
      linkHeader({ family: AF_BRIDGE, index }),
      nested(
        nl.IFLA_PROTINFO,
        attribute(nl.IFLA_BRPORT_MODE, Buffer.of(1)),
        attribute(nl.IFLA_BRPORT_ISOLATED, Buffer.of(isolated ? 1 : 0)),
      ),
    ]),
    subject: `bridge port ${index}`,
  }),

  deleteLink: (index: number): NetlinkRequest => ({
    type: nl.RTM_DELLINK,
    flags: 0,
    body: linkHeader({ index }),
    subject: `link ${index}`,
  }),

  setGroup: (index: number, group: number): NetlinkRequest => ({
    type: nl.RTM_NEWLINK,
    flags: 0,
    body: Buffer.concat([linkHeader({ index }), uint32(nl.IFLA_GROUP, group)]),
    subject: `link ${index}`,
  }),

  /** Every link of the group, in one step. */
  deleteGroup: (group: number): NetlinkRequest => ({
    type: nl.RTM_DELLINK,
    flags: 0,
    body: Buffer.concat([linkHeader(), uint32(nl.IFLA_GROUP, group)]),
    subject: `links of group ${group}`,
  }),

  links: (): NetlinkRequest => ({ type: nl.RTM_GETLINK, flags: nl.NLM_F_DUMP, body: linkHeader(), subject: 'links' }),

  link: (name: string): NetlinkRequest => ({
    type: nl.RTM_GETLINK,
    flags: 0,
    body: Buffer.concat([linkHeader(), text(nl.IFLA_IFNAME, name)]),
    subject: `link ${name}`,
  }),

  addAddress: (index: number, address: string, prefixLength: number): NetlinkRequest => ({
    type: nl.RTM_NEWADDR,
    flags: nl.NLM_F_CREATE | nl.NLM_F_REPLACE,
    body: Buffer.concat([
      addressHeader(familyOf(address), index, prefixLength),
      attribute(nl.IFA_LOCAL, addressBytes(address)),
      attribute(nl.IFA_ADDRESS, addressBytes(address)),
    ]),
    subject: `address ${address}/${prefixLength}`,
  }),

  /** Of both families; of all links, where the socket is not strict. */
  addresses: (index = 0): NetlinkRequest => ({
    type: nl.RTM_GETADDR,
    flags: nl.NLM_F_DUMP,
    body: addressHeader(0, index, 0),
    subject: 'addresses',
  }),

  /** Whichever was the default route of the family is so no more. A gateway of '' is none: all is on the link. */
  setDefaultRoute: (family: 'ipv4' | 'ipv6', index: number, gateway: string): NetlinkRequest => ({
    type: nl.RTM_NEWROUTE,
    flags: nl.NLM_F_CREATE | nl.NLM_F_REPLACE,
    body: Buffer.concat([
      routeHeader(family === 'ipv4' ? AF_INET : AF_INET6, { onLink: gateway === '' && family === 'ipv4' }),
      ...(gateway === '' ? [] : [attribute(nl.RTA_GATEWAY, addressBytes(gateway))]),
      uint32(nl.RTA_OIF, index),
    ]),
    subject: `default route by ${gateway || `link ${index}`}`,
  }),

  /** Whichever default route of the family there is. Refused with ESRCH when there is none. */
  deleteDefaultRoute: (family: 'ipv4' | 'ipv6'): NetlinkRequest => ({
    type: nl.RTM_DELROUTE,
    flags: 0,
    body: routeHeader(family === 'ipv4' ? AF_INET : AF_INET6, { anyScope: true }),
    subject: `default route of ${family}`,
  }),
};

/** struct ifaddrmsg. */
function addressHeader(family: number, index: number, prefixLength: number): Buffer {
  const out = Buffer.alloc(8);
  out.writeUInt8(family, 0);
  out.writeUInt8(prefixLength, 1);
  out.writeUInt8(family === AF_INET6 ? IFA_F_NODAD : 0, 2);
  out.writeUInt32LE(index, 4);
  return out;
}

/** struct rtmsg: a unicast route of the main table, made at boot (RTPROT_BOOT, as ip(8) does). */
function routeHeader(family: number, { anyScope = false, onLink = false } = {}): Buffer {
  const out = Buffer.alloc(12);
  out.writeUInt8(family, 0);
  out.writeUInt8(254, 4);
  out.writeUInt8(anyScope ? 0 : 3, 5);
  // RT_SCOPE_NOWHERE, which a request to delete takes for any; RT_SCOPE_LINK.
  out.writeUInt8(anyScope ? 255 : onLink ? 253 : 0, 6);
  out.writeUInt8(anyScope ? 0 : 1, 7);
  return out;
}

export interface Link {
  readonly index: number;
  readonly name: string;
  readonly master: number | undefined;
  readonly up: boolean;
  /** `bridge`, `veth`; '' is hardware or loopback. */
  readonly kind: string;
}

export function parseLink(body: Buffer): Link {
  let name = '';
  let master: number | undefined;
  let kind = '';
  for (const { type, value } of attributes(body.subarray(16))) {
    if (type === nl.IFLA_IFNAME) name = value.toString('latin1').replace(/\0.*$/, '');
    if (type === nl.IFLA_MASTER) master = value.readUInt32LE();
    if (type === nl.IFLA_LINKINFO)
      for (const info of attributes(value))
        if (info.type === nl.IFLA_INFO_KIND) kind = info.value.toString('latin1').replace(/\0.*$/, '');
  }
  return { index: body.readInt32LE(4), name, master, up: (body.readUInt32LE(8) & nl.IFF_UP) !== 0, kind };
}

/** An address of a link, in the answer to `addresses`, as its bytes in hex. IPv6 has it in IFA_ADDRESS alone. */
export function parseAddress(body: Buffer): { readonly index: number; readonly address: string } {
  const found = [...attributes(body.subarray(8))];
  const own = found.find(({ type }) => type === nl.IFA_LOCAL) ?? found.find(({ type }) => type === nl.IFA_ADDRESS);
  return { index: body.readUInt32LE(4), address: own ? own.value.toString('hex') : '' };
}

/** A route of IPv4, in what the kernel tells of one. A link of 0 is none, a destination of `0.0.0.0` may be everything. */
export function parseRoute(body: Buffer): {
  readonly link: number;
  readonly destination: string;
  readonly prefixLength: number;
} {
  let link = 0;
  let destination = '0.0.0.0';
  for (const { type, value } of attributes(body.subarray(12))) {
    if (type === nl.RTA_OIF) link = value.readUInt32LE();
    if (type === nl.RTA_DST && value.length === 4) destination = value.join('.');
  }
  return { link, destination, prefixLength: body.readUInt8(1) };
}

export function* attributes(bytes: Buffer): Generator<{ readonly type: number; readonly value: Buffer }> {
  for (let at = 0; at + 4 <= bytes.length; ) {
    const length = bytes.readUInt16LE(at);
    if (length < 4 || at + length > bytes.length) return;
    yield { type: bytes.readUInt16LE(at + 2) & 0x3fff, value: bytes.subarray(at + 4, at + length) };
    at += align(length);
  }
}

export interface NetlinkMessage {
  readonly type: number;
  readonly sequence: number;
  readonly body: Buffer;
}

/** Puts requests one after the other in one buffer, numbered from `sequence`. */
export function encode(requests: readonly NetlinkRequest[], sequence: number): Buffer {
  const out: Buffer[] = [];
  for (const [offset, request] of requests.entries()) {
    const header = Buffer.alloc(headerSize);
    header.writeUInt32LE(headerSize + request.body.length, 0);
    header.writeUInt16LE(request.type, 4);
    const answer = (request.flags & nl.NLM_F_DUMP) === nl.NLM_F_DUMP ? 0 : nl.NLM_F_ACK;
    header.writeUInt16LE(request.flags | nl.NLM_F_REQUEST | answer, 6);
    header.writeUInt32LE(sequence + offset, 8);
    out.push(header, request.body, Buffer.alloc(align(request.body.length) - request.body.length));
  }
  return Buffer.concat(out);
}

export function* decode(bytes: Buffer): Generator<NetlinkMessage> {
  for (let at = 0; at + headerSize <= bytes.length; ) {
    const length = bytes.readUInt32LE(at);
    if (length < headerSize || at + length > bytes.length) return;
    yield {
      type: bytes.readUInt16LE(at + 4),
      sequence: bytes.readUInt32LE(at + 8),
      body: bytes.subarray(at + headerSize, at + length),
    };
    at += align(length);
  }
}

/** The calls of netlink(7), bound once for a thread, and a buffer for answers that all its sockets share. */
export class Netlink {
  readonly socket = libc().func('int socket(int, int, int)');
  readonly close = libc().func('int close(int)');
  readonly bind = libc().func('int bind(int, const uint8_t*, uint32_t)');
  readonly send = libc().func('long send(int, const uint8_t*, size_t, int)');
  readonly receive = libc().func('long recv(int, uint8_t*, size_t, int)');
  readonly setOption = libc().func('int setsockopt(int, int, int, const uint8_t*, uint32_t)');
  readonly buffer = Buffer.alloc(64 * 1024);

  /** `strict`: what a request to list says of links is heeded, not passed over. */
  open(protocol: number, { strict = false } = {}): NetlinkSocket {
    return new NetlinkSocket(this, protocol, strict);
  }

  watch(groups: readonly number[]): NetlinkWatch {
    return new NetlinkWatch(this, groups);
  }
}

/** Multicast groups of linux/rtnetlink.h: links, and addresses of both families, that come, go or change. */
export const linkGroups: readonly number[] = [1, 5, 9];

/** Links, and routes of IPv4. */
export const routeGroups: readonly number[] = [1, 7];

const NETLINK_ROUTE = 0;
const SOL_NETLINK = 270;
const NETLINK_ADD_MEMBERSHIP = 1;
/** Answers do not repeat the request that they answer. */
const NETLINK_CAP_ACK = 10;
const NETLINK_GET_STRICT_CHK = 12;
const SOL_SOCKET = 1;
const SO_SNDBUFFORCE = 32;
/** The least that a kernel is built with; what is longer needs room of its own. */
const standardSendBuffer = 128 * 1024;
const NFNL_MSG_BATCH_BEGIN = 16;
const NFNL_MSG_BATCH_END = 17;
const NFNL_SUBSYS_NFTABLES = 10;
const MSG_DONTWAIT = 0x40;
const EAGAIN = 11;
const ENOBUFS = 105;

/** Hears what the kernel tells of the network namespace in which this was made (netlink(7), groups of rtnetlink). */
export class NetlinkWatch implements Disposable {
  readonly #native: Netlink;
  readonly #fd: number;

  constructor(native: Netlink, groups: readonly number[]) {
    this.#native = native;
    this.#fd = check('socket', 'AF_NETLINK', native.socket(AF_NETLINK, SOCK_RAW_CLOEXEC, NETLINK_ROUTE));
    // A socket without an address of its own is told nothing: the kernel takes it for itself, which sent it.
    const address = Buffer.alloc(12);
    address.writeUInt16LE(AF_NETLINK);
    check('bind', 'AF_NETLINK', native.bind(this.#fd, address, address.length));
    for (const group of groups) {
      const value = Buffer.alloc(4);
      value.writeUInt32LE(group);
      const set = native.setOption(this.#fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, value, value.length);
      check('setsockopt', `netlink group ${group}`, set);
    }
  }

  /** What was told since the last time; undefined when that was more than it could keep. Does not wait. */
  heard(): readonly NetlinkMessage[] | undefined {
    const messages: NetlinkMessage[] = [];
    for (let lost = false; ; )
      try {
        const told = receiveNow(this.#native, this.#fd);
        if (!told) return lost ? undefined : messages;
        for (const message of decode(told)) messages.push({ ...message, body: Buffer.from(message.body) });
      } catch (error) {
        if (!(error instanceof SyscallError && error.errno === ENOBUFS)) throw error;
        lost = true;
      }
  }

  [Symbol.dispose](): void {
    this.#native.close(this.#fd);
  }
}

/**
 * netlink(7): a socket that belongs to the network namespace in which it was made, whichever thread uses it later.
 * Calls block while the kernel's lock is held by others: not for the main thread.
 */
export class NetlinkSocket implements Disposable {
  readonly #native: Netlink;
  readonly #fd: number;
  #sequence = 1;

  constructor(native: Netlink, protocol: number, strict: boolean) {
    this.#native = native;
    this.#fd = check('socket', 'AF_NETLINK', native.socket(AF_NETLINK, SOCK_RAW_CLOEXEC, protocol));
    if (strict) this.#setOption(SOL_NETLINK, NETLINK_GET_STRICT_CHK, 1);
  }

  /** Sends all in one message and waits for every answer. Throws the first refusal; later requests may have been done. */
  request(...requests: NetlinkRequest[]): NetlinkMessage[] {
    const { receive, buffer } = this.#native;
    const first = this.#sequence;
    this.#sequence += requests.length;
    const bytes = encode(requests, first);
    check('send', requests[0]?.subject ?? 'netlink', this.#native.send(this.#fd, bytes, bytes.length, 0));

    const answers: NetlinkMessage[] = [];
    const waiting = new Set(requests.keys());
    let failed: SyscallError | undefined;
    while (waiting.size > 0) {
      const length = check('recv', 'netlink', receive(this.#fd, buffer, buffer.length, 0));
      for (const message of decode(buffer.subarray(0, length))) {
        const at = message.sequence - first;
        // The late answer of a request that was given up.
        if (at < 0 || at >= requests.length) continue;
        if (message.type === nl.NLMSG_ERROR) {
          const errno = -message.body.readInt32LE(0);
          if (errno !== 0) failed ??= refusal(requests[at], errno);
          waiting.delete(at);
        } else if (message.type === nl.NLMSG_DONE) waiting.delete(at);
        else answers.push({ ...message, body: Buffer.from(message.body) });
      }
    }
    if (failed) throw failed;
    return answers;
  }

  /**
   * Requests to nf_tables as one transaction: all of them or none (a batch of nfnetlink). The kernel carries it out before
   * `send` comes back: what it has to say is there then. Throws the first refusal.
   */
  transact(requests: readonly NetlinkRequest[]): void {
    if (requests.length === 0) return;
    const subject = requests[0]!.subject;
    const edge = (type: number) => ({ type, flags: 0, body: Buffer.of(0, 0, 0, NFNL_SUBSYS_NFTABLES), subject });
    const all = [edge(NFNL_MSG_BATCH_BEGIN), ...requests, edge(NFNL_MSG_BATCH_END)];
    const first = this.#sequence;
    this.#sequence += all.length;
    const bytes = encode(all, first);
    this.#setOption(SOL_NETLINK, NETLINK_CAP_ACK, 1);
    if (bytes.length > standardSendBuffer) this.#setOption(SOL_SOCKET, SO_SNDBUFFORCE, bytes.length + 4096);
    check('send', subject, this.#native.send(this.#fd, bytes, bytes.length, 0));
    let done = 0;
    let failed: SyscallError | undefined;
    for (let told = receiveNow(this.#native, this.#fd); told; told = receiveNow(this.#native, this.#fd))
      for (const { type, sequence, body } of decode(told)) {
        const at = sequence - first;
        if (type !== nl.NLMSG_ERROR || at < 0 || at >= all.length) continue;
        const errno = -body.readInt32LE(0);
        if (errno !== 0) failed ??= refusal(all[at], errno);
        else if (at > 0 && at <= requests.length) done++;
      }
    if (failed) throw failed;
    if (done < requests.length) throw new SyscallError('netlink', subject, EAGAIN);
  }

  #setOption(level: number, option: number, number: number): void {
    const value = Buffer.alloc(4);
    value.writeUInt32LE(number);
    check('setsockopt', `netlink option ${option}`, this.#native.setOption(this.#fd, level, option, value, 4));
  }

  [Symbol.dispose](): void {
    this.#native.close(this.#fd);
  }
}

/** One datagram, until the next call; undefined when there is none. */
function receiveNow({ receive, buffer }: Netlink, fd: number): Buffer | undefined {
  try {
    return buffer.subarray(0, check('recv', 'netlink', receive(fd, buffer, buffer.length, MSG_DONTWAIT)));
  } catch (error) {
    if (error instanceof SyscallError && error.errno === EAGAIN) return undefined;
    throw error;
  }
}

function refusal(request: NetlinkRequest | undefined, errno: number): SyscallError {
  return new SyscallError('netlink', request?.subject ?? errnoName(errno), errno);
}
