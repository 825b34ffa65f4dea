import { codeOf } from '../base/errors.ts';
import { type Link, type NetlinkRequest, type NetlinkSocket, routeRequests } from '../sys/netlink.ts';
import { parentRequests } from '../sys/parent-requests.ts';
import type { ParentKind, ParentSpec } from './parent-spec.ts';

export interface ParentLinksDeps {
  /** Speaks to the host's namespace. */
  readonly route: NetlinkSocket;
  readonly find: (name: string) => Link | undefined;
  readonly deleteLink: (name: string) => void;
}

/** The links of the host that macvlan and ipvlan networks stand on. Only the network worker calls this. */
export class ParentLinks {
  readonly #deps: ParentLinksDeps;

  constructor(deps: ParentLinksDeps) {
    this.#deps = deps;
  }

  /** The kernel can do these networks, and the parent is there: made where it is ours to make. Repeating it is cheap. */
  ensure(spec: ParentSpec): number {
    const { route, find } = this.#deps;
    const { parent, made, kind } = spec;
    const found = find(parent);
    if (found) {
      if (made && !found.up) route.request(routeRequests.linkUp(found.index));
      return found.index;
    }
    if (!made) throw new Error(`the requested parent interface ${parent} was not found on the Docker host`);
    if (made.kind === 'dummy') this.#make(parentRequests.addDummy(parent), `failed to create ${parent} dummy link`);
    else {
      const lower = find(made.of);
      if (!lower) throw new Error(`-o parent interface was not found on the host: ${made.of}`);
      this.#make(
        parentRequests.addVlan(parent, { lower: lower.index, id: made.id }),
        `failed to create ${parent} vlan link`,
      );
    }
    const link = find(parent);
    if (!link) throw new Error(`the ${kind} parent ${parent} is gone just after it was made`);
    return link.index;
  }

  /** Throws in plain words where this kernel has no such links. */
  probe(kind: ParentKind): void {
    try {
      this.#deps.route.request(parentRequests.probe(kind));
    } catch (error) {
      if (codeOf(error) !== notSupported) return;
      throw new Error(
        `this kernel has no ${kind}: neither is it built in (CONFIG_${kind.toUpperCase()}) nor is there a module ${kind}`,
        { cause: error },
      );
    }
  }

  /** An interface of a container, on its parent and in its namespace from the first moment on. */
  add(spec: ParentSpec, { name, mac, namespace }: { name: string; mac: string; namespace: number }): void {
    const { kind, mode, flag, mtu } = spec;
    const lower = this.ensure(spec);
    this.#make(
      parentRequests.addUpper({ kind, name, lower, mode, flag, mtu, mac: kind === 'macvlan' ? mac : '', namespace }),
      `failed to create the ${kind} port`,
    );
  }

  /** Only of what is ours, and once no network stands on it. */
  remove(name: string): void {
    const link = this.#deps.find(name);
    if (link && ['vlan', 'dummy'].includes(link.kind)) this.#deps.deleteLink(name);
  }

  #make(request: NetlinkRequest, what: string): void {
    try {
      this.#deps.route.request(request);
    } catch (error) {
      const code = codeOf(error) ?? '';
      throw new Error(`${what}: ${words[code] ?? code}`, { cause: error });
    }
  }
}

/** EOPNOTSUPP, by the name that comes first for its number. */
const notSupported = 'ENOTSUP';

/** What strerror(3) says, as users of Docker see it. */
const words: Readonly<Record<string, string>> = {
  EBUSY: 'device or resource busy',
  EEXIST: 'file exists',
  EINVAL: 'invalid argument',
  ENODEV: 'no such device',
  [notSupported]: 'operation not supported',
  EADDRINUSE: 'address already in use',
  ERANGE: 'numerical result out of range',
};
