import { FileError, isMissing } from './file-error.ts';
import { baseName, bytesOfText, cleanPath, goMode, isDirectory, isLink, textOfBytes, timeText } from './path-stat.ts';
import { TarStream } from './tar-stream.ts';
import type { PathStat, RootView } from './view.ts';
import { type Place, Walk } from './walk.ts';

/** As far as names in an archive go; the kernel would name no deeper file either. */
const longestName = 4096;

/** The facts of a path, whose last link is not followed unless a slash or a dot comes behind it. */
export function statPath(view: RootView, path: string): PathStat {
  using walk = new Walk(view);
  const { place } = walk.resolve(bytesOfText(cleanPath(path)));
  try {
    return factsOf(walk, place, path);
  } finally {
    place.close();
  }
}

/**
 * First the facts of the path, then it and all below it as a tar whose only root is `as`, else the path's last component.
 */
export function* packPath(
  view: RootView,
  path: string,
  { as, follow = false }: { readonly as?: string; readonly follow?: boolean } = {},
): Generator<PathStat | Buffer, void, unknown> {
  using walk = new Walk(view);
  const { place } = walk.resolve(bytesOfText(cleanPath(path)), { follow });
  try {
    yield factsOf(walk, place, path);
    const tar = new TarStream(walk.inodes);
    yield* packTree(walk, tar, place, bytesOfText(as ?? baseName(cleanPath(path))));
    yield* tar.end();
  } finally {
    place.close();
  }
}

/** All that is in the root, by names that begin in it. */
export function* packRoot(view: RootView): Generator<Buffer, void, unknown> {
  using walk = new Walk(view);
  const tar = new TarStream(walk.inodes);
  yield* packChildren(walk, tar, walk.root, '');
  yield* tar.end();
}

function* packTree(walk: Walk, tar: TarStream, place: Place, name: string): Generator<Buffer, void, unknown> {
  yield* tar.add(name, place, walk.ownersAt(place));
  if (isDirectory(place.stat)) yield* packChildren(walk, tar, place, name.endsWith('/') ? name : `${name}/`);
}

function* packChildren(walk: Walk, tar: TarStream, directory: Place, prefix: string): Generator<Buffer, void, unknown> {
  if (prefix.length > longestName) throw new FileError('ENAMETOOLONG', prefix);
  for (const name of walk.names(directory)) {
    let child: Place | undefined;
    try {
      child = walk.child(directory, name);
    } catch (error) {
      if (!isMissing(error)) throw error;
    }
    // Gone since the directory was read.
    if (!child) continue;
    try {
      yield* packTree(walk, tar, child, prefix + name);
    } finally {
      child.close();
    }
  }
}

function factsOf(walk: Walk, { stat, fd }: Place, path: string): PathStat {
  const link = isLink(stat);
  return {
    name: baseName(path),
    size: link ? walk.inodes.readlink(fd).length : Number(stat.size),
    mode: goMode(Number(stat.mode)),
    mtime: timeText(stat.mtimeNs),
    linkTarget: link ? textOfBytes(linkTarget(walk, path)) : '',
  };
}

function linkTarget(walk: Walk, path: string): string {
  try {
    return walk.targetOf(bytesOfText(cleanPath(path)));
  } catch (error) {
    // A loop leads nowhere.
    if (error instanceof FileError) return '';
    throw error;
  }
}
