import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { KeyedQueue } from '../base/async.ts';
import { EngineError, messageOf } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import type { Events } from '../events/bus.ts';
import { AddressPool, chooseSubnet, formatSubnet, macOf, parseMac, parseRoutes, parseSubnet } from './addresses.ts';
import { HostFirewalls } from './host-firewalls.ts';
import { Kernel } from './kernel.ts';
import { NetworkHelper } from './network-helper.ts';
import type { Endpoint, JoinRequest, NetworkInfo, Networks, PublishedPort, Sandbox } from './networks.ts';
import { findPortOwner } from './port-owner.ts';
import { Ports } from './ports.ts';
import { loadNetworks, type NetworksRecord, predefinedNames, saveNetworks } from './predefined.ts';
import { type Resolver, readResolver } from './resolver.ts';
import { renderPorts, renderTable } from './ruleset.ts';
import { vethOf } from './sandboxes.ts';

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

/** An endpoint before it belongs to a container. */
interface Place {
  readonly id: string;
  readonly path: string;
  readonly address: string;
  readonly mac: string;
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
  readonly #ports = new Ports();
  readonly #queue = new KeyedQueue();
  readonly #joined = new Map<string, Joined>();
  readonly #namespaces: string;
  #record: NetworksRecord;
  #pool: Place[] = [];
  #ready: Promise<void> | undefined;
  #filling: Promise<void> | undefined;
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
    const pooled = mac === undefined ? this.#pool.shift() : undefined;
    const place = pooled ?? this.#newPlace(mac);
    undo.defer(() => this.#dropPlace(place));
    // Beside each other: the ports are the helper's work, the namespace the worker's.
    const [made, published] = await Promise.allSettled([
      pooled ? this.#adjust(place, sysctls) : this.#make(place, sysctls),
      this.#publish(containerId, place, request),
    ]);
    if (published.status === 'fulfilled') undo.defer(() => this.#unpublish(containerId, place.id, published.value));
    if (made.status === 'rejected') throw made.reason;
    if (published.status === 'rejected') throw published.reason;

    const endpoint = this.#endpointOf(containerId, place, published.value);
    // Before the rules: an audit that finds the table gone meanwhile must put these ports in.
    this.#joined.set(containerId, { path: place.path, endpoint });
    undo.defer(() => void this.#joined.delete(containerId));
    const rules = renderPorts('add', this.#deps.config.table, endpoint);
    if (rules) await this.#rules(rules);
    undo.move();
    this.#emit('connect', containerId);
    this.#refill();
    return { sandbox: { path: place.path }, endpoint };
  }

  close(containerId: string): Promise<void> {
    return this.#queue.run(containerId, () => this.#close(containerId));
  }

  async #close(containerId: string): Promise<void> {
    const joined = this.#joined.get(containerId);
    if (!joined) return;
    const { path, endpoint } = joined;
    this.#joined.delete(containerId);
    if (!endpoint) return this.#kernel.call('drop', { path });
    const rules = renderPorts('delete', this.#deps.config.table, endpoint);
    const done = await Promise.allSettled([
      rules ? this.#rules(rules) : undefined,
      this.#kernel.call('drop', { path }),
      this.#unpublish(containerId, endpoint.id, endpoint.ports),
    ]);
    // Only now: an address that others may have must not be in the rules any more.
    this.#addresses.release(endpoint.address);
    this.#emit('disconnect', containerId);
    for (const result of done) if (result.status === 'rejected') throw result.reason;
  }

  async recover(endpoints: readonly Endpoint[], sandboxes: readonly string[]): Promise<void> {
    const paths = new Set(sandboxes);
    for (const path of sandboxes) this.#joined.set(basename(path), { path, endpoint: undefined });
    for (const endpoint of endpoints) {
      const path = this.#pathOf(endpoint.id);
      paths.add(path);
      this.#joined.delete(basename(path));
      this.#joined.set(endpoint.containerId, { path, endpoint });
      this.#addresses.claim(endpoint.address);
      this.#ports.claim(endpoint.containerId, endpoint.ports);
    }
    const veths = endpoints.map(({ id }) => vethOf(id));
    // The rules first: until they are there, whatever the old table lacked is not reachable.
    if (endpoints.length > 0) await this.#prepared();
    await this.#kernel.call('sweep', { paths: [...paths], veths });
    if (endpoints.length === 0) await this.#tearDown();
    await this.#helper.recover(
      endpoints
        .filter(({ ports }) => ports.length > 0)
        .map(({ id, address, ports }) => ({ owner: id, target: address, ports })),
    );
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
    const { ids, created } = this.#record;
    return predefinedNames.map((name) => ({
      id: ids[name],
      name,
      driver: name === 'none' ? 'null' : name,
      created,
      subnets:
        name === 'bridge' ? [{ subnet: formatSubnet(this.#addresses.subnet), gateway: this.#addresses.gateway }] : [],
      internal: false,
      ipv6: false,
      labels: {},
      options: name === 'bridge' ? this.#bridgeOptions() : {},
      endpoints: name === 'bridge' ? this.#endpoints() : [],
    }));
  }

  hostResolver(): Resolver {
    const { resolver, fallback } = readResolver({
      main: this.#deps.config.resolvConf,
      upstream: '/run/systemd/resolve/resolv.conf',
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
    this.#closing.abort();
    clearInterval(this.#audit);
    await this.#filling;
    await this.#auditing;
    if (this.#ready) {
      for (const place of this.#pool.splice(0)) await this.#dropPlace(place);
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

  #pathOf(endpointId: string): string {
    return join(this.#namespaces, endpointId.slice(0, 12));
  }

  #bridgeOptions(): Record<string, string> {
    const { bridgeName, mtu } = this.#deps.config;
    return {
      'com.docker.network.bridge.default_bridge': 'true',
      'com.docker.network.bridge.enable_icc': 'true',
      'com.docker.network.bridge.enable_ip_masquerade': 'true',
      'com.docker.network.bridge.host_binding_ipv4': '0.0.0.0',
      'com.docker.network.bridge.name': bridgeName,
      'com.docker.network.driver.mtu': String(mtu),
    };
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
    const { forwardingEnabled } = await this.#kernel.call('setup', { table: this.#table() });
    await this.#applyFirewalls(true);
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

  /** What the transaction wanted is in the records already: when it is refused, the whole table is written from them. */
  async #rules(script: string): Promise<void> {
    try {
      await this.#kernel.call('rules', { script });
    } catch (error) {
      this.#deps.log.warn('the nftables table is not as it was left and is written anew', { reason: messageOf(error) });
      await this.#kernel.call('rules', { script: this.#table() });
    }
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
    const veths = [...this.#endpoints(), ...this.#pool].map(({ id }) => vethOf(id));
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

  #newPlace(mac?: string): Place {
    const id = randomBytes(32).toString('hex');
    const address = this.#addresses.take();
    return { id, path: this.#pathOf(id), address, mac: mac ?? macOf(address) };
  }

  async #make({ id, path, address, mac }: Place, sysctls: Readonly<Record<string, string>>): Promise<void> {
    const wiring = { veth: vethOf(id), interface: 'eth0', address, mac };
    await this.#kernel.call('create', { path, wiring, sysctls });
  }

  async #adjust({ path }: Place, sysctls: Readonly<Record<string, string>>): Promise<void> {
    if (Object.keys(sysctls).length > 0) await this.#kernel.call('sysctls', { path, sysctls });
  }

  async #dropPlace({ path, address }: Place): Promise<void> {
    await this.#kernel.call('drop', { path });
    this.#addresses.release(address);
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

  /** Later, so that it does not compete with the start of the container that emptied it. */
  #refill(): void {
    this.#filling ??= this.#fill()
      .catch((error) => this.#deps.log.warn('no namespace could be made ahead', { reason: messageOf(error) }))
      .finally(() => {
        this.#filling = undefined;
      });
  }

  async #fill(): Promise<void> {
    await sleep(refillDelayMs, undefined, { signal: this.#closing.signal, ref: false }).catch(() => {});
    while (!this.#closing.signal.aborted && this.#pool.length < this.#deps.config.pool) {
      const place = this.#newPlace();
      try {
        await this.#make(place, {});
      } catch (error) {
        this.#addresses.release(place.address);
        throw error;
      }
      this.#pool.push(place);
    }
  }
}

const refillDelayMs = 100;

const unique = <T>(found: readonly T[]): T | undefined => (found.length === 1 ? found[0] : undefined);

function freeSubnet(resolvConf: string) {
  const routes = parseRoutes(readFileSync('/proc/self/net/route', 'utf8'));
  const { resolver } = readResolver({ main: resolvConf, upstream: '/run/systemd/resolve/resolv.conf' });
  return chooseSubnet(routes, resolver.servers);
}

function ephemeralPorts(): { readonly first: number; readonly last: number } {
  const [first = 32_768, last = 60_999] = readFileSync('/proc/sys/net/ipv4/ip_local_port_range', 'utf8')
    .trim()
    .split(/\s+/)
    .map(Number);
  return { first, last };
}

/** Without an address on loopback nothing of IPv6 can be held: it is disabled, or not in the kernel. */
function hasIpv6(): boolean {
  try {
    return readFileSync('/proc/self/net/if_inet6', 'utf8').includes(`${'0'.repeat(31)}1`);
  } catch {
    return false;
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
