import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { test } from 'node:test';
import { digestOf, hexOf } from '../oci/digest.ts';
import { type Descriptor, mediaTypes } from '../oci/manifest.ts';
import type { ImageCommit } from './commit.ts';
import { all, amd64, arm64, type FakeEngine, fakeEngine, makeImage, makeIndex } from './fake-images.ts';

async function pull(engine: FakeEngine, name: string, image = makeImage()) {
  engine.registry.put(name, image);
  await all(engine.images.pull(name, {}));
  return image.root.digest;
}

const statuses = (lines: readonly { status?: string }[]) => lines.map((line) => line.status);
const keep = { force: false, prune: true };
const force = { force: true, prune: true };

test("pull speaks Docker's progress and puts the name last", async () => {
  await using engine = await fakeEngine();
  const made = makeImage({ layers: ['one'], labels: { team: 'a' } });
  engine.registry.put('docker.io/library/web:latest', made);
  const lines = await all(engine.images.pull('web', {}));
  const layer = hexOf([...made.blobs.keys()][1]!).slice(0, 12);
  assert.deepEqual(lines[0], { status: 'Pulling from library/web', id: 'latest' });
  assert.deepEqual(
    lines.filter((line) => line.id === layer).map((line) => line.status),
    ['Pulling fs layer', 'Downloading', 'Verifying Checksum', 'Download complete', 'Pull complete'],
  );
  assert.deepEqual(statuses(lines.slice(-2)), [
    `Digest: ${made.root.digest}`,
    'Status: Downloaded newer image for web:latest',
  ]);
  const image = await engine.images.get('web');
  assert.equal(image.id, made.root.digest);
  assert.deepEqual(image.names, ['docker.io/library/web:latest']);
  assert.deepEqual(image.repoDigests, [`docker.io/library/web@${made.root.digest}`]);
  assert.deepEqual(engine.events.at(-1), {
    type: 'image',
    action: 'pull',
    actor: { id: 'web:latest', attributes: { team: 'a', name: 'web' } },
  });
});

test('pull again says that the image is up to date and downloads nothing', async () => {
  await using engine = await fakeEngine();
  await pull(engine, 'docker.io/library/web:latest');
  const before = engine.registry.opened.length;
  const lines = await all(engine.images.pull('web:latest', {}));
  assert.ok(statuses(lines).includes('Already exists'));
  assert.equal(lines.at(-1)?.status, 'Status: Image is up to date for web:latest');
  assert.equal(engine.registry.opened.length, before);
});

test('images and names are there after a restart', async () => {
  await using engine = await fakeEngine();
  const id = await pull(engine, 'docker.io/library/web:latest');
  const reopened = await engine.reopen();
  assert.deepEqual(await reopened.get('web'), await engine.images.get('web'));
  assert.equal((await reopened.list())[0]?.id, id);
});

test('pull takes the platform that is asked for, out of nested indexes, and only its content', async () => {
  await using engine = await fakeEngine();
  const here = makeImage({ layers: ['h'] });
  const there = makeImage({ layers: ['t'], platform: arm64 });
  const inner = makeIndex([{ image: there, platform: arm64 }]);
  const outer = makeIndex([
    { image: here, platform: amd64 },
    { image: inner, platform: arm64 },
  ]);
  const bytes = JSON.parse(outer.blobs.get(outer.root.digest)!.toString());
  assert.equal(bytes.manifests[1].mediaType, mediaTypes.ociIndex);
  engine.registry.put('docker.io/library/multi:latest', outer);
  await all(engine.images.pull('multi', { platform: arm64 }));
  const image = await engine.images.get('multi');
  assert.equal(image.manifest.digest, there.root.digest);
  assert.equal(image.id, outer.root.digest);
  assert.equal(await engine.content.has(here.root.digest), false);
  await assert.rejects(engine.images.get('multi', amd64), {
    kind: 'not-found',
    message: 'image with reference multi was found but does not provide the specified platform (linux/amd64)',
  });
  await all(engine.images.pull('multi', {}));
  assert.equal((await engine.images.get('multi')).manifest.digest, here.root.digest);
  assert.equal((await engine.images.get('multi', arm64)).manifest.digest, there.root.digest);
});

