import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { all, makeImage, makeIndex } from '../../src/images/fake-images.ts';
import { hexOf } from '../../src/oci/digest.ts';
import { hostPlatform } from '../../src/oci/platform.ts';
import { openImages, startRegistry, tempDir } from './images-fixture.ts';

const noise = (bytes: number) => randomBytes(bytes / 2).toString('hex');

for (const prefer of ['auto', 'overlay'] as const)
  test(`pull brings an image from a real registry, and again brings nothing (${prefer})`, async () => {
    await using dir = await tempDir();
    await using registry = await startRegistry(dir.path);
    await using engine = await openImages(dir.path, prefer);
    const made = makeImage({ layers: ['first', 'second'] });
    await registry.push(made, 'me/web:1');
    const name = `${registry.host}/me/web:1`;
    const lines = await all(engine.images.pull(name, {}));
    assert.deepEqual(lines[0], { status: 'Pulling from me/web', id: '1' });
    assert.equal(lines.at(-2)?.status, `Digest: ${made.root.digest}`);
    assert.equal(lines.at(-1)?.status, `Status: Downloaded newer image for ${name}`);
    const image = await engine.images.get(name);
    assert.equal(image.id, made.root.digest);
    {
      await using view = await engine.snapshots.view(image.layers);
      assert.equal(readFileSync(join(view.path, 'file-1'), 'utf8'), 'second');
    }
    const again = await all(engine.images.pull(name, {}));
    assert.equal(again.at(-1)?.status, `Status: Image is up to date for ${name}`);
    await engine.images.remove(name, { force: false, prune: true });
    assert.deepEqual(await engine.content.digests(), []);
  });

test("pull takes this machine's image out of a list, and all tags where they are asked for", async () => {
  await using dir = await tempDir();
  await using registry = await startRegistry(dir.path);
  await using engine = await openImages(dir.path);
  const here = makeImage({ layers: ['here'], platform: hostPlatform() });
  const s390x = { os: 'linux', architecture: 's390x' };
  const there = makeImage({ layers: ['there'], platform: s390x });
  const index = makeIndex([
    { image: there, platform: s390x },
    { image: here, platform: hostPlatform() },
  ]);
  await registry.push(index, 'multi:1');
  await registry.push(here, 'multi:2');
  await all(engine.images.pull(`${registry.host}/multi`, { allTags: true }));
  assert.equal((await engine.images.get(`${registry.host}/multi:1`)).manifest.digest, here.root.digest);
  assert.equal((await engine.images.list()).length, 2);
  await all(engine.images.pull(`${registry.host}/multi:1`, { platform: s390x }));
  assert.equal((await engine.images.get(`${registry.host}/multi:1`, s390x)).manifest.digest, there.root.digest);
});

test('pull of what does not exist says so before any progress', async () => {
  await using dir = await tempDir();
  await using registry = await startRegistry(dir.path);
  await using engine = await openImages(dir.path);
  await assert.rejects(engine.images.pull(`${registry.host}/no/such:1`, {})[Symbol.asyncIterator]().next(), {
    kind: 'not-found',
  });
});

test('R01 an engine that is killed in the middle of pulls starts with whole images and no remains', async () => {
  await using dir = await tempDir();
  await using registry = await startRegistry(dir.path);
  const made = makeImage({ layers: Array.from({ length: 6 }, () => noise(4_000_000)) });
  await registry.push(made, 'big:1');
  const name = `${registry.host}/big:1`;
  let unfinished = 0;
  for (let round = 0; round < 4; round++) {
    const root = join(dir.path, `root-${round}`);
    mkdirSync(root);
    const script = new URL('./images-pull-once.ts', import.meta.url).pathname;
    const child = spawn(process.execPath, [script, root, name], { stdio: ['ignore', 'pipe', 'inherit'] });
    const ended = once(child, 'exit');
    let said = '';
    child.stdout.on('data', (chunk) => (said += chunk));
    await Promise.race([once(child.stdout, 'data'), ended]);
    await new Promise((resolve) => setTimeout(resolve, 30 + round * 110));
    child.kill('SIGKILL');
    await ended;
    if (!said.includes('done')) unfinished++;

    await using engine = await openImages(root);
    await engine.images.collect();
    const images = await engine.images.list();
    if (said.includes('done')) assert.equal(images.length, 1);
    if (images.length === 0) {
      assert.deepEqual(await engine.content.digests(), []);
      assert.deepEqual(engine.snapshots.layers(), []);
      await all(engine.images.pull(name, {}));
    }
    for (const digest of await engine.content.digests())
      assert.equal(
        createHash('sha256')
          .update(readFileSync(engine.content.path(digest)))
          .digest('hex'),
        hexOf(digest),
      );
    assert.deepEqual([...(await engine.images.get(name)).layers].sort(), [...engine.snapshots.layers()].sort());
  }
  assert.ok(unfinished > 0, 'no pull was killed before it ended');
});

/** A small file system of its own for the engine's data. */
function tmpfs(at: string, options: string): Disposable {
  mkdirSync(at);
  execFileSync('mount', ['-t', 'tmpfs', '-o', options, 'tmpfs', at]);
  return { [Symbol.dispose]: () => execFileSync('umount', ['-l', at]) };
}

function filesBelow(path: string): string[] {
  if (!existsSync(path)) return [];
  return readdirSync(path, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => entry.name);
}

for (const [what, options, message] of [
  ['R05 the disk is full', 'size=6m', /no space left|bytes are free|bytes free/],
  ['R06 no inodes are left', 'size=64m,nr_inodes=24', /inodes/],
] as const)
  test(`${what} during a pull: the error says so, nothing is left, and with room it works`, async () => {
    await using dir = await tempDir();
    await using registry = await startRegistry(dir.path);
    const layers = Array.from({ length: 12 }, (_, at) => (what.startsWith('R05') ? noise(1_000_000) : `layer ${at}`));
    await registry.push(makeImage({ layers }), 'big:1');
    const small = makeImage({ layers: ['small'] });
    await registry.push(small, 'small:1');
    using _ = tmpfs(join(dir.path, 'data'), options);
    await using engine = await openImages(join(dir.path, 'data'));
    await assert.rejects(all(engine.images.pull(`${registry.host}/big:1`, {})), { kind: 'unavailable', message });
    assert.deepEqual(await engine.images.list(), []);
    assert.deepEqual(filesBelow(join(dir.path, 'data', 'content')), []);
    assert.deepEqual(engine.snapshots.layers(), []);
    await all(engine.images.pull(`${registry.host}/small:1`, {}));
    assert.equal((await engine.images.get(`${registry.host}/small:1`)).id, small.root.digest);
  });

test('S06 a layer that is a bomb is refused during the pull and leaves nothing', async () => {
  await using dir = await tempDir();
  await using registry = await startRegistry(dir.path);
  // 160 MB of zeros: gzip makes 1,029:1 of it.
  await registry.push(makeImage({ layers: ['\0'.repeat(160_000_000)] }), 'bomb:1');
  await using engine = await openImages(dir.path);
  await assert.rejects(all(engine.images.pull(`${registry.host}/bomb:1`, {})), { kind: 'invalid', message: /bomb/ });
  assert.deepEqual(await engine.content.digests(), []);
  assert.deepEqual(engine.snapshots.layers(), []);
});
