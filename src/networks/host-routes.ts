import { Netlink, type NetlinkWatch, nl, parseLink, parseRoute, routeGroups } from '../sys/netlink.ts';
import { contains, parseAddress, type Subnet } from './addresses.ts';
import { hostRoutes } from './host-facts.ts';
import { isVeth } from './sandboxes.ts';

/**
 * The routes of this host that are not our networks' own. The kernel tells of changes, so that a host with thousands of
 * bridges, each with a route, is read once and not for each network that is made.
 */
export class HostRoutes {
  /** The subnet of the network that has a bridge of this name. */
  readonly #subnetOf: (bridge: string) => Subnet | undefined;
  #watch: NetlinkWatch | undefined;
  /** Undefined: to be read. */
  #foreign: readonly Subnet[] | undefined;
  readonly #bridges = new Map<number, string>();

  constructor(subnetOf: (bridge: string) => Subnet | undefined) {
    this.#subnetOf = subnetOf;
  }

  foreign(): readonly Subnet[] {
    // Before the routes are read: what changes from here on is heard.
    this.#watch ??= new Netlink().watch(routeGroups);
    this.hear();
    this.#foreign ??= hostRoutes().filter(({ device, ...subnet }) => {
      const own = this.#subnetOf(device);
      return !own || !isWithin(subnet, own);
    });
    return this.#foreign;
  }

  /** To be called before a network is forgotten: what the kernel tells of its bridge would be a stranger's after. */
  hear(): void {
    const told = this.#watch?.heard();
    if (!this.#watch || !told) this.#foreign = undefined;
    for (const { type, body } of told ?? [])
      if (!(type === nl.RTM_NEWROUTE || type === nl.RTM_DELROUTE ? this.#isOwnRoute(body) : this.#isOwnLink(body)))
        this.#foreign = undefined;
  }

  #isOwnLink(body: Buffer): boolean {
    const { index, name } = parseLink(body);
    if (this.#subnetOf(name)) this.#bridges.set(index, name);
    else this.#bridges.delete(index);
    return this.#bridges.has(index) || isVeth(name);
  }

  #isOwnRoute(body: Buffer): boolean {
    const { link, destination, prefixLength } = parseRoute(body);
    const own = this.#subnetOf(this.#bridges.get(link) ?? '');
    const base = parseAddress(destination);
    return own !== undefined && base !== undefined && isWithin({ base, prefixLength }, own);
  }
}

const isWithin = (inner: Subnet, outer: Subnet) =>
  inner.prefixLength >= outer.prefixLength && contains(outer, inner.base);
