import { basename, join } from 'node:path';
import { KeyedQueue } from '../base/async.ts';
import { EngineError, messageOf } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import type { Events } from '../events/bus.ts';
import { AddressPool, formatSubnet, macOf, parseMac, parseSubnet } from './addresses.ts';
import { ephemeralPorts, freeSubnet, hasIpv6, interfaceNames, isEmpty, upstreamResolvConf } from './host-facts.ts';
import { HostFirewalls } from './host-firewalls.ts';
import { Kernel } from './kernel.ts';
import { NetworkHelper } from './network-helper.ts';
import type { Endpoint, JoinRequest, NetworkInfo, Networks, PublishedPort, Sandbox } from './networks.ts';
import { type Place, Places } from './places.ts';
import { findPortOwner } from './port-owner.ts';
import { Ports } from './ports.ts';
import { describePredefined, loadNetworks, type NetworksRecord, saveNetworks } from './predefined.ts';
import { type Resolver, readResolver } from './resolver.ts';
import { renderPorts, renderTable } from './ruleset.ts';
import { isVeth, vethOf } from './sandboxes.ts';

export interface NetworksConfig {
  readonly bridgeName: string;
  /** Undefined: one that no route of the host lies in, chosen once. */
  readonly subnet: string | undefined;
  readonly mtu: number;
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
  readonly config: NetworksConfig;
  readonly events: Events;
  readonly log: Log;
}

interface Joined {
  readonly path: string;
  readonly endpoint: Endpoint | undefined;
}

export class HostNetworks implements Networks {
  readonly #deps: HostNetworksDeps;
  readonly #kernel: Kernel;
  readonly #helper: NetworkHelper;
  readonly #firewalls: HostFirewalls;
  readonly #addresses: AddressPool;
  readonly #places: Places;
  readonly #ports = new Ports();
  readonly #queue = new KeyedQueue();
  readonly #joined = new Map<string, Joined>();
  readonly #namespaces: string;
  #record: NetworksRecord;
  #ready: Promise<void> | undefined;
  #audit: NodeJS.Timeout | undefined;
  #auditing: Promise<void> | undefined;
  #warnedResolver = false;
  readonly #closing = new AbortController();

  static async open(deps: HostNetworksDeps): Promise<HostNetworks> {
    const { root, config, log } = deps;
    const { record, damaged } = await loadNetworks(join(root, 'networks.json'), () =>
      config.subnet ? parseSubnet(config.subnet) : freeSubnet(config.resolvConf),
    );
    if (damaged) log.warn('networks.json was damaged and is made anew: the networks have other ids', { root });
    return new HostNetworks(deps, record);
  }

