import { type Command, type Parsed, UsageError } from '../command.ts';
import { withEngine } from '../connect.ts';
import { pullImage, splitTag } from '../pull-progress.ts';
import { humanBytes, plain, printJson, table } from '../terminal.ts';

export const pull: Command = {
  usage: 'pull [OPTIONS] IMAGE',
  about:
    'Gets an image from a registry; what is here already is not fetched again, what was cut goes on where it stopped.',
  options: {
    platform: { value: 'OS/ARCH', about: 'which of the image’s platforms' },
    json: { about: 'what came of it, as JSON' },
  },
  operands: { least: 1, most: 1 },
  async run(parsed) {
    const pulled = await withEngine((client) => pullImage(client, parsed.operands[0]!, parsed.value('platform')));
    if (parsed.flag('json')) printJson(pulled);
    return 0;
  },
};

interface Listed {
  readonly Id: string;
  readonly RepoTags: readonly string[] | null;
  readonly Created: number;
  readonly Size: number;
}

export const images: Command = {
  usage: 'images [OPTIONS]',
  about: 'Lists images.',
  options: { quiet: { short: '-q', about: 'only the ids' }, json: { about: 'what the engine says, as JSON' } },
  operands: { least: 0, most: 0 },
  run: listImages,
};

async function listImages(parsed: Parsed): Promise<number> {
  const listed = await withEngine((client) => client.json<readonly Listed[]>('GET', '/images/json'));
  if (parsed.flag('json')) printJson(listed);
  else if (parsed.flag('quiet')) process.stdout.write(listed.map(({ Id }) => `${shortId(Id)}\n`).join(''));
  else {
    const rows = listed.flatMap(({ RepoTags, Id, Created, Size }) =>
      (RepoTags?.length ? RepoTags : ['<none>']).map((name) => [
        name,
        shortId(Id),
        new Date(Created * 1000).toISOString().slice(0, 10),
        humanBytes(Size),
      ]),
    );
    process.stdout.write(table(['IMAGE', 'ID', 'MADE', 'SIZE'], rows));
  }
  return 0;
}

/** `berth image prune`; `berth image ls` is `berth images`. */
export const image: Command = {
  usage: 'image prune [-a] [OPTIONS]',
  about: 'Removes images without a name that no container uses; `image ls` lists images.',
  options: {
    all: { short: '-a', about: 'also those with names, where no container uses them' },
    filter: { short: '-f', value: 'NAME=VALUE', many: true, about: 'only those that match: until, label' },
    quiet: { short: '-q', about: 'ls: only the ids' },
    json: { about: 'what the engine says, as JSON' },
  },
  operands: { least: 0, most: 1 },
  examples: ['berth image prune -a --filter until=72h'],
  async run(parsed) {
    const [what = 'ls'] = parsed.operands;
    if (what === 'ls' || what === 'list') return await listImages(parsed);
    if (what !== 'prune') throw new UsageError(`no such image command: ${what}`, 'berth image --help');
    const filters: Record<string, string[]> = { dangling: [parsed.flag('all') ? 'false' : 'true'] };
    for (const entry of parsed.values('filter')) {
      const at = entry.indexOf('=');
      if (at < 0) throw new UsageError(`--filter ${entry}: expected NAME=VALUE`, 'berth image --help');
      const name = entry.slice(0, at);
      filters[name] = [...(filters[name] ?? []), entry.slice(at + 1)];
    }
    const pruned = await withEngine((client) =>
      client.json<Pruned>('POST', '/images/prune', { query: { filters: JSON.stringify(filters) } }),
    );
    if (parsed.flag('json')) printJson(pruned);
    else {
      for (const gone of pruned.ImagesDeleted ?? []) process.stdout.write(removedLine(gone));
      process.stdout.write(`freed ${humanBytes(pruned.SpaceReclaimed)}\n`);
    }
    return 0;
  },
};

interface Gone {
  readonly Untagged?: string;
  readonly Deleted?: string;
}

interface Pruned {
  readonly ImagesDeleted: readonly Gone[] | null;
  readonly SpaceReclaimed: number;
}

function removedLine({ Untagged, Deleted }: Gone): string {
  return Untagged ? `untagged ${plain(Untagged)}\n` : `removed ${plain(Deleted ?? '')}\n`;
}

export const tag: Command = {
  usage: 'tag IMAGE NAME',
  about: 'Gives an image another name.',
  options: {},
  operands: { least: 2, most: 2 },
  async run(parsed) {
    const [image, name] = parsed.operands;
    const [repo, text] = splitTag(name!);
    await withEngine((client) => client.json('POST', `/images/${image}/tag`, { query: { repo, tag: text } }));
    return 0;
  },
};

export const rmi: Command = {
  usage: 'rmi [OPTIONS] IMAGE...',
  about: 'Takes names off images, and removes those that have none left.',
  options: {
    force: { short: '-f', about: 'also when it has several names or a stopped container uses it' },
    json: { about: 'what is gone, as JSON' },
  },
  operands: { least: 1, most: Number.POSITIVE_INFINITY },
  async run(parsed) {
    const all: unknown[] = [];
    await withEngine(async (client) => {
      for (const image of parsed.operands) {
        const gone = await client.json<readonly Gone[]>('DELETE', `/images/${image}`, {
          query: { force: parsed.flag('force') ? 1 : 0 },
        });
        all.push(...gone);
        if (!parsed.flag('json')) for (const one of gone) process.stdout.write(removedLine(one));
      }
    });
    if (parsed.flag('json')) printJson(all);
    return 0;
  },
};

function shortId(id: string): string {
  return id.replace(/^sha256:/, '').slice(0, 12);
}
