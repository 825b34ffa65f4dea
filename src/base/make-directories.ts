import { mkdir, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { codeOf } from './errors.ts';

/**
 * mkdir -p, with the error of the directory that could not be made. Node's own never ends where a file system refuses with
 * ENOENT, as /proc does, and says ENOENT of one that is read-only. Returns the uppermost that was made, if any.
 */
export async function makeDirectories(path: string, mode: number): Promise<string | undefined> {
  try {
    await mkdir(path, { mode });
    return path;
  } catch (error) {
    const code = codeOf(error);
    if (code === 'EEXIST' && (await isDirectory(path))) return undefined;
    const parent = dirname(path);
    if (code !== 'ENOENT' || parent === path || (await isDirectory(parent))) throw error;
    const above = await makeDirectories(parent, mode);
    try {
      await mkdir(path, { mode });
      return above ?? path;
    } catch (again) {
      if (codeOf(again) !== 'EEXIST' || !(await isDirectory(path))) throw again;
      return above;
    }
  }
}

async function isDirectory(path: string): Promise<boolean> {
  return await stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  );
}
