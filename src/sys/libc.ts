import { constants } from 'node:os';
import koffi, { type LibraryHandle } from 'koffi';
import { EngineError } from '../base/errors.ts';

/** A system call that failed: `mount /var/lib/x: ENOENT`. Callers decide by `code` which errno is harmless. */
export class SyscallError extends EngineError {
  readonly syscall: string;
  readonly subject: string;
  readonly errno: number;
  /** The errno's name, as in Node's own errors. */
  readonly code: string;

  constructor(syscall: string, subject: string, errno: number) {
    const code = errnoName(errno);
    super('internal', `${syscall} ${subject}: ${code}`);
    this.syscall = syscall;
    this.subject = subject;
    this.errno = errno;
    this.code = code;
  }
}

let loaded: LibraryHandle | undefined;

/** The C library. Loaded at the first use, so that importing this file does nothing; once in each thread. */
export function libc(): LibraryHandle {
  loaded ??= koffi.load('libc.so.6');
  return loaded;
}

/**
 * Gives `result` back, or throws what errno says when it is negative. To be called with the call itself as argument:
 * any other call in between may change errno.
 */
export function check(syscall: string, subject: string, result: number): number {
  if (result < 0) throw new SyscallError(syscall, subject, koffi.errno());
  return result;
}

export function errnoName(errno: number): string {
  for (const [name, value] of Object.entries(constants.errno)) if (value === errno) return name;
  return `E${errno}`;
}
