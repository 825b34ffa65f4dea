import { EngineError } from '../base/errors.ts';
import { checkLinkTarget, componentsOf, keptXattrs, markerOf } from './names.ts';
import { invalidTar, nameText, type SparsePart, type TarEntry } from './tar-entry.ts';

const S_IFDIR = 0o040000;
const S_IFREG = 0o100000;
const S_IFLNK = 0o120000;
const S_IFCHR = 0o020000;
const S_IFBLK = 0o060000;
const S_IFIFO = 0o010000;

export const fileType = { S_IFMT: 0o170000, S_IFDIR, S_IFREG, S_IFLNK, S_IFCHR, S_IFBLK, S_IFIFO } as const;

/** Deeper than any path can name; links to directories would allow it. */
const maxDepth = 2500;

/** An inode of a layer. Hard links are several names for one node. */
export interface Node {
  /** Type and permissions, as in stat(2). */
  mode: number;
  uid: number;
  gid: number;
  mtime: number;
  mtimeNsec: number;
  size: number;
  /** Where a file's data is in the tar. */
  data: number;
  sparse: readonly SparsePart[] | undefined;
  /** A symbolic link's, in bytes as latin1. */
  target: string;
  /** Of a device. */
  major: number;
  minor: number;
  xattrs: ReadonlyMap<string, Buffer> | undefined;
  /** A directory's entries. */
  children: Map<string, Node> | undefined;
  /** Hides what lower layers have in this directory. */
  opaque: boolean;
}

/**
 * A layer as a tree, built entry by entry with the meaning that unpacking would give: the last entry of a name wins, a
 * directory over a directory keeps its content, missing parents are made, parents that are symbolic links are followed
 * inside the root, whiteouts become overlay's form (a character device 0:0, an opaque directory).
 */
export class LayerTree {
  readonly root: Node = directory();
  readonly #maxEntries: number;
  #entries = 0;

  constructor({ maxEntries }: { maxEntries: number }) {
    this.#maxEntries = maxEntries;
  }

  get entries(): number {
    return this.#entries;
  }

  add(entry: TarEntry): void {
    if (++this.#entries > this.#maxEntries) {
      throw new EngineError('invalid', `the layer has more than ${this.#maxEntries} entries`);
    }
    const components = componentsOf(entry.name);
    const name = components.pop();
    if (name === undefined) {
      if (entry.type !== 'directory') throw invalidTar(`the root directory is given as a ${entry.type}`);
      setAttributes(this.root, entry, S_IFDIR);
      return;
    }
    const marker = markerOf(name);
    if (marker.kind === 'skip') return;
    const parent = this.#directoryAt(components, entry.name);
    if (marker.kind === 'opaque') parent.opaque = true;
    else if (marker.kind === 'whiteout') hide(parent.children!, marker.name);
    else if (entry.type === 'hardlink') this.#link(parent, name, entry);
    else place(parent.children!, name, nodeOf(entry));
  }

  #link(parent: Node, name: string, entry: TarEntry): void {
    const components = componentsOf(entry.linkName);
    const last = components.pop();
    const found = last === undefined ? this.root : this.#find(components)?.children?.get(last);
    const what = `the hard link ${nameText(entry.name)} to ${nameText(entry.linkName)}`;
    if (!found || isWhiteout(found)) throw invalidTar(`${what}: there is no such file in the layer`);
    if (found.children) throw invalidTar(`${what}: that is a directory`);
    if (parent.children!.get(name) === found) return;
    place(parent.children!, name, found);
  }

  /** The directory that an entry goes into, made where it is missing. */
  #directoryAt(components: readonly string[], subject: string): Node {
    const walked = this.#walk(components, (children, name) => {
      const made = directory();
      place(children, name, made);
      return made;
    });
    if (walked === undefined)
      throw invalidTar(`a parent of ${nameText(subject)} is a loop of symbolic links, or too deep`);
    return walked;
  }

  /** The same without making anything. */
  #find(components: readonly string[]): Node | undefined {
    return this.#walk(components, () => undefined);
  }

  #walk(
    components: readonly string[],
    missing: (children: Map<string, Node>, name: string) => Node | undefined,
  ): Node | undefined {
    const path: Node[] = [this.root];
    const todo = components.toReversed();
    let followed = 0;
    while (todo.length > 0) {
      const component = todo.pop()!;
      if (component === '' || component === '.') continue;
      if (component === '..') {
        if (path.length > 1) path.pop();
        continue;
      }
      const here = path.at(-1)!;
      let next = here.children!.get(component);
      if (next && (next.mode & fileType.S_IFMT) === S_IFLNK) {
        if (++followed > 40) return undefined;
        if (next.target.startsWith('/')) path.length = 1;
        todo.push(...next.target.split('/').reverse());
        if (todo.length > 10_000) return undefined;
        continue;
      }
      // Anything else that is in the way of a directory gives way, as it would when unpacking.
      if (!next?.children) next = missing(here.children!, component);
      if (!next) return undefined;
      if (path.push(next) > maxDepth) return undefined;
    }
    return path.at(-1);
  }
}

