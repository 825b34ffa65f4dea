import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { codeOf } from '../base/errors.ts';
import type { CgroupMounts } from './cgroups.ts';

/** What a container uses, as its control group and its network namespace count it. Times in nanoseconds, sizes in bytes. */
export interface TaskUsage {
  /** Of control groups: some things only one of them counts. */
  readonly version: 1 | 2;
  readonly pids: { readonly current: number; readonly limit: number | undefined };
  readonly cpu: {
    readonly total: number;
    readonly kernel: number;
    readonly user: number;
    /** Version 1 only. */
    readonly perCpu: readonly number[] | undefined;
    readonly periods: number;
    readonly throttledPeriods: number;
    readonly throttled: number;
  };
  readonly memory: {
    readonly usage: number;
    /** Version 1 only. */
    readonly most: number | undefined;
    readonly failures: number;
    /** Undefined: none. */
    readonly limit: number | undefined;
    /** The kernel's own numbers by their own names. */
    readonly stats: Readonly<Record<string, number>>;
  };
  readonly io: { readonly bytes: readonly IoCount[]; readonly operations: readonly IoCount[] };
  /** By interface, without the loopback. */
  readonly networks: Readonly<Record<string, InterfaceCount>>;
}

export interface IoCount {
  readonly major: number;
  readonly minor: number;
  readonly op: string;
  readonly value: number;
}

export interface InterfaceCount {
  readonly rxBytes: number;
  readonly rxPackets: number;
  readonly rxErrors: number;
  readonly rxDropped: number;
  readonly txBytes: number;
  readonly txPackets: number;
  readonly txErrors: number;
  readonly txDropped: number;
}

/**
 * Reads all of it at once and on this thread: a dozen small files of the kernel's take less time than one trip to the
 * pool, and belong to one moment. Undefined when the group is gone. `proc` is that of a process in the container.
 */
export function readUsage(
  { v1, v2 }: CgroupMounts,
  { version, path, proc }: { readonly version: 1 | 2; readonly path: string; readonly proc: string },
): TaskUsage | undefined {
  const networks = parseNetDev(readOr(join(proc, 'net/dev')));
  if (version === 2) {
    const file = (name: string) => readOr(join(v2 ?? '/', path, name));
    const cpu = file('cpu.stat');
    return cpu === '' ? undefined : { ...usageOfV2(file, cpu), networks };
  }
  const file = (controller: string) => {
    const point = v1.get(controller);
    return (name: string) => (point ? readOr(join(point, path, name)) : '');
  };
  const total = file('cpuacct')('cpuacct.usage');
  return total === '' ? undefined : { ...usageOfV1(file, total), networks };
}

const tick = 10_000_000;

function usageOfV1(file: (controller: string) => (name: string) => string, total: string) {
  const cpuacct = file('cpuacct');
  const memory = file('memory');
  const pids = file('pids');
  const blkio = file('blkio');
  const ticks = parseCounts(cpuacct('cpuacct.stat'));
  const throttling = parseCounts(file('cpu')('cpu.stat'));
  return {
    version: 1 as const,
    pids: { current: number(pids('pids.current')), limit: limit(pids('pids.max')) },
    cpu: {
      total: number(total),
      kernel: (ticks['system'] ?? 0) * tick,
      user: (ticks['user'] ?? 0) * tick,
      perCpu: cpuacct('cpuacct.usage_percpu').trim().split(/\s+/).filter(Boolean).map(Number),
      periods: throttling['nr_periods'] ?? 0,
      throttledPeriods: throttling['nr_throttled'] ?? 0,
      throttled: throttling['throttled_time'] ?? 0,
    },
    memory: {
      usage: number(memory('memory.usage_in_bytes')),
      most: number(memory('memory.max_usage_in_bytes')),
      failures: number(memory('memory.failcnt')),
      limit: limit(memory('memory.limit_in_bytes')),
      stats: parseCounts(memory('memory.stat')),
    },
    io: {
      bytes: parseBlkio(blkio('blkio.throttle.io_service_bytes_recursive') || blkio('blkio.throttle.io_service_bytes')),
      operations: parseBlkio(blkio('blkio.throttle.io_serviced_recursive') || blkio('blkio.throttle.io_serviced')),
    },
  };
}

