import { type FileHandle, open, readdir, stat } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import { promisify } from 'node:util';
import { gunzip } from 'node:zlib';
import { codeOf } from '../base/errors.ts';

/** A log file that is read: the current one, or one that was rotated away. */
export interface LogFile extends AsyncDisposable {
  /** 0 at the end. */
  read(into: Buffer, position: number): Promise<number>;
  readonly size: number;
  /** As it is now. */
  length(): Promise<number>;
  /** Tells it from another file of the same name. */
  readonly inode: bigint;
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
  if (!path.endsWith('.gz'))
    return {
      size: Number(size),
      inode: ino,
      length: async () => (await handle.stat()).size,
      read: async (into, position) => (await handle.read(into, 0, into.length, position)).bytesRead,
      [Symbol.asyncDispose]: () => handle.close(),
    };
  try {
    const content = await promisify(gunzip)(await handle.readFile(), { maxOutputLength: mostInflated });
    return {
      size: content.length,
      inode: ino,
      length: async () => content.length,
      read: async (into, position) => content.copy(into, 0, position),
      [Symbol.asyncDispose]: () => handle.close(),
    };
  } catch (error) {
    await handle.close();
    throw error;
  }
}

/**
 * The log and what was rotated away, oldest first: `x.log.2.gz`, `x.log.1`, `x.log`. With `after`, only what goes on where
 * that file ends; all there is when it was rotated out of existence.
 *
 * From the newest to the oldest, the way that a rotation moves them: one in between shows a file again and hides none. What
 * was seen between the two is newer than it or comes again. A rotation leaves one number free for a moment; what is open
 * cannot lend its inode to another.
 */
export async function openLog(
  path: string,
  { after }: { readonly after?: LogFile | undefined } = {},
): Promise<LogFile[]> {
  const files: LogFile[] = [];
  const last = await highestNumber(path);
  for (let number = 0, missing = 0; number <= last || missing < 2; number++) {
    const file = await openNumbered(path, number);
    missing = file ? 0 : missing + 1;
    if (!file) continue;
    if (file.inode === after?.inode) {
      await file[Symbol.asyncDispose]();
      break;
    }
    const at = files.findIndex(({ inode }) => inode === file.inode);
    const again = at < 0 ? [] : [file, ...files.splice(at + 1)];
    for (const each of again) await each[Symbol.asyncDispose]();
    if (at < 0) files.push(file);
  }
  return files.reverse();
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

const block = 256 * 1024;

/** Where the last `lines` lines start: the file, counted from the oldest, and the place in it. Read from the end. */
export async function tailStart(files: readonly LogFile[], lines: number): Promise<{ file: number; position: number }> {
  if (lines <= 0) return { file: files.length - 1, position: files.at(-1)?.size ?? 0 };
  const buffer = Buffer.allocUnsafe(block);
  // The newline that ends the last line is not one between two lines.
  let wanted = lines + 1;
  for (let file = files.length - 1; file >= 0; file--) {
    for (let end = files[file]!.size; end > 0; ) {
      const start = Math.max(0, end - block);
      const length = await files[file]!.read(buffer.subarray(0, end - start), start);
      for (
        let at = buffer.lastIndexOf(10, length - 1);
        at >= 0 && length > 0;
        at = at > 0 ? buffer.lastIndexOf(10, at - 1) : -1
      )
        if (--wanted === 0) return { file, position: start + at + 1 };
      end = start;
    }
  }
  return { file: 0, position: 0 };
}
