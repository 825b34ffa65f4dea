import { type Command, type Parsed, UsageError } from '../command.ts';
import { withEngine } from '../connect.ts';
import { createOptions } from '../create-options.ts';
import { paint, plain, printJson } from '../terminal.ts';
import { bytesOf, cpusOf, policyOf, wholeNumber } from '../values.ts';

const help = 'berth update --help';

export const update: Command = {
  usage: 'update OPTIONS CONTAINER...',
  about:
    'Changes limits and the restart policy of containers: of those that run at once, of the others at their next start.',
  options: {
    memory: createOptions.memory,
    'memory-swap': createOptions['memory-swap'],
    'memory-reservation': createOptions['memory-reservation'],
    'kernel-memory': createOptions['kernel-memory'],
    cpus: createOptions.cpus,
    'cpu-shares': createOptions['cpu-shares'],
    'cpu-period': createOptions['cpu-period'],
    'cpu-quota': createOptions['cpu-quota'],
    'cpu-rt-period': createOptions['cpu-rt-period'],
    'cpu-rt-runtime': createOptions['cpu-rt-runtime'],
    'cpuset-cpus': createOptions['cpuset-cpus'],
    'cpuset-mems': createOptions['cpuset-mems'],
    'blkio-weight': createOptions['blkio-weight'],
    'pids-limit': { value: 'NUMBER', about: 'most processes; -1: no limit' },
    restart: createOptions.restart,
    json: { about: 'what became of each, as JSON' },
  },
  operands: { least: 1, most: Number.POSITIVE_INFINITY },
  examples: ['berth update -m 512m web', 'berth update --restart unless-stopped web db'],
  async run(parsed) {
    const body = updateBody(parsed);
    const done: { container: string; warnings: readonly string[] }[] = [];
    await withEngine(async (client) => {
      for (const container of parsed.operands) {
        const { Warnings } = await client.json<{ Warnings: readonly string[] | null }>(
          'POST',
          `/containers/${encodeURIComponent(container)}/update`,
          { json: body },
        );
        for (const warning of Warnings ?? [])
          process.stderr.write(`${paint('yellow', 'warning:', process.stderr)} ${plain(warning)}\n`);
        if (parsed.flag('json')) done.push({ container, warnings: Warnings ?? [] });
        else process.stdout.write(`${plain(container)}\n`);
      }
    });
    if (parsed.flag('json')) printJson(done);
    return 0;
  },
};

function updateBody(parsed: Parsed): Record<string, unknown> {
  const read = <T>(name: string, as: (text: string, option: string, help: string) => T) => {
    const text = parsed.value(name);
    return text === undefined ? undefined : as(text, `--${name}`, help);
  };
  const swap = (text: string, option: string) => (text === '-1' ? -1 : bytesOf(text, option, help));
  const fields = {
    Memory: read('memory', bytesOf),
    MemorySwap: read('memory-swap', swap),
    MemoryReservation: read('memory-reservation', bytesOf),
    NanoCpus: read('cpus', cpusOf),
    CpuShares: read('cpu-shares', wholeNumber),
    CpuPeriod: read('cpu-period', wholeNumber),
    CpuQuota: read('cpu-quota', wholeNumber),
    CpuRealtimePeriod: read('cpu-rt-period', wholeNumber),
    CpuRealtimeRuntime: read('cpu-rt-runtime', wholeNumber),
    CpusetCpus: parsed.value('cpuset-cpus'),
    CpusetMems: parsed.value('cpuset-mems'),
    BlkioWeight: read('blkio-weight', wholeNumber),
    PidsLimit: read('pids-limit', wholeNumber),
    RestartPolicy: read('restart', policyOf),
  };
  const body = Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
  if (Object.keys(body).length === 0)
    throw new UsageError('nothing to change was named', 'berth update --memory 512m CONTAINER');
  return body;
}
