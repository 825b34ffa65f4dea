import { closeSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { codeOf } from '../base/errors.ts';
import {
  type Link,
  type Netlink,
  type NetlinkSocket,
  nl,
  parseAddress,
  parseLink,
  routeRequests,
} from '../sys/netlink.ts';
import { NetworkNamespaces } from '../sys/netns.ts';

export interface BridgeConfig {
  readonly bridge: string;
  readonly bridgeMac: string;
  readonly gateway: string;
  readonly prefixLength: number;
  readonly mtu: number;
}

export interface Wiring {
  readonly veth: string;
  readonly interface: string;
  readonly address: string;
  readonly mac: string;
}

export interface SandboxRequest {
  readonly path: string;
  /** Undefined: loopback only. */
  readonly wiring: Wiring | undefined;
  readonly sysctls: Readonly<Record<string, string>>;
}

const NETLINK_ROUTE = 0;

/** Namespaces and links, made on the calling thread; only the network worker calls this, everything in it blocks. */
export class Sandboxes implements Disposable {
  readonly #config: BridgeConfig;
  readonly #namespaces = new NetworkNamespaces();
  readonly #home = this.#namespaces.open();
  readonly #netlink: Netlink;
  readonly #route: NetlinkSocket;
  #bridge: number | undefined;
  #portsLost = false;

  constructor(config: BridgeConfig, netlink: Netlink) {
    this.#config = config;
    this.#netlink = netlink;
    this.#route = netlink.open(NETLINK_ROUTE);
  }

  /**
   * The bridge is there, up, with its address, and the host forwards for it. Repeating it is cheap and mends what others
   * changed. Gives back whether forwarding was off before.
   */
  ensureBridge(): { readonly forwardingEnabled: boolean } {
    const { bridge, gateway, prefixLength } = this.#config;
    let link = this.#find(bridge);
    if (!link) {
      this.#portsLost = true;
      this.#route.request(routeRequests.addBridge(bridge, { mac: this.#config.bridgeMac, mtu: this.#config.mtu }));
      link = this.#find(bridge);
      if (!link) throw new Error(`bridge ${bridge} is gone just after it was made`);
    }
    this.#bridge = link.index;
    const missing = [
      ...(this.#hasAddress(link.index, gateway) ? [] : [routeRequests.addAddress(link.index, gateway, prefixLength)]),
      ...(link.up ? [] : [routeRequests.linkUp(link.index)]),
    ];
    if (missing.length > 0) this.#route.request(...missing);
    // Published ports on 127.0.0.1 are translated and routed to the bridge; on no other interface (S39).
    setSysctl(`net.ipv4.conf.${bridge.replaceAll('.', '/')}.route_localnet`, '1');
    const forwardingEnabled = setSysctl('net.ipv4.ip_forward', '1');
    return { forwardingEnabled };
  }

  create({ path, wiring, sysctls }: SandboxRequest): void {
    // Looked up each time: somebody may have deleted it since the last audit.
    if (wiring && this.#find(this.#config.bridge)?.index !== this.#bridge) this.ensureBridge();
    const bridge = this.#bridge;
    // The namespace's file is made first: from then on recovery finds whatever follows.
    writeFileSync(path, '', { flag: 'wx', mode: 0o400 });
    try {
      this.#namespaces.create(this.#home, () => {
        this.#namespaces.pin(path);
        if (wiring && bridge !== undefined) this.#wire(wiring, bridge);
        else {
          using inside = this.#netlink.open(NETLINK_ROUTE);
          inside.request(routeRequests.linkUp(1));
        }
        setSysctls(sysctls);
      });
      if (wiring) this.#setHairpin(wiring.veth);
    } catch (error) {
      this.drop(path);
      throw error;
    }
  }

  /** Runs in the new namespace; `#route` still speaks to the host's. */
  #wire(wiring: Wiring, master: number): void {
    const namespace = this.#namespaces.open();
    try {
      this.#route.request(
        routeRequests.addVeth({
          name: wiring.veth,
          master,
          mtu: this.#config.mtu,
          peer: { name: wiring.interface, mac: wiring.mac, namespace },
        }),
      );
    } finally {
      closeSync(namespace);
    }
    // Before the link is up, or it would already have asked for an address of its own. `::1` on loopback stays.
    setSysctl(`net.ipv6.conf.${wiring.interface}.disable_ipv6`, '1', { optional: true });
    using inside = this.#netlink.open(NETLINK_ROUTE);
    const index = find(inside, wiring.interface)?.index;
    if (index === undefined) throw new Error(`no ${wiring.interface} in the new namespace`);
    inside.request(
      routeRequests.linkUp(1),
      routeRequests.linkUp(index),
      routeRequests.addAddress(index, wiring.address, this.#config.prefixLength),
      routeRequests.addDefaultRoute(index, this.#config.gateway),
    );
  }

  #setHairpin(veth: string): void {
    const index = this.#find(veth)?.index;
    if (index !== undefined) this.#route.request(routeRequests.hairpin(index));
  }

  /** In a namespace that exists: what a container asked for that a pooled namespace has not. */
  setSysctls(path: string, sysctls: Readonly<Record<string, string>>): void {
    this.#namespaces.enter(this.#home, path, () => setSysctls(sysctls));
  }

  /**
   * Lets the namespace go. Its links are the kernel's to delete once the last process has left: RTM_DELLINK would wait
   * for an RCU grace period, 15 to 31 ms.
   */
  drop(path: string): void {
    try {
      this.#namespaces.unpin(path);
    } catch (error) {
      // EINVAL: the file is there and nothing is mounted on it, the making of it was cut short.
      if (codeOf(error) !== 'ENOENT' && codeOf(error) !== 'EINVAL') throw error;
    }
    rmSync(path, { force: true });
  }

  /** Keeps `paths` and the veths of `keep` as ports of the bridge; drops every other namespace and port of ours. */
  sweep(directory: string, paths: ReadonlySet<string>, keep: ReadonlySet<string>): readonly string[] {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    const gone: string[] = [];
    for (const name of readdirSync(directory)) {
      const path = join(directory, name);
      if (paths.has(path)) continue;
      this.drop(path);
      gone.push(path);
    }
    this.attach(keep);
    const bridge = this.#bridge ?? this.#find(this.#config.bridge)?.index;
    for (const link of this.#links()) {
      // Held by a process that outlived its container's record, or about to go by itself. Under another bridge it is
      // another engine's.
      if (!isVeth(link.name) || keep.has(link.name) || (link.master !== undefined && link.master !== bridge)) continue;
      try {
        this.#route.request(routeRequests.deleteLink(link.index));
      } catch (error) {
        if (codeOf(error) !== 'ENODEV') throw error;
      }
    }
    return gone;
  }

  /** The bridge was made, or made again, and `attach` was not called since. */
  get portsLost(): boolean {
    return this.#portsLost;
  }

  /** Makes these veths ports of the bridge again, after somebody deleted it. */
  attach(veths: ReadonlySet<string>): void {
    const bridge = this.#bridge;
    if (bridge === undefined) return;
    this.#portsLost = false;
    for (const link of veths.size > 0 ? this.#links() : []) {
      if (!veths.has(link.name) || link.master === bridge) continue;
      this.#route.request(routeRequests.setMaster(link.index, bridge));
      this.#route.request(routeRequests.hairpin(link.index));
    }
  }

  removeBridge(): void {
    const link = this.#find(this.#config.bridge);
    this.#bridge = undefined;
    if (link) this.#route.request(routeRequests.deleteLink(link.index));
  }

  #hasAddress(index: number, address: string): boolean {
    return this.#route
      .request(routeRequests.addresses())
      .filter(({ type }) => type === nl.RTM_NEWADDR)
      .map(({ body }) => parseAddress(body))
      .some((found) => found.index === index && found.address === address);
  }

  #find(name: string): Link | undefined {
    return find(this.#route, name);
  }

  #links(): Link[] {
    return this.#route
      .request(routeRequests.links())
      .filter(({ type }) => type === nl.RTM_NEWLINK)
      .map(({ body }) => parseLink(body));
  }

  [Symbol.dispose](): void {
    this.#route[Symbol.dispose]();
    closeSync(this.#home);
  }
}

const vethPrefix = 'bth';

/** The host's end of an endpoint. Derived from the id alone, so that recovery needs no other record. */
export const vethOf = (endpointId: string) => `${vethPrefix}${endpointId.slice(0, 12)}`;
export const isVeth = (name: string) => new RegExp(`^${vethPrefix}[0-9a-f]{12}$`).test(name);

function find(socket: NetlinkSocket, name: string): Link | undefined {
  try {
    const answer = socket.request(routeRequests.link(name)).find(({ type }) => type === nl.RTM_NEWLINK);
    return answer && parseLink(answer.body);
  } catch (error) {
    if (codeOf(error) === 'ENODEV') return undefined;
    throw error;
  }
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
