import type { BigIntStats } from 'node:fs';
import { codeOf } from '../base/errors.ts';
import { fileType } from '../layers/tree.ts';
import { DirectoryCalls } from '../sys/dirfd.ts';
import { InodeCalls } from '../sys/inode.ts';
import { FileError } from './file-error.ts';
import { isDirectory, isFile, typeOf } from './path-stat.ts';
import type { ChangeKind } from './view.ts';
import { namesIn, statOf } from './walk.ts';

const O_PATH = 0o10000000;
const O_NOFOLLOW = 0o400000;
const longestPath = 4096;

/** A writable layer and what it lies on. Both are read only. */
export interface LayerPair {
  /** The directory of what was written, in overlay's form: a path of the host's. */
  readonly upper: string;
  /** The root directory of what is below. */
  readonly lower: number;
}

export interface Difference {
  /** From the root, without a slash before it; bytes. */
  readonly path: string;
  readonly kind: ChangeKind;
  /** What is there now; undefined of what was deleted. */
  readonly now: { readonly fd: number; readonly stat: BigIntStats } | undefined;
}

/**
 * What the engine puts into a root so that it can be mounted over when the image lacks it. Nobody changed anything: Docker
 * has these in a layer of its own below the container's.
 */
const mountPoints: ReadonlySet<string> = new Set(['dev', 'proc', 'sys', 'etc']);
const mountFiles: ReadonlySet<string> = new Set(['etc/hosts', 'etc/hostname', 'etc/resolv.conf', '.dockerenv']);

interface Pending {
  readonly difference: Difference;
  told: boolean;
}

/**
 * What a container changed over its image, by what can be seen: the same name with other attributes, size or time is
 * modified; a directory also when something in it is. Parents come before what is in them, names in the order of their
 * bytes. With `everyFile` files that were written and look the same are told too: their content may be another.
 */
export function* differences(
  { upper, lower }: LayerPair,
  { everyFile = false }: { readonly everyFile?: boolean } = {},
): Generator<Difference, void, unknown> {
  const comparison = new Comparison(everyFile);
  const calls = new DirectoryCalls();
  const root = calls.open(-100, Buffer.from(upper).toString('latin1'), O_PATH | O_NOFOLLOW);
  try {
    yield* comparison.directory({ path: '', upper: root, lower, opaque: false }, []);
  } finally {
    calls.close(root);
  }
}

interface Pair {
  readonly path: string;
  readonly upper: number;
  readonly lower: number | undefined;
  /** What is below does not show through. */
  readonly opaque: boolean;
}

class Comparison {
  readonly #calls = new DirectoryCalls();
  readonly #inodes = new InodeCalls();
  readonly #everyFile: boolean;

  constructor(everyFile: boolean) {
    this.#everyFile = everyFile;
  }

  *directory({ path, upper, lower, opaque }: Pair, parents: readonly Pending[]): Generator<Difference, void, unknown> {
    if (path.length > longestPath) throw new FileError('ENAMETOOLONG', path);
    const hidden = opaque || this.#inodes.xattr(upper, 'trusted.overlay.opaque')?.toString() === 'y';
    const names = new Set(namesIn(upper));
    const below = hidden && lower !== undefined ? namesIn(lower) : [];
    for (const name of [...new Set([...names, ...below])].sort((a, b) => (a < b ? -1 : 1))) {
      const its = path + name;
      using now = names.has(name) ? this.#open(upper, name) : undefined;
      using before = lower === undefined ? undefined : this.#open(lower, name);
      if (!now || isWhiteout(now.stat)) {
        if (before) yield* tell(parents, { path: its, kind: 'deleted', now: undefined });
      } else yield* this.#one(its, now, before, hidden, parents);
    }
  }

  *#one(
    path: string,
    now: Opened,
    before: Opened | undefined,
    hidden: boolean,
    parents: readonly Pending[],
  ): Generator<Difference, void, unknown> {
    const ours = !before && (isDirectory(now.stat) ? mountPoints.has(path) : isFile(now.stat) && mountFiles.has(path));
    if (ours && isFile(now.stat) && now.stat.size === 0n) return;
    const changed = ours ? false : !before || this.#differ(now, before);
    const pending = { difference: { path, kind: before || ours ? 'modified' : 'added', now }, told: false } as const;
    const chain = [...parents, { ...pending }];
    if (changed) yield* tell(chain, undefined);
    if (!isDirectory(now.stat)) return;
    const lower = before && isDirectory(before.stat) ? before.fd : undefined;
    yield* this.directory({ path: `${path}/`, upper: now.fd, lower, opaque: hidden }, chain);
  }

  #differ({ fd, stat: now }: Opened, { fd: beforeFd, stat: before }: Opened): boolean {
    if (now.mode !== before.mode || now.uid !== before.uid || now.gid !== before.gid || now.rdev !== before.rdev)
      return true;
    if (!isDirectory(now) && (this.#everyFile || now.size !== before.size || !sameTime(now.mtimeNs, before.mtimeNs)))
      return true;
    const capability = (file: number) => this.#inodes.xattr(file, 'security.capability')?.toString('latin1');
    return capability(fd) !== capability(beforeFd);
  }

  #open(directory: number, name: string): Opened | undefined {
    let fd: number;
    try {
      fd = this.#calls.open(directory, name, O_PATH | O_NOFOLLOW);
    } catch (error) {
      if (['ENOENT', 'ENOTDIR'].includes(codeOf(error) ?? '')) return undefined;
      throw error;
    }
    return { fd, stat: statOf(fd), [Symbol.dispose]: () => this.#calls.close(fd) };
  }
}

interface Opened extends Disposable {
  readonly fd: number;
  readonly stat: BigIntStats;
}

/** With it, each directory that it is in and that was not told of yet. */
function* tell(chain: readonly Pending[], last: Difference | undefined): Generator<Difference, void, unknown> {
  for (const pending of chain) {
    if (pending.told) continue;
    pending.told = true;
    yield pending.difference;
  }
  if (last) yield last;
}

function isWhiteout(stat: BigIntStats): boolean {
  return typeOf(stat) === fileType.S_IFCHR && stat.rdev === 0n;
}

/** Some file systems and archives know whole seconds only. */
function sameTime(a: bigint, b: bigint): boolean {
  const second = 1_000_000_000n;
  return a === b || (a / second === b / second && (a % second === 0n || b % second === 0n));
}
