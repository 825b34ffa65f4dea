import { closeSync, constants, ftruncateSync, openSync, readSync, writeSync } from 'node:fs';
import { codeOf } from '../base/errors.ts';
import { DirectoryCalls } from '../sys/dirfd.ts';
import { invalidTar } from './tar-entry.ts';
import { fileType, type Node } from './tree.ts';

const directoryFlags = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW;
const newFileFlags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;

/**
 * Makes a layer's tree in the empty directory `into`, with the data from the tar that is open as `tar`. The tree is whole
 * before the first file is made: each name is made once, in a directory that was made here and is held open, so there is
 * no path of the archive's that could lead anywhere (S05).
 */
export function extractTree(root: Node, { tar, into }: { tar: number; into: string }): void {
  new Extraction(tar, into).run(root);
}

class Extraction {
  readonly #calls = new DirectoryCalls();
  readonly #tar: number;
  readonly #top: number;
  readonly #buffer = Buffer.allocUnsafe(256 * 1024);
  /** Where a node has its first name, for hard links. */
  readonly #first = new Map<Node, string>();

  constructor(tar: number, into: string) {
    this.#tar = tar;
    this.#top = openSync(into, directoryFlags);
  }

  run(root: Node): void {
    try {
      const copy = this.#calls.open(this.#top, '.', directoryFlags);
      this.#calls.close(this.#directory(root, copy, ''));
    } finally {
      closeSync(this.#top);
    }
  }

  /**
   * Fills an open directory. One descriptor is open at a time, however deep the tree: coming back goes through `..`,
   * which no one else can have moved. Gives the descriptor to go on with.
   */
  #directory(node: Node, opened: number, path: string): number {
    let fd = opened;
    try {
      for (const [name, child] of node.children!) {
        if (!child.children) this.#leaf(fd, name, child, path);
      }
      for (const [name, child] of node.children!) {
        if (!child.children) continue;
        this.#calls.mkdir(fd, name, 0o700);
        const inside = this.#calls.open(fd, name, directoryFlags);
        this.#calls.close(fd);
        fd = -1;
        const back = this.#directory(child, inside, `${path}${name}/`);
        fd = this.#calls.open(back, '..', directoryFlags);
        this.#calls.close(back);
      }
      this.#attributes(fd, '.', node);
      return fd;
    } catch (error) {
      if (fd >= 0) this.#calls.close(fd);
      throw error;
    }
  }

  #leaf(directory: number, name: string, node: Node, path: string): void {
    const type = node.mode & fileType.S_IFMT;
    const first = this.#first.get(node);
    if (first !== undefined) {
      this.#calls.link(this.#top, first, directory, name);
      return;
    }
    this.#first.set(node, path + name);
    if (type === fileType.S_IFREG) this.#file(directory, name, node);
    else if (type === fileType.S_IFLNK) this.#calls.symlink(node.target, directory, name);
    else this.#calls.mknod(directory, name, { mode: type | 0o600, major: node.major, minor: node.minor });
    this.#attributes(directory, name, node);
  }

  #file(directory: number, name: string, node: Node): void {
    const fd = this.#calls.open(directory, name, newFileFlags, 0o600);
    try {
      let from = node.data;
      for (const { offset, length } of node.sparse ?? [{ offset: 0, length: node.size }]) {
        this.#copy(fd, from, offset, length);
        from += length;
      }
      if (node.sparse) ftruncateSync(fd, node.size);
    } finally {
      this.#calls.close(fd);
    }
  }

  #copy(fd: number, from: number, to: number, length: number): void {
    for (let done = 0; done < length; ) {
      const wanted = Math.min(this.#buffer.length, length - done);
      const got = readSync(this.#tar, this.#buffer, 0, wanted, from + done);
      if (got === 0) throw invalidTar('unexpected end of archive');
      for (let written = 0; written < got; ) {
        written += writeSync(fd, this.#buffer, written, got - written, to + done + written);
      }
      done += got;
    }
  }

  /** In this order: chown clears set-user-ID and capabilities, and everything changes the times. */
  #attributes(directory: number, name: string, node: Node): void {
    this.#calls.chown(directory, name, node.uid, node.gid);
    if ((node.mode & fileType.S_IFMT) !== fileType.S_IFLNK) this.#calls.chmod(directory, name, node.mode & 0o7777);
    for (const [attribute, value] of node.xattrs ?? []) {
      try {
        this.#calls.setXattr(directory, name, attribute, value);
      } catch (error) {
        // A file system without this name space, or a link that cannot have it.
        if (!['ENOTSUP', 'EOPNOTSUPP', 'EPERM'].includes(codeOf(error) ?? '')) throw error;
      }
    }
    if (node.opaque) this.#calls.setXattr(directory, name, 'trusted.overlay.opaque', Buffer.from('y'));
    this.#calls.utimes(directory, name, node.mtime, node.mtimeNsec);
  }
}
