import { type BigIntStats, fstatSync, readdirSync } from 'node:fs';
import { posix } from 'node:path';
import { codeOf } from '../base/errors.ts';
import { DirectoryCalls } from '../sys/dirfd.ts';
import { InodeCalls } from '../sys/inode.ts';
import { MountCalls } from '../sys/mount.ts';
import { openat2, resolve } from '../sys/openat2.ts';
import { FileError } from './file-error.ts';
import { bytesOfText, isDirectory, isLink } from './path-stat.ts';
import { type MountView, ownerOutside, type RootView } from './view.ts';

const O_PATH = 0o10000000;
const O_NOFOLLOW = 0o400000;
const AT_FDCWD = -100;
const mostLinks = 40;
/** Each directory on the way is held open. The kernel's bound on a path is 4096 bytes. */
const deepest = 2048;

/** Something in the container, held by a descriptor (O_PATH): it stays itself, whatever becomes of its name. */
export interface Place {
  readonly fd: number;
  readonly stat: BigIntStats;
  /** The innermost mount that it is in. */
  readonly mount: MountView | undefined;
  /** It is where that mount begins. */
  readonly isMountPoint: boolean;
  readonly close: () => void;
}

export interface Resolved {
  readonly place: Place;
  /** Without links, from the root. */
  readonly path: string;
}

interface Step {
  readonly name: string;
  /** Undefined behind the end of what there is. */
  readonly place: Place | undefined;
}

interface Mounted {
  readonly mount: MountView;
  readonly fd: number | undefined;
  readonly close: () => void;
}

/**
 * Paths in a container's files. The kernel never resolves one: each step opens one name in a directory that is held open
 * and follows nothing; links are read and walked here, from the container's root (S01). What the container moves meanwhile
 * changes what is found, never where it can be. Names are bytes, one to a character (latin1).
 */
export class Walk implements Disposable {
  readonly calls = new DirectoryCalls();
  readonly inodes = new InodeCalls();
  readonly root: Place;
  readonly #owners: RootView['owners'];
  /** By the directory that they are in, and the name in it: by what the directory is, so that moving it hides none. */
  readonly #mounts = new Map<string, Map<string, Mounted>>();

  constructor({ root, mounts, owners }: RootView) {
    this.#owners = owners;
    this.root = { fd: root, stat: statOf(root), mount: undefined, isMountPoint: false, close: () => {} };
    try {
      for (const mount of mounts) this.#mount(mount);
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
  }

  [Symbol.dispose](): void {
    for (const names of this.#mounts.values()) for (const { close } of names.values()) close();
    this.#mounts.clear();
  }

  /** What has this name in the directory; a link itself, not what it leads to. Undefined when there is nothing. */
  child(directory: Place, name: string): Place | undefined {
    const mounted = this.#mounts.get(keyOf(directory))?.get(name);
    if (mounted) {
      const { fd, mount } = mounted;
      if (fd === undefined) throw new FileError('ENOENT', `mount of ${mount.target} from ${mount.source.at}`);
      return { fd, stat: statOf(fd), mount, isMountPoint: true, close: () => {} };
    }
    let fd: number;
    try {
      fd = this.calls.open(directory.fd, name, O_PATH | O_NOFOLLOW);
    } catch (error) {
      if (codeOf(error) === 'ENOENT') return undefined;
      if (codeOf(error) === 'ENOTDIR') throw new FileError('ENOTDIR', name, error);
      throw error;
    }
    const close = () => this.calls.close(fd);
    try {
      return { fd, stat: statOf(fd), mount: directory.mount, isMountPoint: false, close };
    } catch (error) {
      close();
      throw error;
    }
  }

  /** Names in a directory, in the order of their bytes. */
  names(directory: Place): string[] {
    const names = namesIn(directory.fd);
    const mounted = this.#mounts.get(keyOf(directory));
    return mounted ? sorted(new Set([...names, ...mounted.keys()])) : names;
  }

  /** By what maps the owners of files there are those of the container. */
  ownersAt({ mount }: Pick<Place, 'mount'>): RootView['owners'] {
    return mount ? mount.owners : this.#owners;
  }

  readlink(place: Place): string {
    return this.inodes.readlink(place.fd);
  }

  /**
   * The place of a path. The last component's link is followed when `follow` says so or the path ends in `/` or `/.`,
   * which also want a directory. `from` takes the root's place: nothing outside of it is reached. `make` makes a directory
   * that is missing. Throws FileError.
   */
  resolve(
    path: string,
    {
      follow = false,
      from = this.root,
      links = 'followed',
      make,
    }: {
      readonly follow?: boolean;
      readonly from?: Place;
      readonly links?: 'followed' | 'refused';
      readonly make?: (parent: Place, name: string) => void;
    } = {},
  ): Resolved {
    const steps = this.#walk(path, from, {
      mostLinks: links === 'refused' ? 0 : mostLinks,
      follow,
      missing: (parent, name) => {
        if (!make) throw new FileError('ENOENT', `lstat ${path}`);
        make(parent, name);
        return this.child(parent, name);
      },
    });
    const last = steps.pop()!;
    for (const { place } of steps) if (place !== from) place?.close();
    if (!last.place) throw new FileError('ENOENT', `lstat ${path}`);
    return { place: last.place, path: pathOf([...steps, last]) };
  }