test('pull names the platform that a list does not have, and keeps nothing', async () => {
  await using engine = await fakeEngine();
  const there = makeImage({ platform: arm64 });
  engine.registry.put('docker.io/library/multi:latest', makeIndex([{ image: there, platform: arm64 }]));
  await assert.rejects(all(engine.images.pull('multi', {})), {
    kind: 'not-found',
    message: 'no matching manifest for linux/amd64 in the manifest list entries',
  });
  assert.deepEqual(await engine.content.digests(), []);
});

for (const [what, recipe, message] of [
  ['has more diff IDs than layers', { diffIds: [digestOf('a'), digestOf('b')] }, /1 layers, the config 2 diff_ids/],
  ['lies about a diff ID', { diffIds: [digestOf('a')] }, /the content is/],
  ['is for another system', { platform: { os: 'windows', architecture: 'amd64' } }, /operating system "windows"/],
  ['is no image', { configType: 'application/vnd.cncf.helm.config.v1+json' }, /artifact of type application\/vnd.cncf/],
] as const)
  test(`S34 pull refuses what ${what} and keeps nothing`, async () => {
    await using engine = await fakeEngine();
    engine.registry.put('docker.io/library/web:latest', makeImage(recipe));
    await assert.rejects(all(engine.images.pull('web', {})), { message });
    assert.deepEqual(await engine.content.digests(), []);
    assert.deepEqual(engine.snapshots.layers(), []);
    assert.deepEqual(await engine.images.list(), []);
  });

test('pull by digest has no name and is found by it', async () => {
  await using engine = await fakeEngine();
  const made = makeImage();
  engine.registry.put('docker.io/library/web:latest', made);
  const name = `web@${made.root.digest}`;
  const lines = await all(engine.images.pull(name, {}));
  assert.equal(lines.at(-1)?.status, `Status: Downloaded newer image for ${name}`);
  assert.deepEqual((await engine.images.get(name)).names, []);
  assert.deepEqual(await engine.images.remove(name, keep), { untagged: [name], deleted: [made.root.digest] });
  assert.deepEqual(await engine.content.digests(), []);
});

test('pull of all tags takes each', async () => {
  await using engine = await fakeEngine();
  engine.registry.put('docker.io/library/web:1', makeImage({ layers: ['1'] }));
  engine.registry.put('docker.io/library/web:2', makeImage({ layers: ['2'] }));
  await all(engine.images.pull('web', { allTags: true }));
  assert.equal((await engine.images.list()).length, 2);
});

test('a layer that two pulls need at once is downloaded once', async () => {
  await using engine = await fakeEngine();
  const gate = Promise.withResolvers<void>();
  const one = makeImage({ layers: ['shared', 'one'] });
  const two = makeImage({ layers: ['shared', 'two'] });
  engine.registry.put('docker.io/library/one:latest', one);
  engine.registry.put('docker.io/library/two:latest', two);
  engine.registry.hold = gate.promise;
  const both = Promise.all([all(engine.images.pull('one', {})), all(engine.images.pull('two', {}))]);
  setTimeout(gate.resolve, 30);
  await both;
  const shared = [...one.blobs.keys()][1]!;
  assert.equal(engine.registry.opened.filter((digest) => digest === shared).length, 1);
  assert.equal(engine.applier.applied, 3);
});

test('a pull that is aborted leaves neither name nor content', async () => {
  await using engine = await fakeEngine();
  engine.registry.put('docker.io/library/web:latest', makeImage({ layers: ['a', 'b'] }));
  engine.registry.hold = new Promise(() => {});
  const stop = new AbortController();
  const pulling = all(engine.images.pull('web', { signal: stop.signal }));
  setTimeout(() => stop.abort(), 20);
  await assert.rejects(pulling, { kind: 'canceled' });
  assert.deepEqual(await engine.content.digests(), []);
  await assert.rejects(engine.images.get('web'), { kind: 'not-found', message: 'No such image: web:latest' });
});

test('a pull whose reader goes away stops', async () => {
  await using engine = await fakeEngine();
  engine.registry.put('docker.io/library/web:latest', makeImage());
  for await (const line of engine.images.pull('web', {})) {
    assert.equal(line.status, 'Pulling from library/web');
    engine.registry.hold = new Promise(() => {});
    break;
  }
  assert.deepEqual(await engine.content.digests(), []);
});

