import { join, resolve } from 'node:path';
import { KeyedQueue } from '../base/async.ts';
import { EngineError, messageOf } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import type { Events } from '../events/bus.ts';
import type { Database } from '../state/database.ts';
import { AddressPool, formatSubnet, parseMac, parseSubnet } from './addresses.ts';
import { BridgeNetwork } from './bridge-network.ts';
import { ContainerNames, type Named } from './container-names.ts';
import { DefinedNetworks } from './defined-networks.ts';
import { isV4, type NetworkRequest } from './definition.ts';
import { Directory } from './directory.ts';
import type { EndpointNetwork } from './endpoint-network.ts';
import { freeInterface, linkOf, planEndpoint, publisherOf, routesOf, standingOf, wiringOf } from './endpoints.ts';
import { isOpened, type Publishing } from './gateway-modes.ts';
import { freeSubnet, hostServers, interfaceNames, isEmpty, upstreamResolvConf } from './host-facts.ts';
import { checkJoin } from './join-check.ts';
import { Kernel } from './kernel.ts';
import { NetworkHelper } from './network-helper.ts';
import type {
  Attachment,
  ConnectOptions,
  Endpoint,
  JoinRequest,
  NetworkInfo,
  Networks,
  Opened,
  OpenRequest,
  PublishedPort,
} from './networks.ts';
import { OwnNetworks } from './own-networks.ts';
import { type Place, Places } from './places.ts';
import { defaultDefinition, loadNetworks, type NetworksRecord, saveNetworks } from './predefined.ts';
import { PublishedPorts } from './published-ports.ts';
import { type Resolver, readResolver } from './resolver.ts';
import { renderTable } from './ruleset.ts';
import { type BridgePorts, isVeth, vethOf } from './sandboxes.ts';
import { Upkeep } from './upkeep.ts';

export interface NetworksConfig {
  readonly bridgeName: string;
  /** Undefined: one that no route of the host lies in, chosen once. */
  readonly subnet: string | undefined;
  readonly mtu: number;
  /** The bridge's own address; undefined is the subnet's first. */
  readonly gateway?: string | undefined;
  /** The part of the subnet that is given. */
  readonly range?: string | undefined;
  readonly icc?: boolean;
  readonly masquerade?: boolean;
  /** Where ports without an address are published. */
  readonly hostIp?: string;
  /** What networks without a subnet take theirs from, `10.10.0.0/16:24`; none is Berth's own choice. */
  readonly pools?: readonly string[];
  /** `driver:name` and value, for networks that do not say. */
  readonly options?: Readonly<Record<string, string>>;
  /** Our table in the family inet. */
  readonly table: string;
  /** Namespaces made ahead, once the first container was started. */
  readonly pool: number;
  /** How often others' changes are looked for. */
  readonly auditMs: number;
  /** How long a network helper that holds nothing waits for an engine. */
  readonly helperLingerMs: number;
  readonly resolvConf: string;
}

export const defaultNetworksConfig: NetworksConfig = {
  bridgeName: 'berth0',
  subnet: undefined,
  mtu: 1500,
  table: 'berth',
  pool: 3,
  auditMs: 2_000,
  helperLingerMs: 5_000,
  resolvConf: '/etc/resolv.conf',
};

export interface HostNetworksDeps {
  /** The room's directory under the data root: networks.json. */
  readonly root: string;
  /** Gone after a reboot: namespaces, the helper's socket and log. */
  readonly runDir: string;
  readonly database: Database;
  readonly config: NetworksConfig;
  readonly events: Events;
  readonly log: Log;
}

interface Joined {
  readonly path: string;
  readonly endpoints: readonly Endpoint[];
  readonly dns: readonly string[];
}

export class HostNetworks implements Networks {
  readonly #deps: HostNetworksDeps;
  readonly #kernel: Kernel;
  readonly #helper: NetworkHelper;
  readonly #upkeep: Upkeep;
  readonly #directory: Directory;
  readonly #own: OwnNetworks;
  readonly #default: BridgeNetwork;
  readonly #addresses: AddressPool;
  readonly #defined: DefinedNetworks;
  readonly #places: Places;
  readonly #ports: PublishedPorts;
  readonly #names: ContainerNames;
  readonly #queue = new KeyedQueue();
  readonly #joined = new Map<string, Joined>();
  readonly #namespaces: string;
  #record: NetworksRecord;
  #warnedResolver = false;
  readonly #closing = new AbortController();

