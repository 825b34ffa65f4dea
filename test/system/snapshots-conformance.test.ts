import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { silentLog } from '../../src/base/log.ts';
import { packTar } from '../../src/layers/tar-writer.ts';
import { defaultLayerLimits, writeLayer } from '../../src/layers/write-layer.ts';
import { type Digest, digestOf } from '../../src/oci/digest.ts';
import { DiskLimits } from '../../src/quotas/disk-limits.ts';
import { conformsAsSnapshotter, type LayerFile } from '../../src/snapshots/conformance.ts';
import { ErofsSnapshotter } from '../../src/snapshots/erofs-snapshotter.ts';
import { mountOverlay, mountOverlayByDescriptors } from '../../src/snapshots/overlay-mount.ts';
import { OverlaySnapshotter } from '../../src/snapshots/overlay-snapshotter.ts';
import type { Snapshotter } from '../../src/snapshots/snapshotter.ts';
import { MountCalls } from '../../src/sys/mount.ts';

async function addLayer(snapshotter: Snapshotter, files: readonly LayerFile[]): Promise<Digest> {
  const tar = packTar(
    files.map(({ name, content, mode, uid }) => ({
      name,
      type: content !== undefined || name.includes('.wh.') ? 'file' : 'directory',
      content: content ?? '',
      ...(mode === undefined ? {} : { mode }),
      ...(uid === undefined ? {} : { uid }),
    })),
  );
  const diffId = digestOf(tar);
  const place = mkdtempSync(join(tmpdir(), 'berth-layer-'));
  try {
    const blobPath = join(place, 'blob');
    writeFileSync(blobPath, tar);
    await using stage = await snapshotter.stageLayer(diffId);
    const job = {
      blobPath,
      diffId,
      form: snapshotter.form,
      directory: stage.directory,
      limits: { ...defaultLayerLimits, reserveBytes: 0 },
    };
    await stage.commit(await writeLayer(job, { read: () => {}, check: () => {} }));
  } finally {
    rmSync(place, { recursive: true });
  }
  return diffId;
}

const deps = (root: string) => ({
  root,
  log: silentLog,
  calls: new MountCalls(),
  limits: new DiskLimits(),
  mountOverlay,
});

conformsAsSnapshotter('ErofsSnapshotter', {
  open: (root) => new ErofsSnapshotter({ ...deps(root), directIo: true }),
  addLayer,
});

conformsAsSnapshotter('ErofsSnapshotter without direct reads', {
  open: (root) => new ErofsSnapshotter({ ...deps(root), directIo: false, lingerMs: 0 }),
  addLayer,
});

conformsAsSnapshotter('OverlaySnapshotter', {
  open: (root) => new OverlaySnapshotter(deps(root)),
  addLayer,
});

conformsAsSnapshotter('OverlaySnapshotter with mount(2) alone', {
  open: (root) => new OverlaySnapshotter({ ...deps(root), mountOverlay: mountOverlayByDescriptors }),
  addLayer,
});
