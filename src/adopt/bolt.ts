import { EngineError } from '../base/errors.ts';

/** What a bucket holds under a key: a value, or another bucket. */
export type BoltEntry = Buffer | Bucket;

/**
 * A Bolt database (bbolt, format version 2) that nobody writes to, from its bytes. Only what is reached is looked at, and
 * every step is checked against the file's end: what is damaged throws `corrupt` and reads nothing outside.
 */
export class Bolt {
  readonly root: Bucket;

  constructor(file: Buffer, what: string) {
    const { pageSize, root } = newestMeta(file, what);
    const pages = new Pages(file, pageSize, what);
    this.root = new Bucket(pages, { page: root, inline: undefined });
  }
}

/** As Go writes them on any machine that runs containers: little endian. */
const magic = 0xed0cdaed;
const version = 2;
const pageHeader = 16;
const branchPage = 0x01;
const leafPage = 0x02;
const bucketLeaf = 0x01;
const elementSize = 16;
/** A tree of a file of gigabytes is five deep; one that is deeper goes round in a circle. */
const deepest = 64;
const mostEntries = 1_000_000;

function damaged(what: string, why: string): EngineError {
  return new EngineError('corrupt', `${what} is damaged: ${why}`);
}

/** The one of the two meta pages that was written last and is whole; the other may be half written. */
function newestMeta(file: Buffer, what: string): { pageSize: number; root: number } {
  let best: { pageSize: number; root: number; txid: bigint } | undefined;
  const look = (at: number) => {
    if (at + pageHeader + 64 > file.length) return;
    const meta = file.subarray(at + pageHeader);
    if (meta.readUInt32LE(0) !== magic || meta.readUInt32LE(4) !== version) return;
    const pageSize = meta.readUInt32LE(8);
    if (pageSize < 512 || pageSize > 65_536 || (pageSize & (pageSize - 1)) !== 0) return;
    if (fnv1a(meta.subarray(0, 56)) !== meta.readBigUInt64LE(56)) return;
    const txid = meta.readBigUInt64LE(48);
    if (!best || txid > best.txid) best = { pageSize, root: Number(meta.readBigUInt64LE(16)), txid };
  };
  // The second is a page further, and its size may be read only in one that is whole.
  look(0);
  for (let size = 512; size <= 65_536; size *= 2) look(size);
  if (!best) throw damaged(what, 'neither of its two heads is whole');
  return best;
}

function fnv1a(bytes: Buffer): bigint {
  let hash = 0xcbf29ce484222325n;
  for (const byte of bytes) hash = ((hash ^ BigInt(byte)) * 0x100000001b3n) & 0xffffffffffffffffn;
  return hash;
}

class Pages {
  readonly #file: Buffer;
  readonly #size: number;
  readonly what: string;
  /** What was read of it so far: a file with pages in a circle is not read for ever. */
  entries = 0;

  constructor(file: Buffer, size: number, what: string) {
    this.#file = file;
    this.#size = size;
    this.what = what;
  }

  /** From the page's first byte to the file's end: a page that overflows goes on in those behind it. */
  at(number: number): Buffer {
    const start = number * this.#size;
    if (!Number.isSafeInteger(start) || start + pageHeader > this.#file.length)
      throw damaged(this.what, `page ${number} is behind its end`);
    return this.#file.subarray(start, start + this.#size * (1 + this.#file.readUInt32LE(start + 12)));
  }
}

/** Keys in the order of their bytes, and what they lead to. */
export class Bucket {
  readonly #pages: Pages;
  readonly #root: { readonly page: number; readonly inline: Buffer | undefined };

  constructor(pages: Pages, root: { readonly page: number; readonly inline: Buffer | undefined }) {
    this.#pages = pages;
    this.#root = root;
  }

  *entries(): Generator<readonly [key: string, entry: BoltEntry], void, void> {
    const { page, inline } = this.#root;
    yield* this.#walk(inline ?? this.#pages.at(page), 0);
  }

  /** The bucket with this name; undefined when there is none. */
  bucket(name: string): Bucket | undefined {
    for (const [key, entry] of this.entries()) if (key === name && entry instanceof Bucket) return entry;
    return undefined;
  }

  /** The value with this key; undefined when there is none. */
  value(name: string): Buffer | undefined {
    for (const [key, entry] of this.entries()) if (key === name && Buffer.isBuffer(entry)) return entry;
    return undefined;
  }

  /** A bucket inside of buckets. */
  below(...names: readonly string[]): Bucket | undefined {
    return names.reduce<Bucket | undefined>((bucket, name) => bucket?.bucket(name), this);
  }

  *#walk(page: Buffer, depth: number): Generator<readonly [string, BoltEntry], void, void> {
    const { what } = this.#pages;
    if (depth > deepest) throw damaged(what, 'its pages go round in a circle');
    const flags = page.readUInt16LE(8);
    const count = page.readUInt16LE(10);
    if (pageHeader + count * elementSize > page.length) throw damaged(what, 'a page has more than fits into it');
    for (let i = 0; i < count; i++) {
      if (++this.#pages.entries > mostEntries) throw damaged(what, `it has more than ${mostEntries} entries`);
      const at = pageHeader + i * elementSize;
      if ((flags & branchPage) !== 0) {
        const child = Number(page.readBigUInt64LE(at + 8));
        yield* this.#walk(this.#pages.at(child), depth + 1);
      } else if ((flags & leafPage) !== 0) yield this.#leaf(page, at);
      else throw damaged(what, `a page is of the unknown kind ${flags}`);
    }
  }

  #leaf(page: Buffer, at: number): readonly [string, BoltEntry] {
    const { what } = this.#pages;
    const from = at + page.readUInt32LE(at + 4);
    const keyEnd = from + page.readUInt32LE(at + 8);
    const end = keyEnd + page.readUInt32LE(at + 12);
    if (end > page.length) throw damaged(what, 'an entry goes beyond its page');
    const key = page.toString('utf8', from, keyEnd);
    const value = page.subarray(keyEnd, end);
    if ((page.readUInt32LE(at) & bucketLeaf) === 0) return [key, value];
    if (value.length < 16) throw damaged(what, 'a bucket has no head');
    const root = Number(value.readBigUInt64LE(0));
    // Small ones are kept inside of their entry, as a page without a number.
    const inline = root === 0 ? value.subarray(16) : undefined;
    if (inline && inline.length < pageHeader) throw damaged(what, 'a bucket has no page');
    return [key, new Bucket(this.#pages, { page: root, inline })];
  }
}
