import { constants, ftruncateSync, writeSync } from 'node:fs';
import { codeOf, EngineError } from '../base/errors.ts';
import { keptXattrs } from '../layers/names.ts';
import { TarReader } from '../layers/tar.ts';
import { nameText, type TarEntry } from '../layers/tar-entry.ts';
import { fileType } from '../layers/tree.ts';
import { FileError } from './file-error.ts';
import { bytesOfText, cleanPath, isDirectory, isLink, typeOf } from './path-stat.ts';
import { removeBelow } from './remove-below.ts';
import { type Owner, ownerOutside, type RootView } from './view.ts';
import { type Place, statOf, Walk } from './walk.ts';

const O_NOFOLLOW = 0o400000;
const newFile = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | O_NOFOLLOW;
const typeBits = { char: fileType.S_IFCHR, block: fileType.S_IFBLK, fifo: fileType.S_IFIFO } as const;
/** A name that the container makes again and again as fast as it is removed is not waited for. */
const mostTries = 5;

export interface UnpackOptions {
  /** A directory does not give way to something else, nor something else to a directory. */
  readonly keepTypes: boolean;
  readonly owner: Owner | undefined;
  /**
   * For an archive of one file or directory: what it is called in there, and what it is to be called ('' is the directory
   * that it is unpacked into). Any other name, and any that goes through a link, is refused: who reads an archive that a
   * container had a part in gets that one thing and nothing beside it (S04).
   */
  readonly only?: { readonly from: string; readonly to: string };
}

/** Asks for the next piece of the archive; undefined is its end. */
export type Unpacking = Generator<undefined, void, Buffer | undefined>;

/**
 * Unpacks a tar, as it comes, into a directory of the container, which is the root of all names and links in it: what the
 * archive makes, and what the container moves meanwhile, can lead nowhere else. Throws FileError when there is no such
 * directory, `invalid` naming the entry for what is refused; what came before it stays, of the file that failed nothing.
 */
export function* unpackInto(view: RootView, path: string, options: UnpackOptions): Unpacking {
  using walk = new Walk(view);
  const { place } = walk.resolve(bytesOfText(cleanPath(path)), { follow: true });
  try {
    if (!isDirectory(place.stat)) throw new EngineError('invalid', 'extraction point is not a directory');
    if (place.mount?.readOnly) throw new EngineError('invalid', 'mounted volume is marked read-only');
    if (!place.mount && view.readOnly) throw new EngineError('invalid', 'container rootfs is marked read-only');
    using unpacking = new Unpack(walk, { ...options, into: place, path, readOnlyRoot: view.readOnly });
    for (let piece = yield; piece !== undefined; piece = yield) unpacking.reader.push(piece);
    unpacking.finish();
  } finally {
    place.close();
  }
}

interface Into extends UnpackOptions {
  readonly into: Place;
  readonly path: string;
  readonly readOnlyRoot: boolean;
}

class Unpack implements Disposable {
  readonly reader: TarReader;
  readonly #walk: Walk;
  readonly #options: Into;
  /** The directory of the last entry: most archives go through one after the other. */
  #parent: { readonly path: string; readonly place: Place } | undefined;
  #file:
    | {
        readonly fd: number;
        readonly entry: TarEntry;
        readonly name: string;
        readonly mount: Place['mount'];
        done: number;
      }
    | undefined;
  /** Their times come last: what is put into a directory changes them. */
  readonly #directories: { readonly path: string; readonly entry: TarEntry }[] = [];

  constructor(walk: Walk, options: Into) {
    this.#walk = walk;
    this.#options = options;
    this.reader = new TarReader({
      entry: (entry) => this.#entry(entry),
      data: (piece) => this.#data(piece),
      end: () => this.#endFile(),
    });
  }

