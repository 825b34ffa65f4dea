import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { messageOf } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import { type AddressPool, macOf } from './addresses.ts';
import type { BridgeSpec } from './bridge-spec.ts';
import type { Kernel } from './kernel.ts';
import { vethOf } from './sandboxes.ts';

/** An endpoint before it belongs to a container: a namespace, wired to the default bridge, with its address. */
export interface Place {
  readonly id: string;
  readonly path: string;
  readonly address: string;
  readonly mac: string;
}

type Sysctls = Readonly<Record<string, string>>;

export interface PlacesDeps {
  readonly kernel: Kernel;
  readonly addresses: AddressPool;
  readonly bridge: BridgeSpec;
  /** The directory of the namespaces. */
  readonly namespaces: string;
  /** How many are made ahead. */
  readonly ahead: number;
  readonly log: Log;
}

/** Later than the start of the container that took one, so that it does not compete with it. */
const refillDelayMs = 100;

/**
 * Makes places, some of them ahead. A path and a veth's name are derived from the id: recovery needs no record to tell
 * those that containers have from those that were made ahead.
 */
export class Places {
  readonly #deps: PlacesDeps;
  readonly #closing = new AbortController();
  #ready: Place[] = [];
  #filling: Promise<void> | undefined;

  constructor(deps: PlacesDeps) {
    this.#deps = deps;
  }

  pathOf(id: string): string {
    return join(this.#deps.namespaces, id.slice(0, 12));
  }

  /** The ids of those that no container has yet. */
  get ahead(): readonly string[] {
    return this.#ready.map(({ id }) => id);
  }

  /** One that is there already, or the records of a new one; `make` makes it either way what it must be. */
  take({
    mac,
    namespace,
  }: {
    readonly mac: string | undefined;
    /** As of OpenRequest: none that is there already. */
    readonly namespace: string | undefined;
  }): { readonly place: Place; readonly make: (sysctls: Sysctls) => Promise<void> } {
    const ready = mac === undefined && namespace === undefined ? this.#ready.shift() : undefined;
    if (ready) return { place: ready, make: (sysctls) => this.#adjust(ready, sysctls) };
    const place = this.#plan(mac);
    return { place, make: (sysctls) => this.#make(place, sysctls, namespace) };
  }

  async drop({ path, address }: Place): Promise<void> {
    await this.#deps.kernel.call('drop', { path });
    this.#deps.addresses.release(address);
  }

  refill(): void {
    if (this.#closing.signal.aborted) return;
    this.#filling ??= this.#fill()
      .catch((error) => this.#deps.log.warn('no namespace could be made ahead', { reason: messageOf(error) }))
      .finally(() => {
        this.#filling = undefined;
      });
  }

  async #fill(): Promise<void> {
    const { signal } = this.#closing;
    await sleep(refillDelayMs, undefined, { signal, ref: false }).catch(() => {});
    while (!signal.aborted && this.#ready.length < this.#deps.ahead) {
      const place = this.#plan(undefined);
      try {
        await this.#make(place, {});
      } catch (error) {
        this.#deps.addresses.release(place.address);
        throw error;
      }
      this.#ready.push(place);
    }
  }

  #plan(mac: string | undefined): Place {
    const id = randomBytes(32).toString('hex');
    const address = this.#deps.addresses.take();
    return { id, path: this.pathOf(id), address, mac: mac ?? macOf(address) };
  }

  async #make({ id, path, address, mac }: Place, sysctls: Sysctls, namespace?: string): Promise<void> {
    const { bridge, kernel } = this.#deps;
    const { prefixLength, gateway } = bridge.ipv4!;
    const eth0 = { bridge, veth: vethOf(id), interface: 'eth0', mac, ipv4: { address, prefixLength }, ipv6: undefined };
    const routes = { ipv4: { interface: 'eth0', gateway }, ipv6: undefined };
    await kernel.call('create', { path, wirings: [eth0], routes, sysctls, namespace });
  }

  async #adjust({ path }: Place, sysctls: Sysctls): Promise<void> {
    if (Object.keys(sysctls).length > 0) await this.#deps.kernel.call('sysctls', { path, sysctls });
  }

  /** Drops what was made ahead, and makes no more. */
  async close(): Promise<void> {
    this.#closing.abort();
    await this.#filling;
    for (const place of this.#ready.splice(0)) await this.drop(place);
  }
}
