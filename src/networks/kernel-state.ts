import { mkdirSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import { codeOf, messageOf } from '../base/errors.ts';
import { flows, forgetRequest } from '../sys/conntrack.ts';
import { Netlink, type NetlinkSocket } from '../sys/netlink.ts';
import { changeElements, type ElementChange } from '../sys/nft-elements.ts';
import { generation, Nftables, netfilterProtocol } from '../sys/nftables.ts';
import { Sockets } from '../sys/sockets.ts';
import type { BridgeSpec } from './bridge-spec.ts';
import { openNameSockets } from './name-sockets.ts';
import type { PublishedPort } from './networks.ts';
import { type BridgePorts, Sandboxes, type SandboxRequest } from './sandboxes.ts';
import type { Operations, WorkerConfig } from './worker-protocol.ts';

const udp = 17;

/**
 * Milliseconds between two whole looks while nobody tells of a change: a bridge's own settings change in silence. Thousands
 * of bridges are looked at less often: a look has no more than this part of the time.
 */
const wholeLookMs = 30_000;
const wholeLookPart = 1 / 250;

/** What is ours in the kernel, seen from the network worker's thread. */
export class KernelState {
  readonly sandboxes: Sandboxes;
  readonly #config: WorkerConfig;
  readonly #netfilter: NetlinkSocket;
  #nftables: Nftables | undefined;
  #sockets: Sockets | undefined;
  /** The generation after our last transaction, or the last look of the audit. */
  #generation: number | undefined;
  /** Somebody else changed rules since the audit looked, or may have: only a look of the audit ends that. */
  #unseen = false;
  /** No audit was there yet: what others have in the way of containers may have changed since it was looked at. */
  #first = true;
  /**
   * How our table is listed when it is whole, from the first change of others on: then the audit lists it after a change of
   * ours. Where nobody else changes rules, thousands of elements are never listed.
   */
  #listing: string | undefined;
  #hasOthers = false;
  /** When everything was looked at last. */
  #looked = Number.NEGATIVE_INFINITY;
  #lookTook = 0;

  constructor(config: WorkerConfig) {
    this.#config = config;
    const netlink = new Netlink();
    this.#netfilter = netlink.open(netfilterProtocol);
    this.sandboxes = new Sandboxes(netlink);
    mkdirSync(config.namespaces, { recursive: true, mode: 0o700 });
  }

  setup(table: string, bridges: readonly BridgePorts[]) {
    const { forwardingEnabled } = this.sandboxes.ensureBridges(bridges.map(({ bridge }) => bridge));
    this.sandboxes.attach(bridges);
    this.rules(table);
    return { forwardingEnabled };
  }

  /** The rules first: no packet of a bridge comes before what keeps it apart from the others. */
  addBridge(bridge: BridgeSpec, changes: readonly ElementChange[]): void {
    this.change(changes);
    this.sandboxes.ensureBridge(bridge);
    this.sandboxes.attach([{ bridge, veths: [] }]);
  }

  create(request: SandboxRequest): void {
    this.sandboxes.create(request);
  }

  resolver(path: string) {
    this.#sockets ??= new Sockets();
    const sockets = this.#sockets;
    return this.sandboxes.enter(path, () => openNameSockets(sockets));
  }

  rules(script: string): void {
    this.#transact(() => this.#nft().run(script));
    if (!this.#hasOthers || this.#unseen) return;
    const listing = this.#list();
    // Two engines that write their tables for each other's sake must come to an end.
    if (generation(this.#netfilter) === this.#generation) this.#listing = listing;
  }

  change(changes: readonly ElementChange[]): void {
    if (changes.length > 0) this.#transact(() => changeElements(this.#netfilter, changes));
  }

  #transact(work: () => void): void {
    const before = generation(this.#netfilter);
    if (this.#generation !== undefined && this.#generation !== before) this.#unseen = true;
    work();
    this.#listing = undefined;
    this.#generation = generation(this.#netfilter);
    if (this.#generation !== before + 1) this.#unseen = true;
  }

  forget(address: string, ports: readonly PublishedPort[]): void {
    const numbers = new Set(ports.filter(({ protocol }) => protocol === 'udp').map(({ hostPort }) => hostPort));
    const own = new Set(Object.values(networkInterfaces()).flatMap((some) => some?.map((one) => one.address) ?? []));
    for (const flow of flows(this.#netfilter)) {
      if (flow.protocol !== udp || !numbers.has(flow.destinationPort)) continue;
      // Translated to this container before, or not translated at all and kept by the host.
      const stays = own.has(flow.destination) && flow.answeredBy === flow.destination;
      if (flow.answeredBy !== address && !stays) continue;
      try {
        this.#netfilter.request(forgetRequest(flow));
      } catch (error) {
        if (codeOf(error) !== 'ENOENT') throw error;
      }
    }
  }

  sweep(paths: readonly string[], bridges: readonly BridgePorts[]) {
    return { gone: this.sandboxes.sweep(this.#config.namespaces, new Set(paths), bridges) };
  }

  /** What an audit is to look at: nothing has to be listed to know it. */
  changed(): Operations['changed']['out'] {
    const isDue = performance.now() - this.#looked > Math.max(wholeLookMs, this.#lookTook / wholeLookPart);
    const rules =
      this.#first ||
      this.#unseen ||
      (this.#hasOthers && this.#listing === undefined) ||
      generation(this.#netfilter) !== this.#generation;
    return { bridges: isDue ? 'all' : this.sandboxes.changed(), rules };
  }

  audit({ bridges, whole }: Operations['audit']['in']): Operations['audit']['out'] {
    const mended: string[] = [];
    if (whole) {
      this.#looked = performance.now();
      this.sandboxes.listen();
    }
    const specs = bridges.map(({ bridge }) => bridge);
    const { forwardingEnabled } = whole ? this.sandboxes.ensureBridges(specs) : this.sandboxes.ensureSome(specs);
    if (whole) this.#lookTook = performance.now() - this.#looked;
    const { bare } = this.sandboxes;
    if (bare.length > 0) {
      mended.push(...bare.map((name) => `bridge ${name}`));
      this.sandboxes.attach(bridges);
    }
    if (forwardingEnabled) mended.push('ip_forward');
    if (whole) this.sandboxes.separate(bridges);

    const now = generation(this.#netfilter);
    const first = this.#first;
    this.#first = false;
    if (now === this.#generation && !this.#unseen) {
      if (this.#hasOthers) this.#listing ??= this.#list();
      return { table: 'intact', rulesChanged: first, mended };
    }
    this.#hasOthers = true;
    const table = this.#compare();
    this.#unseen = false;
    this.#generation = table === 'intact' ? now : undefined;
    return { table, rulesChanged: true, mended };
  }

  /** With nothing to compare with, the caller writes the table to be sure. */
  #compare(): 'intact' | 'changed' | 'unknown' {
    if (this.#listing !== undefined) return this.#listing === this.#list() ? 'intact' : 'changed';
    const tables = this.#nft().run('list tables inet').split('\n');
    return tables.includes(`table inet ${this.#config.table}`) ? 'unknown' : 'changed';
  }

  teardown(): void {
    this.rules(`table inet ${this.#config.table}\ndelete table inet ${this.#config.table}\n`);
    this.sandboxes.removeBridges([this.#config.bridge]);
  }

  #nft(): Nftables {
    this.#nftables ??= new Nftables();
    return this.#nftables;
  }

  #list(): string {
    try {
      // Elements of a map are listed in the order of their hashes, which is another after each change of the table's size.
      return this.#nft()
        .run(`list table inet ${this.#config.table}`)
        .split(/[\n,]/)
        .map((line) => line.trim())
        .sort()
        .join('\n');
    } catch (error) {
      return messageOf(error);
    }
  }
}