  get #links() {
    return this.#options.only ? { links: 'refused' as const } : {};
  }

  #components(name: string, what?: string): string[] {
    const components = cleanName(name, what);
    const { only } = this.#options;
    if (!only) return components;
    const first = cleanName(only.from)[0];
    if (first !== undefined && components.shift() !== first)
      throw refused(`invalid ${what ?? 'entry name'} ${quoted(name)}: it is not ${quoted(only.from)}, nor below it`);
    return only.to === '' ? components : [bytesOfText(only.to), ...components];
  }

  finish(): void {
    this.reader.finish();
    for (const { path, entry } of this.#directories) {
      const { place } = this.#walk.resolve(path, { from: this.#options.into });
      try {
        if (isDirectory(place.stat)) this.#walk.inodes.utimes(place.fd, entry.mtime, entry.mtimeNsec);
      } finally {
        if (place !== this.#options.into) place.close();
      }
    }
  }

  /** Half of a file does not stay. */
  [Symbol.dispose](): void {
    const file = this.#file;
    if (file) {
      this.#walk.calls.close(file.fd);
      try {
        this.#walk.calls.unlink(this.#parent!.place.fd, file.name);
      } catch {
        // It is gone, or is another's by now.
      }
    }
    this.#forgetParent();
  }

  #entry(entry: TarEntry): void {
    const components = this.#components(entry.name);
    const name = components.pop();
    // The directory itself is there already, and keeps what it is.
    if (name === undefined) return;
    const parent = this.#parentAt(components);
    this.#writable(parent, name);
    const found = this.#walk.child(parent, name);
    try {
      if (found && !this.#giveWay(parent, name, found, entry)) {
        this.#writable(found, name);
        return this.#attributes(found, entry);
      }
    } finally {
      found?.close();
    }
    this.#make(parent, name, entry);
  }

  /** True when the name is free now; false when a directory stays as it is. */
  #giveWay(parent: Place, name: string, found: Place, entry: TarEntry): boolean {
    const was = isDirectory(found.stat);
    const will = entry.type === 'directory';
    const { keepTypes, path } = this.#options;
    if (keepTypes && was && !will)
      throw refused(`cannot overwrite directory ${quoted(entry.name)} with non-directory ${quoted(path)}`);
    if (keepTypes && !was && will)
      throw refused(`cannot overwrite non-directory ${quoted(entry.name)} with directory ${quoted(path)}`);
    if (was && will) {
      this.#directories.push({ path: this.#components(entry.name).join('/'), entry });
      return false;
    }
    removeBelow(this.#walk, parent, name);
    return true;
  }

  #make(parent: Place, name: string, entry: TarEntry): void {
    const { calls } = this.#walk;
    switch (entry.type) {
      case 'file': {
        const fd = this.#again(parent, name, () => calls.open(parent.fd, name, newFile, 0o600));
        this.#file = { fd, entry, name, mount: parent.mount, done: 0 };
        return;
      }
      case 'hardlink':
        return this.#link(parent, name, entry);
      case 'directory':
        this.#again(parent, name, () => calls.mkdir(parent.fd, name, 0o700));
        this.#directories.push({ path: this.#components(entry.name).join('/'), entry });
        break;
      case 'symlink':
        this.#again(parent, name, () => calls.symlink(entry.linkName, parent.fd, name));
        break;
      default: {
        const { major, minor } = entry;
        if (major < 0 || major > 0xfff || minor < 0 || minor > 0xfffff)
          throw refused(`${nameText(entry.name)} has the device number ${major}:${minor}`);
        const mode = typeBits[entry.type] | 0o600;
        this.#again(parent, name, () => calls.mknod(parent.fd, name, { mode, major, minor }));
      }
    }
    const made = this.#walk.child(parent, name);
    if (!made) return;
    try {
      this.#attributes(made, entry);
    } finally {
      made.close();
    }
  }

  #link(parent: Place, name: string, entry: TarEntry): void {
    const components = this.#components(entry.linkName, 'hardlink target');
    const last = components.pop();
    if (last === undefined) throw refused(`invalid hardlink target ${quoted(entry.linkName)}`);
    const { into } = this.#options;
    const { place } = this.#walk.resolve(components.join('/'), { from: into, follow: true, ...this.#links });
    try {
      const found = this.#walk.child(place, last);
      found?.close();
      if (found?.isMountPoint) throw new FileError('EXDEV', `link ${nameText(entry.linkName)}`);
      this.#again(parent, name, () => this.#walk.calls.link(place.fd, last, parent.fd, name));
    } finally {
      if (place !== into) place.close();
    }
  }

  /** The container may have put something there since it was looked at. */
  #again<T>(parent: Place, name: string, make: () => T): T {
    for (let tries = 1; ; tries++) {
      try {
        return make();
      } catch (error) {
        if (codeOf(error) !== 'EEXIST' || tries === mostTries) throw error;
        removeBelow(this.#walk, parent, name);
      }
    }
  }

  #data(piece: Buffer): void {
    const file = this.#file!;
    const { sparse } = file.entry;
    for (let at = 0; at < piece.length; ) {
      const [position, room] = sparse ? placeIn(sparse, file.done) : [file.done, piece.length - at];
      const written = writeSync(file.fd, piece, at, Math.min(room, piece.length - at), position);
      at += written;
      file.done += written;
    }
  }

  #endFile(): void {
    const file = this.#file;
    if (!file) return;
    const { fd, entry, mount } = file;
    if (entry.sparse) ftruncateSync(fd, entry.size);
    this.#attributes({ fd, stat: statOf(fd), mount }, entry);
    this.#walk.calls.close(fd);
    this.#file = undefined;
  }

  /** In this order: chown clears set-user-ID and capabilities, and everything changes the times. */
  #attributes({ fd, stat, mount }: Pick<Place, 'fd' | 'stat' | 'mount'>, entry: TarEntry): void {
    const { inodes } = this.#walk;
    // What the container put in its place is left alone.
    if (entry.type !== 'hardlink' && typeOf(stat) !== typeOfEntry(entry)) return;
    const { uid, gid } = ownerOutside(this.#walk.ownersAt({ mount }), this.#options.owner ?? entry);
    inodes.chown(fd, uid, gid);
    if (!isLink(stat)) inodes.chmod(fd, entry.mode);
    for (const [attribute, value] of keptXattrs(entry.xattrs) ?? []) {
      try {
        inodes.setXattr(fd, attribute, value);
      } catch (error) {
        // A file system without this name space, or a link that cannot have it.
        if (!['ENOTSUP', 'EOPNOTSUPP', 'EPERM', 'ELOOP', 'EBADF'].includes(codeOf(error) ?? '')) throw error;
      }
    }
    inodes.utimes(fd, entry.mtime, entry.mtimeNsec);
  }

  #parentAt(components: readonly string[]): Place {
    const path = components.join('/');
    if (this.#parent?.path === path) return this.#parent.place;
    this.#forgetParent();
    const { into } = this.#options;
    const { place } = this.#walk.resolve(path, {
      from: into,
      follow: true,
      ...this.#links,
      make: (at, name) => this.#implied(at, name),
    });
    if (!isDirectory(place.stat)) {
      if (place !== into) place.close();
      throw new FileError('ENOTDIR', `mkdir ${nameText(path)}`);
    }
    this.#parent = { path, place };
    return place;
  }

  /** A directory that the archive does not bring and that is not there. */
  #implied(parent: Place, name: string): void {
    this.#writable(parent, name);
    this.#again(parent, name, () => this.#walk.calls.mkdir(parent.fd, name, 0o700));
    const made = this.#walk.child(parent, name);
    if (!made) return;
    try {
      const owners = this.#walk.ownersAt(made);
      const { uid, gid } = ownerOutside(owners, this.#options.owner ?? { uid: 0, gid: 0 });
      this.#walk.inodes.chown(made.fd, uid, gid);
      if (isDirectory(made.stat)) this.#walk.inodes.chmod(made.fd, 0o755);
    } finally {
      made.close();
    }
  }

  #writable({ mount }: Place, name: string): void {
    if (mount ? mount.readOnly : this.#options.readOnlyRoot) throw new FileError('EROFS', `open ${nameText(name)}`);
  }

  #forgetParent(): void {
    const place = this.#parent?.place;
    this.#parent = undefined;
    if (place !== this.#options.into) place?.close();
  }
}