function usageOfV2(file: (name: string) => string, cpuStat: string) {
  const cpu = parseCounts(cpuStat);
  const micros = (name: string) => (cpu[name] ?? 0) * 1000;
  return {
    version: 2 as const,
    pids: { current: number(file('pids.current')), limit: limit(file('pids.max')) },
    cpu: {
      total: micros('usage_usec'),
      kernel: micros('system_usec'),
      user: micros('user_usec'),
      perCpu: undefined,
      periods: cpu['nr_periods'] ?? 0,
      throttledPeriods: cpu['nr_throttled'] ?? 0,
      throttled: micros('throttled_usec'),
    },
    memory: {
      usage: number(file('memory.current')),
      most: undefined,
      failures: parseCounts(file('memory.events'))['oom'] ?? 0,
      limit: limit(file('memory.max')),
      stats: parseCounts(file('memory.stat')),
    },
    io: parseIoStat(file('io.stat')),
  };
}

/** Lines of a name and a number. */
function parseCounts(text: string): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const line of text.split('\n')) {
    const [name, value] = line.split(' ');
    if (name && value !== undefined) counts[name] = Number(value);
  }
  return counts;
}

/** `8:0 Read 4096`. */
function parseBlkio(text: string): IoCount[] {
  return text.split('\n').flatMap((line) => {
    const match = /^(\d+):(\d+) (\w+) (\d+)$/.exec(line);
    return match ? [{ major: Number(match[1]), minor: Number(match[2]), op: match[3]!, value: Number(match[4]) }] : [];
  });
}

/** `8:0 rbytes=4096 wbytes=0 rios=1 wios=0 dbytes=0 dios=0`. */
function parseIoStat(text: string): TaskUsage['io'] {
  const bytes: IoCount[] = [];
  const operations: IoCount[] = [];
  for (const line of text.split('\n')) {
    const [device = '', ...pairs] = line.split(' ').filter(Boolean);
    const [major, minor] = device.split(':').map(Number);
    if (!Number.isInteger(major) || !Number.isInteger(minor) || pairs.length === 0) continue;
    const values = new Map(pairs.map((pair) => pair.split('=') as [string, string]));
    const count = (op: string, key: string) => ({
      major: major!,
      minor: minor!,
      op,
      value: Number(values.get(key) ?? 0),
    });
    bytes.push(count('read', 'rbytes'), count('write', 'wbytes'));
    operations.push(count('read', 'rios'), count('write', 'wios'));
  }
  return { bytes, operations };
}

/** proc_pid_net(5): after the name eight numbers of what came in, then eight of what went out. */
function parseNetDev(text: string): Record<string, InterfaceCount> {
  const counts: Record<string, InterfaceCount> = {};
  for (const line of text.split('\n').slice(2)) {
    const colon = line.lastIndexOf(':');
    const name = line.slice(0, colon).trim();
    if (colon < 0 || name === 'lo') continue;
    const n = line
      .slice(colon + 1)
      .trim()
      .split(/\s+/)
      .map(Number);
    counts[name] = {
      rxBytes: n[0] ?? 0,
      rxPackets: n[1] ?? 0,
      rxErrors: n[2] ?? 0,
      rxDropped: n[3] ?? 0,
      txBytes: n[8] ?? 0,
      txPackets: n[9] ?? 0,
      txErrors: n[10] ?? 0,
      txDropped: n[11] ?? 0,
    };
  }
  return counts;
}

const number = (text: string) => Number(text.trim() || 0);

/** `max`, and version 1's largest number of pages, are none. */
function limit(text: string): number | undefined {
  const value = Number(text.trim());
  return text.trim() === '' || !(value < 2 ** 60) ? undefined : value;
}

/** A group or a process that is gone, or a controller that is off, counts nothing. */
function readOr(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (['ENOENT', 'ENODEV', 'ESRCH', 'EOPNOTSUPP', 'EINVAL'].includes(codeOf(error) ?? '')) return '';
    throw error;
  }
}
