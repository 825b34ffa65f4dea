import { createHash } from 'node:crypto';
import { EngineError, messageOf } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import type { Database } from '../state/database.ts';
import { overlap, parseAddress, parseSubnet, type Subnet, TakenSubnets } from './addresses.ts';
import { overlap6, parseSubnet6, type Subnet6 } from './addresses6.ts';
import { BridgeNetwork } from './bridge-network.ts';
import {
  define,
  isV4,
  type NetworkDefinition,
  type NetworkRequest,
  overlapping,
  readBridgeOptions,
} from './definition.ts';
import type { EndpointNetwork } from './endpoint-network.ts';
import { hostServers, interfaceNames } from './host-facts.ts';
import { HostRoutes } from './host-routes.ts';
import { ParentNetwork } from './parent-network.ts';
import { type ParentRecord, readParentOptions } from './parent-options.ts';
import type { ParentKind } from './parent-spec.ts';

export interface DefinedNetworksDeps {
  readonly database: Database;
  readonly mtu: number;
  readonly resolvConf: string;
  /** `10.10.0.0/16:24`; none is Berth's own choice. */
  readonly pools?: readonly string[];
  readonly default: BridgeNetwork;
  readonly log: Log;
}

const kind = 'network';

/** The networks that containers can be in: the default one, and the records of those that somebody made. */
export class DefinedNetworks {
  readonly #deps: DefinedNetworksDeps;
  readonly #networks = new Map<string, EndpointNetwork>();
  /** Those that only hold a configuration. */
  readonly #configurations = new Map<string, NetworkDefinition>();
  /** They are being removed: nobody finds them any more, and what they have is not anybody else's yet. */
  readonly #leaving = new Set<NetworkDefinition>();
  /** By their bridge, also those that are leaving; what all of them have taken. */
  readonly #byBridge = new Map<string, NetworkDefinition>();
  readonly #taken = new TakenSubnets();
  readonly #routes = new HostRoutes((bridge) => {
    const definition = this.#byBridge.get(bridge);
    return definition && subnetsOf(definition)[0];
  });

  private constructor(deps: DefinedNetworksDeps) {
    this.#deps = deps;
    this.#add(deps.default);
  }

  static async open(deps: DefinedNetworksDeps): Promise<DefinedNetworks> {
    const networks = new DefinedNetworks(deps);
    const records = [...(await deps.database.load(kind)).values()] as NetworkDefinition[];
    for (const definition of records.toSorted((a, b) => (a.created < b.created ? -1 : 1)))
      if (definition.configOnly) networks.#configurations.set(definition.id, definition);
      else networks.#add(networks.#recorded(definition));
    networks.#checkDefault();
    return networks;
  }

  /** The default bridge's subnet may have been configured anew: in the rules no two may overlap. */
  #checkDefault(): void {
    const { subnet } = this.standard.definition.configs[0]!;
    for (const { definition } of this.own)
      for (const other of definition.configs)
        if (isV4(other.subnet) && overlap(parseSubnet(other.subnet), parseSubnet(subnet)))
          throw new EngineError(
            'invalid',
            `the default bridge's subnet ${subnet} overlaps that of the network ${definition.name}: ${other.subnet}`,
            { hint: 'set another bridgeSubnet in the configuration, or the former one to remove that network first' },
          );
  }

  /** The default one first. */
  get all(): readonly EndpointNetwork[] {
    return [...this.#networks.values()];
  }

  each(): Iterable<EndpointNetwork> {
    return this.#networks.values();
  }

  get bridges(): readonly BridgeNetwork[] {
    return this.all.filter((network) => network instanceof BridgeNetwork);
  }

  get standard(): BridgeNetwork {
    return this.#deps.default;
  }

  get own(): readonly EndpointNetwork[] {
    return this.all.slice(1);
  }

  get configurations(): readonly NetworkDefinition[] {
    return [...this.#configurations.values()];
  }

  byId(id: string): EndpointNetwork | undefined {
    return this.#networks.get(id);
  }

  /**
   * The name and the subnets are this one's from now on, in memory; `save` makes it durable. Only the definition where it
   * only holds a configuration.
   */
  define(request: NetworkRequest): { readonly definition: NetworkDefinition; readonly network?: EndpointNetwork } {
    const networks = [...this.all.map(({ definition }) => definition), ...this.#leaving];
    const definition = define(request, {
      networks,
      configurations: this.configurations,
      overlaps: (subnet) =>
        isV4(subnet)
          ? this.#taken.overlaps(parseSubnet(subnet))
          : networks.some(({ configs }) => configs.some((other) => overlapping(subnet, other.subnet))),
      pool: () => this.#freePool(),
      pool6: () => this.#freePool6(networks),
      interfaces: interfaceNames,
    });
    if (definition.configOnly) {
      this.#configurations.set(definition.id, definition);
      return { definition };
    }
    const network = this.#networkOf(definition);
    network.made = false;
    this.#add(network);
    return { definition, network };
  }

  #add(network: EndpointNetwork): void {
    const { definition } = network;
    this.#networks.set(definition.id, network);
    for (const subnet of subnetsOf(definition)) this.#taken.add(subnet);
    if (definition.bridge !== '') this.#byBridge.set(definition.bridge, definition);
  }

  #networkOf(definition: NetworkDefinition): EndpointNetwork {
    return hasParent(definition) ? new ParentNetwork(definition) : new BridgeNetwork(definition, this.#deps);
  }

  /** An older engine may have taken options that this one refuses. The network goes on without them: the engine has to start. */
  #recorded(definition: NetworkDefinition): EndpointNetwork {
    const read = (options: Readonly<Record<string, string>>) =>
      hasParent(definition) ? readParentOptions(definition.driver as ParentKind, options) : readBridgeOptions(options);
    const options: Record<string, string> = {};
    for (const [option, value] of Object.entries(definition.options))
      try {
        read({ ...options, [option]: value });
        options[option] = value;
      } catch (error) {
        const { name, id } = definition;
        const what = 'an option of a network counts for nothing; create the network anew to be rid of it';
        this.#deps.log.warn(what, { network: name, id, option, error: messageOf(error) });
      }
    if (hasParent(definition)) return new ParentNetwork(definition, options);
    return new BridgeNetwork(definition, { mtu: this.#deps.mtu, options });
  }

  async save(definition: NetworkDefinition): Promise<void> {
    await this.#deps.database.write([{ kind, key: definition.id, value: definition }]);
  }

  /** Nobody finds it from now on; its name, subnets and bridge stay taken until `forget`. */
  hide(definition: NetworkDefinition): void {
    this.#networks.delete(definition.id);
    this.#configurations.delete(definition.id);
    this.#leaving.add(definition);
  }

  unhide(network: EndpointNetwork): void {
    this.#leaving.delete(network.definition);
    this.#networks.set(network.definition.id, network);
  }

  unhideConfiguration(definition: NetworkDefinition): void {
    this.#leaving.delete(definition);
    this.#configurations.set(definition.id, definition);
  }

  /** What it had is free. */
  forget(definition: NetworkDefinition): void {
    this.#routes.hear();
    this.#leaving.delete(definition);
    if (!definition.configOnly) for (const subnet of subnetsOf(definition)) this.#taken.delete(subnet);
    if (this.#byBridge.get(definition.bridge) === definition) this.#byBridge.delete(definition.bridge);
  }

  async delete(...definitions: readonly NetworkDefinition[]): Promise<void> {
    await this.#deps.database.write(definitions.map(({ id }) => ({ kind, key: id, value: undefined })));
  }

  #freePool(): Subnet {
    const servers = hostServers(this.#deps.resolvConf).flatMap((server): Subnet[] => {
      const base = parseAddress(server);
      return base === undefined ? [] : [{ base, prefixLength: 32 }];
    });
    return this.#taken.choose([...this.#routes.foreign(), ...servers], this.#deps.pools);
  }

  /** RFC 4193: a prefix of this host's own, always the same, and the first /64 in it that is free. */
  #freePool6(networks: readonly NetworkDefinition[]): Subnet6 {
    const taken = networks.flatMap(({ configs }) =>
      configs.flatMap(({ subnet }) => (isV4(subnet) ? [] : (parseSubnet6(subnet) ?? []))),
    );
    const { id } = this.#deps.default.definition;
    const global = BigInt(`0xfd${createHash('sha256').update(id).digest('hex').slice(0, 10)}`) << 80n;
    for (let number = 0n; number < 65_536n; number++) {
      const pool = { base: global | (number << 64n), prefixLength: 64 };
      if (!taken.some((subnet) => overlap6(subnet, pool))) return pool;
    }
    throw new EngineError('invalid', 'all predefined address pools have been fully subnetted', {
      hint: `${taken.length} networks take them: remove networks that nobody uses (docker network prune), or create this one with --subnet`,
    });
  }
}

const subnetsOf = ({ configs }: NetworkDefinition) =>
  configs.flatMap(({ subnet }) => (isV4(subnet) ? [parseSubnet(subnet)] : []));

const hasParent = (
  definition: NetworkDefinition,
): definition is NetworkDefinition & { readonly parent: ParentRecord } => definition.parent !== undefined;