/** The components of a name, from the directory that it is unpacked into. Throws `invalid` for one that leaves it. */
function cleanName(name: string, what = 'entry name'): string[] {
  const components: string[] = [];
  for (const component of name.split('/')) {
    if (component === '' || component === '.') continue;
    if (component === '..' && components.pop() === undefined) throw refused(`invalid ${what} ${quoted(name)}`);
    if (component !== '..') components.push(component);
  }
  if (name.includes('\0')) throw refused(`invalid ${what} ${quoted(name)}`);
  return components;
}

function typeOfEntry({ type }: TarEntry): number {
  if (type === 'directory') return fileType.S_IFDIR;
  if (type === 'symlink') return fileType.S_IFLNK;
  return type === 'file' || type === 'hardlink' ? fileType.S_IFREG : typeBits[type];
}

/** Where in the file the next byte of the archive goes, and how many follow it there. */
function placeIn(parts: NonNullable<TarEntry['sparse']>, done: number): readonly [number, number] {
  let before = 0;
  for (const { offset, length } of parts) {
    if (done < before + length) return [offset + done - before, before + length - done];
    before += length;
  }
  throw refused('a sparse file has more data than its map');
}

function refused(message: string): EngineError {
  return new EngineError('invalid', message);
}

const quoted = (name: string) => `"${nameText(name)}"`;
