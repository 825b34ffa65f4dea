import { check, libc } from './libc.ts';

/** sys/mount.h and linux/mount.h: the numbers that are used here, under their own names. */
export const mountFlags = {
  MS_RDONLY: 0x1,
  MS_NOSUID: 0x2,
  MS_NODEV: 0x4,
  MS_NOEXEC: 0x8,
  MS_SYNCHRONOUS: 0x10,
  MS_REMOUNT: 0x20,
  MS_MANDLOCK: 0x40,
  MS_DIRSYNC: 0x80,
  MS_NOATIME: 0x400,
  MS_NODIRATIME: 0x800,
  MS_BIND: 0x1000,
  MS_REC: 0x4000,
  MS_UNBINDABLE: 0x20000,
  MS_PRIVATE: 0x40000,
  MS_SLAVE: 0x80000,
  MS_SHARED: 0x100000,
  MS_RELATIME: 0x200000,
  MS_STRICTATIME: 0x1000000,
} as const;

const MNT_DETACH = 2;
const UMOUNT_NOFOLLOW = 8;
const FSCONFIG_SET_FLAG = 0;
const FSCONFIG_SET_STRING = 1;
const FSCONFIG_CMD_CREATE = 6;
const MOVE_MOUNT_F_EMPTY_PATH = 4;
const numbers = { openTree: 428, moveMount: 429, fsopen: 430, fsconfig: 431, fsmount: 432, mountSetattr: 442 } as const;
const FSOPEN_CLOEXEC = 1;
const FSMOUNT_CLOEXEC = 1;
const OPEN_TREE_CLONE = 1;
const OPEN_TREE_CLOEXEC = 0o2000000;
const AT_FDCWD = -100;
const AT_EMPTY_PATH = 0x1000;
const AT_RECURSIVE = 0x8000;
const MOUNT_ATTR_IDMAP = 0x100000n;

export interface MountCall {
  readonly source: string;
  readonly target: string;
  readonly type?: string;
  readonly flags?: number;
  /** The file system's own options, comma-separated. mount(2) cuts them at a page without a word. */
  readonly data?: string;
}

/** A file system to be configured one option at a time, with no limit on their length and no escaping. */
export interface NewMount {
  readonly type: string;
  readonly target: string;
  /** In order; `true` for options without a value. */
  readonly options: readonly (readonly [name: string, value: string | true])[];
  /** Of the mount, not of the file system: MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC. */
  readonly flags?: number;
}

/**
 * mount(2), umount2(2), and the newer fsopen(2) family, for which libc gives no function on older systems: they go
 * through syscall(2), whose numbers are the same on x86-64 and arm64.
 */
export class MountCalls {
  readonly #mount = libc().func('int mount(const char*, const char*, const char*, unsigned long, const char*)');
  readonly #umount2 = libc().func('int umount2(const char*, int)');
  readonly #fsopen = libc().func('syscall', 'long', ['long', 'str', 'uint']);
  readonly #fsconfig = libc().func('syscall', 'long', ['long', 'int', 'uint', 'str', 'str', 'int']);
  readonly #fsmount = libc().func('syscall', 'long', ['long', 'int', 'uint', 'uint']);
  readonly #moveMount = libc().func('syscall', 'long', ['long', 'int', 'str', 'int', 'str', 'uint']);
  readonly #openTree = libc().func('syscall', 'long', ['long', 'int', 'str', 'uint']);
  readonly #mountSetattr = libc().func('syscall', 'long', ['long', 'int', 'str', 'uint', 'void *', 'size_t']);
  readonly #close = libc().func('int close(int)');

