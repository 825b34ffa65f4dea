import assert from 'node:assert/strict';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { test } from 'node:test';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { EngineError } from '../base/errors.ts';
import { digestOf, hexOf } from '../oci/digest.ts';
import { all, amd64, arm64, type FakeEngine, fakeEngine, layoutOf, makeImage, makeIndex } from './fake-images.ts';
import { type TestEntry, tarOf } from './tar-of.ts';

const quiet = { quiet: true };
const from = (bytes: Buffer, step = 1000) =>
  Readable.from(
    (function* () {
      for (let at = 0; at < bytes.length; at += step) yield bytes.subarray(at, at + step);
    })(),
    { objectMode: false },
  );

/** A docker-archive as `docker save` wrote it for long: layers under names that say nothing about their content. */
function dockerArchive({ tags = ['web:1'], layers = ['one', 'two'], extra = [] as TestEntry[], config = {} } = {}) {
  const tars = layers.map((text, at) => tarOf([{ name: `file-${at}`, content: text }]));
  const json = JSON.stringify({
    os: 'linux',
    architecture: 'amd64',
    rootfs: { type: 'layers', diff_ids: tars.map((tar) => digestOf(tar)) },
    ...config,
  });
  const manifest = [{ Config: 'c0ffee.json', RepoTags: tags, Layers: tars.map((_, at) => `layer${at}/layer.tar`) }];
  return tarOf([
    ...tars.flatMap((content, at) => [
      { name: `layer${at}/`, type: '5' },
      { name: `layer${at}/VERSION`, content: '1.0' },
      { name: `layer${at}/layer.tar`, content },
    ]),
    { name: 'c0ffee.json', content: json },
    { name: 'manifest.json', content: JSON.stringify(manifest) },
    ...extra,
  ]);
}

async function refusal(engine: FakeEngine, archive: Buffer): Promise<EngineError> {
  const error = await all(engine.images.load(from(archive), quiet)).then(
    () => assert.fail('the archive was taken'),
    (thrown) => thrown,
  );
  assert.ok(error instanceof EngineError, `${error}`);
  await isEmpty(engine);
  return error;
}

async function isEmpty({ images, content, snapshots, root }: FakeEngine) {
  assert.deepEqual(await images.list(), []);
  assert.deepEqual(await content.digests(), []);
  assert.deepEqual(snapshots.layers(), []);
  assert.deepEqual(await readdir(join(root, 'ingest')).catch(() => []), []);
}

test('load takes a docker-archive and names what it loaded', async () => {
  await using engine = await fakeEngine();
  const lines = await all(engine.images.load(from(dockerArchive()), quiet));
  assert.deepEqual(lines, [{ stream: 'Loaded image: web:1\n' }]);
  const image = await engine.images.get('web:1');
  assert.equal(image.layers.length, 2);
  assert.deepEqual(image.names, ['docker.io/library/web:1']);
  assert.deepEqual(image.repoDigests, []);
  assert.deepEqual(
    engine.events.map(({ action, actor }) => [action, actor.id, actor.attributes.name]),
    [['load', image.id, 'web:1']],
  );
});

test('load takes an OCI layout with its digests, under every name', async () => {
  await using engine = await fakeEngine();
  const made = makeImage({ layers: ['a', 'b', 'a'] });
  const names = ['docker.io/library/web:1', 'docker.io/me/web:2'];
  const lines = await all(engine.images.load(from(layoutOf(made, names)), quiet));
  assert.deepEqual(lines, [{ stream: 'Loaded image: web:1\n' }, { stream: 'Loaded image: me/web:2\n' }]);
  const image = await engine.images.get('me/web:2');
  assert.equal(image.id, made.root.digest);
  assert.deepEqual([...image.names].sort(), [...names].sort());
});

test('load without a name gives the ID', async () => {
  await using engine = await fakeEngine();
  const made = makeImage();
  const lines = await all(engine.images.load(from(layoutOf(made)), quiet));
  assert.deepEqual(lines, [{ stream: `Loaded image ID: ${made.root.digest}\n` }]);
  assert.equal((await engine.images.get(hexOf(made.root.digest).slice(0, 12))).id, made.root.digest);
});

test('load finds out the compression by itself', async () => {
  for (const compress of [gzipSync, zstdCompressSync]) {
    await using engine = await fakeEngine();
    await all(engine.images.load(from(compress(dockerArchive())), quiet));
    assert.equal((await engine.images.get('web:1')).layers.length, 2);
  }
});

