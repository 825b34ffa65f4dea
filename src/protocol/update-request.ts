import type { HostConfig } from './container.ts';
import { resourceFields, restartPolicyField } from './create-fields.ts';
import { object } from './decode.ts';
import type { ApiVersion } from './version.ts';

/** The limits that `docker update` can change. Zero, and the empty text, leave as it is. */
export type ResourceUpdate = Pick<
  HostConfig,
  | 'BlkioWeight'
  | 'CpuShares'
  | 'NanoCpus'
  | 'CpuPeriod'
  | 'CpuQuota'
  | 'CpuRealtimePeriod'
  | 'CpuRealtimeRuntime'
  | 'CpusetCpus'
  | 'CpusetMems'
  | 'Memory'
  | 'MemorySwap'
  | 'MemoryReservation'
> & {
  /** Null leaves as it is, 0 is no limit. */
  readonly PidsLimit: number | null;
};

export interface UpdateRequest {
  readonly resources: ResourceUpdate;
  /** Checked with the others and then forgotten, as Docker does it. */
  readonly ignored: Pick<HostConfig, 'MemorySwappiness' | 'OomKillDisable'>;
  /** Undefined leaves as it is. */
  readonly restartPolicy: HostConfig['RestartPolicy'] | undefined;
}

const fields = object('UpdateConfig', { ...resourceFields, RestartPolicy: restartPolicyField });

/** The body of `POST /containers/{id}/update`; nothing at all changes nothing. */
export function readUpdateRequest(body: unknown, version: ApiVersion): UpdateRequest {
  const given = fields(body) ?? {};
  const { PidsLimit: pids } = given;
  const { Name, MaximumRetryCount = 0 } = given.RestartPolicy ?? {};
  return {
    resources: {
      BlkioWeight: given.BlkioWeight ?? 0,
      CpuShares: given.CpuShares ?? 0,
      NanoCpus: given.NanoCpus ?? 0,
      CpuPeriod: given.CpuPeriod ?? 0,
      CpuQuota: given.CpuQuota ?? 0,
      CpuRealtimePeriod: given.CpuRealtimePeriod ?? 0,
      CpuRealtimeRuntime: given.CpuRealtimeRuntime ?? 0,
      CpusetCpus: given.CpusetCpus ?? '',
      CpusetMems: given.CpusetMems ?? '',
      Memory: given.Memory ?? 0,
      MemorySwap: given.MemorySwap ?? 0,
      MemoryReservation: given.MemoryReservation ?? 0,
      PidsLimit: pids === undefined || version < 1040 ? null : Math.max(0, pids),
    },
    ignored: {
      MemorySwappiness: given.MemorySwappiness ?? null,
      OomKillDisable: given.OomKillDisable ?? null,
    },
    restartPolicy: Name ? { Name, MaximumRetryCount } : undefined,
  };
}
