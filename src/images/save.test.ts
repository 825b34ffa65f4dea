import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { test } from 'node:test';
import { TarReader } from '../layers/tar.ts';
import { hexOf } from '../oci/digest.ts';
import { mediaTypes } from '../oci/manifest.ts';
import {
  all,
  amd64,
  arm64,
  type FakeEngine,
  fakeEngine,
  layoutOf,
  type MadeImage,
  makeImage,
  makeIndex,
} from './fake-images.ts';

async function load(engine: FakeEngine, image: MadeImage, ...names: string[]): Promise<void> {
  await all(engine.images.load(Readable.from(layoutOf(image, names)), { quiet: true }));
}

async function save(engine: FakeEngine, names: readonly string[], options = {}): Promise<Buffer> {
  const signal = new AbortController().signal;
  return Buffer.concat(await Array.fromAsync(await engine.images.save(names, { signal, ...options })));
}

function filesOf(archive: Buffer): Map<string, Buffer> {
  const files = new Map<string, Buffer>();
  let name = '';
  const reader = new TarReader({
    entry: (entry) => {
      name = entry.name;
      if (entry.type === 'file') files.set(name, Buffer.alloc(0));
    },
    data: (data) => files.set(name, Buffer.concat([files.get(name)!, data])),
  });
  reader.push(archive);
  reader.finish();
  return files;
}

const read = (files: Map<string, Buffer>, name: string): unknown => JSON.parse(files.get(name)!.toString());
const pathOf = (digest: string) => `blobs/${digest.replace(':', '/')}`;

test('save writes an OCI layout and a docker-archive in one, every blob as it is', async () => {
  await using engine = await fakeEngine();
  const made = makeImage({ layers: ['one', 'two'] });
  await load(engine, made, 'docker.io/library/web:1', 'docker.io/me/app:2');
  const files = filesOf(await save(engine, ['web:1', 'me/app:2']));
  for (const [digest, bytes] of made.blobs) assert.deepEqual(files.get(pathOf(digest)), bytes);
  const { mediaType, digest, size } = made.root;
  const named = (name: string, tag: string) => ({
    ...{ mediaType, digest, size },
    annotations: { 'io.containerd.image.name': name, 'org.opencontainers.image.ref.name': tag },
  });
  assert.deepEqual(read(files, 'index.json'), {
    schemaVersion: 2,
    mediaType: mediaTypes.ociIndex,
    manifests: [named('docker.io/library/web:1', '1'), named('docker.io/me/app:2', '2')],
  });
  assert.deepEqual(read(files, 'oci-layout'), { imageLayoutVersion: '1.0.0' });
  const manifest = JSON.parse(made.blobs.get(digest)!.toString()) as {
    config: { digest: string };
    layers: { digest: string }[];
  };
  assert.deepEqual(read(files, 'manifest.json'), [
    {
      Config: pathOf(manifest.config.digest),
      RepoTags: ['web:1', 'me/app:2'],
      Layers: manifest.layers.map((layer) => pathOf(layer.digest)),
    },
  ]);
  const top = hexOf(manifest.layers[1]!.digest as typeof digest);
  assert.deepEqual(read(files, 'repositories'), { web: { '1': top }, 'me/app': { '2': top } });
  assert.deepEqual(engine.events.at(-1), {
    type: 'image',
    action: 'save',
    actor: { id: digest, attributes: { name: digest } },
  });
});

test('the same images give the same bytes, and load takes them with every digest and name', async () => {
  await using engine = await fakeEngine();
  await using other = await fakeEngine();
  const [one, two] = [makeImage({ layers: ['one'] }), makeImage({ layers: ['two'], gzip: false })];
  await load(engine, one, 'docker.io/library/one:1');
  await load(engine, two, 'docker.io/library/two:1');
  const archive = await save(engine, ['one:1', 'two:1']);
  assert.deepEqual(await save(engine, ['one:1', 'two:1']), archive);
  await all(other.images.load(Readable.from(archive), { quiet: true }));
  for (const [name, made] of [
    ['one:1', one],
    ['two:1', two],
  ] as const)
    assert.equal((await other.images.get(name)).id, made.root.digest);
  assert.deepEqual([...(await other.content.digests())].sort(), [...(await engine.content.digests())].sort());
});

