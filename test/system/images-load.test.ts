import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { all, layoutOf, makeImage } from '../../src/images/fake-images.ts';
import { dockerArchive, tar } from '../lib/images.ts';
import { fileStream, openImages, skopeo, tempDir } from './images-fixture.ts';

const quiet = { quiet: true };

for (const form of ['docker-archive', 'oci-archive'] as const)
  for (const compression of ['none', 'gzip', 'zstd', 'xz', 'bzip2'] as const)
    test(`load takes skopeo's ${form}, compressed by ${compression}, and its files can be read`, async () => {
      await using dir = await tempDir();
      const made = makeImage({ layers: ['first', 'second'] });
      writeFileSync(join(dir.path, 'made.tar'), layoutOf(made));
      let archive = join(dir.path, 'out.tar');
      await skopeo('copy', `oci-archive:${dir.path}/made.tar`, `${form}:${archive}:example/web:1`);
      if (compression !== 'none') {
        const packed = execFileSync(compression, ['-c', archive], { maxBuffer: 1 << 28 });
        archive += `.${compression}`;
        writeFileSync(archive, packed);
      }
      await using engine = await openImages(dir.path);
      const lines = await all(engine.images.load(fileStream(archive), quiet));
      assert.deepEqual(lines, [{ stream: 'Loaded image: example/web:1\n' }]);
      const image = await engine.images.get('example/web:1');
      assert.deepEqual(image.layers, made.diffIds);
      await using view = await engine.snapshots.view(image.layers);
      assert.equal(readFileSync(join(view.path, 'file-0'), 'utf8'), 'first');
      assert.equal(readFileSync(join(view.path, 'file-1'), 'utf8'), 'second');
    });

test('what was loaded is there after a restart, and gone with its bytes when it is removed', async () => {
  await using dir = await tempDir();
  const archive = join(dir.path, 'made.tar');
  writeFileSync(archive, layoutOf(makeImage({ layers: ['a', 'b'] }), ['docker.io/library/web:1']));
  {
    await using engine = await openImages(dir.path);
    await all(engine.images.load(fileStream(archive), quiet));
  }
  await using engine = await openImages(dir.path);
  assert.deepEqual(await engine.images.collect(), { bytes: 0 });
  assert.equal((await engine.images.get('web:1')).layers.length, 2);
  await engine.images.remove('web:1', { force: false, prune: true });
  assert.deepEqual(await engine.content.digests(), []);
  assert.deepEqual(engine.snapshots.layers(), []);
  assert.deepEqual(await readdir(join(dir.path, 'content', 'blobs', 'sha256')), []);
});

test('plain layers are linked, not copied, and a tar that no image needs does not stay', async () => {
  await using dir = await tempDir();
  const files = (text: string) => [{ name: text, content: text.repeat(1_500_000) }];
  const archive = join(dir.path, 'made.tar');
  const stray = tar([{ name: 'stray.tar', content: tar(files('b')) }]).subarray(0, -1024);
  writeFileSync(archive, Buffer.concat([stray, dockerArchive({ layers: [files('a')] }, ['plain:1'])]));
  await using engine = await openImages(dir.path);
  await all(engine.images.load(fileStream(archive), quiet));
  const { layers } = await engine.images.get('plain:1');
  assert.deepEqual(engine.snapshots.layers(), layers);
  assert.equal((await engine.content.digests()).length, 3);
  // Its blob and the layer, where the snapshotter keeps tars.
  if (engine.snapshots.form === 'tar+erofs') assert.equal(statSync(engine.content.path(layers[0]!)).nlink, 2);
  await engine.images.remove('plain:1', { force: false, prune: true });
  assert.deepEqual(engine.snapshots.layers(), []);
  assert.deepEqual(await engine.content.digests(), []);
});

test('an image of 125 layers is loaded and can be read', async () => {
  await using dir = await tempDir();
  const layers = Array.from({ length: 125 }, (_, at) => `layer ${at}`);
  const archive = join(dir.path, 'made.tar');
  writeFileSync(archive, layoutOf(makeImage({ layers }), ['docker.io/library/deep:1']));
  await using engine = await openImages(dir.path);
  await all(engine.images.load(fileStream(archive), quiet));
  const image = await engine.images.get('deep:1');
  await using view = await engine.snapshots.view(image.layers);
  assert.equal(readFileSync(join(view.path, 'file-124'), 'utf8'), 'layer 124');
});

test('R05 a disk that fills up during a load is named, and nothing is left', async () => {
  await using dir = await tempDir();
  const data = join(dir.path, 'data');
  mkdirSync(data);
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=6m', 'tmpfs', data]);
  try {
    const made = makeImage({ layers: ['a', 'b', 'c'].map((text) => text.repeat(3_000_000)), gzip: false });
    writeFileSync(join(dir.path, 'oci.tar'), layoutOf(made, ['docker.io/library/big:1']));
    await skopeo('copy', `oci-archive:${dir.path}/oci.tar`, `docker-archive:${dir.path}/docker.tar:big:1`);
    await using engine = await openImages(data);
    for (const archive of ['oci.tar', 'docker.tar']) {
      const loading = all(engine.images.load(fileStream(join(dir.path, archive)), quiet));
      await assert.rejects(loading, { kind: 'unavailable', message: /no space left|bytes are free|bytes free/ });
      assert.deepEqual(await engine.content.digests(), []);
      assert.deepEqual(await readdir(join(data, 'content', 'ingest')), []);
      assert.deepEqual(engine.snapshots.layers(), []);
    }
  } finally {
    execFileSync('umount', ['-l', data]);
  }
});
