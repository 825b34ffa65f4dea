import { check, libc } from './libc.ts';

const LOCK_EX = 2;
const LOCK_NB = 4;

/** flock(2), exclusive and without waiting. Throws SyscallError EAGAIN when another process holds it. */
export function lockFile(fd: number, path: string): void {
  const flock = libc().func('int flock(int, int)') as (fd: number, operation: number) => number;
  check('flock', path, flock(fd, LOCK_EX | LOCK_NB));
}
