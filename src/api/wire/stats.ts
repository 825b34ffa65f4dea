import type { Sample } from '../../containers/stats.ts';
import { zeroTime } from '../../protocol/time.ts';
import type { IoCount, TaskUsage } from '../../runtime/usage.ts';

export interface StatsOptions {
  /** Undefined where Docker leaves it out: of a single look. */
  readonly container: { readonly id: string; readonly name: string } | undefined;
  readonly sample: Sample;
  /** The look before; undefined at the first. */
  readonly before: Sample | undefined;
  /** The machine's, which is the limit where there is none. */
  readonly memory: number;
}

/** One object of `GET /containers/{id}/stats` (engine-api.md, section 8). */
export function statsToWire({ container, sample, before, memory }: StatsOptions): Record<string, unknown> {
  const { usage } = sample;
  const networks = Object.entries(usage?.networks ?? {});
  return {
    ...(container && { name: `/${container.name}`, id: container.id }),
    read: usage ? sample.at : zeroTime,
    preread: before?.usage ? before.at : zeroTime,
    pids_stats: usage
      ? { current: usage.pids.current, ...(usage.pids.limit !== undefined && { limit: usage.pids.limit }) }
      : {},
    blkio_stats: blkio(usage),
    num_procs: 0,
    storage_stats: {},
    cpu_stats: cpu(sample),
    precpu_stats: cpu(before),
    memory_stats: usage ? memoryStats(usage, memory) : {},
    ...(networks.length > 0 && {
      networks: Object.fromEntries(
        networks.map(([name, count]) => [
          name,
          {
            rx_bytes: count.rxBytes,
            rx_packets: count.rxPackets,
            rx_errors: count.rxErrors,
            rx_dropped: count.rxDropped,
            tx_bytes: count.txBytes,
            tx_packets: count.txPackets,
            tx_errors: count.txErrors,
            tx_dropped: count.txDropped,
          },
        ]),
      ),
    }),
  };
}

function cpu(sample: Sample | undefined) {
  const used = sample?.usage?.cpu;
  return {
    cpu_usage: {
      total_usage: used?.total ?? 0,
      ...(used?.perCpu && { percpu_usage: used.perCpu }),
      usage_in_kernelmode: used?.kernel ?? 0,
      usage_in_usermode: used?.user ?? 0,
    },
    ...(sample && used && { system_cpu_usage: sample.system, online_cpus: sample.processors }),
    throttling_data: {
      periods: used?.periods ?? 0,
      throttled_periods: used?.throttledPeriods ?? 0,
      throttled_time: used?.throttled ?? 0,
    },
  };
}

/** Version 1 knows more kinds, which the kernels of today keep empty. */
function blkio(usage: TaskUsage | undefined) {
  const other = usage?.version === 1 ? [] : null;
  return {
    io_service_bytes_recursive: usage ? entries(usage.io.bytes) : null,
    io_serviced_recursive: usage?.version === 1 ? entries(usage.io.operations) : null,
    io_queue_recursive: other,
    io_service_time_recursive: other,
    io_wait_time_recursive: other,
    io_merged_recursive: other,
    io_time_recursive: other,
    sectors_recursive: other,
  };
}

const entries = (counts: readonly IoCount[]) =>
  counts.map(({ major, minor, op, value }) => ({ major, minor, op, value }));

const both = (names: string) => names.split(' ').flatMap((name) => [name, `total_${name}`]);

const memoryNames = {
  1: [
    ...both(
      'active_anon active_file cache dirty inactive_anon inactive_file mapped_file pgfault pgmajfault pgpgin pgpgout rss rss_huge unevictable writeback',
    ),
    'hierarchical_memory_limit',
    'hierarchical_memsw_limit',
  ].sort(),
  2: (
    'active_anon active_file anon anon_thp file file_dirty file_mapped file_writeback inactive_anon inactive_file ' +
    'kernel_stack pgactivate pgdeactivate pgfault pglazyfree pglazyfreed pgmajfault pgrefill pgscan pgsteal shmem slab ' +
    'slab_reclaimable slab_unreclaimable sock thp_collapse_alloc thp_fault_alloc unevictable workingset_activate ' +
    'workingset_nodereclaim workingset_refault'
  ).split(' '),
} as const;

function memoryStats({ version, memory }: TaskUsage, machine: number) {
  return {
    usage: memory.usage,
    ...(memory.most !== undefined && { max_usage: memory.most }),
    // Clients tell by the names in here which version it is.
    stats: Object.fromEntries(memoryNames[version].map((name) => [name, memory.stats[name] ?? 0])),
    ...(memory.failures > 0 && { failcnt: memory.failures }),
    limit: memory.limit === undefined || memory.limit > machine ? machine : memory.limit,
  };
}
