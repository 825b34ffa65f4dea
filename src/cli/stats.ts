import { type EngineClient, ResponseError } from '../client/client.ts';
import { moment } from './words.ts';

/** What commands read of `GET /containers/{id}/stats`. */
interface Stats {
  readonly read: string;
  readonly preread?: string;
  readonly cpu_stats?: CpuStats;
  readonly precpu_stats?: CpuStats;
  readonly memory_stats?: {
    readonly usage?: number;
    readonly stats?: Readonly<Record<string, number>>;
  };
}

interface CpuStats {
  readonly cpu_usage?: { readonly total_usage?: number };
}

export interface Usage {
  /** Milliseconds since 1970. */
  readonly at: number;
  /** Nanoseconds of processor time so far. */
  readonly cpu: number;
  /** The look before, where the engine keeps one. */
  readonly before: { readonly at: number; readonly cpu: number } | undefined;
  /** Bytes, without what the kernel can take back at once, as `docker stats` counts. */
  readonly memory: number;
}

/** What a running container uses; `unbuilt` where the engine has no statistics, undefined when it just ended. */
export async function usageOf(client: EngineClient, id: string): Promise<Usage | 'unbuilt' | undefined> {
  try {
    const stats = await client.json<Stats>('GET', `/containers/${id}/stats`, {
      query: { stream: 'false', 'one-shot': 'true' },
    });
    const { usage = 0, stats: parts = {} } = stats.memory_stats ?? {};
    const cache = parts['total_inactive_file'] ?? parts['inactive_file'] ?? 0;
    const before = moment(stats.preread ?? '');
    const cpuBefore = stats.precpu_stats?.cpu_usage?.total_usage ?? 0;
    return {
      at: Date.parse(stats.read),
      cpu: stats.cpu_stats?.cpu_usage?.total_usage ?? 0,
      before: before !== undefined && cpuBefore > 0 ? { at: before, cpu: cpuBefore } : undefined,
      memory: cache < usage ? usage - cache : usage,
    };
  } catch (error) {
    if (error instanceof ResponseError) return error.status === 501 ? 'unbuilt' : undefined;
    throw error;
  }
}

/** Per cent of one processor between two looks; undefined when they are too near to say. */
export function cpuShare(before: Pick<Usage, 'at' | 'cpu'>, after: Usage): number | undefined {
  const elapsed = after.at - before.at;
  return elapsed > 10 ? Math.max(0, (after.cpu - before.cpu) / 1e6 / elapsed) * 100 : undefined;
}
