import { closeSync, constants, openSync } from 'node:fs';
import { check, libc } from './libc.ts';

/** linux/quota.h, linux/fs.h. */
const quotactlFd = 443;
const PRJQUOTA = 2;
const Q_GETQUOTA = 0x800007;
const Q_SETQUOTA = 0x800008;
const QIF_BLIMITS = 1;
const FS_IOC_FSGETXATTR = 0x801c581fn;
const FS_IOC_FSSETXATTR = 0x401c5820n;
const FS_XFLAG_PROJINHERIT = 0x200;
/** In bytes: struct if_dqblk has its limits in blocks of this size. */
const quotaBlock = 1024n;

/** What a project has and may have, in bytes; a limit of 0 is none. */
export interface ProjectUse {
  readonly limit: number;
  readonly bytes: number;
  readonly inodes: number;
}

/**
 * Project quotas, of ext4 and XFS: every file below a directory belongs to its project, and the file system counts them.
 * quotactl_fd(2) is there since Linux 5.14.
 */
export class ProjectQuotaCalls {
  readonly #quotactl = libc().func('syscall', 'long', ['long', 'int', 'uint', 'uint', 'void *']);
  readonly #ioctl = libc().func('int ioctl(int, unsigned long, void *)');

  /** The project of a directory; 0 is that of files that have none. */
  projectOf(directory: string): number {
    return withDirectory(directory, (fd) => this.#attributes(fd, directory).readUInt32LE(12));
  }

  /** Of the directory, and of whatever is made below it from now on. */
  setProject(directory: string, project: number): void {
    withDirectory(directory, (fd) => {
      const attributes = this.#attributes(fd, directory);
      attributes.writeUInt32LE(attributes.readUInt32LE(0) | FS_XFLAG_PROJINHERIT, 0);
      attributes.writeUInt32LE(project, 12);
      check('ioctl FS_IOC_FSSETXATTR', directory, this.#ioctl(fd, FS_IOC_FSSETXATTR, attributes));
    });
  }

  /** On the file system that `path` is on. Throws ESRCH where it has no such quotas, or ENOENT where it never knew the project. */
  use(path: string, project: number): ProjectUse {
    const block = Buffer.alloc(72);
    this.#quota(path, Q_GETQUOTA, project, block);
    return {
      limit: Number(block.readBigUInt64LE(0) * quotaBlock),
      bytes: Number(block.readBigUInt64LE(16)),
      inodes: Number(block.readBigUInt64LE(40)),
    };
  }

  /** In bytes, rounded up to 1024; 0 takes the limit away. */
  setLimit(path: string, project: number, bytes: number): void {
    const block = Buffer.alloc(72);
    const blocks = (BigInt(bytes) + quotaBlock - 1n) / quotaBlock;
    block.writeBigUInt64LE(blocks, 0);
    block.writeBigUInt64LE(blocks, 8);
    block.writeUInt32LE(QIF_BLIMITS, 64);
    this.#quota(path, Q_SETQUOTA, project, block);
  }

  #quota(path: string, command: number, project: number, block: Buffer): void {
    withDirectory(path, (fd) => {
      const result = this.#quotactl(quotactlFd, fd, ((command << 8) | PRJQUOTA) >>> 0, project, block);
      check('quotactl_fd', path, Number(result));
    });
  }

  /** struct fsxattr: flags, extent size, extents, project. */
  #attributes(fd: number, directory: string): Buffer {
    const attributes = Buffer.alloc(28);
    check('ioctl FS_IOC_FSGETXATTR', directory, this.#ioctl(fd, FS_IOC_FSGETXATTR, attributes));
    return attributes;
  }
}

function withDirectory<T>(path: string, use: (fd: number) => T): T {
  const fd = openSync(path, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW);
  try {
    return use(fd);
  } finally {
    closeSync(fd);
  }
}
