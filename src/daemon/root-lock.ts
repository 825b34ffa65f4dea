import { closeSync, ftruncateSync, openSync, readFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { codeOf, EngineError } from '../base/errors.ts';
import { lockFile } from '../sys/flock.ts';

/** What the engine that holds a root writes into its lock, for those who come second and for `berth engine stop`. */
export interface LockOwner {
  readonly pid: number;
  readonly socket: string;
}

export function lockPath(root: string): string {
  return join(root, 'engine.lock');
}

/**
 * One engine per data root (R18). The kernel frees the lock with the process, so a stale file never blocks; what is in the
 * file is only for people. Throws `conflict` that names the owner.
 */
export function lockRoot(root: string, owner: LockOwner): Disposable {
  const path = lockPath(root);
  const fd = openSync(path, 'a+', 0o600);
  try {
    lockFile(fd, path);
  } catch (error) {
    closeSync(fd);
    if (codeOf(error) !== 'EAGAIN') throw error;
    const other = lockOwner(root);
    throw new EngineError(
      'conflict',
      `another engine${other ? ` (pid ${other.pid}, ${other.socket})` : ''} is using ${root}`,
      {
        cause: error,
        hint: 'berth engine stop, or give this one another --root, --run-dir and --socket',
      },
    );
  }
  ftruncateSync(fd);
  writeSync(fd, JSON.stringify(owner));
  return { [Symbol.dispose]: () => closeSync(fd) };
}

/** Who wrote the lock last; it may have ended since. Undefined when nobody did. */
export function lockOwner(root: string): LockOwner | undefined {
  try {
    const owner: unknown = JSON.parse(readFileSync(lockPath(root), 'utf8'));
    if (typeof owner !== 'object' || owner === null || !('pid' in owner) || !('socket' in owner)) return undefined;
    return typeof owner.pid === 'number' && typeof owner.socket === 'string'
      ? { pid: owner.pid, socket: owner.socket }
      : undefined;
  } catch {
    return undefined;
  }
}

/** Whether a running engine holds the root now. */
export function isRootLocked(root: string): boolean {
  let fd: number;
  try {
    fd = openSync(lockPath(root), 'r');
  } catch {
    return false;
  }
  try {
    lockFile(fd, lockPath(root));
    return false;
  } catch (error) {
    if (codeOf(error) === 'EAGAIN') return true;
    throw error;
  } finally {
    closeSync(fd);
  }
}
