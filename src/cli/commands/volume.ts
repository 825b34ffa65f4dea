import { messageOf } from '../../base/errors.ts';
import type { EngineClient } from '../../client/client.ts';
import { type Command, type Parsed, UsageError } from '../command.ts';
import { withEngine } from '../connect.ts';
import { paint, plain, table } from '../terminal.ts';

const help = 'berth volume --help';

interface Listed {
  readonly Name: string;
  readonly Driver: string;
  readonly CreatedAt: string;
  readonly Options: Readonly<Record<string, string>> | null;
}

export const volume: Command = {
  usage: 'volume [ls | create | inspect | rm] [OPTIONS] [NAME...]',
  about: 'Lists volumes, makes them, tells all of them, and removes them with what is in them.',
  options: {
    opt: { short: '-o', value: 'NAME=VALUE', many: true, about: 'create: type, device and o, as mount(8) has them' },
    label: { short: '-l', value: 'NAME=VALUE', many: true, about: 'create: a label' },
    filter: { value: 'NAME=VALUE', many: true, about: 'ls: only those that match: dangling, name, label, driver' },
    quiet: { short: '-q', about: 'ls: only the names' },
    json: { about: 'ls: what the engine says, as JSON' },
    force: { short: '-f', about: 'rm: one that is not there is no error' },
  },
  operands: { least: 0, most: Number.POSITIVE_INFINITY },
  examples: [
    'berth volume create data',
    'berth volume create -o type=tmpfs -o device=tmpfs -o o=size=64m scratch',
    'berth volume rm data',
  ],
  async run(parsed) {
    const [what = 'ls', ...names] = parsed.operands;
    switch (what) {
      case 'ls':
      case 'list':
        return await withEngine((client) => list(client, parsed));
      case 'create':
        if (names.length > 1) throw new UsageError('one volume is created at a time', help);
        return await withEngine((client) => create(client, parsed, names[0] ?? ''));
      case 'inspect':
        return await withEngine(async (client) => {
          const found = [];
          for (const name of some(names)) found.push(await client.json('GET', `/volumes/${encodeURIComponent(name)}`));
          process.stdout.write(`${JSON.stringify(found, null, 2)}\n`);
          return 0;
        });
      case 'rm':
      case 'remove':
        return await withEngine((client) => remove(client, some(names), parsed.flag('force')));
      default:
        throw new UsageError(`no such volume command: ${plain(what)}`, help);
    }
  },
};

function some(names: readonly string[]): readonly string[] {
  if (names.length === 0) throw new UsageError('no volume was named', help);
  return names;
}

async function list(client: EngineClient, parsed: Parsed): Promise<number> {
  const filters: Record<string, string[]> = {};
  for (const [name, value] of pairs(parsed.values('filter'), '--filter'))
    filters[name] = [...(filters[name] ?? []), value];
  const { Volumes } = await client.json<{ Volumes: readonly Listed[] }>('GET', '/volumes', {
    query: { filters: JSON.stringify(filters) },
  });
  if (parsed.flag('json')) process.stdout.write(`${JSON.stringify(Volumes, null, 2)}\n`);
  else if (parsed.flag('quiet')) process.stdout.write(Volumes.map(({ Name }) => `${plain(Name)}\n`).join(''));
  else
    process.stdout.write(
      table(
        ['VOLUME', 'MADE', 'OF'],
        Volumes.map(({ Name, CreatedAt, Options }) => [Name, CreatedAt.slice(0, 10), sourceOf(Options)]),
      ),
    );
  return 0;
}

/** `tmpfs`, `/srv/data`, or the engine's own folder. */
function sourceOf(options: Listed['Options']): string {
  const { type = '', device = '' } = options ?? {};
  if (device === '') return 'a folder of the engine';
  return type === 'none' || type === device ? device : `${type} ${device}`;
}

async function create(client: EngineClient, parsed: Parsed, name: string): Promise<number> {
  const { Name } = await client.json<Listed>('POST', '/volumes/create', {
    json: {
      Name: name,
      DriverOpts: Object.fromEntries(pairs(parsed.values('opt'), '--opt')),
      Labels: Object.fromEntries(parsed.values('label').map(splitOnce)),
    },
  });
  process.stdout.write(`${plain(Name)}\n`);
  return 0;
}

/** Goes on after one that failed. */
async function remove(client: EngineClient, names: readonly string[], force: boolean): Promise<number> {
  let failed = 0;
  for (const name of names)
    try {
      await client.json('DELETE', `/volumes/${encodeURIComponent(name)}`, { query: { force: force ? 1 : 0 } });
      process.stdout.write(`${plain(name)}\n`);
    } catch (error) {
      if (names.length === 1) throw error;
      failed++;
      process.stderr.write(`${paint('red', 'berth:', process.stderr)} ${plain(messageOf(error))}\n`);
    }
  return failed > 0 ? 1 : 0;
}

function splitOnce(text: string): [string, string] {
  const at = text.indexOf('=');
  return at < 0 ? [text, ''] : [text.slice(0, at), text.slice(at + 1)];
}

function pairs(texts: readonly string[], option: string): [string, string][] {
  for (const text of texts)
    if (!/^[^=]+=/.test(text)) throw new UsageError(`${option} ${text}: expected NAME=VALUE`, help);
  return texts.map(splitOnce);
}