  /** Where a path leads when all its links are followed, as far as there is something; the rest is taken as it is written. */
  targetOf(path: string): string {
    let steps: readonly Step[] = [];
    try {
      steps = this.#walk(path, this.root, { mostLinks, follow: true, missing: () => undefined });
      return pathOf(steps);
    } finally {
      for (const { place } of steps) if (place !== this.root) place?.close();
    }
  }

  #walk(
    path: string,
    from: Place,
    how: {
      readonly mostLinks: number;
      readonly follow: boolean;
      readonly missing: (parent: Place, name: string) => Place | undefined;
    },
  ): Step[] {
    const steps: Step[] = [{ name: '', place: from }];
    const pop = () => {
      if (steps.length > 1) steps.pop()!.place?.close();
    };
    const todo = componentsOf(path);
    let followed = 0;
    try {
      while (todo.length > 0) {
        const name = todo.pop()!;
        const here = steps.at(-1)!.place;
        if (here && !isDirectory(here.stat)) throw new FileError('ENOTDIR', `lstat ${path}`);
        if (name === '.') continue;
        if (name === '..') {
          pop();
          continue;
        }
        if (steps.length > deepest) throw new FileError('ENAMETOOLONG', `lstat ${path}`);
        const next = here && (this.child(here, name) ?? how.missing(here, name));
        if (!next || !isLink(next.stat) || (todo.length === 0 && !how.follow)) {
          steps.push({ name, place: next });
          continue;
        }
        let target: string;
        try {
          target = this.readlink(next);
        } finally {
          next.close();
        }
        if (++followed > how.mostLinks || todo.length > deepest) throw new FileError('ELOOP', `lstat ${path}`);
        if (target.startsWith('/')) while (steps.length > 1) pop();
        todo.push(...componentsOf(target));
      }
      return steps;
    } catch (error) {
      while (steps.length > 1) pop();
      throw error;
    }
  }

  /** Directories on the way to it that are not there yet are made, as the start of the container would. */
  #mount(mount: MountView): void {
    const target = bytesOfText(mount.target);
    const name = posix.basename(target);
    const make = (directory: Place, missing: string) => {
      this.calls.mkdir(directory.fd, missing, 0o755);
      const made = this.child(directory, missing);
      const { uid, gid } = ownerOutside(this.ownersAt(directory), { uid: 0, gid: 0 });
      if (made && uid !== 0) this.inodes.chown(made.fd, uid, gid);
      // The umask is the engine's.
      if (made && isDirectory(made.stat)) this.inodes.chmod(made.fd, 0o755);
      made?.close();
    };
    let parent: Place;
    try {
      parent = this.resolve(posix.dirname(target), { follow: true, make }).place;
    } catch (error) {
      // With a file in the way it cannot be started either.
      if (error instanceof FileError) return;
      throw error;
    }
    try {
      const fd = this.#source(mount);
      const close = () => {
        if (fd !== undefined) this.calls.close(fd);
      };
      const names = this.#mounts.get(keyOf(parent)) ?? new Map<string, Mounted>();
      names.set(name, { mount, fd, close });
      this.#mounts.set(keyOf(parent), names);
    } finally {
      parent.close();
    }
  }

  /** Undefined when the source is gone: whoever goes there is told. */
  #source({ source: { at, below }, alone }: MountView): number | undefined {
    try {
      if (alone && typeof at === 'string' && below === '') return new MountCalls().cloneDetached(at);
      const base = typeof at === 'string' ? this.calls.open(AT_FDCWD, bytesOfText(at), O_PATH) : at;
      if (below === '' && base !== at) return base;
      try {
        return openat2(base, below || '.', { flags: O_PATH, resolve: resolve.inRoot | resolve.noMagicLinks });
      } finally {
        if (base !== at) this.calls.close(base);
      }
    } catch (error) {
      if (['ENOENT', 'ENOTDIR', 'ELOOP'].includes(codeOf(error) ?? '')) return undefined;
      throw error;
    }
  }
}

export function statOf(fd: number): BigIntStats {
  return fstatSync(fd, { bigint: true });
}

export function namesIn(fd: number): string[] {
  return sorted(readdirSync(`/proc/self/fd/${fd}`, 'latin1'));
}

function sorted(names: Iterable<string>): string[] {
  return [...names].sort((a, b) => (a < b ? -1 : 1));
}

/** Last first. A slash at the end wants a directory, as `.` does. */
function componentsOf(path: string): string[] {
  const components = path.split('/').filter((component) => component !== '');
  if (path.endsWith('/')) components.push('.');
  return components.reverse();
}

function pathOf(steps: readonly Step[]): string {
  return `/${steps
    .slice(1)
    .map(({ name }) => name)
    .join('/')}`;
}

const keyOf = ({ stat }: Place) => `${stat.dev}:${stat.ino}`;
