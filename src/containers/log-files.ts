import { type FileHandle, open, readdir, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { gunzip } from 'node:zlib';
import { codeOf } from '../base/errors.ts';

/** A log file that is read: the current one, or one that was rotated away. */
export interface LogFile extends AsyncDisposable {
  /** 0 at the end. */
  read(into: Buffer, position: number): Promise<number>;
  readonly size: number;
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
      read: async (into, position) => (await handle.read(into, 0, into.length, position)).bytesRead,
      [Symbol.asyncDispose]: () => handle.close(),
    };
  try {
    const content = await promisify(gunzip)(await handle.readFile(), { maxOutputLength: mostInflated });
    return {
      size: content.length,
      inode: ino,
      read: async (into, position) => content.copy(into, 0, position),
      [Symbol.asyncDispose]: () => handle.close(),
    };
  } catch (error) {
    await handle.close();
    throw error;
  }
}

/** The log with what was rotated away, oldest first: `x.log.2.gz`, `x.log.1`, `x.log`. */
export async function logPaths(path: string): Promise<readonly string[]> {
  const name = basename(path);
  const numbered = (await readdir(dirname(path)).catch(() => [])).flatMap((entry) => {
    const number = entry.startsWith(`${name}.`) ? /^(\d+)(\.gz)?$/.exec(entry.slice(name.length + 1)) : null;
    return number ? [{ number: Number(number[1]), path: join(dirname(path), entry) }] : [];
  });
  return [...numbered.sort((a, b) => b.number - a.number).map((entry) => entry.path), path];
}

/** All of them open and of one moment: a rotation in between starts it over. */
export async function openLog(path: string): Promise<LogFile[]> {
  for (let round = 0; ; round++) {
    const files: LogFile[] = [];
    for (const each of await logPaths(path)) {
      const file = await openLogFile(each);
      if (file) files.push(file);
    }
    // The files are held open, so that none of their inodes can have become another file's meanwhile.
    const now = await Promise.all((await logPaths(path)).map(inodeOf));
    const there = now.filter((inode) => inode !== undefined);
    if ((there.length === files.length && there.every((inode, at) => inode === files[at]!.inode)) || round === 20)
      return files;
    for (const file of files) await file[Symbol.asyncDispose]();
  }
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
