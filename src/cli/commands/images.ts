import { createReadStream } from 'node:fs';
import { EngineError, messageOf } from '../../base/errors.ts';
import type { Command } from '../command.ts';
import { withEngine } from '../connect.ts';
import { pullImage, splitTag } from '../pull-progress.ts';
import { humanBytes, plain, table } from '../terminal.ts';

export const pull: Command = {
  usage: 'pull [OPTIONS] IMAGE',
  about:
    'Gets an image from a registry; what is here already is not fetched again, what was cut goes on where it stopped.',
  options: { platform: { value: 'OS/ARCH', about: 'which of the image’s platforms' } },
  operands: { least: 1, most: 1 },
  async run(parsed) {
    await withEngine((client) => pullImage(client, parsed.operands[0]!, parsed.value('platform')));
    return 0;
  },
};

export const load: Command = {
  usage: 'load [-i FILE]',
  about:
    'Gets images from an archive: docker-archive or OCI layout, in any compression; from stdin when no file is named.',
  options: { input: { short: '-i', value: 'FILE', about: 'the archive' } },
  operands: { least: 0, most: 0 },
  async run(parsed) {
    const file = parsed.value('input');
    await withEngine(async (client) => {
      const body = file ? createReadStream(file, { highWaterMark: 1024 * 1024 }) : process.stdin;
      if (file) {
        await new Promise<void>((resolve, reject) => {
          body.once('ready', resolve);
          body.once('error', (error: Error) =>
            reject(new EngineError('invalid', `the archive cannot be read: ${messageOf(error)}`, { cause: error })),
          );
        });
      }
      for await (const line of client.stream<{ stream?: string; error?: string }>('POST', '/images/load', {
        query: { quiet: 1 },
        body,
        contentType: 'application/x-tar',
      })) {
        if (line.error) throw new EngineError('invalid', line.error);
        if (line.stream) process.stdout.write(`${plain(line.stream)}`);
      }
    });
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
  async run(parsed) {
    const listed = await withEngine((client) => client.json<readonly Listed[]>('GET', '/images/json'));
    if (parsed.flag('json')) process.stdout.write(`${JSON.stringify(listed, null, 2)}\n`);
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
  },
};

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
  options: { force: { short: '-f', about: 'also when it has several names or a stopped container uses it' } },
  operands: { least: 1, most: Number.POSITIVE_INFINITY },
  async run(parsed) {
    await withEngine(async (client) => {
      for (const image of parsed.operands) {
        const gone = await client.json<readonly { Untagged?: string; Deleted?: string }[]>(
          'DELETE',
          `/images/${image}`,
          { query: { force: parsed.flag('force') ? 1 : 0 } },
        );
        for (const { Untagged, Deleted } of gone)
          process.stdout.write(Untagged ? `untagged ${plain(Untagged)}\n` : `removed ${plain(Deleted ?? '')}\n`);
      }
    });
    return 0;
  },
};

function shortId(id: string): string {
  return id.replace(/^sha256:/, '').slice(0, 12);
}
