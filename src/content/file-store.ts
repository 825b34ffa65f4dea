import { createReadStream, statSync } from 'node:fs';
import { mkdir, readdir, readFile, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import type { DiskUsage } from '../base/disk-usage.ts';
import { codeOf } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import { type Digest, Digester, digestOf, hexOf, isDigest } from '../oci/digest.ts';
import { DigestLock } from './digest-lock.ts';
import { diskError, mismatch, noSuchBlob, tooLarge } from './errors.ts';
import { FileIngest } from './file-ingest.ts';
import { PresentIngest } from './present-ingest.ts';
import { receive, receivePrefix } from './receive.ts';
import type { ContentStore, Ingest, ReceiveOptions } from './store.ts';

/** How long bytes of a broken transfer wait for its next attempt. */
const partialLife = 7 * 24 * 60 * 60 * 1000;
const readLimit = 4 * 1024 * 1024;

export interface FileContentStoreDeps {
  /** The folder that is this store's alone: `blobs/<algorithm>/<hex>`, and `ingest/` for what is on its way. */
  readonly root: string;
  readonly log: Log;
}

/** Blobs as files. A name below `blobs/` appears by a rename of a file that was verified and synced before. */
export class FileContentStore implements ContentStore {
  readonly #deps: FileContentStoreDeps;
  readonly #lock = new DigestLock();
  #ready: Promise<void> | undefined;

  constructor(deps: FileContentStoreDeps) {
    this.#deps = deps;
  }

  async has(digest: Digest): Promise<boolean> {
    return (await this.size(digest)) !== undefined;
  }

  async size(digest: Digest): Promise<number | undefined> {
    try {
      const found = await stat(this.#fileOf(digest));
      return found.isFile() ? found.size : undefined;
    } catch (error) {
      if (isAbsent(error)) return undefined;
      throw await diskError('read', this.#fileOf(digest), 0, error);
    }
  }

  path(digest: Digest): string {
    const path = this.#fileOf(digest);
    if (!statSync(path, { throwIfNoEntry: false })?.isFile()) throw noSuchBlob(digest);
    return path;
  }

  async read(digest: Digest, limit = readLimit): Promise<Buffer> {
    const size = await this.size(digest);
    if (size === undefined) throw noSuchBlob(digest);
    if (size > limit) throw tooLarge(digest, size, limit);
    const content = await readFile(this.#fileOf(digest)).catch(async (error) => {
      throw isAbsent(error) ? noSuchBlob(digest, error) : await diskError('read', this.#fileOf(digest), size, error);
    });
    const actual = new Digester(digest).update(content).digest();
    if (actual !== digest) throw mismatch(digest, actual);
    return content;
  }

  open(digest: Digest, { start = 0, end }: { start?: number; end?: number } = {}): Readable {
    const path = this.path(digest);
    // Node counts the end in, and has no way to say "nothing".
    if (end !== undefined && end <= start) return createReadStream('/dev/null');
    return createReadStream(path, {
      start,
      ...(end === undefined ? {} : { end: end - 1 }),
      highWaterMark: 512 * 1024,
    });
  }

  async ingest(digest: Digest, size: number, { signal }: { readonly signal?: AbortSignal } = {}): Promise<Ingest> {
    const release = await this.#lock.acquire(digest, signal);
    try {
      const present = await this.size(digest);
      if (present !== undefined && (size < 0 || present === size)) {
        release();
        return new PresentIngest(digest, present);
      }
      if (present !== undefined) {
        // Cut short by something that is not us: what comes now replaces it.
        this.#deps.log.warn('a blob has the wrong size and is fetched again', {
          digest,
          size: present,
          expected: size,
        });
        await rm(this.#fileOf(digest), { force: true });
      }
      await this.#prepare();
    } catch (error) {
      release();
      throw error;
    }
    return await FileIngest.open({
      digest,
      size,
      partial: this.#partialOf(digest),
      target: this.#fileOf(digest),
      release,
    });
  }

  async put(content: Uint8Array): Promise<Digest> {
    const digest = digestOf(content);
    await using ingest = await this.ingest(digest, content.byteLength);
    // What an earlier attempt left is not worth hashing: everything is at hand.
    if (ingest.offset > 0) await ingest.restart();
    await ingest.write(content);
    await ingest.commit();
    return digest;
  }

  async receive(body: AsyncIterable<Uint8Array>, options: ReceiveOptions): Promise<Digest> {
    await this.#prepare();
    const folder = join(this.#deps.root, 'ingest');
    return await receive({ folder, targetOf: (digest) => this.#fileOf(digest) }, body, options);
  }

  async remove(digest: Digest): Promise<void> {
    await rm(this.#fileOf(digest), { force: true });
  }

  async digests(): Promise<readonly Digest[]> {
    const found: Digest[] = [];
    for (const algorithm of await names(join(this.#deps.root, 'blobs')))
      for (const hex of await names(join(this.#deps.root, 'blobs', algorithm))) {
        const digest = `${algorithm}:${hex}`;
        if (isDigest(digest)) found.push(digest);
      }
    return found;
  }

  async measure(usage: DiskUsage): Promise<void> {
    await usage.add(this.#deps.root);
  }

  /** Drops the bytes of transfers that nobody has gone on with for a week. Runs by itself before the first ingest. */
  async sweep(now = Date.now()): Promise<void> {
    const folder = join(this.#deps.root, 'ingest');
    for (const name of await names(folder)) {
      const path = join(folder, name);
      const found = await stat(path).catch(() => undefined);
      if (!found || now - found.mtimeMs < partialLife) continue;
      this.#deps.log.info('dropped what an old transfer left', { path, bytes: found.size });
      await rm(path, { force: true, recursive: true });
    }
  }

  /** Takes away what a crash left that nobody can go on with. What uses the store does it first, too. */
  recover(): Promise<void> {
    return this.#prepare();
  }

  #prepare(): Promise<void> {
    this.#ready ??= this.#makeFolders().catch((error) => {
      this.#ready = undefined; // the disk may have room next time
      throw error;
    });
    return this.#ready;
  }

  async #makeFolders(): Promise<void> {
    const { root } = this.#deps;
    for (const folder of [join(root, 'blobs', 'sha256'), join(root, 'ingest')])
      await mkdir(folder, { recursive: true, mode: 0o700 }).catch(async (error) => {
        throw await diskError('mkdir', folder, 0, error);
      });
    for (const name of await names(join(root, 'ingest')))
      if (name.startsWith(receivePrefix)) await rm(join(root, 'ingest', name), { force: true });
    await this.sweep();
  }

  #fileOf(digest: Digest): string {
    return join(this.#deps.root, 'blobs', digest.slice(0, digest.indexOf(':')), hexOf(digest));
  }

  #partialOf(digest: Digest): string {
    return join(this.#deps.root, 'ingest', digest.replace(':', '-'));
  }
}

function isAbsent(error: unknown): boolean {
  const code = codeOf(error);
  return code === 'ENOENT' || code === 'ENOTDIR';
}

async function names(folder: string): Promise<string[]> {
  return await readdir(folder).catch((error) => {
    if (isAbsent(error)) return [];
    throw error;
  });
}
