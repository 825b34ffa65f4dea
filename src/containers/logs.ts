import { type FSWatcher, watch } from 'node:fs';
import { dirname } from 'node:path';
import { EngineError } from '../base/errors.ts';
import type { LogOptions } from './containers.ts';
import { logAttributes } from './log-attributes.ts';
import { inodeOf, type LogFile, openLog, openTail } from './log-files.ts';
import { LogFormatter } from './log-format.ts';
import type { Room } from './room.ts';

/** Throws before the first chunk when there is no log to read. */
export function readLogs(room: Room, name: string, options: LogOptions): AsyncIterable<Buffer> {
  const container = room.store.get(name);
  if (container.hostConfig.LogConfig.Type === 'none')
    throw new EngineError('unsupported', 'configured logging driver does not support reading');
  const formatter = new LogFormatter({
    ...options,
    tty: container.config.Tty,
    details: options.details ? detailsOf(container) : undefined,
  });
  // What does not run now writes nothing more: its log is read to the end, also when it is followed.
  const live = options.follow ? room.live.get(container.id) : undefined;
  return readLog(container.files.log, formatter, {
    ...options,
    ended: live?.ended,
    keep: live && (() => live.task.keepLog()),
  });
}

/** Of a container that is gone, while its log is kept. Throws `not-found`. */
export function readRemovedLog(room: Room, id: string, options: LogOptions) {
  const { log, tty, details } = room.removedLogs.get(id);
  const formatter = new LogFormatter({ ...options, tty, details: options.details ? details : undefined });
  return { tty, lines: readLog(log, formatter, { ...options, ended: undefined }) };
}

export interface ReadLogOptions {
  readonly tail: number | undefined;
  readonly signal: AbortSignal;
  /** Followed until this resolves and everything written before was read; undefined: not followed. */
  readonly ended: Promise<unknown> | undefined;
  /** Asked for before the first look: while it is held, rotation leaves the reader time. */
  readonly keep?: (() => Promise<Disposable>) | undefined;
}

const block = 256 * 1024;

export async function* readLog(
  path: string,
  formatter: LogFormatter,
  { tail, signal, ended, keep }: ReadLogOptions,
): AsyncGenerator<Buffer, void, undefined> {
  using _kept = await keep?.();
  // Before the first look, so that nothing is missed between a look and the waiting.
  using change = ended ? new Change(dirname(path), ended, signal) : undefined;
  const start = tail === undefined ? { files: await openLog(path), position: 0 } : await openTail(path, tail);
  await using open = new OpenFiles(start.files);
  const buffer = Buffer.allocUnsafe(block);
  let position = start.position;

  async function* rest(file: LogFile): AsyncGenerator<Buffer, void, undefined> {
    for (;;) {
      const length = await file.read(buffer, position);
      if (length === 0 || signal.aborted) return;
      position += length;
      const out = formatter.feed(buffer.subarray(0, length));
      if (out.length > 0) yield out;
      if (formatter.done) return;
    }
  }

  for (;;) {
    // Asked before the reading: what was written before the end is read after it.
    const over = !change || change.over;
    change?.reset();
    const current = open.files[0];
    if (current) yield* rest(current);
    if (formatter.done || signal.aborted) return;
    if (change && current && (await current.length()) < position) {
      // A log of one file is emptied when it is full.
      formatter.endOfFile();
      position = 0;
      continue;
    }
    if (change && open.files.length <= 1) open.add(await newer(path, current));
    if (open.files.length > (current ? 1 : 0)) {
      // Between the last read and the rotation something may have been written.
      if (current) yield* rest(current);
      if (formatter.done || signal.aborted) return;
      formatter.endOfFile();
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

  constructor(files: LogFile[]) {
    this.files = files;
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

/** `k=v,k2=v2` of the labels, the variables and the tag that the log options name, as Docker writes them. */
export function detailsOf(container: Parameters<typeof logAttributes>[0]): string {
  return Object.entries(logAttributes(container) ?? {})
    .map(([key, value]) => `${escape(key)}=${escape(value)}`)
    .join(',');
}

/** As a query string has it: a blank is a plus. */
function escape(text: string): string {
  return encodeURIComponent(text)
    .replace(/%20/g, '+')
    .replace(/[!'()*]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`);
}
