import { messageOf } from '../base/errors.ts';
import { forwardDrops } from '../daemon/doctor/firewall.ts';
import { LinuxHost } from '../daemon/doctor/host.ts';
import { describeFirewalls } from '../networks/host-firewalls.ts';

/** What a firewall of this host makes of published ports. */
export interface FirewallNote {
  readonly name: string;
  readonly opinion: 'lets in' | 'drops' | 'unknown';
  readonly text: string;
}

interface Chain {
  readonly family: string;
  readonly table: string;
  readonly name: string;
  readonly hook?: string;
  readonly policy?: string;
}

/**
 * Published ports are translated before any other firewall sees them, and are then forwarded: their forward chains decide
 * for IPv4, their input chains for IPv6, which a process of the engine carries. Rules inside chains are not worked out.
 */
export async function firewallNotes(bridge: string): Promise<readonly FirewallNote[]> {
  const host = new LinuxHost();
  if (!host.root)
    return [
      { name: 'firewall', opinion: 'unknown', text: 'only root can read the rules of this host: run it as root' },
    ];
  const notes: FirewallNote[] = [];
  try {
    for (const { name, hook, drops, accepted } of await describeFirewalls(bridge)) {
      if (name === 'docker' && !drops) continue;
      const title = { docker: "Docker's own rules", ufw: 'ufw', iptables: 'iptables', firewalld: 'firewalld' }[name];
      notes.push(
        accepted || !drops
          ? {
              name,
              opinion: 'lets in',
              text: `${title}: published ports are let in, whatever its rules for this machine say (${hook})`,
            }
          : {
              name,
              opinion: 'drops',
              text: `${title}: what is forwarded to containers is dropped; the engine lets it in while it runs (${hook}): berth engine status`,
            },
      );
    }
  } catch (error) {
    notes.push({ name: 'iptables', opinion: 'unknown', text: `iptables cannot be read: ${messageOf(error)}` });
  }
  const json = (await host.run('nft', ['-j', 'list', 'chains'])) ?? '{}';
  const known = /^(?:ip|ip6) filter /;
  for (const { name, found, cure } of forwardDrops(json, { bridge, table: 'berth' }))
    if (!known.test(found)) notes.push({ name, opinion: 'drops', text: `${found}${cure ? ` -> ${cure}` : ''}` });
  notes.push(...inputDrops(json));
  if (notes.length === 0)
    notes.push({
      name: 'firewall',
      opinion: 'lets in',
      text: 'no firewall of this host drops them (what is outside this host is not seen from here)',
    });
  return notes;
}

/** Chains that drop what comes to this machine itself: IPv6 connections to published ports do. */
export function inputDrops(json: string): FirewallNote[] {
  let entries: { readonly chain?: Chain }[];
  try {
    entries = (JSON.parse(json) as { nftables?: { readonly chain?: Chain }[] }).nftables ?? [];
  } catch {
    return [];
  }
  return entries
    .flatMap(({ chain }) => (chain ? [chain] : []))
    .filter(({ family, hook, policy }) => hook === 'input' && policy === 'drop' && family !== 'ip')
    .map(({ family, table, name }) => ({
      name: 'input',
      opinion: 'drops' as const,
      text: `${family} ${table} ${name} drops what it has no rule for: by IPv6, a published port needs one there`,
    }));
}
