import { check, libc, SyscallError } from './libc.ts';

/** linux/openat2.h */
export const resolve = {
  noXdev: 0x01,
  noMagicLinks: 0x02,
  noSymlinks: 0x04,
  beneath: 0x08,
  inRoot: 0x10,
  cached: 0x20,
} as const;

type Syscall = (number: number, directory: number, path: string, how: Buffer, size: number) => number | bigint;
let syscall: Syscall | undefined;

/**
 * The kernel gives up with EAGAIN where a path goes through `..` while anything on the machine is renamed or mounted: that
 * says nothing of the path, so it is asked again here and not by every caller.
 */
const mostTries = 100;

/** openat2(2): opens `path` below the directory `directory`, resolved as `how.resolve` says. Close-on-exec. */
export function openat2(
  directory: number,
  path: string,
  how: { readonly flags: number; readonly mode?: number; readonly resolve: number },
): number {
  syscall ??= libc().func('long syscall(long number, int fd, const char *path, void *how, size_t size)') as Syscall;
  const openHow = Buffer.alloc(24);
  openHow.writeBigUInt64LE(BigInt(how.flags | closeOnExec), 0);
  openHow.writeBigUInt64LE(BigInt(how.mode ?? 0), 8);
  openHow.writeBigUInt64LE(BigInt(how.resolve), 16);
  for (let tries = 1; ; tries++) {
    try {
      return check('openat2', path, Number(syscall(sysOpenat2, directory, path, openHow, openHow.length)));
    } catch (error) {
      if (!(error instanceof SyscallError && error.code === 'EAGAIN') || tries === mostTries) throw error;
    }
  }
}

/** The same on x86-64 and arm64. */
const sysOpenat2 = 437;
const closeOnExec = 0o2000000;
