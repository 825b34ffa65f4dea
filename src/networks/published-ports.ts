import type { Log } from '../base/log.ts';
import type { ElementChange } from '../sys/nft-elements.ts';
import { targetOf } from './endpoints.ts';
import { isOpened, type Publishing, partRequests } from './gateway-modes.ts';
import { boundOnHost, mostFiles, mostSockets, portsToHold } from './held-ports.ts';
import type { Reservation } from './helper-protocol.ts';
import { ephemeralPorts, hasIpv6 } from './host-facts.ts';
import type { Kernel } from './kernel.ts';
import type { NetworkHelper } from './network-helper.ts';
import type { Endpoint, PortRequest, PublishedPort } from './networks.ts';
import { findPortOwner } from './port-owner.ts';
import { Ports } from './ports.ts';
import { changePorts } from './ruleset.ts';

export interface PublishedPortsDeps {
  readonly kernel: Kernel;
  readonly helper: NetworkHelper;
  readonly table: string;
  readonly log: Log;
  /** A change of the table, or all of it where it is not as it was left. */
  readonly change: (changes: readonly ElementChange[]) => Promise<void>;
}

/** Published ports in all their places: what is taken on this host, held by the helper, translated by the kernel. */
export class PublishedPorts {
  readonly #deps: PublishedPortsDeps;
  readonly #ports = new Ports();
  /** How many sockets the helper has for each container's IPv6. */
  readonly #sockets = new Map<string, number>();

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
    const ipv6 = this.#canCarryIpv6(held);
    const taken = await this.#ports.publish(containerId, target, held, {
      ephemeral: ephemeralPorts,
      ipv6: () => ipv6,
      hold: (chosen) => {
        const isBound = held.length > mostSockets ? boundOnHost() : () => false;
        return this.#deps.helper.hold({ owner: containerId, target, ports: portsToHold(chosen, isBound) });
      },
      ownerOf: findPortOwner,
    });
    this.#count(containerId, taken);
    return [...opened, ...taken];
  }

  /** Each port of IPv6 is a socket of the helper, which needs descriptors for what it carries too: half of them are for ports. */
  #canCarryIpv6(requests: readonly PortRequest[]): boolean {
    if (!hasIpv6()) return false;
    const open = requests.filter(({ hostAddress }) => hostAddress === '').length;
    const held = [...this.#sockets.values()].reduce((sum, count) => sum + count, 0);
    if (open <= mostSockets || held + open <= mostFiles() / 2) return true;
    this.#deps.log.warn('so many ports are published on IPv4 alone: on IPv6 each needs a file, and there are too few', {
      ports: open,
      files: mostFiles(),
    });
    return false;
  }

  #count(containerId: string, ports: readonly PublishedPort[]): void {
    const count = ports.filter(({ hostAddress }) => hostAddress.includes(':')).length;
    if (count > 0) this.#sockets.set(containerId, count);
  }

  async release(containerId: string, all: readonly PublishedPort[]): Promise<void> {
    const ports = all.filter((port) => !isOpened(port));
    if (ports.length === 0) return;
    try {
      await this.#deps.helper.release(containerId);
    } finally {
      this.#sockets.delete(containerId);
      this.#ports.release(containerId, ports);
    }
  }

  /** Those of an endpoint that was there before this engine. */
  claim({ containerId, ports }: Endpoint): void {
    const taken = ports.filter((port) => !isOpened(port));
    this.#ports.claim(containerId, taken);
    this.#count(containerId, taken);
  }

  /** What the helper is to hold of an endpoint whose ports were found free when they were published. */
  reservationOf(endpoint: Endpoint): Reservation {
    const taken = endpoint.ports.filter((port) => !isOpened(port));
    return { owner: endpoint.containerId, target: targetOf(endpoint), ports: portsToHold(taken, () => false) };
  }

  /** One transaction for an endpoint's ports. The records say already what it wants. */
  translate(verb: 'add' | 'delete', endpoint: Endpoint): Promise<void> {
    return this.#apply(changePorts(verb, this.#deps.table, endpoint), endpoint);
  }

  /** The same ports of the host lead to another endpoint of the same container. */
  async move(from: Endpoint, to: Endpoint): Promise<void> {
    if (to.ports.length === 0) return;
    const { table, helper } = this.#deps;
    const reservation = this.reservationOf(to);
    if (reservation.ports.length > 0) await helper.hold(reservation);
    await this.#apply([...changePorts('delete', table, from), ...changePorts('add', table, to)], to);
  }

  async #apply(changes: readonly ElementChange[], { address, ports }: Endpoint): Promise<void> {
    if (changes.length === 0) return;
    const { kernel, change } = this.#deps;
    await change(changes);
    if (ports.some(({ protocol }) => protocol === 'udp')) await kernel.call('forget', { address, ports });
  }
}
