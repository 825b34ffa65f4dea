import { Readable } from 'node:stream';
import { EngineError } from '../base/errors.ts';
import { type Digest, Digester, digestOf } from '../oci/digest.ts';
import { DigestLock } from './digest-lock.ts';
import { mismatch, noSuchBlob, tooLarge, tooMuch, tooShort } from './errors.ts';
import { PresentIngest } from './present-ingest.ts';
import type { ContentStore, Ingest } from './store.ts';

/** Blobs in memory, for tests. It has no files, so `path` is refused. */
export class MemoryContentStore implements ContentStore {
  readonly #blobs = new Map<Digest, Buffer>();
  readonly #partials = new Map<Digest, Buffer>();
  readonly #lock = new DigestLock();

  async has(digest: Digest): Promise<boolean> {
    return this.#blobs.has(digest);
  }

  async size(digest: Digest): Promise<number | undefined> {
    return this.#blobs.get(digest)?.length;
  }

  path(digest: Digest): string {
    this.#get(digest);
    throw new EngineError('unsupported', `content ${digest}: it is in memory and has no file`);
  }

  async read(digest: Digest, limit = 4 * 1024 * 1024): Promise<Buffer> {
    const blob = this.#get(digest);
    if (blob.length > limit) throw tooLarge(digest, blob.length, limit);
    return Buffer.from(blob);
  }

  open(digest: Digest, { start, end }: { start?: number; end?: number } = {}): Readable {
    return Readable.from([this.#get(digest).subarray(start, end)], { objectMode: false });
  }

  async ingest(digest: Digest, size: number, { signal }: { readonly signal?: AbortSignal } = {}): Promise<Ingest> {
    const release = await this.#lock.acquire(digest, signal);
    const present = this.#blobs.get(digest);
    if (present) {
      release();
      return new PresentIngest(digest, present.length);
    }
    let content = this.#partials.get(digest) ?? Buffer.alloc(0);
    const end = (kept: boolean) => {
      if (kept && content.length > 0) this.#partials.set(digest, content);
      else this.#partials.delete(digest);
      release();
    };
    return {
      get offset() {
        return content.length;
      },
      write: async (chunk) => {
        if (size >= 0 && content.length + chunk.length > size) {
          content = Buffer.alloc(0);
          throw tooMuch(digest, size);
        }
        content = Buffer.concat([content, chunk]);
      },
      restart: async () => {
        content = Buffer.alloc(0);
      },
      commit: async () => {
        const whole = content;
        content = Buffer.alloc(0);
        end(false);
        if (size >= 0 && whole.length !== size) throw tooShort(digest, size, whole.length);
        const actual = new Digester(digest).update(whole).digest();
        if (actual !== digest) throw mismatch(digest, actual);
        this.#blobs.set(digest, whole);
      },
      discard: async () => {
        content = Buffer.alloc(0);
        end(false);
      },
      [Symbol.asyncDispose]: async () => end(true),
    };
  }

  async put(content: Uint8Array): Promise<Digest> {
    const digest = digestOf(content);
    this.#blobs.set(digest, Buffer.from(content));
    return digest;
  }

  async remove(digest: Digest): Promise<void> {
    this.#blobs.delete(digest);
  }

  async digests(): Promise<readonly Digest[]> {
    return [...this.#blobs.keys()];
  }

  /** Nothing of it is on a disk. */
  async measure(): Promise<void> {}

  #get(digest: Digest): Buffer {
    const blob = this.#blobs.get(digest);
    if (!blob) throw noSuchBlob(digest);
    return blob;
  }
}
