import { closeSync, constants, openSync, readSync } from 'node:fs';
import { keptXattrs } from '../layers/names.ts';
import type { TarEntryType } from '../layers/tar-entry.ts';
import { tarEnd, tarHeader, tarPadding } from '../layers/tar-writer.ts';
import { fileType } from '../layers/tree.ts';
import type { InodeCalls } from '../sys/inode.ts';
import type { IdMaps } from '../sys/user-namespace.ts';
import { typeOf } from './path-stat.ts';
import { ownerInside } from './view.ts';
import type { Place } from './walk.ts';

/** What leaves a thread at a time. */
const pieceSize = 256 * 1024;

const types = new Map<number, TarEntryType>([
  [fileType.S_IFREG, 'file'],
  [fileType.S_IFDIR, 'directory'],
  [fileType.S_IFLNK, 'symlink'],
  [fileType.S_IFCHR, 'char'],
  [fileType.S_IFBLK, 'block'],
  [fileType.S_IFIFO, 'fifo'],
]);

/** Pieces that are whole buffers of their own, so that they can be handed to another thread without a copy. */
type Pieces = Generator<Buffer, void, unknown>;

/** Writes files that are held open as a tar, in pieces of one size, however large or many they are. */
export class TarStream {
  readonly #inodes: InodeCalls;
  #piece = Buffer.allocUnsafeSlow(pieceSize);
  #filled = 0;
  /** Where an inode with several names has its first. */
  readonly #linked = new Map<string, string>();

  constructor(inodes: InodeCalls) {
    this.#inodes = inodes;
  }

  /** `name` without a slash at its end; `owners` as of a RootView. Sockets are left out: no archive has them. */
  *add(name: string, { fd, stat }: Pick<Place, 'fd' | 'stat'>, owners?: IdMaps): Pieces {
    const type = types.get(typeOf(stat));
    if (!type) return;
    const first = this.#firstName(name, stat, type);
    const member = {
      name: latin1(type === 'directory' && !name.endsWith('/') ? `${name}/` : name),
      type: first === undefined ? type : 'hardlink',
      mode: Number(stat.mode) & 0o7777,
      ...ownerInside(owners, { uid: Number(stat.uid), gid: Number(stat.gid) }),
      ...secondsOf(stat.mtimeNs),
    } as const;
    if (first !== undefined) return yield* this.#put(tarHeader({ ...member, linkName: latin1(first) }));
    const xattrs = this.#xattrs(fd);
    if (type === 'symlink') {
      yield* this.#put(tarHeader({ ...member, linkName: latin1(this.#inodes.readlink(fd)), ...xattrs }));
    } else if (type === 'char' || type === 'block') {
      // glibc's gnu_dev_major and gnu_dev_minor.
      const device = stat.rdev;
      const major = Number(((device >> 8n) & 0xfffn) | ((device >> 32n) & 0xfffff000n));
      const minor = Number((device & 0xffn) | ((device >> 12n) & 0xffffff00n));
      yield* this.#put(tarHeader({ ...member, major, minor, ...xattrs }));
    } else if (type === 'file') {
      const size = Number(stat.size);
      yield* this.#put(tarHeader({ ...member, size, ...xattrs }));
      yield* this.#data(fd, size);
      yield* this.#put(tarPadding(size));
    } else yield* this.#put(tarHeader({ ...member, ...xattrs }));
  }

  /** An empty file that is there for its name. */
  *mark(name: string): Pieces {
    yield* this.#put(tarHeader({ name: latin1(name), mode: 0, size: 0 }));
  }

  *end(): Pieces {
    yield* this.#put(tarEnd());
    if (this.#filled > 0) yield this.#take();
  }

  /** The size is in the header by now: a file that grew is cut there, one that shrank is filled up with zeros. */
  *#data(fd: number, size: number): Pieces {
    // Opened by what it is: its name may be another's by now. That it is a file is known, so opening it has no effect.
    const file = openSync(`/proc/self/fd/${fd}`, constants.O_RDONLY | constants.O_NOCTTY | constants.O_NONBLOCK);
    try {
      for (let done = 0; done < size; ) {
        const room = Math.min(pieceSize - this.#filled, size - done);
        const got = readSync(file, this.#piece, this.#filled, room, done);
        if (got === 0) this.#piece.fill(0, this.#filled, this.#filled + room);
        const length = got || room;
        this.#filled += length;
        done += length;
        if (this.#filled === pieceSize) yield this.#take();
      }
    } finally {
      closeSync(file);
    }
  }

  *#put(bytes: Buffer): Pieces {
    for (let at = 0; at < bytes.length; ) {
      const length = bytes.copy(this.#piece, this.#filled, at);
      at += length;
      this.#filled += length;
      if (this.#filled === pieceSize) yield this.#take();
    }
  }

  #take(): Buffer {
    const piece = this.#piece.subarray(0, this.#filled);
    this.#piece = Buffer.allocUnsafeSlow(pieceSize);
    this.#filled = 0;
    return piece;
  }

  #firstName(name: string, stat: Place['stat'], type: TarEntryType): string | undefined {
    if (stat.nlink < 2n || type === 'directory') return undefined;
    const inode = `${stat.dev}:${stat.ino}`;
    const first = this.#linked.get(inode);
    if (first === undefined) this.#linked.set(inode, name);
    return first;
  }

  #xattrs(fd: number): { readonly xattrs?: ReadonlyMap<string, Buffer> } {
    const found = new Map<string, Buffer>();
    // A label of SELinux is the host's, and not the file's.
    for (const name of this.#inodes.xattrNames(fd)) {
      const value = name === 'security.selinux' ? undefined : this.#inodes.xattr(fd, name);
      if (value) found.set(name, value);
    }
    const xattrs = keptXattrs(found);
    return xattrs ? { xattrs } : {};
  }
}

function secondsOf(mtimeNs: bigint): { readonly mtime: number; readonly mtimeNsec: number } {
  const part = ((mtimeNs % 1_000_000_000n) + 1_000_000_000n) % 1_000_000_000n;
  return { mtime: Number((mtimeNs - part) / 1_000_000_000n), mtimeNsec: Number(part) };
}

function latin1(name: string): Buffer {
  return Buffer.from(name, 'latin1');
}
