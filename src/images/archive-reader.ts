import { EngineError } from '../base/errors.ts';
import { type TarEntry, TarReader } from '../layers/tar.ts';

/** What a tar archive of images may hold besides folders. */
export interface ArchiveEntry {
  /** As normalised by `safeName`. */
  readonly name: string;
  readonly kind: 'file' | 'link';
  /** Where a link points to, from the archive's root. */
  readonly target: string | undefined;
  readonly size: number;
  /** The content; what is not read is skipped. Empty for links. */
  readonly body: AsyncIterable<Buffer>;
}

const entryLimit = 20_000;

/**
 * The entries of a tar stream of images, in order. Stricter than a layer: image archives have files, folders and links
 * that stay inside; whatever else is in there is refused. Throws `invalid`, or `corrupt` with `unexpected EOF` when the
 * stream ends before the archive does.
 */
export async function* readArchive(chunks: AsyncIterable<Buffer>): AsyncGenerator<ArchiveEntry, void, void> {
  const input = new EntryQueue(chunks);
  let count = 0;
  try {
    for (let next = await input.next(); next; next = await input.next()) {
      if (next.kind !== 'entry') continue;
      if (++count > entryLimit) throw refused(`it has more than ${entryLimit} entries`);
      const { entry } = next;
      const name = safeName(utf8(entry.name));
      if (entry.type === 'directory') continue;
      if (entry.type === 'file') {
        if (entry.sparse) throw refused(`${JSON.stringify(name)} is a sparse file`);
        yield { name, kind: 'file', target: undefined, size: entry.size, body: bodyOf(input) };
      } else if (entry.type === 'symlink' || entry.type === 'hardlink')
        yield { name, kind: 'link', target: linkTarget(name, entry), size: 0, body: bodyOf(input) };
      else
        throw refused(
          `${JSON.stringify(name)} is a ${entry.type === 'fifo' ? 'named pipe' : 'device'}, not a file, folder or link`,
        );
    }
    if (count === 0) throw unexpectedEnd();
  } finally {
    await input.close();
  }
}

type TarEvent = { readonly kind: 'entry'; readonly entry: TarEntry } | { readonly kind: 'data'; readonly data: Buffer };

/** Turns the reader that is pushed into one that is pulled: at most one chunk of the stream waits here. */
class EntryQueue {
  readonly #source: AsyncIterator<Buffer>;
  readonly #reader: TarReader;
  #events: TarEvent[] = [];
  #at = 0;

  constructor(chunks: AsyncIterable<Buffer>) {
    this.#source = chunks[Symbol.asyncIterator]();
    this.#reader = new TarReader({
      entry: (entry) => this.#events.push({ kind: 'entry', entry }),
      data: (data) => this.#events.push({ kind: 'data', data }),
    });
  }

  /** The next event, or undefined at the end of the archive. */
  async next(): Promise<TarEvent | undefined> {
    const next = await this.peek();
    if (next) this.#at++;
    return next;
  }

  async peek(): Promise<TarEvent | undefined> {
    while (this.#at === this.#events.length) {
      this.#events = [];
      this.#at = 0;
      const { value, done } = await this.#source.next();
      if (!done) this.#reader.push(value);
      else return this.#finish();
    }
    return this.#events[this.#at];
  }

  #finish(): undefined {
    try {
      this.#reader.finish();
    } catch {
      throw unexpectedEnd();
    }
  }

  async close(): Promise<void> {
    await this.#source.return?.();
  }
}

async function* bodyOf(input: EntryQueue): AsyncGenerator<Buffer, void, void> {
  for (let next = await input.peek(); next?.kind === 'data'; next = await input.peek()) {
    await input.next();
    yield next.data;
  }
}

/** A relative path without `.` and empty parts. Throws on absolute paths and on those that leave the archive. */
export function safeName(raw: string): string {
  if (raw.startsWith('/') || raw.includes('\0')) throw refused(`entry ${JSON.stringify(raw)} has an absolute path`);
  const parts = raw.split('/').filter((part) => part !== '' && part !== '.');
  if (parts.includes('..')) throw refused(`entry ${JSON.stringify(raw)} leaves the archive`);
  return parts.join('/');
}

function linkTarget(name: string, { type, linkName }: TarEntry): string {
  const target = utf8(linkName);
  const outside = () => refused(`link ${JSON.stringify(name)} points to ${JSON.stringify(target)}, outside of it`);
  if (target.startsWith('/')) throw outside();
  const parts = type === 'symlink' ? name.split('/').slice(0, -1) : [];
  for (const part of target.split('/')) {
    if (part === '' || part === '.') continue;
    if (part !== '..') parts.push(part);
    else if (parts.pop() === undefined) throw outside();
  }
  return parts.join('/');
}

function utf8(name: string): string {
  return Buffer.from(name, 'latin1').toString('utf8');
}

export function refused(why: string): EngineError {
  return new EngineError('invalid', `the archive is refused: ${why}`);
}

export function unexpectedEnd(): EngineError {
  return new EngineError('corrupt', 'the archive is cut off: unexpected EOF');
}
