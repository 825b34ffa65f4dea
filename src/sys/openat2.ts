import { check, libc } from './libc.ts';

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
  return check('openat2', path, Number(syscall(sysOpenat2, directory, path, openHow, openHow.length)));
}

/** The same on x86-64 and arm64. */
const sysOpenat2 = 437;
const closeOnExec = 0o2000000;