function directory(): Node {
  return {
    mode: S_IFDIR | 0o755,
    uid: 0,
    gid: 0,
    mtime: 0,
    mtimeNsec: 0,
    size: 0,
    data: 0,
    sparse: undefined,
    target: '',
    major: 0,
    minor: 0,
    xattrs: undefined,
    children: new Map(),
    opaque: false,
  };
}

function nodeOf(entry: TarEntry): Node {
  const node = directory();
  if (entry.type !== 'directory') node.children = undefined;
  if (entry.type === 'file') {
    node.size = entry.size;
    node.data = entry.dataOffset;
    node.sparse = entry.sparse;
  }
  if (entry.type === 'symlink') {
    node.target = checkLinkTarget(entry.name, entry.linkName);
    node.size = node.target.length;
  }
  if (entry.type === 'char' || entry.type === 'block') {
    // The kernel's device numbers have 12 and 20 bits.
    if (entry.major < 0 || entry.major > 0xfff || entry.minor < 0 || entry.minor > 0xfffff) {
      throw invalidTar(`${nameText(entry.name)} has the device number ${entry.major}:${entry.minor}`);
    }
    node.major = entry.major;
    node.minor = entry.minor;
  }
  setAttributes(node, entry, typeBits[entry.type]);
  return node;
}

const typeBits: Readonly<Record<TarEntry['type'], number>> = {
  file: S_IFREG,
  directory: S_IFDIR,
  symlink: S_IFLNK,
  char: S_IFCHR,
  block: S_IFBLK,
  fifo: S_IFIFO,
  hardlink: 0,
};

function setAttributes(node: Node, entry: TarEntry, type: number): void {
  // Linux shows symbolic links with all permissions, whatever the archive says.
  node.mode = type | (type === S_IFLNK ? 0o777 : entry.mode);
  node.uid = entry.uid;
  node.gid = entry.gid;
  node.mtime = entry.mtime;
  node.mtimeNsec = entry.mtimeNsec;
  node.xattrs = keptXattrs(entry.xattrs);
}

export function isWhiteout(node: Node): boolean {
  return (node.mode & fileType.S_IFMT) === S_IFCHR && node.major === 0 && node.minor === 0;
}

function place(children: Map<string, Node>, name: string, node: Node): void {
  const there = children.get(name);
  if (there?.children && node.children) {
    // Only the attributes are new.
    node.children = there.children;
    node.opaque ||= there.opaque;
  } else if (there && isWhiteout(there) && node.children) {
    // Both hidden and made again: nothing of the lower directory shows through.
    node.opaque = true;
  }
  children.set(name, node);
}

/** A whiteout is about lower layers: what this layer brings itself stays, whichever came first. */
function hide(children: Map<string, Node>, name: string): void {
  const there = children.get(name);
  if (there?.children) there.opaque = true;
  else if (!there) {
    const whiteout = directory();
    whiteout.children = undefined;
    whiteout.mode = S_IFCHR;
    children.set(name, whiteout);
  }
}
