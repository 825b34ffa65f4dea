import { messageOf } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import type { ElementChange } from '../sys/nft-elements.ts';
import { HostFirewalls } from './host-firewalls.ts';
import type { Kernel } from './kernel.ts';
import type { BridgePorts } from './sandboxes.ts';

export interface UpkeepDeps {
  readonly kernel: Kernel;
  readonly log: Log;
  readonly auditMs: number;
  /** What is to be, as the records have it now. */
  readonly wanted: {
    readonly table: () => string;
    readonly bridges: () => readonly BridgePorts[];
  };
  readonly tableName: string;
  readonly forwardingEnabled: () => Promise<void>;
}

/** Bridges, forwarding, rules and the accepts in other firewalls: made, looked after, taken back. */
export class Upkeep {
  readonly #deps: UpkeepDeps;
  readonly #firewalls = new HostFirewalls();
  #ready: Promise<void> | undefined;
  #audit: NodeJS.Timeout | undefined;
  #auditing: Promise<void> | undefined;
  #stopped = false;

  constructor(deps: UpkeepDeps) {
    this.#deps = deps;
  }

  /** Somebody has asked for it all. */
  get begun(): boolean {
    return this.#ready !== undefined;
  }

  /** All of it is there. The first container, or network, pays for it. */
  prepared(): Promise<void> {
    this.#ready ??= this.#prepare().catch((error) => {
      this.#ready = undefined;
      throw error;
    });
    return this.#ready;
  }

  async #prepare(): Promise<void> {
    const { kernel, wanted, auditMs, forwardingEnabled } = this.#deps;
    const [done] = await Promise.all([
      kernel.call('setup', { table: wanted.table(), bridges: wanted.bridges() }),
      this.applyFirewalls(true),
    ]);
    this.#audit ??= setInterval(() => this.#startAudit(), auditMs).unref();
    if (done.forwardingEnabled) await forwardingEnabled();
  }

  #startAudit(): void {
    if (this.#stopped) return;
    this.#auditing ??= this.#runAudit()
      .catch((error) => this.#deps.log.error('the network could not be checked', { reason: messageOf(error) }))
      .finally(() => {
        this.#auditing = undefined;
      });
  }

  async #runAudit(): Promise<void> {
    const { kernel, wanted, log, tableName } = this.#deps;
    // Of thousands of bridges only those are looked at where there is something to see.
    const changed = await kernel.call('changed', {});
    const whole = changed.bridges === 'all';
    if (!whole && changed.bridges.length === 0 && !changed.rules && !this.#firewalls.due) return;
    const bridges = whole || changed.bridges.length > 0 ? wanted.bridges() : [];
    const { table, rulesChanged, mended } = await kernel.call('audit', {
      bridges: whole ? bridges : bridges.filter(({ bridge }) => changed.bridges.includes(bridge.name)),
      whole,
    });
    if (mended.length > 0) log.warn('somebody changed the network, mended', { mended });
    if (table !== 'intact') {
      await kernel.call('rules', { script: wanted.table() });
      if (table === 'changed') log.warn('somebody changed the firewall rules, written anew', { table: tableName });
    }
    // Last: a change that comes after this look is one that the next audit sees. Behind a write of ours it would not be.
    if (rulesChanged || this.#firewalls.due) await this.applyFirewalls(true);
  }

  /** A change of the table; refused because it is not as we left it, the whole table is written instead. */
  async change(changes: readonly ElementChange[]): Promise<void> {
    const { kernel, log } = this.#deps;
    try {
      await kernel.call('change', { changes });
    } catch (error) {
      log.warn('the nftables table is not as it was left and is written anew', { reason: messageOf(error) });
      await this.rewrite();
    }
  }

  /** The whole table, as the records have it now. */
  rewrite(): Promise<void> {
    const { kernel, wanted } = this.#deps;
    return kernel.call('rules', { script: wanted.table() });
  }

  /** Another firewall in our way is a reason to say so, not to refuse: its rules may let us through all the same. */
  async applyFirewalls(wanted: boolean): Promise<void> {
    await this.#applyTo([...new Set(this.#deps.wanted.bridges().map(({ bridge }) => knownAs(bridge.name)))], wanted);
  }

  /** Bridges are gone: nothing is accepted for them any more, unless others are known by the same name. */
  async forgetFirewalls(bridges: readonly string[]): Promise<void> {
    const still = new Set(this.#deps.wanted.bridges().map(({ bridge }) => knownAs(bridge.name)));
    const gone = [...new Set(bridges.map(knownAs))].filter((name) => !still.has(name));
    if (gone.length > 0) await this.#applyTo(gone, false);
  }

  async #applyTo(names: readonly string[], wanted: boolean): Promise<void> {
    const { log } = this.#deps;
    try {
      const changed = await this.#firewalls.apply(names, wanted);
      if (changed.length > 0) log.info('changed the rules of another firewall', { changed });
    } catch (error) {
      log.warn('the rules of another firewall could not be changed', { reason: messageOf(error) });
    }
  }

  /** Bridges of networks that somebody made stay, empty: the kernel takes 20 ms to delete one, and there may be thousands. */
  async tearDown(): Promise<void> {
    await this.#deps.kernel.call('teardown', {});
    await this.applyFirewalls(false);
  }

  /** No audit runs any more. */
  async stop(): Promise<void> {
    this.#stopped = true;
    clearInterval(this.#audit);
    await this.#auditing;
  }
}

/** To other firewalls the bridges that we name are one, by the beginning of their names. */
const knownAs = (bridge: string) => (bridge.startsWith('bn-') ? 'bn-+' : bridge);