  mount({ source, target, type, flags = 0, data }: MountCall): void {
    check('mount', target, this.#mount(source, target, type ?? null, flags, data ?? null));
  }

  /** The same on a thread of koffi's pool: a server that does not answer can hold a network file system for minutes. */
  mountLater({ source, target, type, flags = 0, data }: MountCall): Promise<void> {
    return later('mount', target, (done) => this.#mount.async(source, target, type ?? null, flags, data ?? null, done));
  }

  /** Never follows a symbolic link at `target`. `detach` takes it away now and cleans up when it is no longer busy. */
  unmount(target: string, { detach = false } = {}): void {
    check('umount2', target, this.#umount2(target, UMOUNT_NOFOLLOW | (detach ? MNT_DETACH : 0)));
  }

  /**
   * The same on a thread of koffi's pool: the last unmount of a file system that can be written waits until what is
   * below it is synced, and that can take long.
   */
  unmountLater(target: string, { detach = false } = {}): Promise<void> {
    const flags = UMOUNT_NOFOLLOW | (detach ? MNT_DETACH : 0);
    return later('umount2', target, (done) => this.#umount2.async(target, flags, done));
  }

  /** Of a detached mount, which its last descriptor ends: it may wait as `unmountLater` does. */
  closeLater(mount: number): Promise<void> {
    return later('close', `fd ${mount}`, (done) => this.#close.async(mount, done));
  }

  mountNew({ target, ...mount }: NewMount): void {
    const detached = this.createDetached({ ...mount, subject: target });
    try {
      this.attach(detached, target);
    } finally {
      this.#close(detached);
    }
  }

  /**
   * fsopen(2), one fsconfig(2) for each option, fsmount(2): a mount that is attached nowhere, and there for as long as its
   * descriptor is. Throws SyscallError naming the step.
   */
  createDetached({
    type,
    options,
    flags = 0,
    subject,
  }: Omit<NewMount, 'target'> & { readonly subject: string }): number {
    const { fsopen, fsconfig, fsmount } = numbers;
    const fs = check('fsopen', type, this.#fsopen(fsopen, type, FSOPEN_CLOEXEC));
    try {
      for (const [name, value] of options) {
        const result =
          value === true
            ? this.#fsconfig(fsconfig, fs, FSCONFIG_SET_FLAG, name, null, 0)
            : this.#fsconfig(fsconfig, fs, FSCONFIG_SET_STRING, name, value, 0);
        check('fsconfig', value === true ? name : `${name}=${value}`, result);
      }
      check('fsconfig', subject, this.#fsconfig(fsconfig, fs, FSCONFIG_CMD_CREATE, null, null, 0));
      // MOUNT_ATTR_* have the numbers of these MS_* flags.
      return check('fsmount', subject, this.#fsmount(fsmount, fs, FSMOUNT_CLOEXEC, flags & 0xf));
    } finally {
      this.#close(fs);
    }
  }

  /** move_mount(2): a detached mount gets its place. The descriptor stays one of it. */
  attach(mount: number, target: string): void {
    const { moveMount } = numbers;
    check('move_mount', target, this.#moveMount(moveMount, mount, '', AT_FDCWD, target, MOVE_MOUNT_F_EMPTY_PATH));
  }

  /** open_tree(2): a detached mount of what is seen at `path`, with what is mounted below it only when `recursive`. */
  cloneDetached(path: string, { recursive = false } = {}): number {
    const flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | (recursive ? AT_RECURSIVE : 0);
    return check('open_tree', path, this.#openTree(numbers.openTree, AT_FDCWD, path, flags));
  }

  /** mount_setattr(2): nothing that is mounted elsewhere comes into it, and nothing goes out of it. */
  makePrivate(mount: number, { recursive = false } = {}): void {
    this.#setAttributes(mount, recursive, (attributes) =>
      attributes.writeBigUInt64LE(BigInt(mountFlags.MS_PRIVATE), 16),
    );
  }

  /** mount_setattr(2): owners are shown and stored by the maps of a user namespace. Only of a mount that is detached still. */
  mapOwners(mount: number, namespace: number, { recursive = false } = {}): void {
    this.#setAttributes(mount, recursive, (attributes) => {
      attributes.writeBigUInt64LE(MOUNT_ATTR_IDMAP, 0);
      attributes.writeBigUInt64LE(BigInt(namespace), 24);
    });
  }

  #setAttributes(mount: number, recursive: boolean, fill: (attributes: Buffer) => void): void {
    const { mountSetattr } = numbers;
    // struct mount_attr: attr_set, attr_clr, propagation, userns_fd.
    const attributes = Buffer.alloc(32);
    fill(attributes);
    const flags = AT_EMPTY_PATH | (recursive ? AT_RECURSIVE : 0);
    const { length } = attributes;
    check('mount_setattr', `fd ${mount}`, this.#mountSetattr(mountSetattr, mount, '', flags, attributes, length));
  }
}

/** koffi carries errno from its thread to the callback. */
function later(syscall: string, subject: string, call: (done: (error: unknown, result: number) => void) => void) {
  return new Promise<void>((resolve, reject) => {
    call((error, result) => {
      try {
        if (error) throw error;
        check(syscall, subject, result);
        resolve();
      } catch (failed) {
        reject(failed);
      }
    });
  });
}

/** A line of /proc/self/mountinfo (proc(5)). */
export interface MountInfo {
  readonly target: string;
  readonly type: string;
  readonly source: string;
  /** `shared:1`, `master:2`; empty when private. */
  readonly propagation: readonly string[];
  readonly superOptions: string;
}

/** Oldest first, so that what is mounted on top of something comes after it. */
export function parseMountInfo(text: string): MountInfo[] {
  const unescape = (field: string) =>
    field.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => {
      const [before = '', after = ''] = line.split(' - ');
      const fields = before.split(' ');
      const [type = '', source = '', superOptions = ''] = after.split(' ');
      return {
        target: unescape(fields[4] ?? ''),
        type,
        source: unescape(source),
        propagation: fields.slice(6),
        superOptions,
      };
    });
}
