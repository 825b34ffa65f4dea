import type { Finding } from './finding.ts';
import type { Host } from './host.ts';

/**
 * Other firewalls. A packet that any of them drops is dropped, whatever the engine's own table accepts, so that a forward
 * policy of drop cuts containers off unless that firewall has a rule for `bridge`.
 */
export async function firewallChecks(
  host: Host,
  { bridge, table }: { readonly bridge: string; readonly table: string },
): Promise<readonly Finding[]> {
  const [ufw, firewalld, chains, legacy] = await Promise.all([
    host.read('/etc/ufw/ufw.conf'),
    firewalldRuns(host),
    host.root ? host.run('nft', ['-j', 'list', 'chains']) : undefined,
    legacyForward(host),
  ]);
  const findings: Finding[] = [];
  if (/^ENABLED=yes$/im.test(ufw ?? ''))
    findings.push({
      name: 'firewall.ufw',
      state: 'warn',
      found: 'ufw is on and drops what is forwarded',
      cure: `ufw route allow in on ${bridge} && ufw route allow out on ${bridge}`,
    });
  if (firewalld)
    findings.push({
      name: 'firewall.firewalld',
      state: 'warn',
      found: 'firewalld is on and rejects what is forwarded between zones',
      cure: `firewall-cmd --permanent --zone=trusted --add-interface=${bridge} && firewall-cmd --reload`,
    });
  findings.push(...(chains === undefined ? [] : forwardDrops(chains, { bridge, table })), ...legacy(bridge));
  if (findings.length > 0) return findings;
  const partly = host.root ? '' : ' (as another user than root only ufw and firewalld are seen)';
  return [{ name: 'firewall', state: 'ok', found: `no other firewall drops what is forwarded${partly}` }];
}

async function firewalldRuns(host: Host): Promise<boolean> {
  const pid = (await host.read('/run/firewalld.pid'))?.trim();
  if (pid && /^\d+$/.test(pid)) return (await host.read(`/proc/${pid}/comm`)) !== undefined;
  return false;
}

interface Chain {
  readonly family: string;
  readonly table: string;
  readonly name: string;
  readonly hook?: string;
  readonly policy?: string;
}

/** Base chains on the forward hook whose policy is drop, of other tables than the engine's. */
export function forwardDrops(
  json: string,
  { bridge, table }: { readonly bridge: string; readonly table: string },
): Finding[] {
  let entries: { readonly chain?: Chain }[];
  try {
    entries = (JSON.parse(json) as { nftables?: { readonly chain?: Chain }[] }).nftables ?? [];
  } catch {
    return [];
  }
  const chains = entries.flatMap(({ chain }) => (chain ? [chain] : []));
  return chains
    .filter(({ hook, policy, table: of }) => hook === 'forward' && policy === 'drop' && of !== table)
    .map(({ family, table: of, name }) => {
      const docker = chains.some(
        (chain) => chain.table === of && chain.family === family && chain.name === 'DOCKER-USER',
      );
      const where = `${family} ${of} ${name}`;
      return {
        name: docker ? 'firewall.docker' : 'firewall.forward',
        state: 'warn',
        found: docker ? `Docker's own rules drop what it does not know (${where})` : `${where} drops what is forwarded`,
        cure: docker
          ? `${family === 'ip6' ? 'ip6tables' : 'iptables'} -I DOCKER-USER -i ${bridge} -j ACCEPT, and the same with -o`
          : `nft add rule ${where} iifname ${bridge} accept, and the same with oifname`,
      };
    });
}

/** Rules of the old iptables, which nft does not show. */
async function legacyForward(host: Host): Promise<(bridge: string) => Finding[]> {
  const tables = await host.read('/proc/net/ip_tables_names');
  if (!host.root || !/^filter$/m.test(tables ?? '')) return () => [];
  const rules =
    (await host.run('iptables-legacy', ['-S', 'FORWARD'])) ?? (await host.run('iptables', ['-S', 'FORWARD']));
  if (!/^-P FORWARD DROP$/m.test(rules ?? '')) return () => [];
  return (bridge) => [
    {
      name: 'firewall.iptables',
      state: 'warn',
      found: 'iptables (the old kind) drops what is forwarded',
      cure: `iptables-legacy -I FORWARD -i ${bridge} -j ACCEPT, and the same with -o`,
    },
  ];
}
