import {
  closeSync,
  constants,
  copyFileSync,
  fsyncSync,
  linkSync,
  openSync,
  readSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { codeOf } from '../base/errors.ts';
import type { LayerFacts } from '../snapshots/snapshotter.ts';
import { buildIndex } from './erofs.ts';
import { TarReader } from './tar.ts';
import { LayerTree } from './tree.ts';
import type { LayerJob, LayerProgress } from './write-layer.ts';

/**
 * No hard link between these two places (EXDEV also between two mounts of one file system), or no more of them on this
 * file: the kernel copies it, by reference where the file system can.
 */
const notLinkable: ReadonlySet<string | undefined> = new Set(['EXDEV', 'EPERM', 'EMLINK', 'EOPNOTSUPP']);
const pieceSize = 1024 * 1024;

/**
 * A layer whose blob is the plain tar that the diff ID names: the content store has hashed it, so it is linked or
 * copied as it is, and only indexed.
 */
export function linkLayer(job: LayerJob, progress: LayerProgress): LayerFacts {
  const path = join(job.directory, 'layer.tar');
  try {
    linkSync(job.blobPath, path);
  } catch (error) {
    if (!notLinkable.has(codeOf(error))) throw error;
    copyFileSync(job.blobPath, path, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE);
  }
  const tar = openSync(path, 'r');
  try {
    const tree = new LayerTree({ maxEntries: job.limits.maxEntries });
    const reader = new TarReader({ entry: (entry) => tree.add(entry) });
    const piece = Buffer.allocUnsafeSlow(pieceSize);
    let size = 0;
    for (let length = readSync(tar, piece); length > 0; length = readSync(tar, piece)) {
      progress.check();
      reader.push(piece.subarray(0, length));
      size += length;
      progress.read(size);
    }
    reader.finish();
    const index = buildIndex(tree.root, { tarSize: size, tar });
    writeFileSync(join(job.directory, 'layer.erofs'), index, { mode: 0o600 });
    fsyncSync(tar);
    return { size, entries: tree.entries };
  } catch (error) {
    rmSync(path, { force: true });
    throw error;
  } finally {
    closeSync(tar);
  }
}
