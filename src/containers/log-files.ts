import { type FileHandle, open, readdir, stat } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import { promisify } from 'node:util';
import { gunzip } from 'node:zlib';
import { codeOf } from '../base/errors.ts';
import { PackedLog, type PackedSource } from './log-pack.ts';

/** A log file that is read: the current one, or one that was rotated away. */
export interface LogFile extends AsyncDisposable {
  /** 0 at the end. */
  read(into: Buffer, position: number): Promise<number>;
  readonly size: number;
  /** As it is now. */
  length(): Promise<number>;
  readonly inode: bigint;
  /** Of a packed one: the file it was made of. */
  readonly source: PackedSource | undefined;
  /** Of its last change, nanoseconds since 1970. */
  changed(): Promise<bigint>;
}

const mostInflated = 512 * 1024 * 1024;

export async function openLogFile(path: string): Promise<LogFile | undefined> {
  let handle: FileHandle;
  try {
    handle = await open(path, 'r');
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined;
    throw error;
  }
  const { size, ino } = await handle.stat({ bigint: true });
  const changed = async () => (await handle.stat({ bigint: true })).mtimeNs;
  const common = { inode: ino, changed, [Symbol.asyncDispose]: () => handle.close() };
  if (!path.endsWith('.gz'))
    return {
      ...common,
      source: undefined,
      size: Number(size),
      length: async () => (await handle.stat()).size,
      read: async (into, position) => (await handle.read(into, 0, into.length, position)).bytesRead,
    };
  try {
    const packed = await PackedLog.open(handle, Number(size));
    if (packed)
      return {
        ...common,
        source: packed.source,
        size: packed.size,
        length: async () => packed.size,
        read: (into, position) => packed.read(into, position),
      };
    // Of somebody else: it can only be read from its start.
    const content = await promisify(gunzip)(await handle.readFile(), { maxOutputLength: mostInflated });
    return {
      ...common,
      source: undefined,
      size: content.length,
      length: async () => content.length,
      read: async (into, position) => content.copy(into, 0, position),
    };
  } catch (error) {
    await handle.close();
    throw error;
  }
}

/**
 * The log and what was rotated away, oldest first: `x.log.2.gz`, `x.log.1`, `x.log`. With `after`, only what goes on where
 * that file ends; all there is when it was rotated out of existence. With `enough`, no older ones than it asks for.
 *
 * From the newest to the oldest, the way that a rotation moves them: one in between shows a file again and hides none. What
 * was seen between the two is newer than it or comes again. A rotation leaves one number free for a moment; what is open
 * cannot lend its inode to another.
 */
export async function openLog(
  path: string,
  {
    after,
    enough,
  }: { readonly after?: LogFile | undefined; readonly enough?: (oldest: LogFile) => Promise<boolean> } = {},
): Promise<LogFile[]> {
  const files: LogFile[] = [];
  let last: number | undefined;
  for (let number = 0, missing = 0; missing < 2 || number <= (last ??= await highestNumber(path)); number++) {
    const file = await openNumbered(path, number);
    missing = file ? 0 : missing + 1;
    if (!file) continue;
    if (after && (await isSame(file, after))) {
      await file[Symbol.asyncDispose]();
      break;
    }
    const at = await indexOf(files, file);
    const again = at < 0 ? [] : [file, ...files.splice(at + 1)];
    for (const each of again) await each[Symbol.asyncDispose]();
    if (at >= 0) continue;
    files.push(file);
    if (await enough?.(file)) break;
  }
  return files.reverse();
}

/** Also when the one was packed and the other is from before. Both are open, so that neither lends its inode to another. */
async function isSame(a: LogFile, b: LogFile): Promise<boolean> {
  if (a.inode === b.inode) return true;
  const madeOf = async ({ source }: LogFile, plain: LogFile) =>
    source?.inode === plain.inode && source.changed === (await plain.changed());
  if (a.source && b.source) return a.source.inode === b.source.inode && a.source.changed === b.source.changed;
  return (await madeOf(a, b)) || (await madeOf(b, a));
}

async function indexOf(files: readonly LogFile[], wanted: LogFile): Promise<number> {
  for (const [at, file] of files.entries()) if (await isSame(file, wanted)) return at;
  return -1;
}

async function openNumbered(path: string, number: number): Promise<LogFile | undefined> {
  if (number === 0) return openLogFile(path);
  return (await openLogFile(`${path}.${number}`)) ?? openLogFile(`${path}.${number}.gz`);
}

/** Of a log from somewhere else, whose numbers may have gaps. */
async function highestNumber(path: string): Promise<number> {
  const name = `${basename(path)}.`;
  const entries = await readdir(dirname(path)).catch(() => []);
  const numbers = entries.map((entry) =>
    entry.startsWith(name) ? /^(\d{1,4})(\.gz)?$/.exec(entry.slice(name.length)) : null,
  );
  return Math.max(0, ...numbers.map((found) => Number(found?.[1] ?? 0)));
}

export async function inodeOf(path: string): Promise<bigint | undefined> {
  return stat(path, { bigint: true }).then(
    ({ ino }) => ino,
    () => undefined,
  );
}

/** Of a tail: the first look, and the longest. */
const firstBlock = 16 * 1024;
const longestBlock = 256 * 1024;

/** The files that hold the last `lines` lines, oldest first, and where in the first of them they start. Read from the end. */
export async function openTail(path: string, lines: number): Promise<{ files: LogFile[]; position: number }> {
  let position = 0;
  // The newline that ends the last line is not one between two lines.
  let wanted = lines + 1;
  const files = await openLog(path, {
    enough: async (file) => {
      position = lines <= 0 ? file.size : 0;
      if (lines <= 0) return true;
      let length = firstBlock;
      for (let end = file.size; end > 0; length = Math.min(longestBlock, length * 4)) {
        const start = Math.max(0, end - length);
        const buffer = Buffer.allocUnsafe(end - start);
        const got = await readWhole(file, buffer, start);
        for (let at = got - 1; at >= 0 && (at = buffer.lastIndexOf(10, at)) >= 0; at--)
          if (--wanted === 0) {
            position = start + at + 1;
            return true;
          }
        end = start;
      }
      return false;
    },
  });
  return { files, position };
}

async function readWhole(file: LogFile, into: Buffer, position: number): Promise<number> {
  let done = 0;
  while (done < into.length) {
    const got = await file.read(into.subarray(done), position + done);
    if (got === 0) break;
    done += got;
  }
  return done;
}
