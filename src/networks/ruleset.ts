import { parseAddress } from './addresses.ts';
import type { BridgeSpec } from './bridge-spec.ts';
import type { Endpoint, PublishedPort } from './networks.ts';

export interface RulesetConfig {
  readonly table: string;
  readonly bridges: readonly BridgeSpec[];
}

type Published = Pick<Endpoint, 'address' | 'ports'>;

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
} as const;

type Elements = Readonly<Record<string, readonly string[]>>;

function bridgeElements(bridges: readonly BridgeSpec[]): Elements {
  const all: Record<keyof typeof sets, string[]> = {
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
  };
  for (const { name, ipv4, ipv6, icc, internal, masquerade } of bridges) {
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
      all[`subnets${suffix}`].push(family.subnet);
      all[`own${suffix}`].push(`${bridge} . ${family.subnet}`);
      if (masquerade && !internal) all[`masqueraded${suffix}`].push(family.subnet);
    }
  }
  return all;
}

/**
 * The whole table as one nft transaction that puts it in the place of whatever stood there. Connections that are
 * already translated go on: their translation is in conntrack, not here.
 */
export function renderTable({ table, bridges }: RulesetConfig, endpoints: readonly Published[]): string {
  const ports = portElements(endpoints);
  const elements = bridgeElements(bridges);
  const declared = Object.entries(sets)
    .map(([name, type]) => `  set ${name} {\n    ${type}\n${elementsLine(elements[name]!)}  }\n`)
    .join('');
  return `table inet ${table}
delete table inet ${table}
table inet ${table} {
  map published {
    type inet_proto . inet_service : ipv4_addr . inet_service
${elementsLine(ports.published)}  }
  map published_at {
    type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service
${elementsLine(ports.published_at)}  }
${declared}  # Before any translation: what comes from elsewhere for loopback was not published.
  chain loopback {
    type filter hook prerouting priority raw; policy accept;
    iifname != "lo" ip daddr 127.0.0.0/8 drop
  }
  # Before any translation, so that what is addressed to a container's own address was not published. Connections that
  # began inside go on where there is no masquerading. An internal network has nothing but itself and its gateway.
  chain direct {
    type filter hook prerouting priority mangle; policy accept;
    iifname @internal ip daddr != { 224.0.0.0/4, 255.255.255.255 } iifname . ip daddr != @own drop
    iifname @internal ip6 daddr != { ff00::/8, fe80::/10 } iifname . ip6 daddr != @own6 drop
    iifname @bridges fib daddr type local accept
    iifname != "lo" ip daddr @subnets iifname . ip daddr != @own ct state != { established, related } drop
    iifname != "lo" ip6 daddr @subnets6 iifname . ip6 daddr != @own6 ct state != { established, related } drop
  }
  chain between {
    type filter hook forward priority filter; policy accept;
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

/** Adds or takes back one endpoint's ports, as one transaction; '' when it has none that are translated. */
export const renderPorts = (verb: 'add' | 'delete', table: string, endpoint: Published): string =>
  renderElements(verb, table, portElements([endpoint]));

/** Adds or takes back what is said of one bridge. */
export const renderBridge = (verb: 'add' | 'delete', table: string, bridge: BridgeSpec): string =>
  renderElements(verb, table, bridgeElements([bridge]));

function renderElements(verb: 'add' | 'delete', table: string, all: Elements): string {
  return Object.entries(all)
    .filter(([, elements]) => elements.length > 0)
    .map(([name, elements]) => `${verb} element inet ${table} ${name} { ${elements.join(', ')} }\n`)
    .join('');
}

function portElements(endpoints: readonly Published[]) {
  const published: string[] = [];
  const published_at: string[] = [];
  for (const { address, ports } of endpoints)
    for (const port of ports) {
      if (!isTranslated(port) || address === '') continue;
      const target = `${address} . ${port.port}`;
      if (port.hostAddress === '0.0.0.0') published.push(`${port.protocol} . ${port.hostPort} : ${target}`);
      else published_at.push(`${port.hostAddress} . ${port.protocol} . ${port.hostPort} : ${target}`);
    }
  return { published, published_at };
}

/** IPv4 is translated by the kernel. A port on an IPv6 address is carried by the network helper. */
export const isTranslated = (port: PublishedPort) => parseAddress(port.hostAddress) !== undefined;
