import { execFile } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { codeOf } from '../base/errors.ts';
import { type Filter, type FirewallFinding, findFirewalls, parseFilter, planFirewalls } from './firewalls.ts';

const firewallCmd = '/usr/bin/firewall-cmd';
/** firewalld's zone whose packets it accepts. What comes to published ports it accepts by itself (ct status dnat). */
const trusted = 'trusted';

/** Keeps our accepts in the other firewalls of this host. A bridge may be many by their beginning: `bn-+`. */
export class HostFirewalls {
  /** Rules made by iptables-legacy raise no generation: they are looked at now and then. */
  #checked = -Infinity;

  /** Whether it is time to look, when nobody changed anything in nftables. */
  get due(): boolean {
    return performance.now() - this.#checked > legacyIntervalMs && hasLegacyTables();
  }

  /** Gives back what it changed, for the log. */
  async apply(bridges: readonly string[], wanted: boolean): Promise<readonly string[]> {
    this.#checked = performance.now();
    const done: string[] = [];
    const filter = await readFilter();
    const steps = filter ? bridges.flatMap((bridge) => planFirewalls(filter, bridge, wanted)) : [];
    if (steps.length > 0) {
      await run('iptables-restore', ['--noflush', '-w', '5'], `*filter\n${steps.join('\n')}\nCOMMIT\n`);
      done.push(...steps);
    }
    if (await hasFirewalld()) for (const bridge of bridges) done.push(...(await this.#applyFirewalld(bridge, wanted)));
    return done;
  }

  async #applyFirewalld(bridge: string, wanted: boolean): Promise<readonly string[]> {
    const zone = await zoneOf(bridge);
    if (wanted === (zone === trusted)) return [];
    const verb = wanted ? '--change-interface' : '--remove-interface';
    await run(firewallCmd, [`--zone=${trusted}`, `${verb}=${bridge}`]);
    return [`firewalld: ${verb} ${bridge} in zone ${trusted}`];
  }
}

const legacyIntervalMs = 10_000;

export interface FirewallReport extends FirewallFinding {
  /** Our accepts are in place. Only expected while a container has a network. */
  readonly accepted: boolean;
}

/** For `doctor`: which other firewalls decide over containers' packets, and whether ours are let through. */
export async function describeFirewalls(bridge: string): Promise<readonly FirewallReport[]> {
  const filter = await readFilter();
  const accepted = filter !== undefined && planFirewalls(filter, bridge, true).length === 0;
  const reports: FirewallReport[] = filter ? findFirewalls(filter).map((found) => ({ ...found, accepted })) : [];
  if (await hasFirewalld())
    reports.push({ name: 'firewalld', hook: trusted, drops: true, accepted: (await zoneOf(bridge)) === trusted });
  return reports;
}

/** The filter table as iptables sees it; undefined where there is no iptables: then nobody uses it to drop. */
async function readFilter(): Promise<Filter | undefined> {
  try {
    return parseFilter(await run('iptables', ['-w', '5', '-S']));
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}

async function hasFirewalld(): Promise<boolean> {
  // firewall-cmd is slow and fails when the service does not run; where it is not installed nothing is asked.
  if (!existsSync(firewallCmd)) return false;
  return run(firewallCmd, ['--state']).then(
    () => true,
    () => false,
  );
}

async function zoneOf(bridge: string): Promise<string | undefined> {
  return run(firewallCmd, [`--get-zone-of-interface=${bridge}`]).then(
    (zone) => zone.trim(),
    () => undefined,
  );
}

function hasLegacyTables(): boolean {
  try {
    return readFileSync('/proc/self/net/ip_tables_names', 'utf8').includes('filter');
  } catch {
    return false;
  }
}

function run(command: string, args: readonly string[], input = ''): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = execFile(command, args, { timeout: 10_000, maxBuffer: 16 << 20 }, (error, stdout) =>
      error ? reject(error) : resolve(stdout),
    );
    // A command that ends before it has read all says why by its exit code.
    child.stdin?.on('error', () => {});
    child.stdin?.end(input);
  });
}
