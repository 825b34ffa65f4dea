import { mkdirSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import { codeOf, messageOf } from '../base/errors.ts';
import { flows, forgetRequest } from '../sys/conntrack.ts';
import { Netlink, type NetlinkSocket } from '../sys/netlink.ts';
import { generation, Nftables, netfilterProtocol } from '../sys/nftables.ts';
import { Sockets } from '../sys/sockets.ts';
import type { BridgeSpec } from './bridge-spec.ts';
import { openNameSockets } from './name-sockets.ts';
import type { PublishedPort } from './networks.ts';
import { type BridgePorts, Sandboxes, type SandboxRequest } from './sandboxes.ts';
import type { Operations, WorkerConfig } from './worker-protocol.ts';

const udp = 17;

/** Milliseconds between two whole looks while nobody tells of a change: a bridge's own settings change in silence. */
const wholeLookMs = 30_000;

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
  #unseen = true;
  /** How our table is listed when it is whole. Made by the audit after a change of ours, when nobody else changed anything. */
  #listing: string | undefined;
  /** When everything was looked at last. */
  #looked = Number.NEGATIVE_INFINITY;
  /** Of a change of links was heard since. */
  #heard = false;

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
  addBridge(bridge: BridgeSpec, script: string): void {
    if (script !== '') this.rules(script);
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
    const before = generation(this.#netfilter);
    if (this.#generation !== undefined && this.#generation !== before) this.#unseen = true;
    this.#nft().run(script);
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

  /** The last audit would find what it found: nothing has to be listed to know it. */
  unchanged(): boolean {
    if (!this.sandboxes.unchanged()) this.#heard = true;
    if (this.#heard || performance.now() - this.#looked > wholeLookMs) return false;
    return this.#listing !== undefined && !this.#unseen && generation(this.#netfilter) === this.#generation;
  }

  audit(bridges: readonly BridgePorts[]): Operations['audit']['out'] {
    const mended: string[] = [];
    this.#looked = performance.now();
    this.#heard = false;
    const { forwardingEnabled } = this.sandboxes.ensureBridges(bridges.map(({ bridge }) => bridge));
    const { bare } = this.sandboxes;
    if (bare.length > 0) {
      mended.push(...bare.map((name) => `bridge ${name}`));
      this.sandboxes.attach(bridges);
    }
    if (forwardingEnabled) mended.push('ip_forward');
    this.sandboxes.separate(bridges);

    const now = generation(this.#netfilter);
    if (now === this.#generation && !this.#unseen) {
      this.#listing ??= this.#list();
      return { table: 'intact', rulesChanged: false, mended };
    }
    // Others changed something before there was anything to compare with: the caller writes the table to be sure.
    const table = this.#listing === undefined ? 'unknown' : this.#listing === this.#list() ? 'intact' : 'changed';
    this.#unseen = false;
    this.#generation = table === 'intact' ? now : undefined;
    return { table, rulesChanged: true, mended };
  }

  teardown(): void {
    this.rules(`table inet ${this.#config.table}\ndelete table inet ${this.#config.table}\n`);
    this.sandboxes.removeBridge(this.#config.bridge);
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
