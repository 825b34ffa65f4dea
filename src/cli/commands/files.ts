import { createWriteStream } from 'node:fs';
import { Readable, type Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { EngineError } from '../../base/errors.ts';
import { type Command, stdoutIsTaken } from '../command.ts';
import { withEngine } from '../connect.ts';
import { copyIn, copyOut } from '../copy.ts';
import { plain, printJson } from '../terminal.ts';

const place = (container: string) => `/containers/${encodeURIComponent(container)}`;

/** `CONTAINER:PATH`; undefined for what is a path of this machine: `./a:b`, `/a:b`, `-`. */
function inContainer(text: string): { readonly container: string; readonly path: string } | undefined {
  const [, container, path] = /^([^/.:][^/:]*):(.*)$/s.exec(text) ?? [];
  return container === undefined ? undefined : { container, path: path! };
}

export const cp: Command = {
  usage: 'cp [OPTIONS] CONTAINER:PATH PATH|-   or   cp [OPTIONS] PATH|- CONTAINER:PATH',
  about: 'Copies files between a container, running or not, and this machine; - is a tar on stdout or stdin.',
  options: {
    archive: { short: '-a', about: 'with owners: as they were, or of the user that the container runs as' },
    'follow-link': { short: '-L', about: 'what a link at SRC leads to, not the link' },
    quiet: { short: '-q', about: 'has no meaning here: nothing is said but errors' },
    json: { about: 'from where to where, as JSON; not where stdout has the tar' },
  },
  operands: { least: 2, most: 2 },
  examples: ['berth cp web:/etc/nginx/nginx.conf .', 'berth cp ./site/. web:/usr/share/nginx/html'],
  async run(parsed) {
    const [from, to] = parsed.operands as readonly [string, string];
    const source = inContainer(from);
    const target = inContainer(to);
    if (source && target) throw new EngineError('invalid', 'copying between containers is not supported');
    if (parsed.flag('json') && to === '-') throw stdoutIsTaken('berth cp CONTAINER:PATH FILE');
    const options = { owners: parsed.flag('archive'), follow: parsed.flag('follow-link') };
    await withEngine(async (client) => {
      if (source) await copyOut(client, { ...source, to, ...options });
      else if (target) await copyIn(client, { from, ...target, ...options });
      else throw new EngineError('invalid', 'one of the two must be a path in a container: CONTAINER:PATH');
    });
    if (parsed.flag('json')) printJson({ from, to });
    return 0;
  },
};

export const diff: Command = {
  usage: 'diff [OPTIONS] CONTAINER',
  about: 'Lists what a container changed over its image: A added, C changed, D deleted.',
  options: { json: { about: 'what the engine says, as JSON' } },
  operands: { least: 1, most: 1 },
  async run(parsed) {
    const changes = await withEngine((client) =>
      client.json<readonly { Path: string; Kind: number }[] | null>('GET', `${place(parsed.operands[0]!)}/changes`),
    );
    if (parsed.flag('json')) printJson(changes ?? []);
    else process.stdout.write((changes ?? []).map(({ Path, Kind }) => `${'CAD'[Kind]} ${plain(Path)}\n`).join(''));
    return 0;
  },
};

export const exportFiles: Command = {
  usage: 'export [-o FILE] CONTAINER',
  about: 'Writes all files of a container but what is mounted, as a tar.',
  options: {
    output: { short: '-o', value: 'FILE', about: 'where to; else stdout' },
    json: { about: 'with -o: which container and which file, as JSON' },
  },
  operands: { least: 1, most: 1 },
  async run(parsed) {
    const file = parsed.value('output');
    if (!file && parsed.flag('json')) throw stdoutIsTaken('berth export -o FILE CONTAINER');
    if (!file && process.stdout.isTTY)
      throw new EngineError('invalid', 'an archive is nothing for a terminal', { hint: 'name a file with -o' });
    await withEngine(async (client) => {
      const { body } = await client.request('GET', `${place(parsed.operands[0]!)}/export`);
      await write(body, file);
    });
    if (parsed.flag('json')) printJson({ container: parsed.operands[0], file });
    return 0;
  },
};

async function write(body: AsyncIterable<Buffer>, file: string | undefined): Promise<void> {
  const to: Writable = file ? createWriteStream(file) : process.stdout;
  await pipeline(Readable.from(body), to, { end: file !== undefined });
}

export const commit: Command = {
  usage: 'commit [OPTIONS] CONTAINER [NAME]',
  about: 'Makes an image of what a container wrote over its own.',
  options: {
    author: { short: '-a', value: 'AUTHOR', about: 'who made it' },
    message: { short: '-m', value: 'TEXT', about: 'what is new' },
    change: { short: '-c', value: 'INSTRUCTION', many: true, about: 'an instruction of a Dockerfile, such as CMD' },
    pause: { short: '-p', about: 'hold the container meanwhile (true)' },
    'no-pause': { about: 'let the container run on meanwhile' },
    json: { about: 'its id as JSON' },
  },
  operands: { least: 1, most: 2 },
  async run(parsed) {
    const [container, name] = parsed.operands;
    const { Id } = await withEngine((client) =>
      client.json<{ Id: string }>('POST', '/commit', {
        query: {
          container,
          repo: name,
          comment: parsed.value('message'),
          author: parsed.value('author'),
          changes: parsed.values('change'),
          pause: parsed.flag('no-pause') || !parsed.flag('pause', true) ? 0 : 1,
        },
      }),
    );
    if (parsed.flag('json')) printJson({ id: Id });
    else process.stdout.write(`${Id}\n`);
    return 0;
  },
};
