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
  readonly hostPort: number;
}

export interface JoinRequest {
  readonly containerId: string;
  readonly network: string;
  readonly ports: readonly PortRequest[];
  readonly mac?: string;
  readonly sysctls?: Readonly<Record<string, string>>;
}

/** A container's place in a network. A plain record: it is stored with the container and given back to `recover`. */
export interface Endpoint {
  readonly id: string;
  readonly containerId: string;
  readonly networkId: string;
  readonly network: string;
  readonly interface: string;
  readonly address: string;
  readonly prefixLength: number;
  readonly gateway: string;
  readonly mac: string;
  readonly ports: readonly PublishedPort[];
}

/** A network namespace, pinned by a bind mount so that it outlives the engine. */
export interface Sandbox {
  readonly path: string;
}

export interface NetworkInfo {
  readonly id: string;
  readonly name: string;
  readonly driver: string;
  readonly created: string;
  readonly subnets: readonly { readonly subnet: string; readonly gateway: string }[];
  readonly internal: boolean;
  readonly ipv6: boolean;
  readonly labels: Readonly<Record<string, string>>;
  readonly options: Readonly<Record<string, string>>;
  readonly endpoints: readonly Endpoint[];
}

/**
 * The networks of this host: the default bridge, `host` and `none`. One nftables table, derived from the endpoints and
 * reconciled. Nothing here waits for a container.
 */
export interface Networks extends AsyncDisposable {
  /**
   * A namespace with loopback only (`none`), or joined to the bridge with its ports published. All or nothing.
   * A port that is taken throws `conflict`: who has it and what to do.
   */
  open(
    containerId: string,
    join: JoinRequest | undefined,
  ): Promise<{ sandbox: Sandbox; endpoint: Endpoint | undefined }>;
  /** Ports, address, rules and namespace are released; repeating it is no error. `told`: the event went out already. */
  close(containerId: string, options?: { readonly told?: boolean }): Promise<void>;
  /** After a start: these stay; every other namespace, link, rule and reservation of ours goes. */
  recover(endpoints: readonly Endpoint[], sandboxes: readonly string[]): Promise<void>;
  get(nameOrId: string): NetworkInfo;
  list(): readonly NetworkInfo[];
  /** `nameserver` lines and search domains for a container that asked for none. */
  hostResolver(): {
    readonly servers: readonly string[];
    readonly search: readonly string[];
    readonly options: readonly string[];
  };
}
