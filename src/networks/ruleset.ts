import type { ElementChange } from '../sys/nft-elements.ts';
import { parseAddress } from './addresses.ts';
import type { BridgeSpec } from './bridge-spec.ts';
import { isOpened } from './gateway-modes.ts';
import type { Endpoint, PublishedPort } from './networks.ts';

export interface RulesetConfig {
  readonly table: string;
  readonly bridges: readonly BridgeSpec[];
}

type Published = Pick<Endpoint, 'address' | 'ipv6' | 'ports'>;

/** The sets that say what is true of which bridge. Rules are few and look in them: thousands of networks cost as much as one. */
const sets = {
  bridges: 'type ifname',
  /** A packet from a bridge to the same one. */
  same: 'type ifname . ifname',
  internal: 'type ifname',
  /** Whose containers do not reach each other (icc=false). */
  closed: 'type ifname . ifname',
  subnets: 'type ipv4_addr; flags interval',
  subnets6: 'type ipv6_addr; flags interval',
  /** A bridge and an address of its own subnet. */
  own: 'type ifname . ipv4_addr; flags interval',
  own6: 'type ifname . ipv6_addr; flags interval',
  masqueraded: 'type ipv4_addr; flags interval',
  masqueraded6: 'type ipv6_addr; flags interval',
  /** Subnets whose ports are all reached from outside, but not from other bridges. */
  unprotected: 'type ipv4_addr; flags interval',
  unprotected6: 'type ipv6_addr; flags interval',
  /** Subnets whose published ports are reached by the containers' own addresses; those ports. */
  routed: 'type ipv4_addr; flags interval',
  routed6: 'type ipv6_addr; flags interval',
  opened: 'type ipv4_addr . inet_proto . inet_service',
  opened6: 'type ipv6_addr . inet_proto . inet_service',
  /** An interface of the host, and the subnets that are reached from it. */
  trusted: 'type ifname . ipv4_addr; flags interval',
  trusted6: 'type ifname . ipv6_addr; flags interval',
} as const;

const maps = {
  published: 'type inet_proto . inet_service : ipv4_addr . inet_service',
  published_at: 'type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service',
  /** What leaves has another address than the host's. */
  sources: 'type ipv4_addr : ipv4_addr; flags interval',
  sources6: 'type ipv6_addr : ipv6_addr; flags interval',
} as const;

const types = { ...sets, ...maps };

type Elements = Readonly<Record<string, readonly string[]>>;

function bridgeElements(bridges: readonly BridgeSpec[]): Elements {
  const all: Record<Exclude<keyof typeof types, keyof ReturnType<typeof portElements>>, string[]> = {
    bridges: [],
    same: [],
    internal: [],
    closed: [],
    subnets: [],
    subnets6: [],
    own: [],
    own6: [],
    masqueraded: [],
    masqueraded6: [],
    unprotected: [],
    unprotected6: [],
    routed: [],
    routed6: [],
    trusted: [],
    trusted6: [],
    sources: [],
    sources6: [],
  };
  for (const { name, ipv4, ipv6, icc, internal, masquerade, trusted } of bridges) {
    const bridge = `"${name}"`;
    all.bridges.push(bridge);
    all.same.push(`${bridge} . ${bridge}`);
    if (internal) all.internal.push(bridge);
    if (!icc) all.closed.push(`${bridge} . ${bridge}`);
    for (const [family, suffix] of [
      [ipv4, ''],
      [ipv6, '6'],
    ] as const) {
      if (!family) continue;
      const { subnet, mode, hostAddress } = family;
      all[`own${suffix}`].push(`${bridge} . ${subnet}`);
      all[`${mode === 'nat-unprotected' ? 'unprotected' : 'subnets'}${suffix}`].push(subnet);
      for (const trustedName of trusted) all[`trusted${suffix}`].push(`"${trustedName}" . ${subnet}`);
      if (mode === 'routed' && !internal) all[`routed${suffix}`].push(subnet);
      if (!masquerade || internal || mode === 'routed') continue;
      if (hostAddress === '') all[`masqueraded${suffix}`].push(subnet);
      else all[`sources${suffix}`].push(`${subnet} : ${hostAddress}`);
    }
  }
  return all;
}

/**
 * The whole table as one nft transaction that puts it in the place of whatever stood there. Connections that are
 * already translated go on: their translation is in conntrack, not here.
 */
