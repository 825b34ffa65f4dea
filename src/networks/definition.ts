import { randomBytes } from 'node:crypto';
import { isIP, isIPv4 } from 'node:net';
import { EngineError } from '../base/errors.ts';
import { contains, formatSubnet, overlap, parseAddress, parseBlock4, parseSubnet, type Subnet } from './addresses.ts';
import { contains6, formatSubnet6, overlap6, parseAddress6, parseSubnet6, type Subnet6 } from './addresses6.ts';
import { checkConfiguration, withConfiguration } from './config-only.ts';
import {
  checkIsolated,
  type ForFamilies,
  type GatewayMode,
  readGatewayModes,
  readHostAddresses,
  readTrustedInterfaces,
} from './gateway-modes.ts';
import {
  chooseParent,
  needsGateway,
  type ParentNeighbour,
  type ParentRecord,
  readParentOptions,
} from './parent-options.ts';
import { isParentKind, type ParentKind } from './parent-spec.ts';

export interface IpamConfig {
  readonly subnet: string;
  readonly ipRange?: string;
  readonly gateway?: string;
  readonly auxiliaryAddresses?: Readonly<Record<string, string>>;
}

/** What a client asks for. */
export interface NetworkRequest {
  readonly name: string;
  readonly driver: string;
  readonly internal: boolean;
  readonly attachable: boolean;
  readonly ipv4: boolean;
  readonly ipv6: boolean;
  readonly labels: Readonly<Record<string, string>>;
  readonly options: Readonly<Record<string, string>>;
  readonly ipam: {
    readonly driver: string;
    readonly options: Readonly<Record<string, string>> | undefined;
    readonly configs: readonly IpamConfig[];
  };
  /** It holds a configuration for others and is none itself. */
  readonly configOnly?: boolean;
  /** The name of the one that it is made of. */
  readonly configFrom?: string;
  /** It was a network before, of another engine, and stays the same one to its clients. */
  readonly kept?: Pick<NetworkDefinition, 'id' | 'created' | 'chosenSubnets'>;
}

/** The record of a network that somebody made. Subnets are chosen: running containers have addresses in them. */
export interface NetworkDefinition extends Omit<NetworkRequest, 'ipam' | 'kept'> {
  readonly id: string;
  readonly created: string;
  readonly ipamOptions: Readonly<Record<string, string>> | undefined;
  /** As they are shown: what was asked for, then what was chosen. */
  readonly configs: readonly IpamConfig[];
  /** Subnets that the user chose take addresses that the user chooses. */
  readonly chosenSubnets: { readonly ipv4: boolean; readonly ipv6: boolean };
  readonly bridge: string;
  /** The bridge was made for this network and goes with it. */
  readonly ownsBridge: boolean;
  /** The link that containers stand on, of macvlan and ipvlan networks: they have no bridge. */
  readonly parent?: ParentRecord;
}

/** What else there is, for a definition to stand beside. */
export interface Surroundings {
  readonly networks: readonly (Pick<NetworkDefinition, 'id' | 'name' | 'bridge' | 'configs'> & ParentNeighbour)[];
  /** Those that only hold a configuration. */
  readonly configurations: readonly NetworkDefinition[];
  /** Another network has a part of this subnet, of either family. */
  readonly overlaps: (subnet: string) => boolean;
  /** A subnet in which nothing of this host and no other network lies. */
  readonly pool: () => Subnet;
  readonly pool6: () => Subnet6;
  readonly interfaces: () => readonly string[];
}

const invalid = (message: string) => new EngineError('invalid', message);
const forbidden = (message: string) => new EngineError('forbidden', message);