  private constructor(deps: HostNetworksDeps, record: NetworksRecord) {
    const { runDir, config, log } = deps;
    this.#deps = deps;
    this.#record = record;
    this.#addresses = new AddressPool(parseSubnet(config.subnet ?? record.subnet));
    this.#namespaces = join(runDir, 'netns');
    this.#kernel = new Kernel({
      bridge: config.bridgeName,
      bridgeMac: macOf(this.#addresses.gateway),
      gateway: this.#addresses.gateway,
      prefixLength: this.#addresses.subnet.prefixLength,
      mtu: config.mtu,
      table: config.table,
      namespaces: this.#namespaces,
    });
    this.#places = new Places({
      kernel: this.#kernel,
      addresses: this.#addresses,
      namespaces: this.#namespaces,
      ahead: config.pool,
      log,
    });
    this.#firewalls = new HostFirewalls(config.bridgeName);
    this.#helper = new NetworkHelper({
      socketPath: join(runDir, 'network.sock'),
      logPath: join(runDir, 'network.log'),
      lingerMs: config.helperLingerMs,
      log,
    });
  }

  open(
    containerId: string,
    join: JoinRequest | undefined,
  ): Promise<{ sandbox: Sandbox; endpoint: Endpoint | undefined }> {
    return this.#queue.run(containerId, () => this.#open(containerId, join));
  }

  async #open(containerId: string, request: JoinRequest | undefined) {
    if (this.#joined.has(containerId))
      throw new EngineError('conflict', `container ${containerId.slice(0, 12)} has a network already`);
    if (!request) {
      const path = join(this.#namespaces, containerId);
      await this.#kernel.call('create', { path, wiring: undefined, sysctls: {} });
      this.#joined.set(containerId, { path, endpoint: undefined });
      return { sandbox: { path }, endpoint: undefined };
    }
    if (this.get(request.network).name !== 'bridge')
      throw new EngineError('invalid', `network ${request.network} is not a bridge: it has no endpoints`);
    const sysctls = checkSysctls(request.sysctls ?? {});
    const mac = request.mac === undefined ? undefined : parseMac(request.mac);
    await this.#prepared();

    await using undo = new AsyncDisposableStack();
    const { place, make } = this.#places.take(mac);
    undo.defer(() => this.#places.drop(place));
    // Beside each other: the ports are the helper's work, the namespace the worker's.
    const [made, published] = await Promise.allSettled([make(sysctls), this.#publish(containerId, place, request)]);
    if (published.status === 'fulfilled') undo.defer(() => this.#unpublish(containerId, place.id, published.value));
    if (made.status === 'rejected') throw made.reason;
    if (published.status === 'rejected') throw published.reason;

    const endpoint = this.#endpointOf(containerId, place, published.value);
    undo.defer(() => this.#translate('delete', endpoint));
    // Before the rules: an audit that finds the table gone meanwhile must put these ports in.
    this.#joined.set(containerId, { path: place.path, endpoint });
    undo.defer(() => void this.#joined.delete(containerId));
    await this.#translate('add', endpoint);
    undo.move();
    this.#emit('connect', containerId);
    this.#places.refill();
    return { sandbox: { path: place.path }, endpoint };
  }

  close(containerId: string, { told = false }: { readonly told?: boolean } = {}): Promise<void> {
    return this.#queue.run(containerId, () => this.#close(containerId, told));
  }

  async #close(containerId: string, told: boolean): Promise<void> {
    const joined = this.#joined.get(containerId);
    if (!joined) return;
    const { path, endpoint } = joined;
    this.#joined.delete(containerId);
    if (!endpoint) return this.#kernel.call('drop', { path });
    const done = await Promise.allSettled([
      this.#translate('delete', endpoint),
      this.#kernel.call('drop', { path }),
      this.#unpublish(containerId, endpoint.id, endpoint.ports),
    ]);
    // Only now: an address that others may have must not be in the rules any more.
    this.#addresses.release(endpoint.address);
    if (!told) this.#emit('disconnect', containerId);
    for (const result of done) if (result.status === 'rejected') throw result.reason;
  }

  async recover(endpoints: readonly Endpoint[], sandboxes: readonly string[]): Promise<void> {
    const paths = new Set(sandboxes);
    for (const path of sandboxes) this.#joined.set(basename(path), { path, endpoint: undefined });
    for (const endpoint of endpoints) {
      const path = this.#places.pathOf(endpoint.id);
      paths.add(path);
      this.#joined.delete(basename(path));
      this.#joined.set(endpoint.containerId, { path, endpoint });
      this.#addresses.claim(endpoint.address);
      this.#ports.claim(endpoint.containerId, endpoint.ports);
    }
    if (endpoints.length > 0) await this.#prepared();
    const isMine = (name: string) => name === this.#deps.config.bridgeName || isVeth(name);
    if (endpoints.length > 0 || interfaceNames().some(isMine) || !isEmpty(this.#namespaces)) {
      await this.#kernel.call('sweep', { paths: [...paths], veths: endpoints.map(({ id }) => vethOf(id)) });
      if (endpoints.length === 0) await this.#tearDown();
    }
    await this.#helper.recover(
      endpoints
        .filter(({ ports }) => ports.length > 0)
        .map(({ id, address, ports }) => ({ owner: id, target: address, ports })),
    );
    this.#kernel.warm();
  }

  get(nameOrId: string): NetworkInfo {
    const all = this.list();
    const wanted = nameOrId === 'default' || nameOrId === '' ? 'bridge' : nameOrId;
    const found =
      all.find(({ name, id }) => name === wanted || id === wanted) ??
      unique(all.filter(({ id }) => /^[0-9a-f]+$/.test(wanted) && id.startsWith(wanted)));
    if (!found) throw new EngineError('not-found', `network ${nameOrId} not found`);
    return found;
  }

  list(): readonly NetworkInfo[] {
    const bridge = {
      subnet: formatSubnet(this.#addresses.subnet),
      gateway: this.#addresses.gateway,
      name: this.#deps.config.bridgeName,
      mtu: this.#deps.config.mtu,
    };
    return describePredefined(this.#record, bridge, this.#endpoints());
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
    clearInterval(this.#audit);
    await this.#auditing;
    if (this.#ready) {
      await this.#places.close();
      if (this.#endpoints().length === 0) await this.#tearDown();
    }
    await this.#helper[Symbol.asyncDispose]();
    await this.#kernel[Symbol.asyncDispose]();
  }

  async #tearDown(): Promise<void> {
    await this.#kernel.call('teardown', {});
    await this.#applyFirewalls(false);
  }

  #endpoints(): Endpoint[] {
    return [...this.#joined.values()].flatMap(({ endpoint }) => endpoint ?? []);
  }

  /** Bridge, forwarding and rules are there. The first container pays for it. */
  #prepared(): Promise<void> {
    this.#ready ??= this.#prepare().catch((error) => {
      this.#ready = undefined;
      throw error;
    });
    return this.#ready;
  }

  async #prepare(): Promise<void> {
    const [{ forwardingEnabled }] = await Promise.all([
      this.#kernel.call('setup', { table: this.#table() }),
      this.#applyFirewalls(true),
    ]);
    this.#audit ??= setInterval(() => this.#startAudit(), this.#deps.config.auditMs).unref();
    if (!forwardingEnabled || this.#record.forwardingEnabled) return;
    this.#deps.log.info('ip_forward was off and is on now: containers need it');
    this.#record = { ...this.#record, forwardingEnabled };
    await saveNetworks(join(this.#deps.root, 'networks.json'), this.#record);
  }

  #table(): string {
    const { table, bridgeName } = this.#deps.config;
    return renderTable({ table, bridge: bridgeName, subnet: formatSubnet(this.#addresses.subnet) }, this.#endpoints());
  }

  /**
   * One transaction for an endpoint's ports. The records say already what it wants: when it is refused, because the table
   * is not as we left it, the whole table is written from them.
   */
  async #translate(verb: 'add' | 'delete', endpoint: Endpoint): Promise<void> {
    const script = renderPorts(verb, this.#deps.config.table, endpoint);
    if (script === '') return;
    try {
      await this.#kernel.call('rules', { script });
    } catch (error) {
      this.#deps.log.warn('the nftables table is not as it was left and is written anew', { reason: messageOf(error) });
      await this.#kernel.call('rules', { script: this.#table() });
    }
    const { address, ports } = endpoint;
    if (ports.some(({ protocol }) => protocol === 'udp')) await this.#kernel.call('forget', { address, ports });
  }

  #startAudit(): void {
    if (this.#closing.signal.aborted) return;
    this.#auditing ??= this.#runAudit()
      .catch((error) => this.#deps.log.error('the network could not be checked', { reason: messageOf(error) }))
      .finally(() => {
        this.#auditing = undefined;
      });
  }

  async #runAudit(): Promise<void> {
    const veths = [...this.#endpoints().map(({ id }) => id), ...this.#places.ahead].map(vethOf);
    const { table, rulesChanged, mended } = await this.#kernel.call('audit', { veths });
    if (rulesChanged || this.#firewalls.due) await this.#applyFirewalls(true);
    if (mended.length > 0) this.#deps.log.warn('somebody changed the network, mended', { mended });
    if (table === 'intact') return;
    await this.#kernel.call('rules', { script: this.#table() });
    if (table === 'changed')
      this.#deps.log.warn('somebody changed the firewall rules, written anew', { table: this.#deps.config.table });
  }

  /** Another firewall in our way is a reason to say so, not to refuse: its rules may let us through all the same. */
  async #applyFirewalls(wanted: boolean): Promise<void> {
    try {
      const changed = await this.#firewalls.apply(wanted);
      if (changed.length > 0) this.#deps.log.info('changed the rules of another firewall', { changed });
    } catch (error) {
      this.#deps.log.warn('the rules of another firewall could not be changed', { reason: messageOf(error) });
    }
  }

  async #publish(
    containerId: string,
    { id, address }: Place,
    { ports }: JoinRequest,
  ): Promise<readonly PublishedPort[]> {
    if (ports.length === 0) return [];
    return this.#ports.publish(containerId, address, ports, {
      ephemeral: ephemeralPorts,
      ipv6: hasIpv6,
      hold: (held) => this.#helper.hold({ owner: id, target: address, ports: held }),
      ownerOf: findPortOwner,
    });
  }

  async #unpublish(containerId: string, endpointId: string, ports: readonly PublishedPort[]): Promise<void> {
    if (ports.length === 0) return;
    try {
      await this.#helper.release(endpointId);
    } finally {
      this.#ports.release(containerId, ports);
    }
  }

  #endpointOf(containerId: string, { id, address, mac }: Place, ports: readonly PublishedPort[]): Endpoint {
    return {
      id,
      containerId,
      networkId: this.#record.ids.bridge,
      network: 'bridge',
      interface: 'eth0',
      address,
      prefixLength: this.#addresses.subnet.prefixLength,
      gateway: this.#addresses.gateway,
      mac,
      ports,
    };
  }

  #emit(action: 'connect' | 'disconnect', containerId: string): void {
    this.#deps.events.emit({
      type: 'network',
      action,
      actor: { id: this.#record.ids.bridge, attributes: { container: containerId, name: 'bridge', type: 'bridge' } },
    });
  }
}

const unique = <T>(found: readonly T[]): T | undefined => (found.length === 1 ? found[0] : undefined);

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