export function renderTable({ table, bridges }: RulesetConfig, endpoints: readonly Published[]): string {
  const elements: Elements = { ...bridgeElements(bridges), ...portElements(endpoints) };
  const declare = (kind: 'set' | 'map', types: Readonly<Record<string, string>>) =>
    Object.entries(types).map(
      ([name, type]) => `  ${kind} ${name} {\n    ${type}\n${elementsLine(elements[name]!)}  }\n`,
    );
  const declared = [...declare('map', maps), ...declare('set', sets)].join('');
  return `table inet ${table}
delete table inet ${table}
table inet ${table} {
${declared}  # Before any translation: what comes from elsewhere for loopback was not published.
  chain loopback {
    type filter hook prerouting priority raw; policy accept;
    iifname != "lo" ip daddr 127.0.0.0/8 drop
  }
  # Before any translation, so that what is addressed to a container's own address was not published. Connections that
  # began inside go on where there is no masquerading. An internal network has nothing but itself and its gateway.
  # Protocols 1 and 58 are ICMP: their names are in a file that small systems have not.
  chain direct {
    type filter hook prerouting priority mangle; policy accept;
    iifname @internal ip daddr != { 224.0.0.0/4, 255.255.255.255 } iifname . ip daddr != @own drop
    iifname @internal ip6 daddr != { ff00::/8, fe80::/10 } iifname . ip6 daddr != @own6 drop
    iifname @bridges fib daddr type local accept
    iifname . ip daddr @trusted accept
    iifname . ip6 daddr @trusted6 accept
    ip daddr . meta l4proto . th dport @opened accept
    ip6 daddr . meta l4proto . th dport @opened6 accept
    ip daddr @routed meta l4proto 1 accept
    ip6 daddr @routed6 meta l4proto 58 accept
    iifname @bridges ip daddr @unprotected iifname . ip daddr != @own ct state != { established, related } drop
    iifname @bridges ip6 daddr @unprotected6 iifname . ip6 daddr != @own6 ct state != { established, related } drop
    iifname != "lo" ip daddr @subnets iifname . ip daddr != @own ct state != { established, related } drop
    iifname != "lo" ip6 daddr @subnets6 iifname . ip6 daddr != @own6 ct state != { established, related } drop
  }
  # S44: what a container sends has an address of its own network, or one that the host has a route to by that bridge: a
  # container may route for others, and nobody can have the answers of somebody else.
  chain forged {
    iifname . ip saddr @own return
    iifname . ip6 saddr @own6 return
    ip saddr 0.0.0.0 return
    ip6 saddr { ::, fe80::/10 } return
    fib saddr . iif oif missing drop
  }
  chain host {
    type filter hook input priority filter; policy accept;
    iifname @bridges jump forged
  }
  chain between {
    type filter hook forward priority filter; policy accept;
    iifname @bridges iifname . oifname != @same jump forged
    iifname @internal iifname . oifname != @same drop
    oifname @internal iifname . oifname != @same drop
    iifname . oifname @closed ct status dnat accept
    iifname . oifname @closed drop
  }
  chain ports {
    dnat ip to ip daddr . meta l4proto . th dport map @published_at
    dnat ip to meta l4proto . th dport map @published
  }
  chain incoming {
    type nat hook prerouting priority dstnat; policy accept;
    ip daddr != 0.0.0.0 fib daddr type local jump ports
  }
  chain local {
    type nat hook output priority -100; policy accept;
    ip daddr != 0.0.0.0 fib daddr type local jump ports
  }
  chain outgoing {
    type nat hook postrouting priority srcnat; policy accept;
    oifname . ip saddr != @own snat ip to ip saddr map @sources
    oifname . ip6 saddr != @own6 snat ip6 to ip6 saddr map @sources6
    ip saddr @masqueraded oifname . ip saddr != @own masquerade
    ip6 saddr @masqueraded6 oifname . ip6 saddr != @own6 masquerade
    ip saddr 127.0.0.0/8 oifname @bridges masquerade
    oifname . ip saddr @own ct status dnat masquerade
  }
}
`;
}

const elementsLine = (elements: readonly string[]) =>
  elements.length > 0 ? `    elements = { ${elements.join(', ')} }\n` : '';

/** Adds or takes back one endpoint's ports; nothing when it has none that are translated. */
export const changePorts = (verb: 'add' | 'delete', table: string, endpoint: Published): readonly ElementChange[] =>
  changesOf(verb, table, portElements([endpoint]));

/** Adds or takes back what is said of some bridges. */
export const changeBridges = (
  verb: 'add' | 'delete',
  table: string,
  bridges: readonly BridgeSpec[],
): readonly ElementChange[] => changesOf(verb, table, bridgeElements(bridges));

function changesOf(verb: 'add' | 'delete', table: string, all: Elements): ElementChange[] {
  return Object.entries(all)
    .filter(([, elements]) => elements.length > 0)
    .map(([set, elements]) => ({ verb, table, set, type: types[set as keyof typeof types], elements }));
}

function portElements(endpoints: readonly Published[]) {
  const published: string[] = [];
  const published_at: string[] = [];
  const opened: string[] = [];
  const opened6: string[] = [];
  for (const { address, ipv6, ports } of endpoints)
    for (const port of ports) {
      if (isOpened(port)) {
        const isSix = port.hostAddress === '::';
        (isSix ? opened6 : opened).push(`${isSix ? ipv6?.address : address} . ${port.protocol} . ${port.port}`);
        continue;
      }
      if (!isTranslated(port) || address === '') continue;
      const target = `${address} . ${port.port}`;
      if (port.hostAddress === '0.0.0.0') published.push(`${port.protocol} . ${port.hostPort} : ${target}`);
      else published_at.push(`${port.hostAddress} . ${port.protocol} . ${port.hostPort} : ${target}`);
    }
  return { published, published_at, opened, opened6 };
}

/** IPv4 is translated by the kernel. A port on an IPv6 address is carried by the network helper. */
export const isTranslated = (port: PublishedPort) => parseAddress(port.hostAddress) !== undefined;
