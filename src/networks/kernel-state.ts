import { mkdirSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import { codeOf, messageOf } from '../base/errors.ts';
import { flows, forgetRequest } from '../sys/conntrack.ts';
import { Netlink, type NetlinkSocket } from '../sys/netlink.ts';
import { generation, Nftables, netfilterProtocol } from '../sys/nftables.ts';
import type { PublishedPort } from './networks.ts';
import { Sandboxes, type SandboxRequest } from './sandboxes.ts';
import type { Operations, WorkerConfig } from './worker-protocol.ts';

const udp = 17;

/** What is ours in the kernel, seen from the network worker's thread. */
export class KernelState {
  readonly sandboxes: Sandboxes;
  readonly #config: WorkerConfig;
  readonly #netfilter: NetlinkSocket;
  #nftables: Nftables | undefined;
  /** The generation after our last transaction, or undefined when somebody else's came in between. */
  #generation: number | undefined;
  /** How our table is listed when it is whole. Made by the audit after a change of ours, when nobody else changed anything. */
  #listing: string | undefined;

  constructor(config: WorkerConfig) {
    this.#config = config;
    const netlink = new Netlink();
    this.#netfilter = netlink.open(netfilterProtocol);
    this.sandboxes = new Sandboxes(config, netlink);
    mkdirSync(config.namespaces, { recursive: true, mode: 0o700 });
  }

  setup(table: string) {
    const { forwardingEnabled } = this.sandboxes.ensureBridge();
    this.sandboxes.attach(new Set());
    this.rules(table);
    return { forwardingEnabled };
  }

  create(request: SandboxRequest): void {
    this.sandboxes.create(request);
  }

  rules(script: string): void {
    const before = generation(this.#netfilter);
    const unseen = this.#generation !== undefined && this.#generation !== before;
    this.#nft().run(script);
    this.#listing = undefined;
    // A change by others that the audit has not looked at yet must stay visible to it.
    const after = generation(this.#netfilter);
    this.#generation = unseen || after !== before + 1 ? undefined : after;
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

  sweep(paths: readonly string[], veths: readonly string[]) {
    return { gone: this.sandboxes.sweep(this.#config.namespaces, new Set(paths), new Set(veths)) };
  }

  audit(veths: ReadonlySet<string>): Operations['audit']['out'] {
    const mended: string[] = [];
    const { forwardingEnabled } = this.sandboxes.ensureBridge();
    if (this.sandboxes.portsLost) {
      mended.push(`bridge ${this.#config.bridge}`);
      this.sandboxes.attach(veths);
    }
    if (forwardingEnabled) mended.push('ip_forward');

    const now = generation(this.#netfilter);
    if (now === this.#generation) {
      this.#listing ??= this.#list();
      return { table: 'intact', rulesChanged: false, mended };
    }
    // Others changed something before there was anything to compare with: the caller writes the table to be sure.
    const table = this.#listing === undefined ? 'unknown' : this.#listing === this.#list() ? 'intact' : 'changed';
    this.#generation = table === 'intact' ? now : undefined;
    return { table, rulesChanged: true, mended };
  }

  teardown(): void {
    this.rules(`table inet ${this.#config.table}\ndelete table inet ${this.#config.table}\n`);
    this.sandboxes.removeBridge();
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
