import { createReadStream, createWriteStream } from 'node:fs';
import { rename, rm, stat } from 'node:fs/promises';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { EngineError, messageOf } from '../../base/errors.ts';
import { type Command, stdoutIsTaken, UsageError } from '../command.ts';
import { withEngine } from '../connect.ts';
import { type FailureLine, failedLine, splitTag } from '../pull-progress.ts';
import { humanBytes, plain, printJson } from '../terminal.ts';

interface LoadLine extends FailureLine {
  readonly stream?: string;
  readonly id?: string;
  readonly progressDetail?: { readonly current?: number };
}

export const load: Command = {
  usage: 'load [-i FILE]',
  about:
    'Gets images from an archive: docker-archive or OCI layout, in any compression; from stdin when no file is named.',
  options: {
    input: { short: '-i', value: 'FILE', about: 'the archive' },
    platform: { value: 'OS/ARCH', about: 'only the image for this platform' },
    quiet: { short: '-q', about: 'without progress' },
    json: { about: 'the images that came, as JSON' },
  },
  operands: { least: 0, most: 0 },
  async run(parsed) {
    const body = await openFile(parsed.value('input'));
    const said: string[] = [];
    const live = process.stderr.isTTY === true && !parsed.flag('quiet') && !parsed.flag('json');
    const layers = new Map<string, number>();
    let shown = 0;
    await withEngine(async (client) => {
      for await (const line of client.stream<LoadLine>('POST', '/images/load', {
        query: { quiet: live ? 0 : 1, platform: parsed.value('platform') },
        body,
        contentType: 'application/x-tar',
      })) {
        if (live && (line.error || line.stream)) process.stderr.write('\r\x1b[K');
        if (line.error) throw failedLine('invalid', line);
        if (line.id) layers.set(line.id, line.progressDetail?.current ?? layers.get(line.id) ?? 0);
        if (live && !line.stream && performance.now() - shown >= 80) {
          shown = performance.now();
          const bytes = [...layers.values()].reduce((sum, current) => sum + current, 0);
          process.stderr.write(`\r\x1b[K↓ loading  ${humanBytes(bytes)}  ${layers.size} layers`);
        }
        if (line.stream && parsed.flag('json')) said.push(line.stream);
        else if (line.stream) process.stdout.write(plain(line.stream));
      }
    });
    if (parsed.flag('json'))
      printJson(
        said.flatMap((line) => /^Loaded image(?: ID)?: (.*)/.exec(line)?.[1] ?? []).map((image) => ({ image })),
      );
    return 0;
  },
};

export const save: Command = {
  usage: 'save [-o FILE] IMAGE...',
  about: 'Writes images into one archive that every engine loads; to stdout when no file is named.',
  options: {
    output: { short: '-o', value: 'FILE', about: 'where to; it appears when it is whole' },
    platform: { value: 'OS/ARCH', about: 'only the image for this platform' },
    json: { about: 'with -o: which images and which file, as JSON' },
  },
  operands: { least: 1, most: Number.POSITIVE_INFINITY },
  examples: ['berth save -o web.tar web:1 web:2', 'berth save web:1 | zstd > web.tar.zst'],
  async run(parsed) {
    const file = parsed.value('output');
    if (file === undefined && parsed.flag('json')) throw stdoutIsTaken('berth save -o FILE IMAGE...');
    if (file === undefined && process.stdout.isTTY)
      throw new UsageError('an archive is nothing for a terminal', 'berth save -o FILE IMAGE...');
    await withEngine(async (client) => {
      const query = { names: parsed.operands, platform: parsed.value('platform') };
      const { body } = await client.request('GET', '/images/get', { query });
      if (file === undefined) await pipeline(body, process.stdout, { end: false });
      else await writeWhole(file, body);
    });
    if (parsed.flag('json')) printJson({ images: parsed.operands, file });
    return 0;
  },
};

export const importImage: Command = {
  usage: 'import [OPTIONS] FILE|URL|- [NAME]',
  about: 'Makes an image of a root file system: a tar in any compression, from a file, stdin or the web.',
  options: {
    change: { short: '-c', value: 'INSTRUCTION', many: true, about: 'as in a Dockerfile: CMD, ENV, EXPOSE, USER ...' },
    message: { short: '-m', value: 'TEXT', about: "stands in the image's history" },
    platform: { value: 'OS/ARCH', about: 'what it runs on' },
    json: { about: 'its id as JSON' },
  },
  operands: { least: 1, most: 2 },
  examples: [`berth import -c 'CMD ["/bin/sh"]' rootfs.tar.gz mine:1`],
  async run(parsed) {
    const [source, name] = parsed.operands;
    const isUrl = /^https?:\/\//.test(source!);
    const [repo, tag] = name === undefined ? ['', ''] : splitTag(name);
    const body = isUrl ? undefined : await openFile(source === '-' ? undefined : source);
    await withEngine(async (client) => {
      for await (const line of client.stream<FailureLine & { status?: string }>('POST', '/images/create', {
        query: {
          fromSrc: isUrl ? source! : '-',
          ...{ repo, tag, message: parsed.value('message'), changes: parsed.values('change') },
          platform: parsed.value('platform'),
        },
        ...(body && { body, contentType: 'application/x-tar' }),
      })) {
        if (line.error) throw failedLine('invalid', line);
        if (!line.status?.startsWith('sha256:')) continue;
        if (parsed.flag('json')) printJson({ id: line.status });
        else process.stdout.write(`${plain(line.status)}\n`);
      }
    });
    return 0;
  },
};

/** A file that is there, or stdin. */
async function openFile(file: string | undefined): Promise<Readable> {
  if (file === undefined) return process.stdin;
  const body = createReadStream(file, { highWaterMark: 1024 * 1024 });
  await new Promise<void>((resolve, reject) => {
    body.once('ready', resolve);
    body.once('error', (error: Error) =>
      reject(new EngineError('invalid', `the archive cannot be read: ${messageOf(error)}`, { cause: error })),
    );
  });
  return body;
}

/** Half an archive must not look like one: it gets its name when it is whole. Into a device it goes as it is. */
async function writeWhole(file: string, body: AsyncIterable<Buffer>): Promise<void> {
  const there = await stat(file).catch(() => undefined);
  const special = there !== undefined && !there.isFile();
  const beside = special ? file : `${file}.${process.pid}.tmp`;
  try {
    await pipeline(body, createWriteStream(beside, { mode: 0o600, highWaterMark: 1024 * 1024 }));
    if (!special) await rename(beside, file);
  } catch (error) {
    if (!special) await rm(beside, { force: true });
    if (error instanceof EngineError) throw error;
    throw new EngineError('unavailable', `the archive cannot be written: ${messageOf(error)}`, { cause: error });
  }
}
