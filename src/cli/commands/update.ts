import { type Command, type Parsed, UsageError } from '../command.ts';
import { withEngine } from '../connect.ts';
import { paint, plain } from '../terminal.ts';
import { bytesOf, cpusOf } from './run.ts';

const help = 'berth update --help';

export const update: Command = {
  usage: 'update OPTIONS CONTAINER...',
  about:
    'Changes limits and the restart policy of containers: of those that run at once, of the others at their next start.',
  options: {
    memory: { short: '-m', value: 'SIZE', about: 'most memory: 64m, 1g' },
    'memory-swap': { value: 'SIZE', about: 'most memory and swap together; -1: no limit' },
    cpus: { value: 'NUMBER', about: 'how many processors: 0.5, 2' },
    'cpuset-cpus': { value: 'LIST', about: 'which processors: 0-2,4' },
    'pids-limit': { value: 'NUMBER', about: 'most processes; -1: no limit' },
    restart: { value: 'POLICY', about: 'no, always, unless-stopped, on-failure[:TIMES]' },
  },
  operands: { least: 1, most: Number.POSITIVE_INFINITY },
  examples: ['berth update -m 512m web', 'berth update --restart unless-stopped web db'],
  async run(parsed) {
    const body = updateBody(parsed);
    await withEngine(async (client) => {
      for (const container of parsed.operands) {
        const { Warnings } = await client.json<{ Warnings: readonly string[] | null }>(
          'POST',
          `/containers/${encodeURIComponent(container)}/update`,
          { json: body },
        );
        for (const warning of Warnings ?? [])
          process.stderr.write(`${paint('yellow', 'warning:', process.stderr)} ${plain(warning)}\n`);
        process.stdout.write(`${plain(container)}\n`);
      }
    });
    return 0;
  },
};

function updateBody(parsed: Parsed): Record<string, unknown> {
  const swap = parsed.value('memory-swap');
  const memory = parsed.value('memory');
  const pids = parsed.value('pids-limit');
  const restart = parsed.value('restart');
  const cpus = parsed.value('cpus');
  const cpuset = parsed.value('cpuset-cpus');
  const body = {
    ...(memory !== undefined && { Memory: bytesOf(memory) }),
    ...(swap !== undefined && { MemorySwap: swap === '-1' ? -1 : bytesOf(swap, '--memory-swap') }),
    ...(cpus !== undefined && { NanoCpus: cpusOf(cpus) }),
    ...(cpuset !== undefined && { CpusetCpus: cpuset }),
    ...(pids !== undefined && { PidsLimit: wholeNumber(pids) }),
    ...(restart !== undefined && { RestartPolicy: policyOf(restart) }),
  };
  if (Object.keys(body).length === 0)
    throw new UsageError('nothing to change was named', 'berth update --memory 512m CONTAINER');
  return body;
}

function wholeNumber(text: string): number {
  if (!/^(-1|\d{1,9})$/.test(text)) throw new UsageError(`--pids-limit ${text}: expected a number, or -1`, help);
  return Number(text);
}

/** `on-failure:3`. What is no policy the engine says. */
export function policyOf(text: string): { readonly Name: string; readonly MaximumRetryCount: number } {
  const [, name = text, times = '0'] = /^([^:]+)(?::(\d{1,9}))?$/.exec(text) ?? [];
  return { Name: name, MaximumRetryCount: Number(times) };
}
