import { targetOf } from './endpoints.ts';
import { isOpened, type Publishing, partRequests } from './gateway-modes.ts';
import { ephemeralPorts, hasIpv6 } from './host-facts.ts';
import type { Kernel } from './kernel.ts';
import type { NetworkHelper } from './network-helper.ts';
import type { Endpoint, PortRequest, PublishedPort } from './networks.ts';
import { findPortOwner } from './port-owner.ts';
import { Ports } from './ports.ts';
import { renderPorts } from './ruleset.ts';

export interface PublishedPortsDeps {
  readonly kernel: Kernel;
  readonly helper: NetworkHelper;
  readonly table: string;
  /** A change of the table, or all of it where it is not as it was left. */
  readonly change: (script: string) => Promise<void>;
}

/** Published ports in all their places: what is taken on this host, held by the helper, translated by the kernel. */
export class PublishedPorts {
  readonly #deps: PublishedPortsDeps;
  readonly #ports = new Ports();

  constructor(deps: PublishedPortsDeps) {
    this.#deps = deps;
  }

  /** Taken and held; what `translate` does is still to do. Those that only are opened take nothing of the host. */
  async hold(
    endpoint: Endpoint,
    requests: readonly PortRequest[],
    publishing: Publishing,
  ): Promise<readonly PublishedPort[]> {
    const { held, opened } = partRequests(requests, publishing, endpoint);
    if (held.length === 0) return opened;
    const { containerId } = endpoint;
    const target = targetOf(endpoint);
    const taken = await this.#ports.publish(containerId, target, held, {
      ephemeral: ephemeralPorts,
      ipv6: hasIpv6,
      hold: (ports) => this.#deps.helper.hold({ owner: containerId, target, ports }),
      ownerOf: findPortOwner,
    });
    return [...opened, ...taken];
  }

  async release(containerId: string, all: readonly PublishedPort[]): Promise<void> {
    const ports = all.filter((port) => !isOpened(port));
    if (ports.length === 0) return;
    try {
      await this.#deps.helper.release(containerId);
    } finally {
      this.#ports.release(containerId, ports);
    }
  }

  /** Those of an endpoint that was there before this engine. */
  claim({ containerId, ports }: Endpoint): void {
    this.#ports.claim(
      containerId,
      ports.filter((port) => !isOpened(port)),
    );
  }

  /** One transaction for an endpoint's ports. The records say already what it wants. */
  translate(verb: 'add' | 'delete', endpoint: Endpoint): Promise<void> {
    return this.#apply(renderPorts(verb, this.#deps.table, endpoint), endpoint);
  }

  /** The same ports of the host lead to another endpoint of the same container. */
  async move(from: Endpoint, to: Endpoint): Promise<void> {
    if (to.ports.length === 0) return;
    const { table, helper } = this.#deps;
    const ports = to.ports.filter((port) => !isOpened(port));
    if (ports.length > 0) await helper.hold({ owner: to.containerId, target: targetOf(to), ports });
    await this.#apply(renderPorts('delete', table, from) + renderPorts('add', table, to), to);
  }

  async #apply(script: string, { address, ports }: Endpoint): Promise<void> {
    if (script === '') return;
    const { kernel, change } = this.#deps;
    await change(script);
    if (ports.some(({ protocol }) => protocol === 'udp')) await kernel.call('forget', { address, ports });
  }
}
