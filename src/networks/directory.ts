import { EngineError } from '../base/errors.ts';
import type { DefinedNetworks } from './defined-networks.ts';
import type { EndpointNetwork } from './endpoint-network.ts';
import type { Endpoint, NetworkInfo } from './networks.ts';
import { describe, describeOthers, type NetworksRecord } from './predefined.ts';

export interface DirectoryDeps {
  readonly defined: DefinedNetworks;
  readonly endpoints: () => readonly Endpoint[];
}

/** All networks by name and id, with who is in them. */
export class Directory {
  readonly #deps: DirectoryDeps;
  readonly #others: readonly NetworkInfo[];

  constructor(record: NetworksRecord, deps: DirectoryDeps) {
    this.#deps = deps;
    this.#others = describeOthers(record);
  }

  get(nameOrId: string): NetworkInfo {
    const wanted = nameOrId === 'default' || nameOrId === '' ? 'bridge' : nameOrId;
    const { defined, endpoints } = this.#deps;
    let named: { readonly id: string } | undefined;
    const prefixed: { readonly id: string }[] = [];
    const isPrefix = /^[0-9a-f]+$/.test(wanted);
    // One walk and no copies: thousands are looked through for each container that starts.
    for (const one of this.#all()) {
      if (one.id === wanted) {
        named = one;
        break;
      }
      if (one.name === wanted) named ??= one;
      if (isPrefix && one.id.startsWith(wanted)) prefixed.push(one);
    }
    if (!named && prefixed.length > 1)
      throw new EngineError(
        'invalid',
        `network ${nameOrId} is ambiguous (${prefixed.length} matches found based on ID prefix)`,
      );
    const found = named ?? prefixed[0];
    if (!found) throw new EngineError('not-found', `network ${nameOrId} not found`, { code: 'E_NO_SUCH_NETWORK' });
    const configuration = defined.configurations.find(({ id }) => id === found.id);
    if (configuration) return describe(configuration, []);
    const network = defined.byId(found.id);
    if (!network) return this.#others.find(({ id }) => id === found.id)!;
    const members = endpoints().filter(({ networkId }) => networkId === found.id);
    return describe(network.definition, members);
  }

  *#all(): Generator<{ readonly id: string; readonly name: string }> {
    const { defined } = this.#deps;
    for (const { definition } of defined.each()) yield definition;
    yield* defined.configurations;
    yield* this.#others;
  }

  list(): readonly NetworkInfo[] {
    const endpoints = Map.groupBy(this.#deps.endpoints(), ({ networkId }) => networkId);
    const [standard, ...own] = this.#deps.defined.all.map(({ definition }) =>
      describe(definition, endpoints.get(definition.id) ?? []),
    );
    const configurations = this.#deps.defined.configurations.map((definition) => describe(definition, []));
    return [standard!, ...this.#others, ...configurations, ...own];
  }

  /** One that containers can have a place in. */
  joinable(nameOrId: string): EndpointNetwork {
    const { id, name, configOnly } = this.get(nameOrId);
    if (configOnly) throw new EngineError('forbidden', 'cannot create endpoint on configuration-only network');
    const network = this.#deps.defined.byId(id);
    if (!network) throw new EngineError('invalid', `network ${name} has no endpoints`);
    return network;
  }
}