test('a pull that fails leaves what other images have', async () => {
  await using engine = await fakeEngine();
  await pull(engine, 'docker.io/library/one:latest', makeImage({ layers: ['shared'] }));
  const two = makeImage({ layers: ['shared', 'gone'] });
  engine.registry.put('docker.io/library/two:latest', two);
  engine.registry.drop([...two.blobs.keys()].at(-2)!);
  await assert.rejects(all(engine.images.pull('two', {})), /unknown to registry/);
  assert.equal((await engine.images.get('one')).layers.length, 1);
  assert.equal((await engine.content.digests()).length, 3);
});

test('a name that is written when the disk is full leaves nothing', async () => {
  await using engine = await fakeEngine();
  engine.registry.put('docker.io/library/web:latest', makeImage());
  engine.database.onWrite = () => {
    throw new Error('disk full');
  };
  await assert.rejects(all(engine.images.pull('web', {})), /disk full/);
  assert.deepEqual(await engine.content.digests(), []);
  assert.deepEqual(engine.snapshots.layers(), []);
});

test('get finds by name, digest, ID and prefix, and tells what does not exist', async () => {
  await using engine = await fakeEngine();
  const id = await pull(engine, 'docker.io/me/web:1');
  for (const name of [
    'me/web:1',
    `me/web@${id}`,
    `me/web:1@${id}`,
    id,
    hexOf(id),
    hexOf(id).slice(0, 6),
    id.slice(0, 20),
  ])
    assert.equal((await engine.images.get(name)).id, id, name);
  const missing = async (name: string, message: string) =>
    await assert.rejects(engine.images.get(name), { kind: 'not-found', message });
  await missing('me/web', 'No such image: me/web:latest');
  await missing(`other@${id}`, `No such image: other@${id}`);
  await missing('sha256:00ff', 'No such image: sha256:00ff');
  await assert.rejects(engine.images.get('UPPER CASE'), { kind: 'invalid' });
});

test('get refuses a prefix that fits several', async () => {
  await using engine = await fakeEngine();
  const prefixes = new Map<string, string>();
  // With 16 first digits and 17 images, two begin alike.
  for (let at = 0; at < 17; at++) {
    const id = await pull(engine, `docker.io/library/web:${at}`, makeImage({ layers: [`${at}`] }));
    if (prefixes.has(id.slice(7, 8))) {
      await assert.rejects(engine.images.get(`sha256:${id.slice(7, 8)}`), { kind: 'invalid', message: /multiple IDs/ });
      return;
    }
    prefixes.set(id.slice(7, 8), id);
  }
});

test('tag gives an image another name and takes it from the one that had it', async () => {
  await using engine = await fakeEngine();
  const one = await pull(engine, 'docker.io/library/web:1', makeImage({ layers: ['1'] }));
  const two = await pull(engine, 'docker.io/library/web:2', makeImage({ layers: ['2'] }));
  await engine.images.tag('web:1', 'web:2');
  assert.equal((await engine.images.get('web:2')).id, one);
  assert.deepEqual((await engine.images.get(two)).names, []);
  await assert.rejects(engine.images.tag('web:1', 'Not A Name'), {
    kind: 'invalid',
    message: /invalid reference format/,
  });
  await assert.rejects(engine.images.tag('web:1', `web@${two}`), { message: /refusing to create a tag with a digest/ });
  assert.deepEqual(engine.events.at(-1)?.actor, { id: one, attributes: { name: 'web:2' } });
});

test('remove takes a name first, and the image and its bytes with the last', async () => {
  await using engine = await fakeEngine();
  const id = await pull(engine, 'docker.io/library/web:1');
  await engine.images.tag('web:1', 'web:2');
  assert.deepEqual(await engine.images.remove('web:1', keep), { untagged: ['web:1'], deleted: [] });
  assert.deepEqual(await engine.images.remove('web:2', keep), { untagged: ['web:2', `web@${id}`], deleted: [id] });
  assert.deepEqual(await engine.content.digests(), []);
  assert.deepEqual(engine.snapshots.layers(), []);
  assert.deepEqual(
    engine.events.map((event) => event.action),
    ['pull', 'tag', 'untag', 'untag', 'untag', 'delete'],
  );
  assert.deepEqual(await (await engine.reopen()).list(), []);
});

