import { closeSync, constants, fstatSync, lchownSync, openSync } from 'node:fs';
import { posix } from 'node:path';
import { codeOf, EngineError } from '../base/errors.ts';
import { makeDirectory } from '../base/make-directories.ts';
import { openat2, resolve } from '../sys/openat2.ts';

const how = { flags: constants.O_DIRECTORY, resolve: resolve.inRoot | resolve.noMagicLinks };

/**
 * Makes a directory and its parents, the owner's, below a root that strangers filled. Links are followed as the container sees them,
 * never out of the root: each step is made through the descriptor of the one before (S01).
 */
export function makeDirectoryInside(
  root: string,
  path: string,
  owner: { readonly uid: number; readonly gid: number } = { uid: 0, gid: 0 },
): void {
  const directory = openSync(root, constants.O_DIRECTORY);
  try {
    let made = '';
    for (const part of posix.normalize(path).split('/').filter(Boolean)) {
      made += `/${part}`;
      const fd = openOrUndefined(directory, made);
      if (fd !== undefined) {
        closeSync(fd);
        continue;
      }
      const parent = openat2(directory, posix.dirname(made), how);
      try {
        makeDirectory(`/proc/self/fd/${parent}/${part}`, 0o755);
        if (owner.uid !== 0) lchownSync(`/proc/self/fd/${parent}/${part}`, owner.uid, owner.gid);
      } catch (error) {
        // There, and yet not to be opened as a directory: a file, or a link to nowhere.
        if (codeOf(error) === 'EEXIST') throw new EngineError('invalid', `Cannot mkdir: ${made} is not a directory`);
        throw error;
      } finally {
        closeSync(parent);
      }
    }
  } finally {
    closeSync(directory);
  }
}

function openOrUndefined(root: number, path: string): number | undefined {
  try {
    return openat2(root, path, how);
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined;
    if (codeOf(error) === 'ENOTDIR') throw new EngineError('invalid', `Cannot mkdir: ${path} is not a directory`);
    throw error;
  }
}

/**
 * A directory below `root` for as long as `use` runs, as a path that stands for the directory itself and not for its
 * name. Undefined when it is not there or is no directory.
 */
export async function withDirectoryInside<T>(
  root: string,
  path: string,
  use: (path: string) => Promise<T>,
): Promise<T | undefined> {
  const directory = openSync(root, constants.O_DIRECTORY);
  let fd: number;
  try {
    fd = openat2(directory, path, how);
  } catch (error) {
    if (['ENOENT', 'ENOTDIR', 'ELOOP'].includes(codeOf(error) ?? '')) return undefined;
    throw error;
  } finally {
    closeSync(directory);
  }
  try {
    return fstatSync(fd).isDirectory() ? await use(`/proc/${process.pid}/fd/${fd}`) : undefined;
  } finally {
    closeSync(fd);
  }
}

const onlyPath = 0o10000000;

/**
 * Opens whatever is at `path` below `root`, for its place alone: its name may lead elsewhere a moment later. Undefined
 * when nothing is there.
 */
export function openInside(root: string, path: string): number | undefined {
  const directory = openSync(root, constants.O_DIRECTORY);
  try {
    return openat2(directory, path, { flags: onlyPath, resolve: resolve.inRoot | resolve.noMagicLinks });
  } catch (error) {
    if (['ENOENT', 'ENOTDIR', 'ELOOP'].includes(codeOf(error) ?? '')) return undefined;
    throw error;
  } finally {
    closeSync(directory);
  }
}
