import { type FileHandle, mkdir, open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { syncDirectory } from '../base/atomic-file.ts';
import { EngineError } from '../base/errors.ts';
import { type Digest, Digester } from '../oci/digest.ts';
import { diskError, fullDisk, mismatch, space, tooMuch, tooShort } from './errors.ts';
import type { Ingest } from './store.ts';

/** What is hashed and written at once: few calls, and half a millisecond of the main thread for each. */
const stageSize = 512 * 1024;

export interface FileIngestDeps {
  readonly digest: Digest;
  /** -1 when unknown. */
  readonly size: number;
  /** Where the bytes gather. */
  readonly partial: string;
  /** Where the blob appears. */
  readonly target: string;
  /** Lets the next writer of this digest go on. */
  readonly release: () => void;
}

/**
 * Bytes on their way into the store. They are copied into one of two stages: while one is being written by the thread
 * pool, the other fills. The copy costs a tenth of the hash and lets the caller reuse its buffer.
 */
export class FileIngest implements Ingest {
  readonly #deps: FileIngestDeps;
  #file: FileHandle | undefined;
  #digester: Digester;
  #stage: Buffer | undefined;
  #spare: Buffer | undefined;
  #filled = 0;
  /** Bytes handed to the file: the stage's contents follow there. */
  #sent = 0;
  #writing: Promise<void> = Promise.resolve();
  #worthless = false;

  private constructor(deps: FileIngestDeps, file: FileHandle) {
    this.#deps = deps;
    this.#file = file;
    this.#digester = new Digester(deps.digest);
  }

  /** Opens or goes on with the partial file. Takes over `release`: also when it throws. */
  static async open(deps: FileIngestDeps): Promise<FileIngest> {
    let file: FileHandle | undefined;
    let ingest: FileIngest | undefined;
    try {
      file = await openPartial(deps.partial);
      ingest = new FileIngest(deps, file);
      await ingest.#takeOver();
      const free = deps.size < 0 ? undefined : await space(deps.partial);
      if (free && free.bytes < deps.size - ingest.offset)
        throw fullDisk('write', deps.partial, deps.size - ingest.offset, `only ${free.bytes} bytes are free`);
      return ingest;
    } catch (error) {
      await file?.close();
      if (ingest?.offset === 0) await rm(deps.partial, { force: true });
      deps.release();
      throw await diskError('write', deps.partial, Math.max(deps.size, 0), error);
    }
  }

  get offset(): number {
    return this.#sent + this.#filled;
  }

  /** Hashes what an earlier attempt left, or drops it when it can't be the beginning of this blob. */
  async #takeOver(): Promise<void> {
    const file = this.#opened();
    const { size } = await file.stat();
    if (size === 0) return;
    if (this.#deps.size >= 0 && size > this.#deps.size) return file.truncate(0);
    const chunk = Buffer.allocUnsafe(Math.min(size, stageSize));
    while (this.#sent < size) {
      const { bytesRead } = await file.read(chunk, 0, chunk.length, this.#sent);
      if (bytesRead === 0) break;
      this.#digester.update(chunk.subarray(0, bytesRead));
      this.#sent += bytesRead;
    }
  }

  async write(chunk: Uint8Array): Promise<void> {
    const { digest, size } = this.#deps;
    this.#opened();
    if (size >= 0 && this.offset + chunk.length > size) {
      this.#worthless = true;
      throw tooMuch(digest, size);
    }
    for (let from = 0; from < chunk.length; ) {
      this.#stage ??= Buffer.allocUnsafeSlow(size < 0 ? stageSize : Math.min(stageSize, size - this.offset));
      const part = chunk.subarray(from, from + this.#stage.length - this.#filled);
      this.#stage.set(part, this.#filled);
      this.#filled += part.length;
      from += part.length;
      if (this.#filled === this.#stage.length) await this.#send();
    }
  }

  /** Hashes the stage and starts to write it, after the write before it. A failure of either shows here or later. */
  async #send(): Promise<void> {
    const stage = this.#stage;
    if (!stage || this.#filled === 0) return this.#written();
    const bytes = stage.subarray(0, this.#filled);
    this.#digester.update(bytes);
    await this.#written();
    this.#writing = writeAll(this.#opened(), bytes, this.#sent);
    this.#writing.catch(() => {}); // #written throws it
    this.#sent += bytes.length;
    this.#filled = 0;
    this.#stage = this.#spare;
    this.#spare = stage.length === stageSize ? stage : undefined;
  }

  async #written(): Promise<void> {
    try {
      await this.#writing;
    } catch (error) {
      // A partial that fills the disk would keep the next attempt, and everybody else, from writing.
      this.#worthless = true;
      throw await diskError('write', this.#deps.partial, Math.max(this.#deps.size, this.offset), error);
    }
  }

  async #flush(): Promise<void> {
    await this.#send();
    await this.#written();
  }

  async restart(): Promise<void> {
    const file = this.#opened();
    await this.#written();
    await file.truncate(0);
    this.#digester = new Digester(this.#deps.digest);
    this.#sent = 0;
    this.#filled = 0;
    this.#stage = undefined;
  }

  async commit(): Promise<void> {
    const { digest, size, partial, target } = this.#deps;
    const file = this.#opened();
    try {
      await this.#flush();
      if (size >= 0 && this.offset !== size) throw tooShort(digest, size, this.offset);
      const actual = this.#digester.digest();
      if (actual !== digest) throw mismatch(digest, actual);
      await file.datasync();
      await mkdir(dirname(target), { recursive: true, mode: 0o700 });
      await rename(partial, target);
      await syncDirectory(dirname(target));
    } catch (error) {
      this.#worthless = true;
      throw await diskError('commit', target, this.offset, error);
    } finally {
      await this[Symbol.asyncDispose]();
    }
  }

  async discard(): Promise<void> {
    this.#worthless = true;
    await this[Symbol.asyncDispose]();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const file = this.#file;
    if (!file) return;
    try {
      // What is staged goes to the file, so that the next attempt asks for not a byte more than it needs.
      if (!this.#worthless) await this.#flush().catch(() => {});
      await this.#writing.catch(() => {});
      this.#file = undefined;
      await file.close();
      if (this.#worthless) await rm(this.#deps.partial, { force: true });
    } finally {
      this.#file = undefined;
      this.#deps.release();
    }
  }

  #opened(): FileHandle {
    if (!this.#file)
      throw new EngineError('internal', `content ${this.#deps.digest}: it is not being written any more`);
    return this.#file;
  }
}

async function openPartial(path: string): Promise<FileHandle> {
  // 'a' and its like write at the end whatever position is asked for; hence read-write, made when it isn't there.
  return await open(path, 'r+').catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error;
    return open(path, 'wx+', 0o600);
  });
}

async function writeAll(file: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
  for (let from = 0; from < bytes.length; ) {
    const { bytesWritten } = await file.write(bytes, from, bytes.length - from, position + from);
    from += bytesWritten;
  }
}
