import type { Resources } from '../../oci/runtime-spec.ts';
import type { HostConfig } from '../../protocol/container.ts';
import type { HostDevices } from './input.ts';

/** The limits of a container's cgroup, of what `checkHostConfig` let pass. Without the device rules. */
export function resourcesOf(host: HostConfig, block: HostDevices['block']): Resources {
  const memory = memoryOf(host);
  const cpu = cpuOf(host);
  const blockIO = blockIOOf(host, block);
  return {
    ...(Object.keys(memory).length > 0 && { memory }),
    ...(Object.keys(cpu).length > 0 && { cpu }),
    // 0 and below is no limit, which it is unless it is written; crun 1.8 fails over the runtimes' word for it, -1.
    ...(host.PidsLimit !== null && host.PidsLimit > 0 && { pids: { limit: host.PidsLimit } }),
    ...(Object.keys(blockIO).length > 0 && { blockIO }),
  };
}

function memoryOf(host: HostConfig) {
  return {
    ...(host.Memory > 0 && { limit: host.Memory }),
    ...(host.MemoryReservation > 0 && { reservation: host.MemoryReservation }),
    // Memory and swap together; -1 is unlimited, which it is unless it is written.
    ...(host.MemorySwap > 0 && { swap: host.MemorySwap }),
    ...(host.MemorySwappiness !== null && host.MemorySwappiness >= 0 && { swappiness: host.MemorySwappiness }),
    ...(host.OomKillDisable && { disableOOMKiller: true }),
  };
}

function cpuOf(host: HostConfig) {
  const period = 100_000;
  return {
    ...(host.CpuShares > 0 && { shares: host.CpuShares }),
    ...(host.CpusetCpus !== '' && { cpus: host.CpusetCpus }),
    ...(host.CpusetMems !== '' && { mems: host.CpusetMems }),
    ...(host.NanoCpus > 0 && { period, quota: Math.floor((host.NanoCpus * period) / 1e9) }),
    ...(host.CpuPeriod !== 0 && { period: host.CpuPeriod }),
    ...(host.CpuQuota !== 0 && { quota: host.CpuQuota }),
    ...(host.CpuRealtimePeriod !== 0 && { realtimePeriod: host.CpuRealtimePeriod }),
    ...(host.CpuRealtimeRuntime !== 0 && { realtimeRuntime: host.CpuRealtimeRuntime }),
  };
}

function blockIOOf(host: HostConfig, block: HostDevices['block']) {
  const throttles = (devices: HostConfig['BlkioDeviceReadBps'] | null) =>
    (devices ?? []).map(({ Path, Rate }) => ({ ...block[Path], rate: Rate }));
  const weights = (host.BlkioWeightDevice ?? []).map(({ Path, Weight }) => ({ ...block[Path], weight: Weight }));
  const lists = {
    weightDevice: weights,
    throttleReadBpsDevice: throttles(host.BlkioDeviceReadBps),
    throttleWriteBpsDevice: throttles(host.BlkioDeviceWriteBps),
    throttleReadIOPSDevice: throttles(host.BlkioDeviceReadIOps),
    throttleWriteIOPSDevice: throttles(host.BlkioDeviceWriteIOps),
  };
  return {
    ...(host.BlkioWeight > 0 && { weight: host.BlkioWeight }),
    ...Object.fromEntries(Object.entries(lists).filter(([, list]) => list.length > 0)),
  };
}
