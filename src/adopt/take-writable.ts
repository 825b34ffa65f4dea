import type { Digest } from '../oci/digest.ts';
import type { Snapshotter } from '../snapshots/snapshotter.ts';
import { copyTree, syncFileSystem } from '../volumes/copy-tree.ts';
import type { ForeignRoot } from './foreign-root.ts';

/**
 * Makes the snapshot `key` on `layers`, with a copy of the tree `upper` of the other root, which is in overlay's own form
 * there and here. Whole and durable, or not there.
 */
export async function takeWritable(
  { root, snapshots }: { readonly root: ForeignRoot; readonly snapshots: Snapshotter },
  { upper, key, layers }: { readonly upper: string; readonly key: string; readonly layers: readonly Digest[] },
  { signal, progress }: { readonly signal: AbortSignal; readonly progress: (bytes: number) => void },
): Promise<void> {
  if (snapshots.snapshots().includes(key)) await snapshots.remove(key);
  await using undo = new AsyncDisposableStack();
  using from = root.open(upper, { directory: true });
  await snapshots.prepare(key, layers);
  undo.defer(() => snapshots.remove(key));
  const to = snapshots.describe(key)['UpperDir']!;
  await copyTree(from.path, to, { exact: true, signal, progress });
  await syncFileSystem(to);
  undo.move();
}
