import { type FSWatcher, watch } from 'node:fs';
import { dirname } from 'node:path';
import { inodeOf, type LogFile, openLog } from './log-files.ts';

export interface WalkOptions {
  /** Where it begins; the files are closed by the walk. */
  readonly start: { readonly files: readonly LogFile[]; readonly position: number };
  readonly signal: AbortSignal;
  /** Followed until this resolves and everything written before was read; undefined: not followed. */
  readonly ended: Promise<unknown> | undefined;
  /** Bytes of the pieces. */
  readonly block?: number;
}

export interface LogPiece {
  readonly file: LogFile;
  /** Only until the next step. Empty at the end of a file that another one follows, or that was emptied. */
  readonly data: Buffer;
  /** Where in the file it ends. */
  readonly end: number;
}

/** Reads a log on from file to file, also while it is written and rotated. */
export async function* walkLog(
  path: string,
  { start, signal, ended, block = 256 * 1024 }: WalkOptions,
): AsyncGenerator<LogPiece, void, undefined> {
  await using open = new OpenFiles(start.files);
  // Before the first look, so that nothing is missed between a look and the waiting.
  using change = ended ? new Change(dirname(path), ended, signal) : undefined;
  const buffer = Buffer.allocUnsafe(block);
  let position = start.position;

  async function* rest(file: LogFile): AsyncGenerator<LogPiece, void, undefined> {
    for (;;) {
      const length = await file.read(buffer, position);
      if (length === 0 || signal.aborted) return;
      position += length;
      yield { file, data: buffer.subarray(0, length), end: position };
    }
  }
  const atEnd = (file: LogFile): LogPiece => ({ file, data: buffer.subarray(0, 0), end: position });

  for (;;) {
    // Asked before the reading: what was written before the end is read after it.
    const over = !change || change.over;
    change?.reset();
    const current = open.files[0];
    if (current) yield* rest(current);
    if (signal.aborted) return;
    if (change && current && (await current.length()) < position) {
      // A log of one file is emptied when it is full.
      yield atEnd(current);
      position = 0;
      continue;
    }
    if (change && open.files.length <= 1) open.add(await newer(path, current));
    if (open.files.length > (current ? 1 : 0)) {
      // Between the last read and the rotation something may have been written.
      if (current) yield* rest(current);
      if (signal.aborted) return;
      if (current) yield atEnd(current);
      position = 0;
      if (current) await open.drop(1);
      continue;
    }
    if (over) return;
    await change?.next();
  }
}

/** The files that go on where `current` was rotated away, oldest first; none while it is the newest. */
async function newer(path: string, current: LogFile | undefined): Promise<LogFile[]> {
  const inode = await inodeOf(path);
  if (inode === undefined || inode === current?.inode) return [];
  // Rotated out of existence, the oldest that is left is the nearest.
  return openLog(path, { after: current });
}

/** The file that is read, and those after it: held open, so that a rotation cannot take them away. */
class OpenFiles implements AsyncDisposable {
  readonly files: LogFile[];

  constructor(files: readonly LogFile[]) {
    this.files = [...files];
  }

  add(files: readonly LogFile[]): void {
    this.files.push(...files);
  }

  async drop(count: number): Promise<void> {
    for (const file of this.files.splice(0, count)) await file[Symbol.asyncDispose]();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const file of this.files.splice(0)) await file[Symbol.asyncDispose]();
  }
}

/** Wakes the reader when something happened in the log's folder, when the container ended, and when nobody reads. */
class Change implements Disposable {
  readonly #watcher: FSWatcher;
  readonly #signal: AbortSignal;
  #changed = false;
  #wake: (() => void) | undefined;
  over = false;

  constructor(directory: string, ended: Promise<unknown>, signal: AbortSignal) {
    this.#signal = signal;
    this.#watcher = watch(directory, { persistent: false }, this.#note);
    this.#watcher.on('error', this.#note);
    signal.addEventListener('abort', this.#note);
    void ended.then(() => {
      this.over = true;
      this.#note();
    });
  }

  reset(): void {
    this.#changed = false;
  }

  async next(): Promise<void> {
    if (this.#changed) return;
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
    });
  }

  [Symbol.dispose](): void {
    this.#watcher.close();
    this.#signal.removeEventListener('abort', this.#note);
  }

  readonly #note = (): void => {
    this.#changed = true;
    this.#wake?.();
    this.#wake = undefined;
  };
}
