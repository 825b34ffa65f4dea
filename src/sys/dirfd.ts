import { codeOf } from '../base/errors.ts';
import { check, libc } from './libc.ts';

const AT_SYMLINK_NOFOLLOW = 0x100;
const AT_REMOVEDIR = 0x200;

/**
 * The *at(2) calls that Node does not have: each acts on one name in an open directory. Names are bytes, one to a
 * character (latin1), so that any encoding passes through.
 */
export class DirectoryCalls {
  readonly #close = libc().func('int close(int)');
  readonly #openat = libc().func('int openat(int, const void*, int, uint)');
  readonly #mkdirat = libc().func('int mkdirat(int, const void*, uint)');
  readonly #mknodat = libc().func('int mknodat(int, const void*, uint, uint64_t)');
  readonly #unlinkat = libc().func('int unlinkat(int, const void*, int)');
  readonly #symlinkat = libc().func('int symlinkat(const void*, int, const void*)');
  readonly #linkat = libc().func('int linkat(int, const void*, int, const void*, int)');
  readonly #fchownat = libc().func('int fchownat(int, const void*, uint, uint, int)');
  readonly #fchmodat = libc().func('int fchmodat(int, const void*, uint, int)');
  readonly #utimensat = libc().func('int utimensat(int, const void*, const void*, int)');
  readonly #lgetxattr = libc().func('long lgetxattr(const void*, const void*, void*, size_t)');
  readonly #lsetxattr = libc().func('int lsetxattr(const void*, const void*, const void*, size_t, int)');

  /** Close-on-exec. */
  open(directory: number, name: string, flags: number, mode = 0): number {
    return check('openat', name, this.#openat(directory, bytes(name), flags | O_CLOEXEC, mode));
  }

  /** For descriptors that `open` gave: Node minds when its own close meets one that it has not opened. */
  close(fd: number): void {
    check('close', `fd ${fd}`, this.#close(fd));
  }

  mkdir(directory: number, name: string, mode: number): void {
    check('mkdirat', name, this.#mkdirat(directory, bytes(name), mode));
  }

  /** `mode` with the type bits. */
  mknod(directory: number, name: string, { mode, major, minor }: { mode: number; major: number; minor: number }): void {
    // glibc's makedev().
    const device = (BigInt(major & 0xfff) << 8n) | BigInt(minor & 0xff) | (BigInt(minor & ~0xff) << 12n);
    check('mknodat', name, this.#mknodat(directory, bytes(name), mode, device));
  }

  unlink(directory: number, name: string): void {
    check('unlinkat', name, this.#unlinkat(directory, bytes(name), 0));
  }

  rmdir(directory: number, name: string): void {
    check('unlinkat', name, this.#unlinkat(directory, bytes(name), AT_REMOVEDIR));
  }

  symlink(target: string, directory: number, name: string): void {
    check('symlinkat', name, this.#symlinkat(bytes(target), directory, bytes(name)));
  }

  /** Never follows a symbolic link at `from`. */
  link(fromDirectory: number, from: string, directory: number, name: string): void {
    check('linkat', name, this.#linkat(fromDirectory, bytes(from), directory, bytes(name), 0));
  }

  /** Of the name itself, not of what a symbolic link leads to. */
  chown(directory: number, name: string, uid: number, gid: number): void {
    check('fchownat', name, this.#fchownat(directory, bytes(name), uid, gid, AT_SYMLINK_NOFOLLOW));
  }

  /** Follows symbolic links: not for them. */
  chmod(directory: number, name: string, mode: number): void {
    check('fchmodat', name, this.#fchmodat(directory, bytes(name), mode, 0));
  }

  /** Sets the time of access too. */
  utimes(directory: number, name: string, seconds: number, nanoseconds: number): void {
    const times = Buffer.alloc(32);
    for (const at of [0, 16]) {
      times.writeBigInt64LE(BigInt(seconds), at);
      times.writeBigInt64LE(BigInt(nanoseconds), at + 8);
    }
    check('utimensat', name, this.#utimensat(directory, bytes(name), times, AT_SYMLINK_NOFOLLOW));
  }

  /** setxattr(2) has no form for directories' descriptors: it goes through the descriptor's place in /proc. */
  setXattr(directory: number, name: string, attribute: string, value: Buffer): void {
    const path = bytes(`/proc/self/fd/${directory}/${name}`);
    check('lsetxattr', `${name} ${attribute}`, this.#lsetxattr(path, bytes(attribute), value, value.length, 0));
  }

  /** Undefined when there is none, and when it has more than 4 KiB. */
  getXattr(directory: number, name: string, attribute: string): Buffer | undefined {
    const value = Buffer.alloc(4096);
    const path = bytes(`/proc/self/fd/${directory}/${name}`);
    try {
      const result = Number(this.#lgetxattr(path, bytes(attribute), value, value.length));
      return value.subarray(0, check('lgetxattr', `${name} ${attribute}`, result));
    } catch (error) {
      if (['ENODATA', 'ERANGE'].includes(codeOf(error) ?? '')) return undefined;
      throw error;
    }
  }
}

const O_CLOEXEC = 0o2000000;

function bytes(name: string): Buffer {
  return Buffer.from(`${name}\0`, 'latin1');
}
