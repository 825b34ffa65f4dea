import { join } from 'node:path';
import type { Digest } from '../oci/digest.ts';
import { syncFileSystem } from '../sys/sync.ts';
import { LayeredSnapshotter, type LayeredSnapshotterDeps, type LayerTrees } from './layered-snapshotter.ts';

/** Layers unpacked into directories, for kernels that do not mount EROFS from files. */
export class OverlaySnapshotter extends LayeredSnapshotter {
  readonly name = 'overlay';
  readonly form = 'directory';
  protected readonly trees: LayerTrees;

  constructor(deps: LayeredSnapshotterDeps) {
    super(deps);
    this.trees = {
      acquire: (diffId: Digest) => join(this.store.directory(diffId), 'fs'),
      release: () => {},
      drop: async () => {},
      recover: async () => {},
      [Symbol.asyncDispose]: async () => {},
    };
  }

  /** One call for thousands of files. */
  protected async syncLayer(directory: string): Promise<void> {
    await syncFileSystem(directory);
  }
}
