import { randomInt } from 'node:crypto';
import { closeSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { codeOf } from '../base/errors.ts';
import { addressBytes } from '../sys/address-bytes.ts';
import {
  type Link,
  linkGroups,
  type Netlink,
  type NetlinkSocket,
  type NetlinkWatch,
  nl,
  parseAddress,
  parseLink,
  routeRequests,
} from '../sys/netlink.ts';
import { NetworkNamespaces } from '../sys/netns.ts';
import type { BridgeSpec } from './bridge-spec.ts';
import { ParentLinks } from './parent-links.ts';
import { isParentKind, type ParentSpec } from './parent-spec.ts';

/** One interface of a container: the end of a pair whose other end is a port of a bridge, or one that stands on a link. */
export type Wiring = BridgeWiring | ParentWiring;

export interface BridgeWiring extends InnerEnd {
  readonly bridge: BridgeSpec;
  readonly veth: string;
}

export interface ParentWiring extends InnerEnd {
  readonly parent: ParentSpec;
}

interface InnerEnd {
  readonly interface: string;
  readonly mac: string;
  readonly ipv4: { readonly address: string; readonly prefixLength: number } | undefined;
  readonly ipv6: { readonly address: string; readonly prefixLength: number } | undefined;
}

/** By which interface and gateway a container reaches what is in none of its networks. A gateway of '' is none. */
export interface DefaultRoutes {
  readonly ipv4: { readonly interface: string; readonly gateway: string } | undefined;
  readonly ipv6: { readonly interface: string; readonly gateway: string } | undefined;
}

export interface SandboxRequest {
  readonly path: string;
  /** None: loopback only. */
  readonly wirings: readonly Wiring[];
  readonly routes: DefaultRoutes;
  readonly sysctls: Readonly<Record<string, string>>;
  /** A file of the namespace, where it is made already and only to be pinned and wired. */
  readonly namespace?: string | undefined;
}

const NETLINK_ROUTE = 0;
/** So many bridges are asked for one by one; for more of them a list of all is cheaper. */
const mostLookups = 50;
const forwarding = '/proc/sys/net/ipv4/ip_forward';

/** Namespaces and links, made on the calling thread; only the network worker calls this, everything in it blocks. */
export class Sandboxes implements Disposable {
  readonly #namespaces = new NetworkNamespaces();
  readonly #home = this.#namespaces.open();
  readonly #netlink: Netlink;
  readonly #route: NetlinkSocket;
  readonly #watch: NetlinkWatch;
  /** The index of each bridge that was made sure of. */
  readonly #bridges = new Map<string, number>();
  readonly #names = new Map<number, string>();
  /** Bridges that were made, or made again, and whose ports were not attached since. */
  readonly #bare = new Set<string>();
  /** The bridges that the kernel told of since they were looked at; undefined: it told of too much, or nobody listened. */
  #touched: Set<string> | undefined;
  readonly parents: ParentLinks;
  #rulesSeparate = seesBridged();

  constructor(netlink: Netlink) {
    this.#netlink = netlink;
    this.#route = netlink.open(NETLINK_ROUTE, { strict: true });
    this.parents = new ParentLinks({
      route: this.#route,
      find: (name) => this.#find(name),
      deleteLink: (name) => this.#deleteLink(name),
    });
    this.#watch = netlink.watch(linkGroups);
  }

  /**
   * The bridge is there, up, with its addresses, and the host forwards for it. Repeating it is cheap and mends what others
   * changed. Gives back whether forwarding was off before.
   */
  ensureBridge(spec: BridgeSpec): { readonly forwardingEnabled: boolean } {
    this.#ensureOne(spec);
    // What the kernel tells of this work of ours is no reason to look.
    this.#hear();
    this.#touched?.delete(spec.name);
    return this.#forward([spec]);
  }

  #ensureOne(spec: BridgeSpec): void {
    const link = this.#find(spec.name);
    this.#ensure(spec, link, link ? this.#addresses(link.index) : new Set());
  }

  /** A few of them: one in a thousand costs as much as one. */
  ensureSome(specs: readonly BridgeSpec[]): { readonly forwardingEnabled: boolean } {
    if (specs.length > mostLookups) return this.ensureBridges(specs);
    for (const spec of specs) {
      // Before the look: what is told of it from now on is for the next.
      this.#touched?.delete(spec.name);
      this.#ensureOne(spec);
    }
    return this.#forward(specs);
  }

  /** The same for all of them, with two requests where nothing is amiss. */
  ensureBridges(specs: readonly BridgeSpec[]): { readonly forwardingEnabled: boolean } {
    this.#hear();
    if (this.#touched) for (const { name } of specs) this.#touched.delete(name);
    const links = new Map(this.#links().map((link) => [link.name, link]));
    const addresses = this.#addresses();
    for (const spec of specs) this.#ensure(spec, links.get(spec.name), addresses);
    return this.#forward(specs);
  }

  /** The bridges that somebody may have changed since they were looked at. Cheap, however many there are. */
  changed(): readonly string[] | 'all' {
    this.#hear();
    const forwards = readFileSync(forwarding, 'utf8').trim() === '1' && seesBridged() === this.#rulesSeparate;
    return this.#touched && forwards ? [...this.#touched] : 'all';
  }

  /** From now on the kernel is heard, of whatever is looked at next. */
  listen(): void {
    this.#hear();
    this.#touched ??= new Set();
  }

  /** A container's links come and go all day: what they are told of is no reason to look. */
  #hear(): void {
    const told = this.#watch.heard();
    if (!told) this.#touched = undefined;
    for (const { type, body } of told ?? []) {
      const isLink = type === nl.RTM_NEWLINK || type === nl.RTM_DELLINK;
      const link = isLink ? parseLink(body) : undefined;
      const name = this.#names.get(link ? link.index : parseAddress(body).index);
      if (name !== undefined) this.#touched?.add(name);
      if (link && this.#bridges.has(link.name)) this.#touched?.add(link.name);
    }
  }

  #forward(specs: readonly BridgeSpec[]): { readonly forwardingEnabled: boolean } {
    const forwardingEnabled = specs.length > 0 && setSysctl('net.ipv4.ip_forward', '1');
    if (specs.some(({ ipv6 }) => ipv6?.hasAddress)) forwardIpv6();
    return { forwardingEnabled };
  }

  #ensure(spec: BridgeSpec, found: Link | undefined, addresses: ReadonlySet<string>): void {
    const { name, mac, mtu, ipv4, ipv6 } = spec;
    if (found && found.kind !== 'bridge') throw new Error(`interface ${name} is there and is not a bridge`);
    let link = found;
    if (!link) {
      this.#bare.add(name);
      this.#route.request(routeRequests.addBridge(name, { mac, mtu }));
      link = this.#find(name);
      if (!link) throw new Error(`bridge ${name} is gone just after it was made`);
    }
    const { index } = link;
    this.#names.delete(this.#bridges.get(name) ?? 0);
    this.#bridges.set(name, index);
    this.#names.set(index, name);
    const setting = (leaf: string) => `net.${leaf.replace('*', name.replaceAll('.', '/'))}`;
    if (spec.owned && !found) {
      const off = ipv6?.hasAddress ? '0' : '1';
      setSysctl(setting('ipv6.conf.*.disable_ipv6'), off, { optional: true });
      // The bridge's address is its alone. While the kernel made sure of that, it would look for no neighbour, and what
      // comes from elsewhere for a container would wait for a second or two.
      setSysctl(setting('ipv6.conf.*.accept_dad'), '0', { optional: true });
    }
    // No container is the host's router (S44).
    setSysctl(setting('ipv6.conf.*.accept_ra'), '0', { optional: true });
    const missing = [ipv4, ipv6].filter(
      (family) => family?.hasAddress && !addresses.has(`${index} ${addressBytes(family.gateway).toString('hex')}`),
    );
    const requests = [
      ...missing.flatMap((family) =>
        family ? [routeRequests.addAddress(index, family.gateway, family.prefixLength)] : [],
      ),
      ...(link.up ? [] : [routeRequests.linkUp(index)]),
    ];
    if (requests.length > 0) this.#route.request(...requests);
    // Published ports on 127.0.0.1 are translated and routed to the bridge; on no other interface (S39).
    setSysctl(setting('ipv4.conf.*.route_localnet'), '1');
  }

  create({ path, wirings, routes, sysctls, namespace }: SandboxRequest): void {
    const masters = wirings.map((wiring) => this.#lower(wiring));
    // The namespace's file is made first: from then on recovery finds whatever follows.
    writeFileSync(path, '', { flag: 'wx', mode: 0o400 });
    try {
      const fill = () => {
        this.#namespaces.pin(path);
        using inside = this.#netlink.open(NETLINK_ROUTE);
        inside.request(routeRequests.linkUp(1));
        for (const [at, wiring] of wirings.entries()) this.#wire(inside, wiring, masters[at]!);
        this.#setRoutes(inside, routes, { fresh: true });
        setSysctls(sysctls);
      };
      if (namespace === undefined) this.#namespaces.create(this.#home, fill);
      else this.#namespaces.enter(this.#home, namespace, fill);
      for (const wiring of wirings) this.#setHostEnd(wiring);
      // Before it is more than the kernel keeps for us.
      this.#hear();
    } catch (error) {
      this.drop(path, standingOf(wirings));
      throw error;
    }
  }

  /** One interface more, in a namespace that exists. */
  plug(path: string, wiring: Wiring, routes: DefaultRoutes): void {
    const master = this.#lower(wiring);
    try {
      this.#namespaces.enter(this.#home, path, () => {
        using inside = this.#netlink.open(NETLINK_ROUTE);
        this.#wire(inside, wiring, master);
        this.#setRoutes(inside, routes);
      });
      this.#setHostEnd(wiring);
    } catch (error) {
      if ('veth' in wiring) this.#deleteLink(wiring.veth);
      else this.#deleteInside(path, [wiring.interface]);
      throw error;
    }
  }

  unplug(path: string, link: PluggedLink, routes: DefaultRoutes): void {
    if ('veth' in link) this.#deleteLink(link.veth);
    else this.#deleteInside(path, [link.interface]);
    this.#namespaces.enter(this.#home, path, () => {
      using inside = this.#netlink.open(NETLINK_ROUTE);
      this.#setRoutes(inside, routes);
    });
  }

  /** Undefined stands for every link there that stands on another. No error where there is no such namespace any more. */
  #deleteInside(path: string, names: readonly string[] | undefined): void {
    try {
      this.#namespaces.enter(this.#home, path, () => {
        using inside = this.#netlink.open(NETLINK_ROUTE);
        const links = names ? names.map((name) => find(inside, name)) : linksOf(inside);
        for (const link of links)
          if (link && isParentKind(link.kind)) inside.request(routeRequests.deleteLink(link.index));
      });
    } catch (error) {
      // EINVAL: nothing is mounted on the file. ENODEV: somebody else has deleted it.
      if (!['ENOENT', 'EINVAL', 'ENODEV'].includes(codeOf(error) ?? '')) throw error;
    }
  }

  /** The index of what the interface is to hang on. Its parent is looked for only when the link is made. */
  #lower(wiring: Wiring): number {
    return 'bridge' in wiring ? this.#master(wiring.bridge) : this.parents.ensure(wiring.parent);
  }

  #setHostEnd(wiring: Wiring): void {
    if ('veth' in wiring) this.#setPort(wiring.veth, wiring.bridge);
  }

  /** Runs `inside` in a namespace that exists. */
  enter<T>(path: string, inside: () => T): T {
    return this.#namespaces.enter(this.#home, path, inside);
  }

  /** Looked up each time: somebody may have deleted it since the last audit. */
  #master(spec: BridgeSpec): number {
    const known = this.#bridges.get(spec.name);
    if (known === undefined || this.#find(spec.name)?.index !== known) this.ensureBridge(spec);
    return this.#bridges.get(spec.name)!;
  }

  /** Runs in the container's namespace, to which `inside` speaks; `#route` still speaks to the host's. */
  #wire(inside: NetlinkSocket, wiring: Wiring, master: number): void {
    const { ipv4, ipv6 } = wiring;
    const namespace = this.#namespaces.open();
    const peer = { name: wiring.interface, mac: wiring.mac, namespace };
    try {
      if ('parent' in wiring) this.parents.add(wiring.parent, peer);
      else this.#route.request(routeRequests.addVeth({ name: wiring.veth, master, mtu: wiring.bridge.mtu, peer }));
    } finally {
      closeSync(namespace);
    }
    // Before the link is up, or it would already have asked for an address of its own. `::1` on loopback stays.
    const conf = `net.ipv6.conf.${wiring.interface}`;
    setSysctl(`${conf}.disable_ipv6`, ipv6 ? '0' : '1', { optional: true });
    // On a bridge its neighbours are containers: none of them is its router (S44).
    if (ipv6 && 'bridge' in wiring) setSysctl(`${conf}.accept_ra`, '0', { optional: true });
    const index = find(inside, wiring.interface)?.index;
    if (index === undefined) throw new Error(`no ${wiring.interface} in the namespace`);
    inside.request(
      routeRequests.linkUp(index),
      ...[ipv4, ipv6].flatMap((family) =>
        family ? [routeRequests.addAddress(index, family.address, family.prefixLength)] : [],
      ),
    );
  }

  /** A route that stands is put in the place of the other at once: connections go on. */
  #setRoutes(inside: NetlinkSocket, routes: DefaultRoutes, { fresh = false } = {}): void {
    for (const family of ['ipv4', 'ipv6'] as const) {
      const wanted = routes[family];
      if (fresh && !wanted) continue;
      const index = wanted && find(inside, wanted.interface)?.index;
      try {
        inside.request(
          wanted && index !== undefined
            ? routeRequests.setDefaultRoute(family, index, wanted.gateway)
            : routeRequests.deleteDefaultRoute(family),
        );
      } catch (error) {
        // There was none to delete, or the kernel has no IPv6.
        if (wanted || !['ESRCH', 'ENOENT', 'EAFNOSUPPORT', 'ENOTSUP'].includes(codeOf(error) ?? '')) throw error;
      }
    }
  }

  #setPort(veth: string, { icc }: BridgeSpec): void {
    const index = this.#find(veth)?.index;
    // Its frames are the bridge's, but were that deleted they would be the host's.
    setSysctl(`net.ipv6.conf.${veth}.accept_ra`, '0', { optional: true });
    if (index !== undefined) this.#route.request(routeRequests.port(index, { isolated: !icc && !seesBridged() }));
  }

  /**
   * Containers that are not to reach each other: the rules see to it where they see what passes a bridge, and they know a
   * published port from the rest. Where they do not, ports are isolated. Somebody may change that while containers run.
   */
  separate(all: readonly BridgePorts[]): void {
    const rules = seesBridged();
    if (rules === this.#rulesSeparate) return;
    this.#rulesSeparate = rules;
    for (const { bridge, veths } of all) if (!bridge.icc) for (const veth of veths) this.#setPort(veth, bridge);
  }

  #deleteLink(name: string): void {
    const link = this.#find(name);
    if (!link) return;
    try {
      this.#route.request(routeRequests.deleteLink(link.index));
    } catch (error) {
      if (codeOf(error) !== 'ENODEV') throw error;
    }
  }

  /** In a namespace that exists: what a container asked for that a pooled namespace has not. */
  setSysctls(path: string, sysctls: Readonly<Record<string, string>>): void {
    this.enter(path, () => setSysctls(sysctls));
  }

  /**
   * Lets the namespace go. Its links are the kernel's to delete once the last process has left: RTM_DELLINK would wait
   * for an RCU grace period, 15 to 31 ms. `standing`, those on links of the host, are deleted before: on the LAN they would
   * still have the address and the MAC that the container's next start asks for.
   */
  drop(path: string, standing: readonly string[] = []): void {
    if (standing.length > 0) this.#deleteInside(path, standing);
    try {
      this.#namespaces.unpin(path);
    } catch (error) {
      // EINVAL: the file is there and nothing is mounted on it, the making of it was cut short.
      if (codeOf(error) !== 'ENOENT' && codeOf(error) !== 'EINVAL') throw error;
    }
    rmSync(path, { force: true });
  }

  /** Keeps `paths` and the veths of `keep` as ports of their bridges; drops every other namespace and port of ours. */
  sweep(directory: string, paths: ReadonlySet<string>, keep: readonly BridgePorts[]): readonly string[] {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    const gone: string[] = [];
    for (const name of readdirSync(directory)) {
      const path = join(directory, name);
      if (paths.has(path)) continue;
      this.#deleteInside(path, undefined);
      this.drop(path);
      gone.push(path);
    }
    this.attach(keep);
    const kept = new Set(keep.flatMap(({ veths }) => veths));
    const links = this.#links();
    const names = new Set(keep.map(({ bridge }) => bridge.name));
    const bridges = new Set(links.filter(({ name }) => names.has(name)).map(({ index }) => index));
    for (const link of links) {
      // Held by a process that outlived its container's record, or about to go by itself. Under another bridge it is
      // another engine's.
      const ours = link.master === undefined || bridges.has(link.master);
      if (isVeth(link.name) && !kept.has(link.name) && ours) this.#deleteLink(link.name);
    }
    return gone;
  }

  /** The bridges that were made, or made again, and whose ports were not attached since. */
  get bare(): readonly string[] {
    return [...this.#bare];
  }

  /** Makes these veths ports of their bridges again, after somebody deleted one. */
  attach(all: readonly BridgePorts[]): void {
    const links = all.some(({ veths }) => veths.length > 0) ? this.#links() : [];
    const byName = new Map(links.map((link) => [link.name, link]));
    for (const { bridge, veths } of all) {
      const master = this.#bridges.get(bridge.name);
      if (master === undefined) continue;
      this.#bare.delete(bridge.name);
      for (const veth of veths) {
        const link = byName.get(veth);
        if (!link || link.master === master) continue;
        this.#route.request(routeRequests.setMaster(link.index, master));
        this.#setPort(veth, bridge);
      }
    }
  }

  /** Many in one step: the kernel waits for its readers, some 20 ms for each bridge, and as long again for each step. */
  removeBridges(names: readonly string[]): void {
    const links: Link[] = [];
    for (const name of names) {
      this.#names.delete(this.#bridges.get(name) ?? 0);
      this.#bridges.delete(name);
      this.#touched?.delete(name);
      this.#bare.delete(name);
      const link = names.length > 1 ? this.#find(name) : undefined;
      if (link?.kind === 'bridge') links.push(link);
    }
    if (links.length > 1) {
      const group = randomInt(2 ** 30, 2 ** 31);
      this.#route.request(...links.map(({ index }) => routeRequests.setGroup(index, group)));
      this.#route.request(routeRequests.deleteGroup(group));
    }
    // One alone, and what was no bridge or came back meanwhile.
    for (const name of names) this.#deleteLink(name);
  }

  /** Of one link or of all; each as the link's index and the bytes in hex. */
  #addresses(index?: number): Set<string> {
    return new Set(
      this.#route
        .request(routeRequests.addresses(index))
        .filter(({ type }) => type === nl.RTM_NEWADDR)
        .map(({ body }) => parseAddress(body))
        .map(({ index, address }) => `${index} ${address}`),
    );
  }

  #find(name: string): Link | undefined {
    return find(this.#route, name);
  }

  #links(): Link[] {
    return linksOf(this.#route);
  }

  [Symbol.dispose](): void {
    this.#route[Symbol.dispose]();
    this.#watch[Symbol.dispose]();
    closeSync(this.#home);
  }
}

