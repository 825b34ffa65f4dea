import { statfs } from 'node:fs/promises';
import { codeOf, EngineError, messageOf } from '../base/errors.ts';
import { type Digest, DigestMismatch } from '../oci/digest.ts';

export function noSuchBlob(digest: Digest, cause?: unknown): EngineError {
  return new EngineError('not-found', `content ${digest}: not found`, { cause });
}

export function tooLarge(digest: Digest, size: number, limit: number): EngineError {
  return new EngineError(
    'invalid',
    `content ${digest}: ${size} bytes are more than the ${limit} that are read at once`,
  );
}

export function tooMuch(digest: Digest, size: number): EngineError {
  return new EngineError('corrupt', `content ${digest}: more than the expected ${size} bytes came`);
}

export function tooShort(digest: Digest, size: number, actual: number): EngineError {
  return new EngineError('corrupt', `content ${digest}: only ${actual} of ${size} bytes came`);
}

export function mismatch(digest: Digest, actual: Digest): DigestMismatch {
  return new DigestMismatch('content', digest, actual);
}

/** Says which of space and inodes ran out: the kernel has one error for both, and the cures differ (R05, R06). */
export async function diskError(doing: string, path: string, bytes: number, cause: unknown): Promise<EngineError> {
  if (cause instanceof EngineError) return cause;
  const code = codeOf(cause);
  if (code === 'EDQUOT') return fullDisk(doing, path, bytes, 'disk quota exceeded', cause);
  if (code !== 'ENOSPC') return new EngineError('internal', `${doing} ${path}: ${code ?? messageOf(cause)}`, { cause });
  const free = await space(path);
  if (free && free.inodes === 0 && free.bytes > 0)
    return new EngineError('unavailable', `${doing} ${path}: no inodes left`, {
      cause,
      hint: 'the file system has room but no more files can be made: remove images that are not used (docker image prune -a)',
      code: 'E_NO_SPACE',
    });
  return fullDisk(doing, path, bytes, `no space left on device (${free?.bytes ?? 0} bytes free)`, cause);
}

export function fullDisk(doing: string, path: string, bytes: number, why: string, cause?: unknown): EngineError {
  return new EngineError('unavailable', `${doing} ${path} (${bytes} bytes): ${why}`, {
    cause,
    hint: 'free space on that file system, for instance with docker system prune, and try again',
    code: 'E_NO_SPACE',
  });
}

/** What is free on the file system of `path` or of the nearest directory above that exists. */
export async function space(path: string): Promise<{ bytes: number; inodes: number } | undefined> {
  for (let at = path; ; at = at.slice(0, at.lastIndexOf('/'))) {
    try {
      const { bavail, bsize, ffree, files } = await statfs(at || '/');
      // btrfs and its like have no inode limit and report zero of zero.
      return { bytes: bavail * bsize, inodes: files === 0 ? Number.POSITIVE_INFINITY : ffree };
    } catch (error) {
      if (at === '' || codeOf(error) !== 'ENOENT') return undefined;
    }
  }
}
