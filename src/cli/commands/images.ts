import type { Command, Parsed } from '../command.ts';
import { withEngine } from '../connect.ts';
import { formatOption, formatted } from '../format.ts';
import { imageViews, type ListedImage } from '../list-views.ts';
import { withNearName } from '../missing.ts';
import { filtersOf } from '../pairs.ts';
import { pullImage, splitTag } from '../pull-progress.ts';
import { humanBytes, plain, printFailure, printJson, table } from '../terminal.ts';

export const pull: Command = {
  usage: 'pull [OPTIONS] IMAGE',
  about:
    'Gets an image from a registry; what is here already is not fetched again, what was cut goes on where it stopped.',
  options: {
    'all-tags': { short: '-a', about: 'every tag of the repository' },
    platform: { value: 'OS/ARCH', about: 'which of the image’s platforms' },
    'disable-content-trust': { about: 'has no meaning here' },
    quiet: { short: '-q', about: 'only its name' },
    json: { about: 'what came of it, as JSON' },
  },
  operands: { least: 1, most: 1 },
  async run(parsed) {
    const [image] = parsed.operands;
    const how = {
      platform: parsed.value('platform'),
      quiet: parsed.flag('quiet') || parsed.flag('json'),
      allTags: parsed.flag('all-tags'),
    };
    const pulled = await withEngine((client) => pullImage(client, image!, how));
    if (parsed.flag('json')) printJson(pulled);
    else if (parsed.flag('quiet')) process.stdout.write(`${plain(image!)}\n`);
    return 0;
  },
};

export const images: Command = {
  usage: 'images [OPTIONS] [IMAGE]',
  about: 'Lists images, or those of one repository.',
  options: {
    all: { short: '-a', about: 'also what was made on the way to another' },
    filter: {
      ...{ short: '-f', value: 'NAME=VALUE', many: true },
      about: 'only those that match: reference, dangling, label, before, since, until',
    },
    digests: { about: 'with their digests' },
    quiet: { short: '-q', about: 'only the ids' },
    'no-trunc': { about: 'whole ids' },
    format: formatOption,
    json: { about: 'what the engine says, as JSON' },
  },
  operands: { least: 0, most: 1 },
  run: listImages,
};

async function listImages(parsed: Parsed): Promise<number> {
  const filters = filtersOf(parsed.values('filter'), 'berth images --help');
  const [name] = parsed.operands;
  if (name !== undefined) filters['reference'] = [...(filters['reference'] ?? []), name];
  const format = parsed.value('format');
  const all = parsed.flag('all') ? 1 : undefined;
  const listed = await withEngine((client) =>
    client.json<readonly ListedImage[]>('GET', '/images/json', { query: { all, filters: JSON.stringify(filters) } }),
  );
  const shortId = (id: string) => (parsed.flag('no-trunc') ? id : shortened(id));
  if (parsed.flag('json')) printJson(listed);
  else if (parsed.flag('quiet')) process.stdout.write(listed.map(({ Id }) => `${shortId(Id)}\n`).join(''));
  else if (format !== undefined)
    process.stdout.write(
      formatted(
        format,
        listed.flatMap((one) => imageViews(one, parsed.flag('no-trunc'))),
      ),
    );
  else {
    const digests = parsed.flag('digests');
    const rows = listed.flatMap(({ RepoTags, RepoDigests, Id, Created, Size }) =>
      (RepoTags?.length ? RepoTags : ['<none>']).map((name) => [
        name,
        ...(digests ? [digestOf(name, RepoDigests ?? [])] : []),
        shortId(Id),
        new Date(Created * 1000).toISOString().slice(0, 10),
        humanBytes(Size),
      ]),
    );
    process.stdout.write(table(['IMAGE', ...(digests ? ['DIGEST'] : []), 'ID', 'MADE', 'SIZE'], rows));
  }
  return 0;
}

/** Of the repository of this name. */
function digestOf(name: string, digests: readonly string[]): string {
  const repository = name.slice(0, name.lastIndexOf(':'));
  const found = digests.find((one) => one.startsWith(`${repository}@`)) ?? digests[0];
  return found?.slice(found.indexOf('@') + 1) ?? '-';
}

interface Gone {
  readonly Untagged?: string;
  readonly Deleted?: string;
}

function removedLine({ Untagged, Deleted }: Gone): string {
  return Untagged ? `untagged ${plain(Untagged)}\n` : `removed ${plain(Deleted ?? '')}\n`;
}

export const tag: Command = {
  usage: 'tag [OPTIONS] IMAGE NAME',
  about: 'Gives an image another name.',
  options: { json: { about: 'both names as JSON' } },
  operands: { least: 2, most: 2 },
  async run(parsed) {
    const [image, name] = parsed.operands;
    const [repo, text] = splitTag(name!);
    await withEngine((client) => client.json('POST', `/images/${image}/tag`, { query: { repo, tag: text } }));
    if (parsed.flag('json')) printJson({ image, name });
    return 0;
  },
};

/** Goes on after one that failed. */
export const rmi: Command = {
  usage: 'rmi [OPTIONS] IMAGE...',
  about: 'Takes names off images, and removes those that have none left.',
  options: {
    force: { short: '-f', about: 'also when it has several names or a stopped container uses it' },
    'no-prune': { about: 'keep parents without names' },
    json: { about: 'what is gone, as JSON' },
  },
  operands: { least: 1, most: Number.POSITIVE_INFINITY },
  async run(parsed) {
    const all: unknown[] = [];
    let failed = false;
    await withEngine(async (client) => {
      for (const image of parsed.operands)
        try {
          const query = {
            force: parsed.flag('force') ? 1 : 0,
            noprune: parsed.flag('no-prune') ? 1 : undefined,
          };
          const gone = await client.json<readonly Gone[]>('DELETE', `/images/${image}`, { query });
          all.push(...gone);
          if (!parsed.flag('json')) for (const one of gone) process.stdout.write(removedLine(one));
        } catch (error) {
          if (parsed.operands.length === 1) throw error;
          failed = true;
          printFailure(await withNearName(client, error), parsed.flag('json'));
        }
    });
    if (parsed.flag('json')) printJson(all);
    return failed ? 1 : 0;
  },
};

export function shortened(id: string): string {
  return id.replace(/^sha256:/, '').slice(0, 12);
}
