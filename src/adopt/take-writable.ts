import { constants } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { EngineError } from '../base/errors.ts';
import type { Digest } from '../oci/digest.ts';
import type { Snapshotter } from '../snapshots/snapshotter.ts';
import { DirectoryCalls } from '../sys/dirfd.ts';
import { InodeCalls } from '../sys/inode.ts';
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
  await checkMarks(to, signal);
  await syncFileSystem(to);
  undo.move();
}

const O_PATH = 0o10000000;
const marks = ['trusted.overlay.redirect', 'trusted.overlay.metacopy'];

/**
 * Where the kernel was set to it, overlay keeps of a folder that was renamed, or of a file whose owner was changed, only a
 * mark that leads below. Berth's mounts follow none, as a stranger's layer could lead anywhere: with them files would be
 * missing, so such a container is not taken.
 */
async function checkMarks(upper: string, signal: AbortSignal): Promise<void> {
  const calls = new DirectoryCalls();
  const inodes = new InodeCalls();
  // As latin1 every byte of a name stays what it is.
  const visit = async (folder: string) => {
    signal.throwIfAborted();
    const entries = await readdir(Buffer.from(folder, 'latin1'), { withFileTypes: true, encoding: 'buffer' });
    for (const entry of entries) {
      if (!entry.isDirectory() && !entry.isFile()) continue;
      const path = `${folder}/${entry.name.toString('latin1')}`;
      const fd = calls.open(-100, path, O_PATH | constants.O_NOFOLLOW);
      try {
        if (marks.some((mark) => inodes.xattr(fd, mark) !== undefined)) throw marked(path.slice(root.length + 1));
      } finally {
        calls.close(fd);
      }
      if (entry.isDirectory()) await visit(path);
    }
  };
  const root = Buffer.from(upper).toString('latin1');
  await visit(root);
}

function marked(path: string): EngineError {
  const shown = JSON.stringify(Buffer.from(path, 'latin1').toString());
  return new EngineError(
    'unsupported',
    `${shown} in what it wrote is only a mark of overlay's (redirect_dir or metacopy), which leads to its image's files`,
    { hint: 'start Docker once more, docker commit it, and adopt the image' },
  );
}
