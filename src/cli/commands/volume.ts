import { type ErrorCode, errorCodeOf } from '../../base/error-codes.ts';
import { messageOf } from '../../base/errors.ts';
import type { Command } from '../command.ts';
import { withEngine } from '../connect.ts';
import { formatOption, formatted } from '../format.ts';
import { volumeView } from '../list-views.ts';
import { withNearName } from '../missing.ts';
import { filtersOf, pairsOf, splitOnce } from '../pairs.ts';
import { plain, printFailure, printJson, table } from '../terminal.ts';

interface Listed {
  readonly Name: string;
  readonly Driver: string;
  readonly CreatedAt: string;
  readonly Options: Readonly<Record<string, string>> | null;
}

export const ls: Command = {
  usage: 'volume ls [OPTIONS]',
  about: 'Lists volumes.',
  options: {
    filter: {
      ...{ short: '-f', value: 'NAME=VALUE', many: true },
      about: 'only those that match: dangling, name, label, driver',
    },
    quiet: { short: '-q', about: 'only the names' },
    format: formatOption,
    json: { about: 'what the engine says, as JSON' },
  },
  operands: { least: 0, most: 0 },
  async run(parsed) {
    const filters = JSON.stringify(filtersOf(parsed.values('filter'), 'berth volume ls --help'));
    const format = parsed.value('format');
    const { Volumes } = await withEngine((client) =>
      client.json<{ Volumes: readonly Listed[] }>('GET', '/volumes', { query: { filters } }),
    );
    if (parsed.flag('json')) printJson(Volumes);
    else if (parsed.flag('quiet')) process.stdout.write(Volumes.map(({ Name }) => `${plain(Name)}\n`).join(''));
    else if (format !== undefined) process.stdout.write(formatted(format, Volumes.map(volumeView)));
    else
      process.stdout.write(
        table(
          ['VOLUME', 'MADE', 'OF'],
          Volumes.map(({ Name, CreatedAt, Options }) => [Name, CreatedAt.slice(0, 10), sourceOf(Options)]),
        ),
      );
    return 0;
  },
};

/** `tmpfs`, `/srv/data`, or the engine's own folder. */
function sourceOf(options: Listed['Options']): string {
  const { type = '', device = '' } = options ?? {};
  if (device === '') return 'a folder of the engine';
  return type === 'none' || type === device ? device : `${type} ${device}`;
}

export const create: Command = {
  usage: 'volume create [OPTIONS] [NAME]',
  about: 'Makes a volume; without a name one is made up.',
  options: {
    driver: { short: '-d', value: 'NAME', about: 'who keeps it (local)' },
    opt: { short: '-o', value: 'NAME=VALUE', many: true, about: 'type, device and o, as mount(8) has them' },
    label: { short: '-l', value: 'NAME=VALUE', many: true, about: 'a label' },
    json: { about: 'what the engine says, as JSON' },
  },
  operands: { least: 0, most: 1 },
  examples: [
    'berth volume create data',
    'berth volume create -o type=tmpfs -o device=tmpfs -o o=size=64m scratch',
    'berth volume create -o type=nfs -o o=addr=10.0.0.5,rw -o device=:/export shared',
  ],
  async run(parsed) {
    const json = {
      Name: parsed.operands[0] ?? '',
      Driver: parsed.value('driver') ?? 'local',
      DriverOpts: Object.fromEntries(pairsOf(parsed.values('opt'), '--opt', 'berth volume create --help')),
      Labels: Object.fromEntries(parsed.values('label').map(splitOnce)),
    };
    const made = await withEngine((client) => client.json<Listed>('POST', '/volumes/create', { json }));
    if (parsed.flag('json')) printJson(made);
    else process.stdout.write(`${plain(made.Name)}\n`);
    return 0;
  },
};

/** Goes on after one that failed. */
export const rm: Command = {
  usage: 'volume rm [OPTIONS] VOLUME...',
  about: 'Removes volumes with what is in them.',
  options: {
    force: { short: '-f', about: 'one that is not there is no error' },
    json: { about: 'what became of each, as JSON' },
  },
  operands: { least: 1, most: Number.POSITIVE_INFINITY },
  async run(parsed) {
    const force = parsed.flag('force') ? 1 : 0;
    const outcomes: { volume: string; done: boolean; error?: string; code?: ErrorCode }[] = [];
    await withEngine(async (client) => {
      for (const volume of parsed.operands)
        try {
          await client.json('DELETE', `/volumes/${encodeURIComponent(volume)}`, { query: { force } });
          outcomes.push({ volume, done: true });
          if (!parsed.flag('json')) process.stdout.write(`${plain(volume)}\n`);
        } catch (error) {
          if (parsed.operands.length === 1) throw error;
          outcomes.push({ volume, done: false, error: messageOf(error), code: errorCodeOf(error) });
          printFailure(await withNearName(client, error), parsed.flag('json'));
        }
    });
    if (parsed.flag('json')) printJson(outcomes);
    return outcomes.some(({ done }) => !done) ? 1 : 0;
  },
};
