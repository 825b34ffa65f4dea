import { EngineError } from '../base/errors.ts';
import type { Events } from '../events/bus.ts';
import type { BridgeNetwork } from './bridge-network.ts';
import { checkUnused } from './config-only.ts';
import type { DefinedNetworks } from './defined-networks.ts';
import { bridgeNameOption, type NetworkDefinition, type NetworkRequest } from './definition.ts';
import type { Directory } from './directory.ts';
import type { Kernel } from './kernel.ts';
import type { NetworkInfo } from './networks.ts';
import { describe } from './predefined.ts';
import { renderBridge } from './ruleset.ts';
import type { Upkeep } from './upkeep.ts';

export interface OwnNetworksDeps {
  readonly defined: DefinedNetworks;
  readonly directory: Directory;
  readonly upkeep: Upkeep;
  readonly kernel: Kernel;
  readonly events: Events;
  /** Our table. */
  readonly table: string;
}

/** Makes and removes the networks that somebody asked for: record, bridge and rules. */
export class OwnNetworks {
  readonly #deps: OwnNetworksDeps;

  constructor(deps: OwnNetworksDeps) {
    this.#deps = deps;
  }

  async create(request: NetworkRequest): Promise<NetworkInfo> {
    const { defined } = this.#deps;
    const { definition, network } = defined.define(request);
    await using undo = new AsyncDisposableStack();
    undo.defer(() => {
      defined.hide(definition);
      defined.forget(definition);
    });
    // The record first: a bridge without one would stay for ever.
    await defined.save(definition);
    undo.defer(() => defined.delete(definition));
    if (network) {
      undo.defer(() => this.#removeBridge(network));
      await this.#addBridge(network);
      network.made = true;
    }
    undo.move();
    this.#emit('create', definition);
    return describe(definition, []);
  }

  async #addBridge({ bridge, definition }: BridgeNetwork): Promise<void> {
    const { defined, upkeep, kernel, table } = this.#deps;
    // A table that is written only now has it already.
    const script = upkeep.begun ? renderBridge('add', table, bridge) : '';
    await upkeep.prepared();
    await kernel.call('addBridge', { bridge, script });
    // Those that we name are one to other firewalls, by the beginning of their names.
    if (defined.own.length === 1 || bridge.name === definition.options[bridgeNameOption])
      await upkeep.applyFirewalls(true);
  }

  async remove(nameOrId: string): Promise<void> {
    const { defined, directory } = this.#deps;
    const { id, name, endpoints } = directory.get(nameOrId);
    const configuration = defined.configurations.find((one) => one.id === id);
    if (configuration) return this.#removeConfiguration(configuration);
    const network = defined.byId(id);
    if (!network || network === defined.standard)
      throw new EngineError('forbidden', `${name} is a pre-defined network and cannot be removed`);
    if (network.users.size > 0) {
      const active = endpoints.map((one) => `name:"${one.names?.[0] ?? ''}" id:"${one.id.slice(0, 12)}"`);
      throw new EngineError(
        'forbidden',
        `error while removing network: network ${name} has active endpoints (${active.join(', ')})`,
      );
    }
    await this.#removeBridged(network);
  }

  /** The bridge first: after a crash in between there is a record, of which the next engine makes it again. */
  async #removeBridged(network: BridgeNetwork): Promise<void> {
    const { defined } = this.#deps;
    const { definition } = network;
    defined.hide(definition);
    try {
      await this.#removeBridge(network);
      await defined.delete(definition);
    } catch (error) {
      defined.unhide(network);
      // What is gone of it comes back with the next container in it, or with the next audit.
      await this.#addBridge(network).catch(() => {});
      throw error;
    }
    defined.forget(definition);
    this.#emit('destroy', definition);
  }

  async #removeConfiguration(definition: NetworkDefinition): Promise<void> {
    const { defined } = this.#deps;
    checkUnused(
      definition,
      defined.own.map((network) => network.definition),
    );
    defined.hide(definition);
    try {
      await defined.delete(definition);
    } catch (error) {
      defined.unhideConfiguration(definition);
      throw error;
    }
    defined.forget(definition);
    this.#emit('destroy', definition);
  }

  async prune(chosen: (network: NetworkInfo) => boolean): Promise<readonly string[]> {
    const removed: string[] = [];
    for (const { definition, users } of this.#deps.defined.own) {
      if (users.size > 0 || !chosen(describe(definition, []))) continue;
      try {
        await this.remove(definition.id);
        removed.push(definition.name);
      } catch (error) {
        // A container came into it meanwhile, or somebody else removed it.
        if (!(error instanceof EngineError && ['forbidden', 'not-found'].includes(error.kind))) throw error;
      }
    }
    return removed;
  }

  async #removeBridge({ bridge }: BridgeNetwork): Promise<void> {
    const { upkeep, kernel, table } = this.#deps;
    await upkeep.change(renderBridge('delete', table, bridge));
    if (bridge.owned) await kernel.call('removeBridge', { name: bridge.name });
    await upkeep.forgetFirewalls(bridge.name);
  }

  #emit(action: 'create' | 'destroy', { id, name, driver }: NetworkDefinition): void {
    this.#deps.events.emit({ type: 'network', action, actor: { id, attributes: { name, type: driver } } });
  }
}