/** The definition of a new network, complete, or the refusal in Docker's words. */
export function define(asked: NetworkRequest, around: Surroundings): NetworkDefinition {
  const { name } = asked;
  if (name.trim() === '') throw invalid('invalid name: name is empty');
  if (['bridge', 'host', 'none', 'default'].includes(name))
    throw forbidden(`operation is not permitted on predefined ${name} network `);
  checkIpam(asked.ipam.configs, asked.ipv6);
  if (!asked.ipv4 && !asked.ipv6 && !asked.configOnly && !asked.configFrom)
    throw invalid('IPv4 or IPv6 must be enabled');
  if ([...around.networks, ...around.configurations].some((network) => network.name === name))
    throw new EngineError('conflict', `network with name ${name} already exists`, { code: 'E_NAME_IN_USE' });
  if (asked.configOnly) return defineConfiguration(asked);
  const request = withConfiguration(asked, around.configurations);
  const { driver, ipv4, ipv6 } = request;
  if (!ipv4 && !ipv6) throw invalid('IPv4 or IPv6 must be enabled');
  checkDriver(driver);
  if (!['', 'default'].includes(request.ipam.driver))
    throw new EngineError('not-found', `plugin "${request.ipam.driver}" not found`);
  const id = request.kept?.id ?? newId();
  if (around.networks.some((network) => network.id === id))
    throw new EngineError('conflict', `network ${id} exists already`);
  const place = isParentKind(driver) ? onParent(driver, id, request, around) : onBridge(id, request, around);
  const given = request.ipam.configs;
  const used = given.filter(({ subnet }) => (isV4(subnet) ? ipv4 : ipv6));
  for (const family of place.parent ? [] : [true, false])
    if (used.filter(({ subnet }) => isV4(subnet) === family).length > 1)
      throw forbidden("bridge driver doesn't support multiple subnets");
  for (const { subnet } of used)
    if (around.overlaps(subnet))
      throw forbidden('invalid pool request: Pool overlaps with other one on this address space');
  const chosen: IpamConfig[] = [];
  const has = { ipv4: used.some(({ subnet }) => isV4(subnet)), ipv6: used.some(({ subnet }) => !isV4(subnet)) };
  if (ipv4 && !has.ipv4) chosen.push(chosenRange(formatSubnet(around.pool()), place.gateway.ipv4));
  if (ipv6 && !has.ipv6) chosen.push(chosenRange(formatSubnet6(around.pool6()), place.gateway.ipv6));
  const { ipam, kept, ...rest } = request;
  return {
    ...rest,
    driver: driver || 'bridge',
    id,
    created: kept?.created || now(),
    ipamOptions: ipam.options,
    configs: [...given, ...chosen],
    chosenSubnets: kept?.chosenSubnets ?? has,
    bridge: place.bridge,
    ownsBridge:
      place.bridge !== '' && !(request.options[bridgeNameOption] && around.interfaces().includes(place.bridge)),
    ...(place.parent && { parent: place.parent }),
  };
}

/** What a network is in the kernel, and whether an address of each subnet is kept for a gateway. */
interface Place {
  readonly bridge: string;
  readonly parent?: ParentRecord;
  readonly gateway: ForFamilies<boolean>;
}

function onBridge(id: string, { options, internal }: NetworkRequest, around: Surroundings): Place {
  const read = readBridgeOptions(options);
  checkIsolated(read.modes, internal);
  const bridge = options[bridgeNameOption] || `bn-${id.slice(0, 12)}`;
  checkBridgeName(id, bridge, around);
  return { bridge, gateway: keepsGateway(read) };
}

function onParent(kind: ParentKind, id: string, request: NetworkRequest, around: Surroundings): Place {
  const parent = chooseParent(kind, id, readParentOptions(kind, request.options), around);
  const gateway = needsGateway(kind, request);
  return { bridge: '', parent, gateway: { ipv4: gateway, ipv6: gateway } };
}

/** Shown as Docker shows it: with the driver `null`, whatever was asked for. Its options are read by who uses it. */
function defineConfiguration(request: NetworkRequest): NetworkDefinition {
  checkConfiguration(request);
  const { ipam, ...rest } = request;
  return {
    ...rest,
    driver: 'null',
    id: newId(),
    created: now(),
    ipamOptions: ipam.options,
    configs: ipam.configs,
    chosenSubnets: { ipv4: false, ipv6: false },
    bridge: '',
    ownsBridge: false,
  };
}

const newId = () => randomBytes(32).toString('hex');
const now = () => new Date().toISOString().replace('Z', '000000Z');

export const isV4 = (subnet: string) => !subnet.includes(':');

function chosenRange(subnet: string, gateway: boolean): IpamConfig {
  if (!gateway) return { subnet };
  const base = subnet.split('/')[0]!;
  return { subnet, gateway: isV4(subnet) ? base.replace(/\d+$/, '1') : `${base}1` };
}

