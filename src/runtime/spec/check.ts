import { EngineError } from '../../base/errors.ts';
import type { HostConfig } from '../../protocol/container.ts';
import { boundingSet } from './capabilities.ts';
import { parseDeviceRule, validAccess } from './devices.ts';
import type { Machine } from './input.ts';
import { parseKernelList } from './machine.ts';
import { tmpfsOptions } from './mounts.ts';
import { rlimitsOf } from './rlimits.ts';
import { parseSeccompProfile } from './seccomp.ts';
import { parseSecurityOptions } from './security.ts';
import { checkSysctls } from './sysctls.ts';

/** Less than this and a container does not start; Docker's figure. */
const leastMemory = 6 * 1024 * 1024;
const defaultShmSize = 64 * 1024 * 1024;

/**
 * At create: what was asked for with Docker's defaults in place, less what this machine cannot do, which `warnings` tells
 * in Docker's words. Throws `invalid` on what cannot be. `update` is `docker update`, which may set swap alone.
 */
export function checkHostConfig(
  request: HostConfig,
  machine: Machine,
  { update = false }: { readonly update?: boolean } = {},
): { readonly hostConfig: HostConfig; readonly warnings: readonly string[] } {
  const host: Draft = { ...request };
  const warnings: string[] = [];
  fillDefaults(host, machine, update);
  checkMemory(host, machine, warnings, update);
  checkProcessor(host, machine, warnings);
  checkBlockIO(host, machine, warnings);
  checkModes(host);
  checkSecurity(host, machine);
  return { hostConfig: host, warnings };
}

type Draft = { -readonly [K in keyof HostConfig]: HostConfig[K] };

const invalid = (message: string) => new EngineError('invalid', message);

function fillDefaults(host: Draft, machine: Machine, update: boolean) {
  if (host.Memory > 0 && host.MemorySwap === 0 && !update) host.MemorySwap = host.Memory * 2;
  if (host.MemorySwappiness === -1) host.MemorySwappiness = null;
  if (host.ShmSize === 0) host.ShmSize = defaultShmSize;
  if (host.IpcMode === '') host.IpcMode = 'private';
  if (host.CgroupnsMode === '') host.CgroupnsMode = machine.cgroupVersion === 2 ? 'private' : 'host';
  host.OomKillDisable ??= false;
}

function checkMemory(host: Draft, machine: Machine, warnings: string[], update: boolean) {
  const known = machine.controllers.has('memory');
  const v1 = machine.cgroupVersion === 1;
  if (host.Memory !== 0 && host.Memory < leastMemory) throw invalid('Minimum memory limit allowed is 6MB');
  if (host.Memory > 0 && !known) {
    warnings.push(unsupported('memory limit capabilities', 'Limitation discarded.'));
    host.Memory = 0;
    host.MemorySwap = -1;
  }
  if (host.Memory > 0 && host.MemorySwap !== -1 && !machine.swapLimit) {
    warnings.push(unsupported('swap limit capabilities', 'Memory limited without swap.'));
    host.MemorySwap = -1;
  }
  if (host.Memory > 0 && host.MemorySwap > 0 && host.MemorySwap < host.Memory)
    throw invalid('Minimum memoryswap limit should be larger than memory limit, see usage');
  if (host.Memory === 0 && host.MemorySwap > 0 && !update)
    throw invalid('You should always set the Memory limit when using Memoryswap limit, see usage');
  if (host.MemorySwappiness !== null && !(known && v1)) {
    warnings.push(unsupported('memory swappiness capabilities', 'Memory swappiness discarded.'));
    host.MemorySwappiness = null;
  }
  if (host.MemorySwappiness !== null && (host.MemorySwappiness < 0 || host.MemorySwappiness > 100))
    throw invalid(`Invalid value: ${host.MemorySwappiness}, valid memory swappiness range is 0-100`);
  if (host.MemoryReservation > 0 && !known) {
    warnings.push(unsupported('memory soft limit capabilities', 'Limitation discarded.'));
    host.MemoryReservation = 0;
  }
  if (host.MemoryReservation > 0 && host.MemoryReservation < leastMemory)
    throw invalid('Minimum memory reservation allowed is 6MB');
  if (host.Memory > 0 && host.MemoryReservation > 0 && host.Memory < host.MemoryReservation)
    throw invalid('Minimum memory limit can not be less than memory reservation limit, see usage');
  if (!(known && v1)) {
    if (host.OomKillDisable) warnings.push('Your kernel does not support OomKillDisable. OomKillDisable discarded.');
    host.OomKillDisable = null;
  }
  if (host.OomKillDisable && host.Memory === 0)
    warnings.push(
      'OOM killer is disabled for the container, but no memory limit is set, this can result in the system running out of resources.',
    );
}