/** A bridge and the host's ends that belong to it. */
export interface BridgePorts {
  readonly bridge: BridgeSpec;
  readonly veths: readonly string[];
}

const vethPrefix = 'bth';

/** The host's end of an endpoint. Derived from the id alone, so that recovery needs no other record. */
export const vethOf = (endpointId: string) => `${vethPrefix}${endpointId.slice(0, 12)}`;
export const isVeth = (name: string) => new RegExp(`^${vethPrefix}[0-9a-f]{12}$`).test(name);

/** What `plug` made: by the host's end, or by its name inside where there is none. */
export type PluggedLink = { readonly veth: string } | { readonly interface: string };

/** The interfaces that stand on links of the host. */
const standingOf = (wirings: readonly Wiring[]) =>
  wirings.flatMap((wiring) => ('parent' in wiring ? [wiring.interface] : []));

const linksOf = (socket: NetlinkSocket): Link[] =>
  socket
    .request(routeRequests.links())
    .filter(({ type }) => type === nl.RTM_NEWLINK)
    .map(({ body }) => parseLink(body));

function find(socket: NetlinkSocket, name: string): Link | undefined {
  try {
    const answer = socket.request(routeRequests.link(name)).find(({ type }) => type === nl.RTM_NEWLINK);
    return answer && parseLink(answer.body);
  } catch (error) {
    if (codeOf(error) === 'ENODEV') return undefined;
    throw error;
  }
}

