import { setTimeout as sleep } from 'node:timers/promises';
import { type EngineClient, ResponseError } from '../../client/client.ts';
import type { Command } from '../command.ts';
import { withEngine } from '../connect.ts';
import { humanBytes, table } from '../terminal.ts';

interface Cpu {
  readonly cpu_usage: { readonly total_usage: number };
}

interface Stats {
  readonly name: string;
  readonly id: string;
  readonly read: string;
  readonly preread: string;
  readonly pids_stats: { readonly current?: number };
  readonly cpu_stats: Cpu;
  readonly precpu_stats: Cpu;
  readonly memory_stats: {
    readonly usage?: number;
    readonly limit?: number;
    readonly stats?: Readonly<Record<string, number>>;
  };
  readonly networks?: Readonly<Record<string, { readonly rx_bytes: number; readonly tx_bytes: number }>>;
  readonly blkio_stats: {
    readonly io_service_bytes_recursive: readonly { readonly op: string; readonly value: number }[] | null;
  };
}

export const stats: Command = {
  usage: 'stats [OPTIONS] [CONTAINER...]',
  about: 'Shows what containers use, those that run when none is named: processor, memory, network, disk, processes.',
  options: {
    follow: { short: '-f', about: 'go on, a look every second' },
    json: { about: 'what the engine says, as JSON' },
  },
  operands: { least: 0, most: Number.POSITIVE_INFINITY },
  examples: ['berth stats', 'berth stats -f web'],
  async run(parsed) {
    await withEngine(async (client) => {
      for (;;) {
        const found = await look(client, parsed.operands);
        // On a terminal each look takes the place of the one before.
        if (parsed.flag('follow') && process.stdout.isTTY) process.stdout.write('\x1b[2J\x1b[H');
        process.stdout.write(parsed.flag('json') ? `${JSON.stringify(found, null, 2)}\n` : statsTable(found));
        if (!parsed.flag('follow')) return;
        // A look takes a second of its own, but where nothing runs.
        if (found.length === 0) await sleep(1000);
      }
    });
    return 0;
  },
};

/** Beside each other: each takes a second. Of those that nobody named, one that ends meanwhile is left out. */
async function look(client: EngineClient, named: readonly string[]): Promise<readonly Stats[]> {
  const ids =
    named.length > 0
      ? named
      : (await client.json<readonly { Id: string }[]>('GET', '/containers/json')).map(({ Id }) => Id);
  const found = await Promise.all(
    ids.map((id) =>
      client
        .json<Stats>('GET', `/containers/${encodeURIComponent(id)}/stats`, { query: { stream: 0 } })
        .catch((error: unknown) => {
          if (named.length === 0 && error instanceof ResponseError && error.status === 404) return undefined;
          throw error;
        }),
    ),
  );
  return found.filter((one) => one !== undefined);
}

export function statsTable(found: readonly Stats[]): string {
  return table(
    ['NAME', 'CPU', 'MEMORY', 'LIMIT', 'NET IN/OUT', 'DISK IN/OUT', 'PROCESSES', 'ID'],
    found.map((one) => {
      const { usage = 0, limit = 0, stats: parts = {} } = one.memory_stats;
      // Less what the kernel would give back at once, as Docker counts it.
      const cache = parts['total_inactive_file'] ?? parts['inactive_file'] ?? 0;
      const interfaces = Object.values(one.networks ?? {});
      const disk = (op: string) =>
        sum(
          (one.blkio_stats.io_service_bytes_recursive ?? [])
            .filter((entry) => entry.op.toLowerCase() === op)
            .map(({ value }) => value),
        );
      return [
        one.name.slice(1),
        `${busy(one).toFixed(1)}%`,
        humanBytes(Math.max(0, usage - cache)),
        limit === 0 ? '-' : humanBytes(limit),
        `${humanBytes(sum(interfaces.map(({ rx_bytes }) => rx_bytes)))} / ${humanBytes(sum(interfaces.map(({ tx_bytes }) => tx_bytes)))}`,
        `${humanBytes(disk('read'))} / ${humanBytes(disk('write'))}`,
        String(one.pids_stats.current ?? 0),
        one.id.slice(0, 12),
      ];
    }),
  );
}

/** Per cent of one processor: two of them kept busy are 200. */
function busy({ read, preread, cpu_stats, precpu_stats }: Stats): number {
  const milliseconds = Date.parse(read) - Date.parse(preread);
  const nanoseconds = cpu_stats.cpu_usage.total_usage - precpu_stats.cpu_usage.total_usage;
  return preread.startsWith('0001') || milliseconds <= 0 ? 0 : Math.max(0, nanoseconds / 1e4 / milliseconds);
}

const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);
