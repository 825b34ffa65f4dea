import { statfsSync } from 'node:fs';
import { codeOf, EngineError, messageOf } from '../base/errors.ts';

/**
 * What to throw for a failed write below `path`: `unavailable` with the path and what is left when the disk is full,
 * out of inodes or over its quota, else the error as it is.
 */
export function explainWrite(error: unknown, path: string): unknown {
  const code = codeOf(error);
  if (code !== 'ENOSPC' && code !== 'EDQUOT') return error;
  return new EngineError('unavailable', `write ${path}: ${leftOn(path, code)}`, {
    cause: error,
    hint: 'free space on that file system, or remove images that are not used: docker image prune -a',
    code: 'E_NO_SPACE',
  });
}

function leftOn(path: string, code: string): string {
  if (code === 'EDQUOT') return 'disk quota exceeded';
  try {
    const { bavail, bsize, ffree, files } = statfsSync(path);
    if (files > 0 && ffree === 0) return 'no inodes left on the file system';
    return `no space left on the file system, ${bavail * bsize} bytes free`;
  } catch (error) {
    return `no space left on the file system (${messageOf(error)})`;
  }
}

/** Bytes that can still be written below `path`. */
export function freeBytes(path: string): number {
  const { bavail, bsize } = statfsSync(path);
  return bavail * bsize;
}
