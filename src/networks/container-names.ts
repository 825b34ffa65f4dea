import { closeSync } from 'node:fs';
import type { Kernel } from './kernel.ts';
import type { NetworkHelper } from './network-helper.ts';
import type { Endpoint } from './networks.ts';

export interface ContainerNamesDeps {
  readonly kernel: Kernel;
  readonly helper: NetworkHelper;
  /** The host's name servers. */
  readonly servers: () => readonly string[];
  /** The network is one that somebody made: its containers have names. */
  readonly hasNames: (networkId: string) => boolean;
}

export interface Named {
  readonly containerId: string;
  readonly path: string;
  readonly endpoints: readonly Endpoint[];
  readonly dns: readonly string[];
}

/** Tells the network helper what containers are called and which of them ask for names. It answers them from then on. */
export class ContainerNames {
  readonly #deps: ContainerNamesDeps;
  /** Those that the helper serves. */
  readonly #served = new Set<string>();

  constructor(deps: ContainerNamesDeps) {
    this.#deps = deps;
  }

  /** What is true of the container now. Nothing is done for one that is in no network with names. */
  async tell(named: Named): Promise<void> {
    const { containerId } = named;
    const networks = named.endpoints.filter(({ networkId }) => this.#deps.hasNames(networkId));
    if (networks.length === 0) return this.forget(containerId);
    const { helper, kernel, servers } = this.#deps;
    const record = {
      owner: containerId,
      networks: networks.map((endpoint) => ({
        id: endpoint.networkId,
        name: endpoint.network,
        names: endpoint.names ?? [],
        ...(endpoint.links && { links: endpoint.links }),
        addresses: [endpoint.address, endpoint.ipv6?.address ?? ''].filter(Boolean),
      })),
      // What leads nowhere asks nobody outside (S40).
      servers: !named.endpoints.some(({ gateway, ipv6, isRouted }) => gateway || ipv6?.gateway || isRouted)
        ? []
        : named.dns.length > 0
          ? named.dns
          : servers(),
    };
    if (this.#served.has(containerId)) return helper.tellNames(record);
    const { udp, tcp } = await kernel.call('resolver', { path: named.path });
    try {
      await helper.tellNames({ ...record, sockets: { pid: process.pid, udp, tcp } });
    } finally {
      closeSync(udp);
      closeSync(tcp);
    }
    this.#served.add(containerId);
  }

  async forget(containerId: string): Promise<void> {
    if (this.#served.delete(containerId)) await this.#deps.helper.forgetNames(containerId);
  }

  /** After a start of the engine, or of another helper, which has the sockets of `served`. */
  async restore(all: readonly Named[], served: readonly string[]): Promise<void> {
    this.#served.clear();
    for (const containerId of served) this.#served.add(containerId);
    const wanted = new Set(all.map(({ containerId }) => containerId));
    for (const containerId of served) if (!wanted.has(containerId)) await this.forget(containerId);
    for (const named of all) await this.tell(named);
  }

  get any(): boolean {
    return this.#served.size > 0;
  }
}