function checkProcessor(host: Draft, machine: Machine, warnings: string[]) {
  const known = machine.controllers.has('cpu');
  if (host.PidsLimit !== null && !machine.controllers.has('pids')) {
    if (host.PidsLimit > 0) warnings.push(unsupported('PIDs limit capabilities', 'PIDs limit discarded.'));
    host.PidsLimit = null;
  }
  if (host.NanoCpus > 0 && host.CpuPeriod > 0)
    throw invalid('Conflicting options: Nano CPUs and CPU Period cannot both be set');
  if (host.NanoCpus > 0 && host.CpuQuota > 0)
    throw invalid('Conflicting options: Nano CPUs and CPU Quota cannot both be set');
  if (host.NanoCpus > 0 && !known)
    throw invalid(
      'NanoCPUs can not be set, as your kernel does not support CPU CFS scheduler or the cgroup is not mounted',
    );
  if (host.NanoCpus < 0 || host.NanoCpus > machine.cpus * 1e9)
    throw invalid(`range of CPUs is from 0.01 to ${machine.cpus}.00, as there are only ${machine.cpus} CPUs available`);
  if (host.CpuShares < 0) throw invalid(`invalid CPU shares (${host.CpuShares}): value must be a positive integer`);
  if (host.CpuShares > 0 && !known) {
    warnings.push('Your kernel does not support CPU shares or the cgroup is not mounted. Shares discarded.');
    host.CpuShares = 0;
  }
  if ((host.CpuPeriod !== 0 || host.CpuQuota !== 0) && !known) {
    warnings.push('Your kernel does not support CPU CFS scheduler. CPU period/quota discarded.');
    host.CpuPeriod = 0;
    host.CpuQuota = 0;
  }
  if (host.CpuPeriod !== 0 && (host.CpuPeriod < 1000 || host.CpuPeriod > 1_000_000))
    throw invalid('CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)');
  if (host.CpuQuota > 0 && host.CpuQuota < 1000) throw invalid('CPU cfs quota can not be less than 1ms (i.e. 1000)');
  if (host.CpuRealtimePeriod !== 0 || host.CpuRealtimeRuntime !== 0) {
    if (machine.cgroupVersion === 2) throw invalid('Your kernel does not support CPU real-time scheduler');
    if (host.CpuRealtimeRuntime > host.CpuRealtimePeriod && host.CpuRealtimePeriod !== 0)
      throw invalid('cpu real-time runtime cannot be higher than cpu real-time period');
  }
  if (host.CpuPercent > 0) {
    warnings.push('linux does not support CPU percent. Percent discarded.');
    host.CpuPercent = 0;
  }
  if (host.CpuCount > 0) {
    warnings.push('linux does not support CPU count. Count discarded.');
    host.CpuCount = 0;
  }
  checkSets(host, machine, warnings);
}

function checkSets(host: Draft, machine: Machine, warnings: string[]) {
  if ((host.CpusetCpus !== '' || host.CpusetMems !== '') && !machine.controllers.has('cpuset')) {
    warnings.push('Your kernel does not support cpuset or the cgroup is not mounted. Cpuset discarded.');
    host.CpusetCpus = '';
    host.CpusetMems = '';
  }
  const fits = (field: string, noun: string, list: string, available: string) => {
    if (list === '') return;
    const wanted = parseKernelList(list);
    if (!wanted) throw invalid(`Invalid value ${list} for cpuset ${field}: invalid format: ${list}`);
    const there = parseKernelList(available) ?? new Set();
    if (![...wanted].every((number) => there.has(number)))
      throw invalid(`Requested ${noun} are not available - requested ${list}, available: ${available}`);
  };
  fits('cpus', 'CPUs', host.CpusetCpus, machine.cpuList);
  fits('mems', 'memory nodes', host.CpusetMems, machine.memoryList);
}

