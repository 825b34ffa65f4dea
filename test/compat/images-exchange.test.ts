/** Archives between engines: what Berth saves both reference engines load and run, and the other way round. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { busyboxArchive } from '../lib/busybox-image.ts';
import { startBerth, startReference, type TestEngine } from '../lib/engines.ts';
import { busyboxImage, layoutTar } from '../lib/images.ts';
import { startRegistry } from '../lib/registry.ts';

const images = { plain: 'plain:1', gzip: 'host.example:5000/a/gzip:1', zstd: 'zstd:1' } as const;
const layersOf = (engine: TestEngine, name: string) =>
  JSON.parse(engine.must('image', 'inspect', '-f', '{{json .RootFS.Layers}}', name)) as string[];
const sha256 = (file: string) => createHash('sha256').update(readFileSync(file)).digest('hex');

describe('archives between engines', () => {
  let berth: TestEngine;
  let archive: string;

  before(async () => {
    berth = await startBerth();
    berth.must('load', '-q', '-i', busyboxArchive({ name: images.plain }));
    for (const compression of ['gzip', 'zstd'] as const) {
      const file = join(berth.dir, `${compression}.tar`);
      writeFileSync(file, layoutTar(busyboxImage({ compression, extraLayers: 2 }), images[compression]));
      berth.must('load', '-q', '-i', file);
    }
    archive = join(berth.dir, 'all.tar');
    berth.must('save', '-o', archive, ...Object.values(images));
  });
  after(() => berth[Symbol.asyncDispose]());

  test('the same images are saved as the same bytes, before and after a restart', async () => {
    const again = join(berth.dir, 'again.tar');
    berth.must('save', '-o', again, ...Object.values(images));
    assert.equal(sha256(again), sha256(archive));
    await berth.stop();
    await berth.restart();
    berth.must('save', '-o', again, ...Object.values(images));
    assert.equal(sha256(again), sha256(archive));
  });

  for (const which of ['debian', 'newest', 'newest with the containerd store'] as const)
    test(`docker (${which}) loads and runs what Berth saved, and Berth what it saves`, async (t) => {
      const flags = which.includes('containerd') ? ['--feature', 'containerd-snapshotter'] : [];
      await using docker = await startReference(which === 'debian' ? 'debian' : 'newest', flags);
      if (!docker) return t.skip(`docker (${which}) cannot be had here`);
      // The old engine knows no zstd.
      const names = Object.values(images).filter((name) => which !== 'debian' || name !== images.zstd);
      const file = join(docker.dir, 'from-berth.tar');
      berth.must('save', '-o', file, ...names);
      const loaded = docker.must('load', '-i', file);
      for (const name of names) {
        assert.match(loaded, new RegExp(`^Loaded image: ${name}$`, 'm'));
        assert.deepEqual(layersOf(docker, name), layersOf(berth, name));
        assert.equal(docker.must('run', '--rm', name, 'echo', 'works'), 'works');
      }
      // And pushes it on from there.
      await using registry = await startRegistry({ netns: docker.netns });
      docker.must('tag', images.gzip, `${registry.host}/on:1`);
      docker.must('push', '-q', `${registry.host}/on:1`);

      const back = join(docker.dir, 'from-docker.tar');
      docker.must('tag', images.gzip, 'back:1');
      docker.must('save', '-o', back, 'back:1', images.plain);
      berth.must('load', '-i', back);
      assert.deepEqual(layersOf(berth, 'back:1'), layersOf(docker, 'back:1'));
      assert.equal(berth.must('run', '--rm', 'back:1', 'cat', '/layer-2'), 'what layer 2 adds');
      berth.must('rmi', '-f', 'back:1');
    });
});
