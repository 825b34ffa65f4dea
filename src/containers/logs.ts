import { EngineError } from '../base/errors.ts';
import type { LogOptions } from './containers.ts';
import { logAttributes } from './log-attributes.ts';
import { isUnreadable } from './log-config.ts';
import { openLog, openTail } from './log-files.ts';
import { LogFormatter } from './log-format.ts';
import { walkLog } from './log-walk.ts';
import type { Room } from './room.ts';

/** Throws before the first chunk when there is no log to read. */
export function readLogs(room: Room, name: string, options: LogOptions): AsyncIterable<Buffer> {
  const container = room.store.get(name);
  if (isUnreadable(container.hostConfig.LogConfig))
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
  const { tty, details } = room.removedLogs.get(id);
  const formatter = new LogFormatter({ ...options, tty, details: options.details ? details : undefined });
  const lines = async function* () {
    await using log = await room.removedLogs.open(id);
    yield* readLog(log.path, formatter, { ...options, ended: undefined });
  };
  return { tty, lines: lines() };
}

export interface ReadLogOptions {
  readonly tail: number | undefined;
  readonly signal: AbortSignal;
  /** Followed until this resolves and everything written before was read; undefined: not followed. */
  readonly ended: Promise<unknown> | undefined;
  /** Asked for before the first look: while it is held, rotation leaves the reader time. */
  readonly keep?: (() => Promise<Disposable>) | undefined;
}

export async function* readLog(
  path: string,
  formatter: LogFormatter,
  { tail, signal, ended, keep }: ReadLogOptions,
): AsyncGenerator<Buffer, void, undefined> {
  using _kept = await keep?.();
  const start = tail === undefined ? { files: await openLog(path), position: 0 } : await openTail(path, tail);
  for await (const { data } of walkLog(path, { start, signal, ended })) {
    if (data.length === 0) {
      formatter.endOfFile();
      continue;
    }
    const out = formatter.feed(data);
    if (out.length > 0) yield out;
    if (formatter.done) return;
  }
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