/** Of two subnets, of either family. */
export function overlapping(a: string, b: string): boolean {
  if (isV4(a) !== isV4(b)) return false;
  if (isV4(a)) return overlap(parseSubnet(a), parseSubnet(b));
  return overlap6(parseSubnet6(a)!, parseSubnet6(b)!);
}

/** Docker's words to whoever wants what only a swarm has. */
export const noSwarmManager =
  'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this node to swarm and try again.';

function checkDriver(driver: string): void {
  if (driver === '' || driver === 'bridge' || isParentKind(driver)) return;
  if (driver === 'host' || driver === 'null') throw forbidden(`only one instance of "${driver}" network is allowed`);
  if (driver === 'overlay') throw forbidden(noSwarmManager);
  throw new EngineError('not-found', `plugin "${driver}" not found`);
}

function checkBridgeName(id: string, bridge: string, { networks }: Surroundings): void {
  if (!/^[\w.-]{1,15}$/.test(bridge) || bridge === '.' || bridge === '..')
    throw invalid(`invalid bridge name ${JSON.stringify(bridge)}: 1 to 15 letters, digits, and _ . - are needed`);
  const other = networks.find((network) => network.bridge === bridge);
  if (other)
    throw forbidden(
      `cannot create network ${id} (${bridge}): conflicts with network ${other.id} (${bridge}): networks have same bridge name`,
    );
}

/** Every fault of them at once, as Docker tells it. */
function checkIpam(configs: readonly IpamConfig[], ipv6: boolean): void {
  const faults = configs.flatMap((config) => faultsOf(config, ipv6));
  if (faults.length > 0) throw invalid(`invalid network config:\n${joinFaults(faults)}`);
}

export function joinFaults(faults: readonly string[]): string {
  return faults.length === 1 ? faults[0]! : faults.map((fault) => `* ${fault}`).join('\n');
}

function faultsOf({ subnet, ipRange, gateway, auxiliaryAddresses = {} }: IpamConfig, ipv6: boolean): string[] {
  const block = parseBlock(subnet);
  if (!block) return [`invalid subnet ${subnet}: invalid CIDR block notation`];
  // What is not enabled is shown and not used.
  if (!block.v4 && !ipv6) return [];
  if (block.text !== subnet) return [`invalid subnet ${subnet}: it should be ${block.text}`];
  if (block.v4 && (block.prefixLength > 30 || block.prefixLength < 8))
    return [`invalid subnet ${subnet}: an IPv4 subnet from /8 to /30 is needed`];
  if (!block.v4 && block.prefixLength > 126)
    return [`invalid subnet ${subnet}: an IPv6 subnet of /126 or larger is needed`];
  const faults: string[] = [];
  if (ipRange !== undefined) {
    const range = parseBlock(ipRange);
    if (!range) faults.push(`invalid ip-range ${ipRange}: invalid CIDR block notation`);
    else if (range.v4 !== block.v4)
      faults.push(`invalid ip-range ${ipRange}: parent subnet is an ${block.v4 ? 'IPv4' : 'IPv6'} block`);
    else if (range.prefixLength < block.prefixLength || !block.contains(range.address))
      faults.push(`invalid ip-range ${ipRange}: parent subnet ${subnet} doesn't contain ip-range`);
    else if (range.text !== ipRange) faults.push(`invalid ip-range ${ipRange}: it should be ${range.text}`);
  }
  const inside = (what: string, address: string) => {
    if (isIP(address) === 0) faults.push(`invalid ${what} ${address}: invalid address`);
    else if (isIPv4(address) !== block.v4)
      faults.push(`invalid ${what} ${address}: parent subnet is an ${block.v4 ? 'IPv4' : 'IPv6'} block`);
    else if (!block.contains(address))
      faults.push(`invalid ${what} ${address}: parent subnet ${subnet} doesn't contain this address`);
  };
  if (gateway !== undefined) inside('gateway', gateway);
  for (const address of Object.values(auxiliaryAddresses)) inside('auxiliary address', address);
  return faults;
}

interface Block {
  readonly v4: boolean;
  /** Its first address. */
  readonly address: string;
  readonly prefixLength: number;
  /** With the bits behind the prefix cleared. */
  readonly text: string;
  contains(address: string): boolean;
}

