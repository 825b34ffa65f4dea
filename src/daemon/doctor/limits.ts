import type { Finding } from './finding.ts';
import type { Host } from './host.ts';

/** Settings of the kernel and limits of this process that containers run into. */
export async function limitChecks(host: Host, dataRoot: string): Promise<readonly Finding[]> {
  return Promise.all([
    forwarding(host),
    atLeast(host, 'fs/inotify/max_user_instances', { least: 128, better: 512, what: 'programs that watch files' }),
    atLeast(host, 'fs/inotify/max_user_watches', {
      least: 8192,
      better: 65_536,
      what: 'programs that watch many files',
    }),
    atLeast(host, 'user/max_net_namespaces', { least: 256, better: 1024, what: 'containers with a network' }),
    atLeast(host, 'user/max_mnt_namespaces', { least: 256, better: 1024, what: 'containers' }),
    atLeast(host, 'kernel/pid_max', { least: 4096, better: 32_768, what: 'processes of all containers together' }),
    descriptors(host),
    rights(host),
    clock(host, dataRoot),
  ]);
}

async function forwarding(host: Host): Promise<Finding> {
  const name = 'sysctl.ip_forward';
  const path = '/proc/sys/net/ipv4/ip_forward';
  const value = (await host.read(path))?.trim();
  if (value === '1') return { name, state: 'ok', found: 'on' };
  return {
    name,
    state: 'warn',
    found: value === undefined ? 'cannot be read' : 'off: containers do not reach other machines',
    cure: 'sysctl -w net.ipv4.ip_forward=1',
    ...(host.root && value !== undefined && { fix: () => host.change.write(path, '1') }),
  };
}

async function atLeast(
  host: Host,
  setting: string,
  { least, better, what }: { readonly least: number; readonly better: number; readonly what: string },
): Promise<Finding> {
  const sysctl = setting.replaceAll('/', '.');
  const name = `sysctl.${setting.split('/').at(-1)!}`;
  const text = (await host.read(`/proc/sys/${setting}`))?.trim();
  // Kernels without the setting have no such limit.
  if (text === undefined || !/^\d+$/.test(text)) return { name, state: 'ok', found: 'no limit' };
  const value = Number(text);
  if (value >= least) return { name, state: 'ok', found: text };
  return {
    name,
    state: 'warn',
    found: `${text} is little for ${what}`,
    cure: `sysctl -w ${sysctl}=${better}`,
    ...(host.root && { fix: () => host.change.write(`/proc/sys/${setting}`, String(better)) }),
  };
}

async function descriptors(host: Host): Promise<Finding> {
  const name = 'limit.nofile';
  const line = /^Max open files\s+(\S+)\s+(\S+)/m.exec((await host.read('/proc/self/limits')) ?? '');
  if (!line) return { name, state: 'warn', found: 'cannot be read' };
  const hard = line[2] === 'unlimited' ? Number.POSITIVE_INFINITY : Number(line[2]);
  const found = `${line[2]} open files`;
  const cure = 'raise it for the engine: LimitNOFILE=1048576 in its unit, or ulimit -Hn before it is started';
  if (hard < 1024) return { name, state: 'fail', found: `${found}: too few for more than some containers`, cure };
  return hard < 16_384 ? { name, state: 'warn', found, cure } : { name, state: 'ok', found };
}

async function rights(host: Host): Promise<Finding> {
  const name = 'limit.rights';
  if (!host.root)
    return { name, state: 'warn', found: 'not root: some checks were left out', cure: 'sudo berth doctor' };
  const mask = /^CapBnd:\s*([0-9a-f]+)/m.exec((await host.read('/proc/self/status')) ?? '')?.[1];
  const has = (bit: number) => mask === undefined || ((BigInt(`0x${mask}`) >> BigInt(bit)) & 1n) === 1n;
  if (!has(21)) return { name, state: 'fail', found: 'root without CAP_SYS_ADMIN: nothing can be mounted' };
  if (!has(12)) return { name, state: 'fail', found: 'root without CAP_NET_ADMIN: no networks can be made' };
  if (!has(24))
    return {
      name,
      state: 'warn',
      found: "root without CAP_SYS_RESOURCE: --ulimit cannot go above the engine's own hard limits",
    };
  return { name, state: 'ok', found: 'root' };
}

/** When this check was written: no clock is right that is before. */
const earliest = Date.UTC(2025, 0);

/** Certificates, registries and schedules fail in ways that name everything but the clock. */
async function clock(host: Host, dataRoot: string): Promise<Finding> {
  const name = 'clock';
  const now = host.now();
  const found = new Date(now).toISOString();
  const cure = 'set the clock: timedatectl set-ntp true, or install systemd-timesyncd or chrony';
  if (now < earliest) return { name, state: 'fail', found: `${found} is in the past`, cure };
  const stored = await Promise.all(['', '/engine.db', '/engine.db-wal'].map((file) => host.stat(dataRoot + file)));
  const newest = Math.max(0, ...stored.map((facts) => facts?.modified ?? 0));
  if (newest > now + 3_600_000)
    return {
      name,
      state: 'warn',
      found: `${found} is before what was written here at ${new Date(newest).toISOString()}`,
      cure,
    };
  return { name, state: 'ok', found };
}
