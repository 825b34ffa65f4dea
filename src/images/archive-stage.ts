import type { Readable } from 'node:stream';
import { EngineError } from '../base/errors.ts';
import type { ContentStore } from '../content/store.ts';
import { type Compression, compressionOf } from '../layers/decompress.ts';
import { type Digest, Digester, DigestMismatch, isDigest } from '../oci/digest.ts';
import { imageLimits } from '../oci/validate.ts';
import { type ArchiveEntry, readArchive, refused, unexpectedEnd } from './archive-reader.ts';
import type { Claims, Lease } from './claims.ts';
import { decompressed } from './decompress.ts';
import { blobKey } from './store-sink.ts';

/** A file of the archive, whose bytes are in the content store now. */
export interface StagedFile {
  readonly digest: Digest;
  readonly size: number;
  readonly compression: Compression;
}

/** What an archive held. */
export interface Staged {
  readonly files: ReadonlyMap<string, StagedFile>;
  /** From a link's path to what it names; both from the archive's root. */
  readonly links: ReadonlyMap<string, string>;
  /** The files that say what the others are. */
  readonly documents: ReadonlyMap<string, Buffer>;
}

export interface StageDeps {
  readonly content: ContentStore;
  readonly claims: Claims;
  readonly lease: Lease;
  readonly signal: AbortSignal;
  /** Told of each file that is a plain tar of some size, as soon as the store has it. */
  readonly onTar?: (file: StagedFile) => void;
}

const documentNames: ReadonlySet<string> = new Set(['manifest.json', 'index.json', 'oci-layout']);
/** Left from the format before manifest.json. Docker still writes it; nobody reads it. */
const legacy = /(?:^repositories|\/VERSION|^[0-9a-f]{64}\/json)$/;

/** Reads an archive into the content store, under a lease: what no image turns out to need goes when it ends. */
export async function stageArchive(archive: Readable, deps: StageDeps): Promise<Staged> {
  const files = new Map<string, StagedFile>();
  const links = new Map<string, string>();
  const documents = new Map<string, Buffer>();
  for await (const entry of readArchive(decompressed(archive, deps.signal))) {
    deps.signal.throwIfAborted();
    const { name } = entry;
    if (files.has(name) || links.has(name) || documents.has(name))
      throw refused(`it has ${JSON.stringify(name)} more than once`);
    if (entry.kind === 'link') links.set(name, entry.target!);
    else if (documentNames.has(name)) documents.set(name, await readWhole(entry));
    else if (!legacy.test(name)) files.set(name, await stage(entry, deps));
  }
  return { files, links, documents };
}

async function readWhole({ name, size, body }: ArchiveEntry): Promise<Buffer> {
  if (size > imageLimits.manifestBytes) throw refused(`${name} has ${size} bytes`);
  const parts: Buffer[] = [];
  for await (const part of body) parts.push(part);
  return Buffer.concat(parts);
}

/** What tells a compression, and a tar archive by its first header. */
const headSize = 262;
const tarMagic = Buffer.from('ustar');

async function stage(entry: ArchiveEntry, deps: StageDeps): Promise<StagedFile> {
  let head = Buffer.alloc(0);
  const body = async function* () {
    for await (const part of entry.body) {
      if (head.length < headSize) head = Buffer.concat([head, part.subarray(0, headSize - head.length)]);
      yield part;
    }
  };
  const named = digestNamedBy(entry.name);
  const digest = named ? await stageNamed(named, entry, body(), deps) : await stageUnnamed(entry, body(), deps);
  const file = { digest, size: entry.size, compression: compressionOf(head) };
  if (entry.size > smallEnough && head.subarray(257).equals(tarMagic)) deps.onTar?.(file);
  return file;
}

function digestNamedBy(name: string): Digest | undefined {
  const [, algorithm, hex] = /^blobs\/([a-z0-9]+)\/([0-9a-f]+)$/.exec(name) ?? [];
  const digest = `${algorithm}:${hex}`;
  return isDigest(digest) ? digest : undefined;
}

/** An OCI layout's blob: the path says what its digest has to be. */
async function stageNamed(
  digest: Digest,
  { name, size }: ArchiveEntry,
  body: AsyncIterable<Buffer>,
  { content, claims, lease, signal }: StageDeps,
): Promise<Digest> {
  lease.add(digest);
  const take = async () => {
    await using ingest = await content.ingest(digest, size);
    if (ingest.offset === size && size > 0) {
      // Here already. What the archive has must be the same all the same: one that lies is refused whole.
      await verify(digest, body);
      return await ingest.commit();
    }
    try {
      if (ingest.offset > 0) await ingest.restart();
      for await (const part of body) await ingest.write(part);
      await ingest.commit();
    } catch (error) {
      // The next attempt is another archive from its beginning: there is nothing to go on with.
      await ingest.discard();
      throw error;
    }
  };
  try {
    await claims.alone(blobKey(digest), take, signal);
  } catch (error) {
    if (!(error instanceof DigestMismatch)) throw error;
    throw new EngineError('invalid', refused(`${name} is not what its name says (${error.message})`).message, {
      cause: error,
    });
  }
  return digest;
}

async function verify(digest: Digest, body: AsyncIterable<Buffer>): Promise<void> {
  const digester = new Digester(digest);
  for await (const part of body) digester.update(part);
  const actual = digester.digest();
  if (actual !== digest) throw new DigestMismatch('content', digest, actual);
}

/** Small enough to be held whole while its digest is computed. */
const smallEnough = 1024 * 1024;

/** A docker-archive's layer or config: its digest is known when it has been read. */
async function stageUnnamed(
  { size }: ArchiveEntry,
  body: AsyncIterable<Buffer>,
  { content, lease, signal }: StageDeps,
): Promise<Digest> {
  if (size > smallEnough && content.receive) {
    return await content.receive(body, { size, onDigest: (digest) => lease.add(digest), signal });
  }
  const parts: Buffer[] = [];
  for await (const part of body) parts.push(part);
  const whole = Buffer.concat(parts);
  if (whole.length !== size) throw unexpectedEnd();
  const digest = new Digester().update(whole).digest();
  lease.add(digest);
  return await content.put(whole);
}