  static async open(deps: HostNetworksDeps): Promise<HostNetworks> {
    const { root, config, log, database } = deps;
    const { record, damaged } = await loadNetworks(join(root, 'networks.json'), () =>
      config.subnet ? parseSubnet(config.subnet) : freeSubnet(config.resolvConf),
    );
    if (damaged) log.warn('networks.json was damaged and is made anew: the networks have other ids', { root });
    const { subnet, gateway } = new AddressPool(parseSubnet(config.subnet ?? record.subnet));
    const bridge = {
      name: config.bridgeName,
      subnet: formatSubnet(subnet),
      gateway: config.gateway ?? gateway,
      mtu: config.mtu,
      range: config.range,
      icc: config.icc ?? true,
      masquerade: config.masquerade ?? true,
      hostIp: config.hostIp ?? '0.0.0.0',
    };
    const standard = new BridgeNetwork(defaultDefinition(record, bridge), { mtu: config.mtu, isDefault: true });
    const defined = await DefinedNetworks.open({
      database,
      mtu: config.mtu,
      resolvConf: config.resolvConf,
      pools: config.pools ?? [],
      default: standard,
      log: deps.log,
    });
    const networks = new HostNetworks(deps, record, standard, defined);
    // There is something to adopt: the worker loads beside what is looked at before.
    if (!isEmpty(networks.#namespaces)) networks.#kernel.warm();
    return networks;
  }

  private constructor(
    deps: HostNetworksDeps,
    record: NetworksRecord,
    standard: BridgeNetwork,
    defined: DefinedNetworks,
  ) {
    const { runDir, config, log } = deps;
    this.#deps = deps;
    this.#record = record;
    this.#default = standard;
    this.#addresses = standard.ipv4[0]!.pool;
    this.#defined = defined;
    this.#namespaces = join(runDir, 'netns');
    this.#kernel = new Kernel({ bridge: config.bridgeName, table: config.table, namespaces: this.#namespaces });
    this.#places = new Places({
      kernel: this.#kernel,
      addresses: this.#addresses,
      bridge: standard.bridge,
      namespaces: this.#namespaces,
      ahead: config.pool,
      log,
    });
    this.#helper = new NetworkHelper({
      socketPath: join(runDir, 'network.sock'),
      logPath: join(runDir, 'network.log'),
      lingerMs: config.helperLingerMs,
      log,
      hasNames: () => this.#named().length > 0,
      restoreNames: (served) => this.#names.restore(this.#named(), served),
    });
    this.#upkeep = new Upkeep({
      kernel: this.#kernel,
      log,
      auditMs: config.auditMs,
      wanted: { table: () => this.#table(), bridges: () => this.#bridgePorts() },
      tableName: config.table,
      forwardingEnabled: () => this.#forwardingEnabled(),
    });
    this.#directory = new Directory(record, { defined, endpoints: () => this.#endpoints() });
    this.#own = new OwnNetworks({
      defined,
      directory: this.#directory,
      upkeep: this.#upkeep,
      kernel: this.#kernel,
      events: deps.events,
      table: config.table,
      options: config.options ?? {},
      settled: (containers) => this.#queue.settled(containers),
    });
    this.#ports = new PublishedPorts({
      kernel: this.#kernel,
      helper: this.#helper,
      table: config.table,
      log,
      change: (changes) => this.#upkeep.change(changes),
    });
    this.#names = new ContainerNames({
      kernel: this.#kernel,
      helper: this.#helper,
      servers: () => hostServers(config.resolvConf),
      hasNames: (networkId) => this.#hasNames(networkId),
    });
  }

  async create(request: NetworkRequest): Promise<NetworkInfo> {
    const made = await this.#own.create(request);
    this.#helper.warm();
    return made;
  }

  remove(nameOrId: string): Promise<void> {
    return this.#own.remove(nameOrId);
  }

  prune(chosen: (network: NetworkInfo) => boolean): Promise<readonly string[]> {
    return this.#own.prune(chosen);
  }

  check(request: JoinRequest): void {
    // Whether it only holds a configuration is seen when somebody joins it.
    if (this.#directory.get(request.network).configOnly) return;
    checkJoin(this.#directory.joinable(request.network), request);
  }

  open(containerId: string, request: OpenRequest): Promise<Opened> {
    return this.#queue.run(containerId, () => this.#open(containerId, request));
  }

  async #open(containerId: string, request: OpenRequest): Promise<Opened> {
    const { joins, ports, sysctls: asked = {}, dns = [], namespace } = request;
    if (this.#joined.has(containerId))
      throw new EngineError('conflict', `container ${containerId.slice(0, 12)} has a network already`);
    const networks = joins.map(({ network }) => this.#directory.joinable(network));
    const sysctls = checkSysctls(asked);
    for (const { mac } of joins) if (mac !== undefined) parseMac(mac);
    for (const [at, one] of joins.entries()) checkJoin(networks[at]!, one);
    if (joins.length === 0) {
      const path = join(this.#namespaces, containerId);
      await this.#kernel.call('create', { path, wirings: [], routes: routesOf([]), sysctls, namespace });
      this.#joined.set(containerId, { path, endpoints: [], dns });
      return { sandbox: { path }, endpoints: [] };
    }
    await using undo = new AsyncDisposableStack();
    for (const { users } of networks) {
      users.add(containerId);
      undo.defer(() => void users.delete(containerId));
    }
    await this.#upkeep.prepared();
    const [first] = joins;
    const { path, endpoints, make } =
      networks.length === 1 && networks[0] === this.#default && first && first.interface === undefined
        ? this.#takePlace(containerId, { ...first, namespace }, undo)
        : this.#planPlace(containerId, networks, { joins, namespace }, undo);
    const publisher = publisherOf(endpoints);
    // Beside each other: the ports are the helper's work, the namespace the worker's.
    const [made, published] = await Promise.allSettled([
      make(sysctls),
      publisher ? this.#ports.hold(publisher, ports, this.#publishingOf(publisher)) : [],
    ]);
    if (published.status === 'fulfilled') undo.defer(() => this.#ports.release(containerId, published.value));
    if (made.status === 'rejected') throw made.reason;
    if (published.status === 'rejected') throw published.reason;

    const complete = endpoints.map((endpoint) =>
      endpoint === publisher ? { ...endpoint, ports: published.value } : endpoint,
    );
    const joined: Joined = { path, endpoints: complete, dns };
    const publishing = publisherOf(complete);
    if (publishing) undo.defer(() => this.#ports.translate('delete', publishing));
    // Before the rules: an audit that finds the table gone meanwhile must put these ports in.
    this.#joined.set(containerId, joined);
    undo.defer(() => void this.#joined.delete(containerId));
    if (publishing) await this.#ports.translate('add', publishing);
    undo.defer(() => this.#names.forget(containerId));
    await this.#names.tell({ containerId, ...joined });
    undo.move();
    for (const endpoint of complete) this.#emitEndpoint('connect', endpoint);
    this.#places.refill();
    return { sandbox: { path }, endpoints: complete };
  }

  /** The default bridge alone, which most containers have: made ahead. */
  #takePlace(
    containerId: string,
    { mac, names, priority, namespace }: JoinRequest & Pick<OpenRequest, 'namespace'>,
    undo: AsyncDisposableStack,
  ) {
    const { place, make } = this.#places.take({ mac: mac === undefined ? undefined : parseMac(mac), namespace });
    undo.defer(() => this.#places.drop(place));
    const endpoint = { ...this.#endpointOf(containerId, place), names: names ?? [], priority: priority ?? 0 };
    return { path: place.path, endpoints: [endpoint], make };
  }

  #planPlace(
    containerId: string,
    networks: readonly EndpointNetwork[],
    { joins, namespace }: Pick<OpenRequest, 'joins' | 'namespace'>,
    undo: AsyncDisposableStack,
  ) {
    const endpoints: Endpoint[] = [];
    for (const [at, network] of networks.entries()) {
      const endpoint = planEndpoint(containerId, network, joins[at]!, endpoints);
      undo.defer(() => network.release(endpoint));
      endpoints.push(endpoint);
    }
    const path = this.#places.pathOf(endpoints[0]!.id);
    const make = async (sysctls: Readonly<Record<string, string>>) => {
      const wirings = endpoints.map((endpoint, at) => wiringOf(networks[at]!, endpoint));
      await this.#kernel.call('create', { path, wirings, routes: routesOf(endpoints), sysctls, namespace });
      undo.defer(() => this.#kernel.call('drop', { path, standing: standingOf(endpoints) }));
    };
    return { path, endpoints, make };
  }

  connect(containerId: string, request: JoinRequest, options: ConnectOptions): Promise<readonly Endpoint[]> {
    return this.#queue.run(containerId, () => this.#connect(containerId, request, options));
  }

  async #connect(containerId: string, request: JoinRequest, { ports, dns }: ConnectOptions) {
    const network = this.#directory.joinable(request.network);
    const { path, endpoints: before, dns: asked } = this.#openOne(containerId);
    const { id, name } = network.definition;
    if (before.some(({ networkId }) => networkId === id))
      throw new EngineError(
        'forbidden',
        `endpoint with name ${request.names?.[0] ?? containerId} already exists in network ${name}`,
      );
    checkJoin(network, request);
    await using undo = new AsyncDisposableStack();
    network.users.add(containerId);
    undo.defer(() => void network.users.delete(containerId));
    await this.#upkeep.prepared();
    const planned = planEndpoint(containerId, network, request, before);
    undo.defer(() => network.release(planned));
    const all = [...before, planned];
    await this.#kernel.call('plug', { path, wiring: wiringOf(network, planned), routes: routesOf(all) });
    undo.defer(() => this.#kernel.call('unplug', { path, link: linkOf(planned), routes: routesOf(before) }));
    const endpoints = await this.#publishAgain(before, all, ports);
    undo.defer(() => this.#publishAgain(endpoints, before, []).then(() => {}));
    const joined: Joined = { path, endpoints, dns: dns ?? asked };
    this.#joined.set(containerId, joined);
    undo.defer(() => void this.#joined.set(containerId, { path, endpoints: before, dns: asked }));
    await this.#names.tell({ containerId, ...joined });
    undo.move();
    this.#emitEndpoint('connect', planned);
    return endpoints;
  }

  disconnect(containerId: string, nameOrId: string): Promise<readonly Endpoint[]> {
    return this.#queue.run(containerId, async () => {
      const { path, endpoints: before, dns } = this.#openOne(containerId);
      const gone = before.find(({ network, networkId }) => network === nameOrId || networkId === nameOrId);
      if (!gone) throw new EngineError('internal', `container ${containerId} is not connected to network ${nameOrId}`);
      const rest = before.filter((endpoint) => endpoint !== gone);
      const endpoints = await this.#publishAgain(before, rest, []);
      const joined: Joined = { path, endpoints, dns };
      await this.#kernel.call('unplug', { path, link: linkOf(gone), routes: routesOf(rest) });
      this.#joined.set(containerId, joined);
      this.#releaseAddresses(gone);
      this.#emitEndpoint('disconnect', gone);
      // It is out of the network, whatever becomes of its name: another helper would be told everything.
      await this.#names
        .tell({ containerId, ...joined })
        .catch((error) =>
          this.#deps.log.warn('the names of a container could not be told', { reason: messageOf(error) }),
        );
      return endpoints;
    });
  }

  /** The ports go where the default route goes. Gives back the endpoints as they are then. */
  async #publishAgain(
    before: readonly Endpoint[],
    after: readonly Endpoint[],
    asked: Parameters<PublishedPorts['hold']>[1],
  ): Promise<readonly Endpoint[]> {
    const from = before.find(({ ports }) => ports.length > 0);
    const to = publisherOf(after);
    if (from && to && from.id === to.id) return after;
    const without = after.map((endpoint) => (endpoint.id === from?.id ? { ...endpoint, ports: [] } : endpoint));
    if (from && !to) {
      await this.#ports.translate('delete', from);
      await this.#ports.release(from.containerId, from.ports);
      return without;
    }
    if (!to) return after;
    const ports = from ? this.#movable(from, to) : await this.#ports.hold(to, asked, this.#publishingOf(to));
    const publishing = { ...to, ports };
    if (from) await this.#ports.move(from, publishing);
    else await this.#ports.translate('add', publishing);
    return without.map((endpoint) => (endpoint.id === to.id ? publishing : endpoint));
  }

  /** What was only opened stays so where the next network opens ports; it has no port of the host to take along. */
  #movable({ ports }: Endpoint, to: Endpoint): readonly PublishedPort[] {
    const { modes } = this.#publishingOf(to);
    return ports.filter((port) => !isOpened(port) || modes[isV4(port.hostAddress) ? 'ipv4' : 'ipv6'] === 'routed');
  }

  rename(containerId: string, namesOf: (endpoint: Endpoint) => readonly string[]): Promise<readonly Endpoint[]> {
    return this.#queue.run(containerId, async () => {
      const before = this.#joined.get(containerId);
      if (!before) return [];
      const joined = {
        ...before,
        endpoints: before.endpoints.map((endpoint) => ({ ...endpoint, names: namesOf(endpoint) })),
      };
      this.#joined.set(containerId, joined);
      await this.#names.tell({ containerId, ...joined });
      return joined.endpoints;
    });
  }

  close(containerId: string, { told = false }: { readonly told?: boolean } = {}): Promise<void> {
    return this.#queue.run(containerId, () => this.#close(containerId, told));
  }

  async #close(containerId: string, told: boolean): Promise<void> {
    const joined = this.#joined.get(containerId);
    if (!joined) return;
    const { path, endpoints } = joined;
    this.#joined.delete(containerId);
    const publisher = endpoints.find(({ ports }) => ports.length > 0);
    const done = await Promise.allSettled([
      publisher && this.#ports.translate('delete', publisher),
      this.#kernel.call('drop', { path, standing: standingOf(endpoints) }),
      publisher && this.#ports.release(containerId, publisher.ports),
      this.#names.forget(containerId),
    ]);
    // Only now: an address that others may have must not be in the rules any more.
    for (const endpoint of endpoints) {
      this.#releaseAddresses(endpoint);
      if (!told) this.#emitEndpoint('disconnect', endpoint);
    }
    for (const result of done) if (result.status === 'rejected') throw result.reason;
  }

  async recover(attachments: readonly Attachment[]): Promise<void> {
    for (const { containerId, sandbox, endpoints, dns = [] } of attachments) {
      const path = resolve(this.#namespaces, sandbox);
      this.#joined.set(containerId, { path, endpoints, dns });
      for (const endpoint of endpoints) {
        const network = this.#defined.byId(endpoint.networkId);
        network?.users.add(containerId);
        network?.claim(endpoint);
        this.#ports.claim(endpoint);
      }
    }
    const endpoints = this.#endpoints();
    const wanted = endpoints.length > 0 || this.#defined.own.length > 0;
    if (endpoints.length > 0) await this.#upkeep.prepared();
    const isMine = (name: string) => name === this.#deps.config.bridgeName || isVeth(name);
    if (endpoints.length > 0 || interfaceNames().some(isMine) || !isEmpty(this.#namespaces)) {
      await this.#kernel.call('sweep', {
        paths: [...this.#joined.values()].map(({ path }) => path),
        bridges: this.#bridgePorts(),
      });
      if (!wanted) await this.#upkeep.tearDown();
    }
    await this.#helper.recover(
      endpoints.map((endpoint) => this.#ports.reservationOf(endpoint)).filter(({ ports }) => ports.length > 0),
    );
    this.#kernel.warm();
    if (this.#defined.own.length === 0) return;
    // Thousands of bridges are made anew after a reboot: nobody waits for those that no container is in.
    this.#upkeep.prepared().catch((error) =>
      this.#deps.log.error('the networks could not be made, the first container tries again', {
        reason: messageOf(error),
      }),
    );
    this.#helper.warm();
  }

  get(nameOrId: string): NetworkInfo {
    return this.#directory.get(nameOrId);
  }

  list(): readonly NetworkInfo[] {
    return this.#directory.list();
  }

  hostResolver(): Resolver {
    const { resolver, fallback } = readResolver({
      main: this.#deps.config.resolvConf,
      upstream: upstreamResolvConf,
    });
    if (fallback && !this.#warnedResolver)
      this.#deps.log.warn('the host has no name server that a container can reach: containers use public ones', {
        servers: resolver.servers,
      });
    this.#warnedResolver = fallback;
    return resolver;
  }

  /** Containers keep their network: only what is ours alone goes. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#closing.signal.aborted) return;
    this.#closing.abort();
    await this.#upkeep.stop();
    if (this.#upkeep.begun) {
      await this.#places.close();
      if (this.#endpoints().length === 0) await this.#upkeep.tearDown();
    }
    await this.#helper[Symbol.asyncDispose]();
    await this.#kernel[Symbol.asyncDispose]();
  }

  #endpoints(): Endpoint[] {
    return [...this.#joined.values()].flatMap(({ endpoints }) => endpoints);
  }

  #named(): Named[] {
    return [...this.#joined]
      .filter(([, { endpoints }]) => endpoints.some(({ networkId }) => this.#hasNames(networkId)))
      .map(([containerId, joined]) => ({ containerId, ...joined }));
  }

  #hasNames(networkId: string): boolean {
    return networkId !== this.#default.definition.id;
  }

  #publishingOf({ networkId }: Endpoint): Publishing {
    const options = this.#defined.bridges.find(({ definition }) => definition.id === networkId)?.options;
    return { binding: options?.hostBinding ?? '', modes: options?.modes ?? { ipv4: 'nat', ipv6: 'nat' } };
  }

  #openOne(containerId: string): Joined {
    const joined = this.#joined.get(containerId);
    if (joined) return joined;
    throw new EngineError('conflict', `container ${containerId.slice(0, 12)} has no network: it does not run`);
  }

  #releaseAddresses(endpoint: Endpoint): void {
    const network = this.#defined.byId(endpoint.networkId);
    network?.release(endpoint);
    network?.users.delete(endpoint.containerId);
  }

  /** Every bridge, with the host's ends that belong to it. */
  #bridgePorts(): readonly BridgePorts[] {
    const endpoints = Map.groupBy(this.#endpoints(), ({ networkId }) => networkId);
    const made = this.#defined.bridges.filter((network) => network.made);
    return made.map((network) => {
      const ids = (endpoints.get(network.definition.id) ?? []).map(({ id }) => id);
      const ahead = network === this.#default ? this.#places.ahead : [];
      return { bridge: network.bridge, veths: [...ids, ...ahead].map(vethOf) };
    });
  }

  async #forwardingEnabled(): Promise<void> {
    if (this.#record.forwardingEnabled) return;
    this.#deps.log.info('ip_forward was off and is on now: containers need it');
    this.#record = { ...this.#record, forwardingEnabled: true };
    await saveNetworks(join(this.#deps.root, 'networks.json'), this.#record);
  }

  #table(): string {
    const { table } = this.#deps.config;
    return renderTable({ table, bridges: this.#defined.bridges.map(({ bridge }) => bridge) }, this.#endpoints());
  }

  #endpointOf(containerId: string, { id, address, mac }: Place): Endpoint {
    const { definition, bridge, options } = this.#default;
    return {
      id,
      containerId,
      networkId: definition.id,
      network: definition.name,
      interface: freeInterface(options.interfacePrefix, []),
      address,
      prefixLength: bridge.ipv4!.prefixLength,
      gateway: bridge.ipv4!.gateway,
      mac,
      ports: [],
    };
  }

  #emitEndpoint(action: 'connect' | 'disconnect', { networkId, network, containerId, driver }: Endpoint): void {
    const attributes = { container: containerId, name: network, type: driver ?? 'bridge' };
    this.#deps.events.emit({ type: 'network', action, actor: { id: networkId, attributes } });
  }
}

/** Only what is a namespace's own: anything else would be set for the whole host. */
function checkSysctls(sysctls: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  for (const name of Object.keys(sysctls))
    if (!/^net\.[\w-]+([./][\w-]+)+$/.test(name))
      throw new EngineError(
        'invalid',
        `sysctl "${name}" is not allowed: only the network's own (net.*) can be set here`,
      );
  return sysctls;
}
