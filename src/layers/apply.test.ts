import assert from 'node:assert/strict';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { type Digest, DigestMismatch, digestOf, hexOf } from '../oci/digest.ts';
import type { LayerFacts, LayerStage } from '../snapshots/snapshotter.ts';
import { LayerApplier } from './apply.ts';
import { packTar } from './tar-writer.ts';

/** Keeps layers in directories and mounts nothing. */
class Layers {
  readonly form = 'tar+erofs';
  readonly place = mkdtempSync(join(tmpdir(), 'berth-apply-'));
  readonly facts = new Map<Digest, LayerFacts>();

  hasLayer(diffId: Digest): boolean {
    return this.facts.has(diffId);
  }

  layerFacts(diffId: Digest): LayerFacts | undefined {
    return this.facts.get(diffId);
  }

  async stageLayer(diffId: Digest): Promise<LayerStage> {
    const directory = join(this.place, 'stage');
    mkdirSync(directory);
    return {
      directory,
      commit: async (facts) => {
        renameSync(directory, join(this.place, hexOf(diffId)));
        this.facts.set(diffId, facts);
      },
      [Symbol.asyncDispose]: async () => rmSync(directory, { recursive: true, force: true }),
    };
  }

  [Symbol.dispose](): void {
    rmSync(this.place, { recursive: true });
  }
}

test('a blob becomes the plain tar and an index beside it', async () => {
  using layers = new Layers();
  await using applier = new LayerApplier({ snapshotter: layers, workers: 1 });
  const tar = packTar([{ name: 'f', content: 'hello' }]);
  const diffId = digestOf(tar);
  const blobPath = join(layers.place, 'blob');
  writeFileSync(blobPath, gzipSync(tar));
  assert.deepEqual(await applier.apply({ blobPath, diffId }), { size: tar.length, entries: 1 });
  const directory = join(layers.place, hexOf(diffId));
  assert.deepEqual(readdirSync(directory).sort(), ['layer.erofs', 'layer.tar']);
  assert.ok(readFileSync(join(directory, 'layer.tar')).equals(tar));
  // Here already: nothing is read.
  rmSync(blobPath);
  assert.deepEqual(await applier.apply({ blobPath, diffId }), { size: tar.length, entries: 1 });
});

test('what is not the diff ID is refused, and nothing is kept', async () => {
  using layers = new Layers();
  await using applier = new LayerApplier({ snapshotter: layers, workers: 1 });
  const blobPath = join(layers.place, 'blob');
  writeFileSync(blobPath, packTar([]));
  await assert.rejects(applier.apply({ blobPath, diffId: digestOf('x') }), DigestMismatch);
  assert.equal(existsSync(join(layers.place, 'stage')), false);
  await assert.rejects(applier.apply({ blobPath: join(layers.place, 'gone'), diffId: digestOf('x') }), {
    code: 'ENOENT',
  });
});

test('a signal that is aborted already starts nothing', async () => {
  using layers = new Layers();
  await using applier = new LayerApplier({ snapshotter: layers, workers: 1 });
  const applying = applier.apply({ blobPath: '/nowhere', diffId: digestOf('x'), signal: AbortSignal.abort() });
  await assert.rejects(applying, { name: 'AbortError' });
});