function checkBlockIO(host: Draft, machine: Machine, warnings: string[]) {
  const known = machine.controllers.has('blkio') || machine.controllers.has('io');
  for (const [value, what] of [
    [host.IOMaximumBandwidth, 'bandwidth'],
    [host.IOMaximumIOps, 'IOPs'],
  ])
    if (value !== 0) throw invalid(`invalid option: QoS maximum ${what} configuration is not supported on linux`);
  if (host.BlkioWeight !== 0 && (host.BlkioWeight < 10 || host.BlkioWeight > 1000))
    throw invalid('Range of blkio weight is from 10 to 1000');
  for (const { Weight } of host.BlkioWeightDevice ?? [])
    if (Weight < 10 || Weight > 1000) throw invalid('Range of blkio weight is from 10 to 1000');
  if (!machine.blockWeight) {
    if (host.BlkioWeight > 0) {
      warnings.push('Your kernel does not support Block I/O weight or the cgroup is not mounted. Weight discarded.');
      host.BlkioWeight = 0;
    }
    if ((host.BlkioWeightDevice ?? []).length > 0) {
      warnings.push(
        'Your kernel does not support Block I/O weight_device or the cgroup is not mounted. Weight-device discarded.',
      );
      host.BlkioWeightDevice = [];
    }
  }
  if (known) return;
  const limits = [
    ['BlkioDeviceReadBps', 'BPS Block I/O read limit', 'Block I/O BPS read limit'],
    ['BlkioDeviceWriteBps', 'BPS Block I/O write limit', 'Block I/O BPS write limit'],
    ['BlkioDeviceReadIOps', 'IOPS Block read limit', 'Block I/O IOPS read limit'],
    ['BlkioDeviceWriteIOps', 'IOPS Block write limit', 'Block I/O IOPS write limit'],
  ] as const;
  for (const [field, what, discarded] of limits) {
    if ((host[field] ?? []).length === 0) continue;
    warnings.push(`Your kernel does not support ${what} or the cgroup is not mounted. ${discarded} discarded.`);
    host[field] = [];
  }
}

function checkModes(host: Draft) {
  const joins = /^container:.+$/s;
  const valid = (mode: string, ...names: string[]) => names.includes(mode) || joins.test(mode);
  if (!valid(host.IpcMode, 'private', 'shareable', 'none', 'host')) throw invalid(`invalid IPC mode: ${host.IpcMode}`);
  if (!valid(host.PidMode, '', 'host')) throw invalid(`invalid PID mode: ${host.PidMode}`);
  if (!['', 'host'].includes(host.UTSMode)) throw invalid(`invalid UTS mode: ${host.UTSMode}`);
  if (!['private', 'host'].includes(host.CgroupnsMode))
    throw invalid(`invalid cgroup namespace mode: ${host.CgroupnsMode}`);
  if (host.ShmSize < 0) throw invalid('SHM size can not be less than 0');
  if (host.OomScoreAdj < -1000 || host.OomScoreAdj > 1000)
    throw invalid(`Invalid value ${host.OomScoreAdj}, range for oom score adj is [-1000, 1000]`);
}

/** Everything that `buildSpec` would refuse at start is refused here, when nothing has been made yet. */
function checkSecurity(host: Draft, machine: Machine) {
  boundingSet(host, machine);
  const { seccomp } = parseSecurityOptions(host.SecurityOpt ?? []);
  if (seccomp !== undefined && !['', 'unconfined', 'builtin'].includes(seccomp)) parseSeccompProfile(seccomp);
  rlimitsOf(host.Ulimits, machine);
  for (const rule of host.DeviceCgroupRules ?? []) parseDeviceRule(rule);
  for (const { CgroupPermissions } of host.Devices ?? [])
    if (CgroupPermissions && !validAccess(CgroupPermissions))
      throw invalid(`invalid device mode: ${CgroupPermissions}`);
  for (const [target, options] of Object.entries(host.Tmpfs ?? {})) {
    if (!target.startsWith('/')) throw invalid(`invalid mount path: '${target}' mount path must be absolute`);
    if (/^\/+$/.test(target)) throw invalid("invalid specification: destination can't be '/'");
    tmpfsOptions(options);
  }
  checkSysctls(host.Sysctls ?? {}, {
    network: host.NetworkMode !== 'host',
    ipc: host.IpcMode !== 'host',
    uts: host.UTSMode !== 'host',
  });
}

const unsupported = (what: string, outcome: string) =>
  `Your kernel does not support ${what} or the cgroup is not mounted. ${outcome}`;
