import { chmodSync } from 'node:fs';
import { check, libc } from './libc.ts';

const AT_EMPTY_PATH = 0x1000;
/** The kernel's bound on the value of one attribute, XATTR_SIZE_MAX, and on the list of names. */
const longestValue = 65_536;

/**
 * Calls on the inode itself that a descriptor stands for, one of O_PATH too: whatever becomes of its name meanwhile, they
 * act on nothing else. Names and targets are bytes, one to a character (latin1).
 */
export class InodeCalls {
  readonly #readlinkat = libc().func('long readlinkat(int, const char*, void*, size_t)');
  readonly #fchownat = libc().func('int fchownat(int, const char*, uint, uint, int)');
  readonly #utimensat = libc().func('int utimensat(int, const char*, const void*, int)');
  readonly #listxattr = libc().func('long listxattr(const char*, void*, size_t)');
  readonly #getxattr = libc().func('long getxattr(const char*, const void*, void*, size_t)');
  readonly #setxattr = libc().func('int setxattr(const char*, const void*, const void*, size_t, int)');
  readonly #buffer = Buffer.alloc(longestValue);

  /** The target of a symbolic link that was opened with O_PATH and O_NOFOLLOW. */
  readlink(fd: number): string {
    const length = check('readlinkat', at(fd), Number(this.#readlinkat(fd, '', this.#buffer, 4096)));
    return this.#buffer.toString('latin1', 0, length);
  }

  chown(fd: number, uid: number, gid: number): void {
    check('fchownat', at(fd), this.#fchownat(fd, '', uid, gid, AT_EMPTY_PATH));
  }

  /** Not of a symbolic link. */
  chmod(fd: number, mode: number): void {
    chmodSync(at(fd), mode);
  }

  /** Sets the time of access too. */
  utimes(fd: number, seconds: number, nanoseconds: number): void {
    const times = Buffer.alloc(32);
    for (const offset of [0, 16]) {
      times.writeBigInt64LE(BigInt(seconds), offset);
      times.writeBigInt64LE(BigInt(nanoseconds), offset + 8);
    }
    check('utimensat', at(fd), this.#utimensat(fd, '', times, AT_EMPTY_PATH));
  }

  /** The names of its extended attributes; none where the file system has none. */
  xattrNames(fd: number): string[] {
    const length = Number(this.#listxattr(at(fd), this.#buffer, longestValue));
    if (length <= 0) return [];
    return this.#buffer.toString('latin1', 0, length).split('\0').filter(Boolean);
  }

  /** Undefined when it is not there, or not for us to see. */
  xattr(fd: number, name: string): Buffer | undefined {
    const bytes = Buffer.from(`${name}\0`, 'latin1');
    const length = Number(this.#getxattr(at(fd), bytes, this.#buffer, longestValue));
    return length < 0 ? undefined : Buffer.from(this.#buffer.subarray(0, length));
  }

  setXattr(fd: number, name: string, value: Buffer): void {
    const bytes = Buffer.from(`${name}\0`, 'latin1');
    check('setxattr', name, this.#setxattr(at(fd), bytes, value, value.length, 0));
  }
}

/** The link in /proc leads to the inode that is open, and not to its name. */
function at(fd: number): string {
  return `/proc/self/fd/${fd}`;
}