test('remove leaves layers and blobs that another image has', async () => {
  await using engine = await fakeEngine();
  await pull(engine, 'docker.io/library/one:latest', makeImage({ layers: ['shared', 'one'] }));
  const two = makeImage({ layers: ['shared', 'two'] });
  await pull(engine, 'docker.io/library/two:latest', two);
  await engine.images.remove('one', keep);
  assert.equal((await engine.images.get('two')).layers.length, 2);
  assert.deepEqual([...(await engine.content.digests())].sort(), [...two.blobs.keys()].sort());
  assert.deepEqual(engine.snapshots.layers().toSorted(), [...two.diffIds].sort());
});

test('remove by ID needs force when several repositories have the image', async () => {
  await using engine = await fakeEngine();
  const id = await pull(engine, 'docker.io/library/web:1');
  await engine.images.tag('web:1', 'other:1');
  await assert.rejects(engine.images.remove(id, keep), {
    kind: 'conflict',
    message: `conflict: unable to delete ${hexOf(id).slice(0, 12)} (must be forced) - image is referenced in multiple repositories`,
  });
  assert.deepEqual((await engine.images.remove(id, force)).deleted, [id]);
});

test('remove respects containers as Docker does', async () => {
  await using engine = await fakeEngine();
  const id = await pull(engine, 'docker.io/library/web:1');
  const short = hexOf(id).slice(0, 12);
  engine.users.set(id, [{ id: 'c0ffee'.repeat(10), running: true }]);
  engine.snapshots.used.add((await engine.images.get(id)).layers[0]!);
  await assert.rejects(engine.images.remove('web:1', keep), {
    message: `conflict: unable to remove repository reference "web:1" (must force) - container c0ffeec0ffee is using its referenced image ${short}`,
  });
  await assert.rejects(engine.images.remove(id, force), {
    message: `conflict: unable to delete ${short} (cannot be forced) - image is being used by running container c0ffeec0ffee`,
  });
  // By name and forced, the image stays for its container, without a name.
  assert.deepEqual((await engine.images.remove('web:1', force)).deleted, []);
  assert.deepEqual((await engine.images.get(id)).names, []);

  engine.users.set(id, [{ id: 'c0ffee'.repeat(10), running: false }]);
  await assert.rejects(engine.images.remove(id, keep), {
    message: /\(must be forced\) - image is being used by stopped/,
  });
  assert.deepEqual((await engine.images.remove(id, force)).deleted, [id]);
  // The layer that the container stands on goes with the container.
  assert.equal(engine.snapshots.layers().length, 1);
  engine.snapshots.used.clear();
  assert.ok((await engine.images.collect()).bytes > 0);
  assert.equal(engine.snapshots.layers().length, 0);
});

test("history is newest first, with the layers' sizes", async () => {
  await using engine = await fakeEngine();
  const history = [{ created_by: 'ADD' }, { created_by: 'ENV', empty_layer: true }, { created_by: 'RUN' }];
  await pull(engine, 'docker.io/library/web:1', makeImage({ layers: ['a', 'b'], history }));
  const lines = await engine.images.history('web:1');
  assert.deepEqual(
    lines.map(({ created_by, size }) => [created_by, size > 0]),
    [
      ['RUN', true],
      ['ENV', false],
      ['ADD', true],
    ],
  );
  assert.deepEqual(
    lines.map(({ id }) => id),
    [(await engine.images.get('web:1')).id, '<missing>', '<missing>'],
  );
  assert.deepEqual(lines[0]?.names, ['web:1']);
});

test('collect takes what nothing refers to, and leaves what a pull under way needs', async () => {
  await using engine = await fakeEngine();
  await pull(engine, 'docker.io/library/web:1');
  const before = await engine.content.digests();
  await engine.content.put(Buffer.from('stray'));
  engine.snapshots.all.set(digestOf('stray layer'), 10);
  assert.deepEqual(await engine.images.collect(), { bytes: 15 });
  assert.deepEqual(await engine.content.digests(), before);

  const gate = Promise.withResolvers<void>();
  engine.registry.put('docker.io/library/two:1', makeImage({ layers: ['x', 'y'] }));
  engine.registry.hold = gate.promise;
  const pulling = all(engine.images.pull('two:1', {}));
  for (let at = 0; at < 5; at++) {
    await new Promise((resolve) => setTimeout(resolve, 5));
    await engine.images.collect();
    if (at === 2) gate.resolve();
  }
  await pulling;
  assert.equal((await engine.images.get('two:1')).layers.length, 2);
});

