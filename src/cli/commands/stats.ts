import { setTimeout as sleep } from 'node:timers/promises';
import { type EngineClient, ResponseError } from '../../client/client.ts';
import type { Command } from '../command.ts';
import { withEngine } from '../connect.ts';
import { formatOption, formatted } from '../format.ts';
import { humanBytes, printJson, table } from '../terminal.ts';

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
    all: { short: '-a', about: 'those that do not run too' },
    follow: { short: '-f', about: 'go on, a look every second' },
    'no-stream': { about: 'one look, which it is without --follow' },
    'no-trunc': { about: 'has no meaning here: nothing is cut' },
    format: formatOption,
    json: { about: 'what the engine says, as JSON' },
  },
  operands: { least: 0, most: Number.POSITIVE_INFINITY },
  examples: ['berth stats', 'berth stats -f web'],
  async run(parsed) {
    const format = parsed.value('format');
    await withEngine(async (client) => {
      for (;;) {
        const found = await look(client, parsed.operands, parsed.flag('all'));
        // On a terminal each look takes the place of the one before.
        if (parsed.flag('follow') && process.stdout.isTTY) process.stdout.write('\x1b[2J\x1b[H');
        if (parsed.flag('json')) printJson(found);
        else process.stdout.write(format === undefined ? statsTable(found) : formatted(format, found.map(statsView)));
        if (!parsed.flag('follow')) return;
        // A look takes a second of its own, but where nothing runs.
        if (found.length === 0) await sleep(1000);
      }
    });
    return 0;
  },
};

/** Beside each other: each takes a second. Of those that nobody named, one that ends meanwhile is left out. */
async function look(client: EngineClient, named: readonly string[], all: boolean): Promise<readonly Stats[]> {
  const ids =
    named.length > 0
      ? named
      : (await client.json<readonly { Id: string }[]>('GET', '/containers/json', { query: { all: all ? 1 : 0 } })).map(
          ({ Id }) => Id,
        );
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

/** What is told of one, in docker's fields. */
function statsView(one: Stats): Readonly<Record<string, string>> {
  const { usage = 0, limit = 0, stats: parts = {} } = one.memory_stats;
  // Less what the kernel would give back at once, as Docker counts it.
  const cache = parts['total_inactive_file'] ?? parts['inactive_file'] ?? 0;
  const memory = Math.max(0, usage - cache);
  const interfaces = Object.values(one.networks ?? {});
  const disk = (op: string) =>
    sum(
      (one.blkio_stats.io_service_bytes_recursive ?? [])
        .filter((entry) => entry.op.toLowerCase() === op)
        .map(({ value }) => value),
    );
  return {
    Name: one.name.slice(1),
    Container: one.id.slice(0, 12),
    ID: one.id.slice(0, 12),
    CPUPerc: `${busy(one).toFixed(1)}%`,
    Memory: humanBytes(memory),
    Limit: limit === 0 ? '-' : humanBytes(limit),
    MemUsage: `${humanBytes(memory)} / ${humanBytes(limit)}`,
    MemPerc: `${(limit === 0 ? 0 : (memory / limit) * 100).toFixed(2)}%`,
    NetIO: `${humanBytes(sum(interfaces.map(({ rx_bytes }) => rx_bytes)))} / ${humanBytes(sum(interfaces.map(({ tx_bytes }) => tx_bytes)))}`,
    BlockIO: `${humanBytes(disk('read'))} / ${humanBytes(disk('write'))}`,
    PIDs: String(one.pids_stats.current ?? 0),
  };
}

export function statsTable(found: readonly Stats[]): string {
  const columns = {
    NAME: 'Name',
    CPU: 'CPUPerc',
    MEMORY: 'Memory',
    LIMIT: 'Limit',
    'NET IN/OUT': 'NetIO',
    'DISK IN/OUT': 'BlockIO',
    PROCESSES: 'PIDs',
    ID: 'ID',
  };
  return table(
    Object.keys(columns),
    found.map(statsView).map((view) => Object.values(columns).map((field) => view[field]!)),
  );
}

/** Per cent of one processor: two of them kept busy are 200. */
function busy({ read, preread, cpu_stats, precpu_stats }: Stats): number {
  const milliseconds = Date.parse(read) - Date.parse(preread);
  const nanoseconds = cpu_stats.cpu_usage.total_usage - precpu_stats.cpu_usage.total_usage;
  return preread.startsWith('0001') || milliseconds <= 0 ? 0 : Math.max(0, nanoseconds / 1e4 / milliseconds);
}

const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);