test('load says when a name moves away from another image, which stays without it', async () => {
  await using engine = await fakeEngine();
  await all(engine.images.load(from(dockerArchive()), quiet));
  const before = (await engine.images.get('web:1')).id;
  const lines = await all(engine.images.load(from(dockerArchive({ layers: ['three'] })), quiet));
  assert.deepEqual(
    lines.map((line) => line.stream),
    [
      `The image web:1 already exists, renaming the old one with ID ${before} to empty string\n`,
      'Loaded image: web:1\n',
    ],
  );
  assert.deepEqual((await engine.images.get(before)).names, []);
});

test('load reports the layers unless it is quiet', async () => {
  await using engine = await fakeEngine();
  const made = makeImage({ layers: ['a'] });
  engine.applier.apply = async ({ diffId, size, onProgress }) => {
    onProgress?.(size);
    engine.snapshots.all.set(diffId, size);
  };
  const lines = await all(engine.images.load(from(layoutOf(made)), { quiet: false }));
  assert.equal(lines[0]?.status, 'Loading layer');
  assert.equal(lines[0]?.id, hexOf(made.diffIds[0]!).slice(0, 12));
});

test("load of an index keeps every platform and makes the host's ready", async () => {
  await using engine = await fakeEngine();
  const here = makeImage({ layers: ['x'] });
  const there = makeImage({ layers: ['y'], platform: arm64 });
  const index = makeIndex([
    { image: there, platform: arm64 },
    { image: here, platform: amd64 },
  ]);
  await all(engine.images.load(from(layoutOf(index, ['docker.io/library/multi:1'])), quiet));
  assert.equal((await engine.images.get('multi:1')).manifest.digest, here.root.digest);
  assert.deepEqual(engine.snapshots.layers(), here.diffIds);
  // The other platform's layers are made when they are asked for.
  assert.equal((await engine.images.get('multi:1', arm64)).manifest.digest, there.root.digest);
  assert.deepEqual(engine.snapshots.layers(), [...here.diffIds, ...there.diffIds]);
});

test('load follows links between layers inside the archive', async () => {
  await using engine = await fakeEngine();
  const layer = tarOf([{ name: 'file', content: 'x' }]);
  const config = {
    os: 'linux',
    architecture: 'amd64',
    rootfs: { type: 'layers', diff_ids: [digestOf(layer), digestOf(layer)] },
  };
  const archive = tarOf([
    { name: 'a/layer.tar', content: layer },
    { name: 'b/layer.tar', type: '2', target: '../a/layer.tar' },
    { name: 'c.json', content: JSON.stringify(config) },
    {
      name: 'manifest.json',
      content: JSON.stringify([{ Config: 'c.json', RepoTags: null, Layers: ['a/layer.tar', 'b/layer.tar'] }]),
    },
  ]);
  const [line] = await all(engine.images.load(from(archive), quiet));
  assert.match(line?.stream ?? '', /^Loaded image ID: sha256:/);
});

test('load keeps nothing of what no image in the archive needs', async () => {
  await using engine = await fakeEngine();
  await all(engine.images.load(from(dockerArchive({ extra: [{ name: 'stray.bin', content: 'stray' }] })), quiet));
  assert.equal(await engine.content.has(digestOf('stray')), false);
});

