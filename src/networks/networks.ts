import type { IpamConfig, NetworkRequest } from './definition.ts';
import type { ParentKind } from './parent-spec.ts';

export interface PortRequest {
  /** Inside the container. */
  readonly port: number;
  readonly protocol: 'tcp' | 'udp' | 'sctp';
  /** '' is all addresses, IPv4 and IPv6. */
  readonly hostAddress: string;
  /** 0: any free one. `last` above `first` is a range to choose one from. */
  readonly first: number;
  readonly last: number;
}

export interface PublishedPort {
  readonly port: number;
  readonly protocol: 'tcp' | 'udp' | 'sctp';
  readonly hostAddress: string;
  /** 0: none is taken, it is opened on the container's own address. */
  readonly hostPort: number;
}

/** How a container is to be in one network. */
export interface JoinRequest {
  /** Name or id. */
  readonly network: string;
  readonly mac?: string | undefined;
  /** What its interface is called inside; eth0 and so on where nothing is said. */
  readonly interface?: string | undefined;
  readonly address?: string | undefined;
  readonly address6?: string | undefined;
  /** What the others in a network of one's own call it, its own name first. */
  readonly names?: readonly string[];
  /** What it alone calls others: each name, and one that the other has in this network. */
  readonly links?: Readonly<Record<string, string>>;
  /** The network with the highest has the default route; equal ones by their names. */
  readonly priority?: number;
}

export interface OpenRequest {
  /** None: loopback only. The first is eth0. */
  readonly joins: readonly JoinRequest[];
  readonly ports: readonly PortRequest[];
  readonly sysctls?: Readonly<Record<string, string>>;
  /** Name servers that it asked for; none are the host's. */
  readonly dns?: readonly string[];
  /** A namespace that is there, by the path of a file of it, to be used instead of a new one: it is another user namespace's. */
  readonly namespace?: string | undefined;
}

/** A container's place in a network. A plain record: it is stored with the container and given back to `recover`. */
export interface Endpoint {
  readonly id: string;
  readonly containerId: string;
  readonly networkId: string;
  readonly network: string;
  readonly interface: string;
  /** '' in a network without IPv4. */
  readonly address: string;
  readonly prefixLength: number;
  /** '' in an internal network. */
  readonly gateway: string;
  readonly ipv6?: { readonly address: string; readonly prefixLength: number; readonly gateway: string } | undefined;
  /** '' where all have that of the link they stand on. */
  readonly mac: string;
  /** Published by the one endpoint that has the default route. */
  readonly ports: readonly PublishedPort[];
  readonly names?: readonly string[];
  readonly links?: Readonly<Record<string, string>>;
  readonly priority?: number;
  /** Its interface stands on a link of the host, and no bridge is below it. */
  readonly driver?: ParentKind | undefined;
  /** It leads out without a gateway. */
  readonly isRouted?: boolean;
}

/** What a container that runs has, as its record says. */
export interface Attachment {
  readonly containerId: string;
  /** The path of its namespace, or its name in the room's own folder. */
  readonly sandbox: string;
  readonly endpoints: readonly Endpoint[];
  readonly dns?: readonly string[];
}

/** A network namespace, pinned by a bind mount so that it outlives the engine. */
export interface Sandbox {
  readonly path: string;
}

export interface Opened {
  readonly sandbox: Sandbox;
  readonly endpoints: readonly Endpoint[];
}

export interface ConnectOptions {
  readonly ports: readonly PortRequest[];
  readonly dns?: readonly string[];
}

export interface NetworkInfo {
  readonly id: string;
  readonly name: string;
  readonly driver: string;
  readonly created: string;
  readonly subnets: readonly IpamConfig[];
  readonly ipamOptions: Readonly<Record<string, string>> | undefined;
  readonly internal: boolean;
  readonly attachable: boolean;
  readonly ipv4: boolean;
  readonly ipv6: boolean;
  readonly labels: Readonly<Record<string, string>>;
  readonly options: Readonly<Record<string, string>>;
  /** It holds a configuration for others: no container is ever in it. */
  readonly configOnly?: boolean;
  /** The name of the network that its configuration came from. */
  readonly configFrom?: string;
  readonly endpoints: readonly Endpoint[];
}

/**
 * The networks of this host: the default bridge, `host` and `none`, and those that somebody made. One nftables table,
 * derived from networks and endpoints and reconciled. Nothing here waits for a container.
 */
export interface Networks extends AsyncDisposable {
  /** Durable when it returns, its bridge is there. Refusals in Docker's words; nothing is left of a network that failed. */
  create(request: NetworkRequest): Promise<NetworkInfo>;
  /** Refused while a container is in it. */
  remove(nameOrId: string): Promise<void>;
  /** Removes those that no container is in and that `chosen` takes; gives back their names. */
  prune(chosen: (network: NetworkInfo) => boolean): Promise<readonly string[]>;
  /**
   * A namespace with loopback only (`none`), or with an interface in each network and its ports published. All or nothing.
   * A port that is taken throws `conflict`: who has it and what to do.
   */
  open(containerId: string, request: OpenRequest): Promise<Opened>;
  /** One network more for a container that is open. Its endpoints, in the order of joining. */
  connect(containerId: string, join: JoinRequest, more: ConnectOptions): Promise<readonly Endpoint[]>;
  /** One less. Its endpoints that stay. */
  disconnect(containerId: string, nameOrId: string): Promise<readonly Endpoint[]>;
  /** From now on these names, by network; the others' table of names follows. */
  rename(containerId: string, names: (endpoint: Endpoint) => readonly string[]): Promise<readonly Endpoint[]>;
  /** Throws what `open` and `connect` would throw of a join, where that is known beforehand. */
  check(join: JoinRequest): void;
  /** Ports, address, rules and namespace are released; repeating it is no error. `told`: the event went out already. */
  close(containerId: string, options?: { readonly told?: boolean }): Promise<void>;
  /** After a start: these stay; every other namespace, link, rule and reservation of ours goes. */
  recover(attachments: readonly Attachment[]): Promise<void>;
  /** By name, id or the beginning of an id that is only one's. */
  get(nameOrId: string): NetworkInfo;
  list(): readonly NetworkInfo[];
  /** `nameserver` lines and search domains for a container that asked for none. */
  hostResolver(): {
    readonly servers: readonly string[];
    readonly search: readonly string[];
    readonly options: readonly string[];
  };
}