test('R08 an image whose manifest is damaged is named, the others work, and a pull heals it', async () => {
  await using engine = await fakeEngine();
  const id = await pull(engine, 'docker.io/library/web:1');
  await pull(engine, 'docker.io/library/fine:1', makeImage({ layers: ['fine'] }));
  await writeFile(engine.content.path(id), '{}');
  const images = await engine.reopen();
  assert.equal((await images.get('fine:1')).names[0], 'docker.io/library/fine:1');
  await assert.rejects(images.get('web:1'), { kind: 'corrupt', message: /image web:1 is damaged/ });
  await all(images.pull('web:1', {}));
  assert.equal((await images.get('web:1')).id, id);
});

test('a layer that was lost is made again from its blob', async () => {
  await using engine = await fakeEngine();
  await pull(engine, 'docker.io/library/web:1');
  engine.snapshots.all.clear();
  assert.equal((await engine.images.get('web:1')).layers.length, 1);
  assert.equal(engine.snapshots.layers().length, 1);
});

const commitOf = (
  base: { root: Descriptor },
  layer: readonly string[],
  changes: Partial<ImageCommit> = {},
): ImageCommit => ({
  base: base.root,
  config: { Cmd: ['made'] },
  layer: (async function* () {
    for (const piece of layer) yield Buffer.from(piece);
  })(),
  createdBy: 'sh -c x',
  comment: 'words',
  author: 'me',
  name: 'docker.io/library/made:1',
  signal: new AbortController().signal,
  ...changes,
});

test('commit puts a layer more on an image, and it is there after a restart', async () => {
  await using engine = await fakeEngine();
  const made = makeImage({ history: [{ created_by: 'base' }] });
  await pull(engine, 'docker.io/library/web:latest', made);
  const id = await engine.images.commit(commitOf(made, ['lay', 'er']));
  const image = await engine.images.get('made:1');
  assert.equal(image.id, id);
  assert.deepEqual(image.layers, [...made.diffIds, digestOf('layer')]);
  assert.deepEqual([image.config.config, image.config.author], [{ Cmd: ['made'] }, 'me']);
  const history = await engine.images.history('made:1');
  assert.deepEqual(
    history.map(({ created_by, comment, size }) => [created_by, comment, size > 0]),
    [
      ['sh -c x', 'words', true],
      ['base', undefined, true],
    ],
  );
  assert.deepEqual(
    engine.events.slice(-2).map(({ action, actor }) => [action, actor.id, actor.attributes['name']]),
    [
      ['create', id, id],
      ['tag', id, 'made:1'],
    ],
  );
  assert.equal((await (await engine.reopen()).get('made:1')).id, id);
});

test('commit without a layer, name and words', async () => {
  await using engine = await fakeEngine();
  const made = makeImage();
  await pull(engine, 'docker.io/library/web:latest', made);
  const id = await engine.images.commit(commitOf(made, [], { name: undefined, comment: '', author: '' }));
  const image = await engine.images.get(id);
  assert.deepEqual([image.layers, image.names], [made.diffIds, []]);
  const [newest] = await engine.images.history(id);
  assert.deepEqual([newest?.empty_layer, newest?.comment, newest?.size], [true, undefined, 0]);
  assert.equal(engine.events.at(-1)?.action, 'create');
});

test('a commit that fails, is aborted, or whose base is gone leaves nothing', async () => {
  await using engine = await fakeEngine();
  const made = makeImage();
  await pull(engine, 'docker.io/library/web:latest', made);
  const before = (await engine.content.digests()).length;
  const broken = (async function* () {
    yield Buffer.from('half');
    throw new Error('the disk is gone');
  })();
  await assert.rejects(engine.images.commit(commitOf(made, [], { layer: broken })), /the disk is gone/);
  const aborted = AbortSignal.abort();
  await assert.rejects(engine.images.commit(commitOf(made, ['x'], { signal: aborted })), { kind: 'canceled' });
  assert.equal((await engine.content.digests()).length, before);
  assert.equal((await engine.images.list()).length, 1);
  await engine.images.remove('web', force);
  await assert.rejects(engine.images.commit(commitOf(made, ['x'])), { kind: 'not-found' });
  assert.deepEqual(await engine.content.digests(), []);
});
