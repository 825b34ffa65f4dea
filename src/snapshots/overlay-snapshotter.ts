import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { EngineError } from '../base/errors.ts';
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
      acquire: (diffId: Digest) => {
        const path = join(this.store.directory(diffId), 'fs');
        if (!existsSync(path)) throw new EngineError('corrupt', `mount layer ${diffId}: ${path} is gone`);
        return path;
      },
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