test('a repository without a tag is all its tags; an ID has no name', async () => {
  await using engine = await fakeEngine();
  const made = makeImage();
  await load(engine, made, 'docker.io/library/web:1', 'docker.io/library/web:2', 'docker.io/library/webs:3');
  const tags = (files: Map<string, Buffer>) => (read(files, 'manifest.json') as { RepoTags: unknown }[])[0]!.RepoTags;
  assert.deepEqual(tags(filesOf(await save(engine, ['web']))), ['web:1', 'web:2']);
  const byId = filesOf(await save(engine, [made.root.digest]));
  assert.equal(tags(byId), null);
  assert.equal(byId.has('repositories'), false);
});

test('an index goes whole, as far as it is here; with a platform only what is for it', async () => {
  await using engine = await fakeEngine();
  const [here, there] = [makeImage({ layers: ['x'] }), makeImage({ layers: ['y'], platform: arm64 })];
  const index = makeIndex([
    { image: here, platform: amd64 },
    { image: there, platform: arm64 },
  ]);
  engine.registry.put('docker.io/library/part:1', index);
  await all(engine.images.pull('part:1', {}));
  const part = filesOf(await save(engine, ['part:1']));
  assert.ok(part.has(pathOf(index.root.digest)) && part.has(pathOf(here.root.digest)));
  assert.equal(part.has(pathOf(there.root.digest)), false);

  await load(engine, index, 'docker.io/library/many:1');
  const whole = filesOf(await save(engine, ['many:1']));
  for (const digest of index.blobs.keys()) assert.ok(whole.has(pathOf(digest)), digest);
  const only = filesOf(await save(engine, ['many:1'], { platform: arm64 }));
  assert.deepEqual(
    (read(only, 'index.json') as { manifests: { digest: string }[] }).manifests[0]!.digest,
    there.root.digest,
  );
  assert.equal(only.has(pathOf(here.root.digest)), false);
  await assert.rejects(save(engine, ['many:1'], { platform: { os: 'linux', architecture: 's390x' } }), {
    kind: 'not-found',
    message: 'image with reference many:1 was found but does not provide the specified platform (linux/s390x)',
  });
});

test('one name that is not there: nothing is written at all', async () => {
  await using engine = await fakeEngine();
  await load(engine, makeImage(), 'docker.io/library/web:1');
  await assert.rejects(save(engine, ['web:1', 'nosuch:3']), { kind: 'not-found', message: 'No such image: nosuch:3' });
});

test('what is saved stays until it was read, whatever is removed, and goes then', async () => {
  await using engine = await fakeEngine();
  const made = makeImage({ layers: ['x'.repeat(100_000)], gzip: false });
  await load(engine, made, 'docker.io/library/web:1');
  const { signal } = new AbortController();
  const archive = await engine.images.save(['web:1'], { signal });
  await engine.images.remove('web:1', { force: true, prune: true });
  const files = filesOf(Buffer.concat(await Array.fromAsync(archive)));
  for (const [digest, bytes] of made.blobs) assert.deepEqual(files.get(pathOf(digest)), bytes);
  assert.deepEqual(await engine.content.digests(), []);
});

test('who goes away before reading, or in the middle, holds nothing back', async () => {
  await using engine = await fakeEngine();
  for (const readSome of [false, true]) {
    await load(engine, makeImage({ layers: ['x'.repeat(100_000)], gzip: false }), 'docker.io/library/web:1');
    const gone = new AbortController();
    const archive = (await engine.images.save(['web:1'], { signal: gone.signal }))[Symbol.asyncIterator]();
    if (readSome) await archive.next();
    gone.abort();
    await archive.return?.();
    await engine.images.remove('web:1', { force: true, prune: true });
    assert.deepEqual(await engine.content.digests(), []);
  }
});

test('R08 a blob that is damaged on disk cuts the archive off', async () => {
  await using engine = await fakeEngine();
  const made = makeImage({ layers: ['hello'], gzip: false });
  await load(engine, made, 'docker.io/library/web:1');
  const layer = made.diffIds[0]!;
  await writeFile(engine.content.path(layer), Buffer.alloc(made.blobs.get(layer)!.length, 1));
  await assert.rejects(save(engine, ['web:1']), /digest mismatch/);
});