const hostile: Record<string, [Buffer, RegExp]> = {
  'an absolute path': [dockerArchive({ extra: [{ name: '/etc/passwd', content: 'x' }] }), /absolute path/],
  'a path with ..': [dockerArchive({ extra: [{ name: 'a/../../x', content: 'x' }] }), /leaves the archive/],
  'a link to an absolute path': [
    dockerArchive({ extra: [{ name: 'l', type: '2', target: '/etc/shadow' }] }),
    /outside/,
  ],
  'a link that leaves': [dockerArchive({ extra: [{ name: 'a/l', type: '2', target: '../../x' }] }), /outside/],
  'a hard link that leaves': [dockerArchive({ extra: [{ name: 'a/l', type: '1', target: '../x' }] }), /outside/],
  'an entry twice': [dockerArchive({ extra: [{ name: 'c0ffee.json', content: '{}' }] }), /more than once/],
  'a device': [dockerArchive({ extra: [{ name: 'null', type: '3' }] }), /not a file, folder or link/],
  'fewer layers in the config': [
    dockerArchive({ config: { rootfs: { type: 'layers', diff_ids: [] } } }),
    /has 0 layers/,
  ],
  'a diff ID that lies': [
    dockerArchive({ layers: ['one'], config: { rootfs: { type: 'layers', diff_ids: [digestOf('other')] } } }),
    /the config says/,
  ],
  'another operating system': [dockerArchive({ config: { os: 'windows' } }), /operating system "windows"/],
  'a reference that is none': [dockerArchive({ tags: ['web/UPPER:1'] }), /lowercase/],
  'no manifest': [tarOf([{ name: 'a', content: 'x' }]), /neither manifest.json nor index.json/],
  'a manifest that is no JSON': [tarOf([{ name: 'manifest.json', content: '{' }]), /no JSON/],
  'an empty manifest': [tarOf([{ name: 'manifest.json', content: '[]' }]), /no image/],
  'a missing layer': [
    tarOf([
      {
        name: 'c.json',
        content: JSON.stringify({ os: 'linux', rootfs: { type: 'layers', diff_ids: [digestOf('x')] } }),
      },
      { name: 'manifest.json', content: JSON.stringify([{ Config: 'c.json', Layers: ['gone.tar'] }]) },
    ]),
    /"gone.tar", which manifest.json lists, is not in it/,
  ],
  'no tar at all': [Buffer.alloc(4096, 'x'), /invalid tar archive/],
  nothing: [Buffer.alloc(0), /unexpected EOF/],
};

for (const [what, [archive, message]] of Object.entries(hostile))
  test(`S05 load refuses an archive with ${what} and keeps nothing`, async () => {
    await using engine = await fakeEngine();
    assert.match((await refusal(engine, archive)).message, message);
  });

test('S34 load refuses a layout whose blob is not what its name says, also when the true one is here', async () => {
  const made = makeImage();
  const lying = tarOf([
    { name: 'oci-layout', content: '{"imageLayoutVersion":"1.0.0"}' },
    { name: 'index.json', content: JSON.stringify({ schemaVersion: 2, manifests: [made.root] }) },
    ...[...made.blobs].map(([digest, bytes], at) => ({
      name: `blobs/${digest.replace(':', '/')}`,
      content: at === 0 ? Buffer.alloc(bytes.length, 'x') : bytes,
    })),
  ]);
  await using engine = await fakeEngine();
  assert.match((await refusal(engine, lying)).message, /is not what its name says/);
  await all(engine.images.load(from(layoutOf(made)), quiet));
  await assert.rejects(all(engine.images.load(from(lying), quiet)), /is not what its name says/);
  assert.equal((await engine.images.get(made.root.digest)).id, made.root.digest);
});

test('load refuses a layout that misses a layer', async () => {
  await using engine = await fakeEngine();
  const made = makeImage({ layers: ['a', 'b'] });
  const gone = [...made.blobs.keys()][1]!;
  const blobs = new Map([...made.blobs].filter(([digest]) => digest !== gone));
  assert.match((await refusal(engine, layoutOf({ ...made, blobs }))).message, /is missing/);
});

test('load of an archive that is cut anywhere says unexpected EOF and changes nothing', async () => {
  const whole = dockerArchive();
  // The end mark and the padding before it are what other readers do without too.
  for (let length = 100; length < whole.length - 1536; length += 700) {
    await using engine = await fakeEngine();
    const error = await refusal(engine, whole.subarray(0, length));
    assert.match(error.message, /unexpected EOF|neither manifest.json nor/);
  }
  await using engine = await fakeEngine();
  assert.match((await refusal(engine, gzipSync(whole).subarray(0, -20))).message, /unexpected EOF/);
});

test('S06 load refuses an archive that is a decompression bomb', async () => {
  await using engine = await fakeEngine();
  const bomb = gzipSync(
    Buffer.concat([tarOf([{ name: 'a', content: Buffer.alloc(1) }]).subarray(0, 1024), Buffer.alloc(120_000_000)]),
  );
  // gzip reaches about 1,029:1.
  assert.match((await refusal(engine, bomb)).message, /decompression bomb|neither manifest.json/);
});

test('load that is aborted keeps nothing', async () => {
  await using engine = await fakeEngine();
  const stop = new AbortController();
  const whole = dockerArchive();
  const stalled = new Readable({ read() {} });
  stalled.push(whole.subarray(0, 4000));
  const loading = all(engine.images.load(stalled, { quiet: true, signal: stop.signal }));
  setTimeout(() => stop.abort(), 20);
  await assert.rejects(loading, { kind: 'canceled' });
  await isEmpty(engine);
});
