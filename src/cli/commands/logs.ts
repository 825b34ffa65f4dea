import type { Command } from '../command.ts';
import { withEngine } from '../connect.ts';
import { frameWriter } from '../streams.ts';

export const logs: Command = {
  usage: 'logs [OPTIONS] CONTAINER',
  about: 'Shows what a container wrote, on the streams where it wrote it.',
  options: {
    follow: { short: '-f', about: 'go on with what comes' },
    tail: { short: '-n', value: 'LINES', about: 'only the last lines' },
    since: { value: 'TIME', about: 'from a time on: 2026-11-23T10:00:00Z or seconds since 1970' },
    until: { value: 'TIME', about: 'up to a time' },
    timestamps: { short: '-t', about: 'with the time of each line' },
  },
  operands: { least: 1, most: 1 },
  async run(parsed) {
    const name = encodeURIComponent(parsed.operands[0]!);
    await withEngine(async (client) => {
      const { Config } = await client.json<{ Config: { Tty: boolean } }>('GET', `/containers/${name}/json`);
      const { body } = await client.request('GET', `/containers/${name}/logs`, {
        query: {
          stdout: 1,
          stderr: 1,
          follow: parsed.flag('follow') ? 1 : 0,
          timestamps: parsed.flag('timestamps') ? 1 : 0,
          tail: parsed.value('tail') ?? 'all',
          since: parsed.value('since'),
          until: parsed.value('until'),
        },
      });
      const write = Config.Tty ? (chunk: Buffer) => process.stdout.write(chunk) : frameWriter();
      for await (const chunk of body) write(chunk);
    });
    return 0;
  },
};
