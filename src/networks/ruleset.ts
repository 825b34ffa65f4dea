import { parseAddress } from './addresses.ts';
import type { Endpoint, PublishedPort } from './networks.ts';

export interface RulesetConfig {
  readonly table: string;
  readonly bridge: string;
  readonly subnet: string;
}

type Published = Pick<Endpoint, 'address' | 'ports'>;

/**
 * The whole table as one nft transaction that puts it in the place of whatever stood there. Connections that are
 * already translated go on: their translation is in conntrack, not here.
 */
export function renderTable({ table, bridge, subnet }: RulesetConfig, endpoints: readonly Published[]): string {
  const all = elementsOf(endpoints);
  return `table inet ${table}
delete table inet ${table}
table inet ${table} {
  map published {
    type inet_proto . inet_service : ipv4_addr . inet_service
${elementsLine(all.published)}  }
  map published_at {
    type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service
${elementsLine(all.published_at)}  }
  # Before any translation: what comes from elsewhere for loopback or for a container's own address was not published.
  chain direct {
    type filter hook prerouting priority raw; policy accept;
    iifname != "lo" ip daddr 127.0.0.0/8 drop
    iifname != { "lo", "${bridge}" } ip daddr ${subnet} drop
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
    ip saddr ${subnet} oifname != "${bridge}" masquerade
    ip saddr 127.0.0.0/8 oifname "${bridge}" masquerade
    ip saddr ${subnet} oifname "${bridge}" ct status dnat masquerade
  }
}
`;
}

const elementsLine = (elements: readonly string[]) =>
  elements.length > 0 ? `    elements = { ${elements.join(', ')} }\n` : '';

/** Adds or takes back one endpoint's ports, as one transaction; '' when it has none that are translated. */
export function renderPorts(verb: 'add' | 'delete', table: string, endpoint: Published): string {
  return Object.entries(elementsOf([endpoint]))
    .filter(([, elements]) => elements.length > 0)
    .map(([map, elements]) => `${verb} element inet ${table} ${map} { ${elements.join(', ')} }\n`)
    .join('');
}

function elementsOf(endpoints: readonly Published[]) {
  const published: string[] = [];
  const published_at: string[] = [];
  for (const { address, ports } of endpoints)
    for (const port of ports) {
      if (!isTranslated(port)) continue;
      const target = `${address} . ${port.port}`;
      if (port.hostAddress === '0.0.0.0') published.push(`${port.protocol} . ${port.hostPort} : ${target}`);
      else published_at.push(`${port.hostAddress} . ${port.protocol} . ${port.hostPort} : ${target}`);
    }
  return { published, published_at };
}

/** IPv4 is translated by the kernel. A port on an IPv6 address is carried by the network helper. */
export const isTranslated = (port: PublishedPort) => parseAddress(port.hostAddress) !== undefined;
