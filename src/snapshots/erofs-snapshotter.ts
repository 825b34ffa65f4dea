import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { LayerMounts } from './layer-mounts.ts';
import { LayeredSnapshotter, type LayeredSnapshotterDeps } from './layered-snapshotter.ts';

export interface ErofsSnapshotterDeps extends LayeredSnapshotterDeps {
  /** Mount layers with `directio`: without it every page is cached twice, once as the tar's and once as the file's. */
  readonly directIo: boolean;
  readonly lingerMs?: number;
}

/** Layers as plain tars with an EROFS index beside them, mounted by the kernel straight from the files. */
export class ErofsSnapshotter extends LayeredSnapshotter {
  readonly name = 'erofs';
  readonly form = 'tar+erofs';
  protected readonly trees: LayerMounts;

  constructor({ directIo, lingerMs = 5000, ...deps }: ErofsSnapshotterDeps) {
    super(deps);
    this.trees = new LayerMounts({
      root: join(this.root, 'mounts'),
      calls: this.calls,
      log: this.log,
      directoryOf: (diffId) => this.store.directory(diffId),
      directIo,
      lingerMs,
    });
  }

  protected async syncLayer(directory: string): Promise<void> {
    for (const name of ['layer.tar', 'layer.erofs']) {
      await using file = await open(join(directory, name), 'r');
      await file.sync();
    }
  }
}
