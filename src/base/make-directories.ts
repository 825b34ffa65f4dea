import { mkdirSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { codeOf } from './errors.ts';

/**
 * mkdir(2) with this very mode. Not by chmod afterwards: whoever owns the directory above could have put a link to something
 * else there meanwhile. Synchronous, because the umask is the whole process's.
 */
export function makeDirectory(path: string, mode: number): void {
  const before = process.umask(0);
  try {
    mkdirSync(path, { mode });
  } finally {
    process.umask(before);
  }
}

/**
 * mkdir -p, with the error of the directory that could not be made. Node's own never ends where a file system refuses with
 * ENOENT, as /proc does, and says ENOENT of one that is read-only.
 */
export async function makeDirectories(path: string, mode: number): Promise<void> {
  try {
    makeDirectory(path, mode);
  } catch (error) {
    const code = codeOf(error);
    if (code === 'EEXIST' && (await isDirectory(path))) return;
    const parent = dirname(path);
    if (code !== 'ENOENT' || parent === path || (await isDirectory(parent))) throw error;
    await makeDirectories(parent, mode);
    try {
      makeDirectory(path, mode);
    } catch (again) {
      if (codeOf(again) !== 'EEXIST' || !(await isDirectory(path))) throw again;
    }
  }
}

async function isDirectory(path: string): Promise<boolean> {
  return await stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  );
}
