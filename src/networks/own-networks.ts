import { EngineError } from '../base/errors.ts';
import type { Events } from '../events/bus.ts';
import { BridgeNetwork } from './bridge-network.ts';
import { checkUnused } from './config-only.ts';
import type { DefinedNetworks } from './defined-networks.ts';
import { bridgeNameOption, type NetworkDefinition, type NetworkRequest } from './definition.ts';
import type { Directory } from './directory.ts';
import type { EndpointNetwork } from './endpoint-network.ts';
import type { Kernel } from './kernel.ts';
import type { NetworkInfo } from './networks.ts';
import { ParentNetwork } from './parent-network.ts';
import { describe } from './predefined.ts';
import { changeBridges } from './ruleset.ts';
import type { Upkeep } from './upkeep.ts';

export interface OwnNetworksDeps {
  readonly defined: DefinedNetworks;
  readonly directory: Directory;
  readonly upkeep: Upkeep;
  readonly kernel: Kernel;
  readonly events: Events;
  /** Our table. */
  readonly table: string;
  /** `driver:name` and value, for networks that do not say. */
  readonly options: Readonly<Record<string, string>>;
  /** Until these containers have come in or are gone, where they are about to. */
  settled(containers: Iterable<string>): Promise<void>;
}

/** So many bridges that nobody else waits long for the network worker. */
const removedAtOnce = 16;
const mostSearched = 4;

const bridgesOf = (networks: readonly EndpointNetwork[]) =>
  networks.flatMap((network) => (network instanceof BridgeNetwork ? [network.bridge] : []));

/** Makes and removes the networks that somebody asked for: record, and bridge with rules or parent link. */
export class OwnNetworks {
  readonly #deps: OwnNetworksDeps;

  constructor(deps: OwnNetworksDeps) {
    this.#deps = deps;
  }

  async create(request: NetworkRequest): Promise<NetworkInfo> {
    const { defined } = this.#deps;
    const { definition, network } = defined.define(this.#withDefaults(request));
    await using undo = new AsyncDisposableStack();
    undo.defer(() => {
      defined.hide(definition);
      defined.forget(definition);
    });
    // The record first: a bridge without one would stay for ever.
    await defined.save(definition);
    undo.defer(() => defined.delete(definition));
    if (network) {
      undo.defer(async () => {
        // Before the rules: a table that is written anew is without it.
        defined.hide(definition);
        await this.#forgetRules([network]);
        await this.#unmake([network]);
        await this.#forgetFirewalls([network]);
      });
      await this.#make(network);
      network.made = true;
    }
    undo.move();
    this.#emit('create', definition);
    return describe(definition, []);
  }

  /** What the engine is set to give networks of this driver that do not say. */
  #withDefaults(request: NetworkRequest): NetworkRequest {
    const driver = request.driver || 'bridge';
    const usual = Object.entries(this.#deps.options).flatMap(([key, value]) => {
      const [of, name = ''] = key.split(/:(.*)/s);
      return of === driver ? [[name, value] as const] : [];
    });
    return usual.length === 0 ? request : { ...request, options: { ...Object.fromEntries(usual), ...request.options } };
  }

  async #make(network: EndpointNetwork): Promise<void> {
    const { defined, upkeep, kernel, table } = this.#deps;
    if (network instanceof ParentNetwork) return kernel.call('addParent', { parent: network.parent });
    const { bridge, definition } = network as BridgeNetwork;
    // A table that is written only now has it already.
    const changes = upkeep.begun ? changeBridges('add', table, [bridge]) : [];
    await upkeep.prepared();
    await kernel.call('addBridge', { bridge, changes });
    // Those that we name are one to other firewalls, by the beginning of their names.
    if (defined.bridges.length === 2 || bridge.name === definition.options[bridgeNameOption])
      await upkeep.applyFirewalls(true);
  }

  async remove(nameOrId: string): Promise<void> {
    const { defined, directory, settled } = this.#deps;
    const users = defined.byId(directory.get(nameOrId).id)?.users;
    // A container whose end was told may still be on its way out.
    if (users?.size) await settled(users);
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
        { code: 'E_IN_USE' },
      );
    }
    await this.#removeAll([network]);
  }

  /**
   * What is in the kernel first: after a crash in between there is a record, of which the next engine makes it again. Some
   * at once, because the kernel deletes a few bridges as fast as one.
   */
  async #removeAll(networks: readonly EndpointNetwork[]): Promise<void> {
    const { defined } = this.#deps;
    for (const { definition } of networks) defined.hide(definition);
    const left = [...networks];
    try {
      await this.#forgetRules(networks);
      while (left.length > 0) {
        const some = left.slice(0, removedAtOnce);
        await this.#unmake(some);
        const definitions = some.map(({ definition }) => definition);
        await defined.delete(...definitions);
        left.splice(0, some.length);
        for (const definition of definitions) {
          defined.forget(definition);
          this.#emit('destroy', definition);
        }
      }
    } catch (error) {
      for (const network of left) {
        defined.unhide(network);
        // What is gone of it comes back with the next container in it, or with the next audit.
        await this.#make(network).catch(() => {});
      }
      throw error;
    }
    await this.#forgetFirewalls(networks);
  }

  #forgetFirewalls(networks: readonly EndpointNetwork[]): Promise<void> {
    return this.#deps.upkeep.forgetFirewalls(bridgesOf(networks).map(({ name }) => name));
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
    const wanted = this.#deps.defined.own.filter(({ definition }) => chosen(describe(definition, [])));
    // A container may be on its way out, or have come in meanwhile.
    await this.#deps.settled(wanted.flatMap(({ users }) => [...users]));
    const free = wanted.filter(
      ({ users, definition }) => users.size === 0 && this.#deps.defined.byId(definition.id) !== undefined,
    );
    await this.#removeAll(free);
    return free.map(({ definition }) => definition.name);
  }

  /** For one bridge its elements are found among all the others', which for many takes longer than to write the table anew. */
  async #forgetRules(networks: readonly EndpointNetwork[]): Promise<void> {
    const { upkeep, table } = this.#deps;
    const bridges = bridgesOf(networks);
    if (bridges.length > mostSearched) await upkeep.rewrite();
    else if (bridges.length > 0) await upkeep.change(changeBridges('delete', table, bridges));
  }

  async #unmake(networks: readonly EndpointNetwork[]): Promise<void> {
    for (const network of networks) if (network instanceof ParentNetwork) await this.#unmakeParent(network);
    const owned = bridgesOf(networks).filter((bridge) => bridge.owned);
    if (owned.length > 0) await this.#deps.kernel.call('removeBridges', { names: owned.map(({ name }) => name) });
  }

  async #unmakeParent(network: ParentNetwork): Promise<void> {
    const { defined, kernel } = this.#deps;
    const { parent, made } = network.parent;
    // Others may stand on the same VLAN: it goes with the last of them.
    const others = defined.own.filter((other) => other !== network && other instanceof ParentNetwork);
    if (made && !others.some(({ definition }) => definition.parent?.name === parent))
      await kernel.call('removeParent', { name: parent });
  }

  #emit(action: 'create' | 'destroy', { id, name, driver }: NetworkDefinition): void {
    this.#deps.events.emit({ type: 'network', action, actor: { id, attributes: { name, type: driver } } });
  }
}
