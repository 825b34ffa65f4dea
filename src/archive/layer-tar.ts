import { InodeCalls } from '../sys/inode.ts';
import { type Difference, differences, type LayerPair } from './differences.ts';
import { textOfBytes } from './path-stat.ts';
import { TarStream } from './tar-stream.ts';
import type { Change } from './view.ts';

/** How many changes are told at a time. */
const batch = 1000;

/** What `docker diff` lists. */
export function* listChanges(pair: LayerPair): Generator<readonly Change[], void, unknown> {
  let changes: Change[] = [];
  for (const { path, kind } of differences(pair)) {
    changes.push({ path: `/${textOfBytes(path)}`, kind });
    if (changes.length < batch) continue;
    yield changes;
    changes = [];
  }
  if (changes.length > 0) yield changes;
}

/**
 * A writable layer as the tar of an image's layer (OCI image-spec, layer.md): what was deleted as whiteouts. Nothing comes
 * when nothing was changed. The same changes give the same bytes.
 */
export function* packLayer(pair: LayerPair): Generator<Buffer, void, unknown> {
  const tar = new TarStream(new InodeCalls());
  let empty = true;
  for (const { path, now } of differences(pair, { everyFile: true }) as Generator<Difference>) {
    empty = false;
    if (now) yield* tar.add(path, now);
    else yield* tar.mark(path.replace(/[^/]+$/, '.wh.$&'));
  }
  if (!empty) yield* tar.end();
}
