import { messageOf } from '../../base/errors.ts';
import type { Machine } from '../../runtime/spec/input.ts';
import { cgroupChecks } from './cgroups.ts';
import { daemonJsonChecks } from './daemon-json.ts';
import { dataRootChecks } from './data-root.ts';
import type { Finding } from './finding.ts';
import { firewallChecks } from './firewall.ts';
import type { Host } from './host.ts';
import { kernelChecks } from './kernel.ts';
import { limitChecks } from './limits.ts';
import { packageChecks, readPackages } from './packages.ts';
import { runtimeChecks } from './runtimes.ts';

export interface ExamineOptions {
  readonly host: Host;
  readonly dataRoot: string;
  /** The engine's bridge and nftables table, which are not another firewall's. */
  readonly bridge?: string;
  readonly table?: string;
  /** dockerd's configuration file, where one is read or may be. */
  readonly daemonJson?: string;
  /** CVE numbers that were tried on this machine and did not work. */
  readonly closedByProbe?: ReadonlySet<string>;
  /** Milliseconds after which a group of checks is given up. */
  readonly patience?: number;
}

/**
 * Every check of `berth doctor`. Needs no engine, changes nothing, never throws, and ends in time whatever hangs: what could
 * not be checked is a finding that says so.
 */
export async function examine({
  host,
  dataRoot,
  bridge = 'berth0',
  table = 'berth',
  daemonJson = '/etc/docker/daemon.json',
  closedByProbe = new Set(),
  patience = 10_000,
}: ExamineOptions): Promise<readonly Finding[]> {
  const guarded = (name: string, checks: () => Promise<readonly Finding[]>) => within(patience, name, checks);
  const packages = readPackages(host);
  const runtimes = packages.then((known) => runtimeChecks(host, { packages: known, closedByProbe }));
  // Whoever awaits it says that it failed; here nobody else must.
  packages.catch(() => {});
  runtimes.catch(() => {});
  const groups = await Promise.all([
    guarded('kernel', () => kernelChecks(host)),
    guarded('cgroups', async () => cgroupChecks(host, { crun: (await runtimes).crun })),
    guarded('runtime', async () => (await runtimes).findings),
    guarded('package', async () => packageChecks(host, await packages)),
    guarded('data', () => dataRootChecks(host, dataRoot)),
    guarded('firewall', () => firewallChecks(host, { bridge, table })),
    guarded('limits', () => limitChecks(host, dataRoot)),
    guarded('docker', () => daemonJsonChecks(host, daemonJson)),
  ]);
  return groups.flat();
}

async function within(
  patience: number,
  name: string,
  checks: () => Promise<readonly Finding[]>,
): Promise<readonly Finding[]> {
  const unknown = (fact: string): Finding[] => [{ name, state: 'warn', found: `could not be checked: ${fact}` }];
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<readonly Finding[]>((done) => {
    timer = setTimeout(() => done(unknown(`no answer within ${patience} ms`)), patience);
  });
  try {
    return await Promise.race([checks(), late]);
  } catch (error) {
    return unknown(messageOf(error));
  } finally {
    clearTimeout(timer);
  }
}

/** `Warnings` of `docker info`: what the machine cannot do, in Docker's words, and the open holes of the runtimes. */
export function infoWarnings(
  machine: Pick<Machine, 'controllers' | 'swapLimit' | 'blockWeight' | 'cgroupVersion'>,
  findings: readonly Finding[],
): readonly string[] {
  const has = (...names: string[]) => names.some((name) => machine.controllers.has(name));
  const missing = [
    !has('memory') && 'memory limit',
    !machine.swapLimit && 'swap limit',
    !has('memory') && machine.cgroupVersion === 1 && 'oom kill disable',
    !has('cpu') && 'cpu cfs quota',
    !has('cpu') && 'cpu cfs period',
    !has('cpu') && 'cpu shares',
    !has('cpuset') && 'cpuset',
    !has('pids') && 'pids limit',
    !machine.blockWeight && 'blkio weight',
    !machine.blockWeight && 'blkio weight_device',
    !has('blkio', 'io') && 'blkio throttle',
  ].filter((what) => what !== false);
  const forwarding = findings.some(({ name, state }) => name === 'sysctl.ip_forward' && state !== 'ok');
  return [
    ...missing.map((what) => `WARNING: No ${what} support`),
    ...findings
      .filter(({ name, state }) => name === 'limit.nofile' && state === 'fail')
      .map(({ found }) => `WARNING: ${found}`),
    ...(forwarding ? ['WARNING: IPv4 forwarding is disabled'] : []),
    ...findings
      .filter(({ holes }) => holes && holes.length > 0)
      .map(({ name, holes }) => `WARNING: ${name.replace('runtime.', '')} has known holes: ${holes!.join(', ')}`),
  ];
}