/** br_netfilter: frames between ports of a bridge pass the rules too. */
function seesBridged(): boolean {
  const calls = (family: string) => {
    try {
      return readFileSync(`/proc/sys/net/bridge/bridge-nf-call-${family}tables`, 'utf8').trim() === '1';
    } catch {
      // Not loaded.
      return false;
    }
  };
  return calls('ip') && calls('ip6');
}

/**
 * A host that forwards IPv6 takes no advice from routers any more, unless it is told to (accept_ra 2): it would lose its own
 * address and route.
 */
function forwardIpv6(): void {
  const conf = '/proc/sys/net/ipv6/conf';
  if (!existsSync(conf) || readFileSync(`${conf}/all/forwarding`, 'utf8').trim() === '1') return;
  for (const name of readdirSync(conf)) {
    const path = `${conf}/${name}/accept_ra`;
    if (name !== 'all' && name !== 'default' && readFileSync(path, 'utf8').trim() === '1') writeFileSync(path, '2');
  }
  setSysctl('net.ipv6.conf.all.forwarding', '1');
}

function setSysctls(sysctls: Readonly<Record<string, string>>): void {
  for (const [name, value] of Object.entries(sysctls))
    try {
      setSysctl(name, value);
    } catch (error) {
      throw new Error(`sysctl ${name}=${value} could not be set: ${codeOf(error)}`, { cause: error });
    }
}

/**
 * Sets what differs, in the calling thread's network namespace, and says whether it did.
 * The name's dots are slashes in the path; an interface's name that has dots is written with slashes, as in sysctl(8).
 */
function setSysctl(name: string, value: string, { optional = false } = {}): boolean {
  const path = `/proc/sys/${name.replace(/[./]/g, (sign) => (sign === '.' ? '/' : '.'))}`;
  try {
    if (readFileSync(path, 'utf8').trim() === value) return false;
    writeFileSync(path, value);
    return true;
  } catch (error) {
    if (optional && codeOf(error) === 'ENOENT') return false;
    throw error;
  }
}