export function parseBlock(text: string): Block | undefined {
  const [, length] = text.split('/');
  if (isV4(text)) {
    const subnet = parseBlock4(text);
    if (!subnet) return undefined;
    const formatted = formatSubnet(subnet);
    return {
      v4: true,
      address: formatted.split('/')[0]!,
      prefixLength: subnet.prefixLength,
      text: formatted,
      contains: (address) => contains(subnet, parseAddress(address) ?? -1),
    };
  }
  const subnet = parseSubnet6(text);
  if (!subnet || length === undefined) return undefined;
  const formatted = formatSubnet6(subnet);
  return {
    v4: false,
    address: formatted.split('/')[0]!,
    prefixLength: subnet.prefixLength,
    text: formatted,
    contains: (address) => contains6(subnet, parseAddress6(address) ?? -1n),
  };
}

export const bridgeNameOption = 'com.docker.network.bridge.name';

export interface BridgeOptions {
  readonly icc: boolean;
  readonly masquerade: boolean;
  /** Where a port is published that names no address; '' is everywhere. */
  readonly hostBinding: string;
  /** 0: the engine's own. */
  readonly mtu: number;
  /** What a container's interfaces are called, before their number. */
  readonly interfacePrefix: string;
  readonly modes: ForFamilies<GatewayMode>;
  /** What leaves the host has this address; '' is that of the interface that it leaves by. */
  readonly hostAddresses: ForFamilies<string>;
  /** The gateway is another machine's: the bridge has no IPv4 address. */
  readonly inhibitIpv4: boolean;
  readonly trusted: readonly string[];
}

/** Whether an address of each subnet is kept for a gateway that was not asked for. */
export const keepsGateway = ({ modes }: BridgeOptions): ForFamilies<boolean> => ({
  ipv4: modes.ipv4 !== 'isolated',
  ipv6: modes.ipv6 !== 'isolated',
});

export function readBridgeOptions(options: Readonly<Record<string, string>>): BridgeOptions {
  const unparsed = (option: string, value: string, why: string) =>
    invalid(`failed to parse ${option} value: ${value} (${why})`);
  const boolean = (option: string, standard = true): boolean => {
    const value = options[option];
    if (value === undefined) return standard;
    if (/^(1|t|T|TRUE|true|True)$/.test(value)) return true;
    if (/^(0|f|F|FALSE|false|False)$/.test(value)) return false;
    throw unparsed(option, value, `strconv.ParseBool: parsing ${JSON.stringify(value)}: invalid syntax`);
  };
  const mtuOption = 'com.docker.network.driver.mtu';
  const mtu = options[mtuOption] ?? '0';
  if (!/^[+-]?\d+$/.test(mtu))
    throw unparsed(mtuOption, mtu, `strconv.Atoi: parsing ${JSON.stringify(mtu)}: invalid syntax`);
  if (Number(mtu) !== 0 && (Number(mtu) < 68 || Number(mtu) > 65_535))
    throw invalid(`invalid MTU ${mtu}: 68 to 65535 is needed`);
  const bindingOption = 'com.docker.network.bridge.host_binding_ipv4';
  const hostBinding = options[bindingOption] ?? '';
  if (bindingOption in options && !isIPv4(hostBinding)) throw unparsed(bindingOption, hostBinding, 'nil ip');
  const interfacePrefix = options['com.docker.network.container_iface_prefix'] || 'eth';
  if (!/^[a-zA-Z][\w-]{0,11}$/.test(interfacePrefix))
    throw invalid(`invalid interface prefix ${JSON.stringify(interfacePrefix)}`);
  return {
    icc: boolean('com.docker.network.bridge.enable_icc'),
    masquerade: boolean('com.docker.network.bridge.enable_ip_masquerade'),
    hostBinding: hostBinding === '0.0.0.0' ? '' : hostBinding,
    mtu: Number(mtu),
    interfacePrefix,
    modes: readGatewayModes(options),
    hostAddresses: readHostAddresses(options),
    inhibitIpv4: boolean('com.docker.network.bridge.inhibit_ipv4', false),
    trusted: readTrustedInterfaces(options),
  };
}
