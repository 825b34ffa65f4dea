import assert from 'node:assert/strict';
import { Readable } from 'node:stream';
import { test } from 'node:test';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { EngineError } from '../../src/base/errors.ts';
import { all, fakeEngine, layoutOf, makeImage } from '../../src/images/fake-images.ts';
import { tarOf } from '../../src/images/tar-of.ts';
import { digestOf } from '../../src/oci/digest.ts';

/** Numbers that look random and are the same in every run with the same seed. */
function numbers(seed: number): (below: number) => number {
  let state = seed >>> 0;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

function dockerArchive(): Buffer {
  const layer = tarOf([{ name: 'file', content: 'content' }]);
  const config = { os: 'linux', architecture: 'amd64', rootfs: { type: 'layers', diff_ids: [digestOf(layer)] } };
  return tarOf([
    { name: 'layer/layer.tar', content: layer },
    { name: 'config.json', content: JSON.stringify(config) },
    { name: 'manifest.json', content: '[{"Config":"config.json","RepoTags":["a:1"],"Layers":["layer/layer.tar"]}]' },
  ]);
}

/** Flipped bits, bytes from elsewhere, cuts, repeats. */
function damage(archive: Buffer, below: (limit: number) => number): Buffer {
  const bytes = Buffer.from(archive);
  switch (below(5)) {
    case 0:
      return bytes.subarray(0, below(bytes.length));
    case 1: {
      const at = below(bytes.length / 512) * 512;
      return Buffer.concat([bytes.subarray(0, at), bytes.subarray(below(at + 1), at), bytes.subarray(at)]);
    }
    case 2:
      bytes.copy(bytes, below(bytes.length), below(bytes.length), bytes.length);
      return bytes;
    default:
      for (let count = 1 + below(4); count > 0; count--) bytes[below(bytes.length)] = below(256);
      return bytes;
  }
}

const seed = Number(process.env.FUZZ_SEED ?? 1);
const rounds = Number(process.env.FUZZ_ROUNDS ?? 250);

test(`S05 S16 load of ${rounds} damaged archives answers each and keeps nothing of what it refuses (seed ${seed})`, async () => {
  const plain = [dockerArchive(), layoutOf(makeImage({ layers: ['a', 'b'] }), ['docker.io/library/a:1'])];
  const below = numbers(seed);
  await using engine = await fakeEngine();
  let refused = 0;
  for (let round = 0; round < rounds; round++) {
    const damaged = damage(plain[below(plain.length)]!, below);
    // One in ten is damaged inside, one in ten outside of a compression.
    const [packed, outside] = [below(10), below(10)];
    let archive = packed === 0 ? gzipSync(damaged) : packed === 1 ? zstdCompressSync(damaged) : damaged;
    if (packed < 2 && outside < 3) archive = damage(archive, below);
    try {
      await all(engine.images.load(Readable.from([archive], { objectMode: false }), { quiet: true }));
      for (const image of await engine.images.list())
        await engine.images.remove(image.id, { force: true, prune: true });
    } catch (error) {
      refused++;
      assert.ok(error instanceof EngineError, `round ${round}: ${error instanceof Error ? error.stack : error}`);
      assert.notEqual(error.kind, 'internal', `round ${round}: ${error.message}`);
    }
    assert.deepEqual(await engine.content.digests(), [], `round ${round}`);
    assert.deepEqual(engine.snapshots.layers(), [], `round ${round}`);
    assert.deepEqual(await engine.images.list(), [], `round ${round}`);
  }
  assert.ok(refused > rounds / 3, `only ${refused} were refused`);
});
