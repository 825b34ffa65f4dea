import assert from 'node:assert/strict';
import { Readable } from 'node:stream';
import { test } from 'node:test';
import { EngineError } from '../base/errors.ts';
import { hexOf } from '../oci/digest.ts';
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
import type { Progress } from './images.ts';

const repository = 'localhost:5000/a/b';
const one = { allTags: false };

async function load(engine: FakeEngine, image: MadeImage, ...names: string[]): Promise<void> {
  await all(engine.images.load(Readable.from(layoutOf(image, names)), { quiet: true }));
}

/** Everything below the root, as the registry has it now. */
function assertPushed({ registry }: FakeEngine, image: MadeImage, tag: string): void {
  const there = (digest: string) => registry.pushed.get(`${repository}@${digest}`);
  for (const [digest, bytes] of image.blobs)
    if (digest === image.root.digest) assert.deepEqual(registry.pushed.get(`${repository}:${tag}`), bytes);
    else assert.deepEqual(there(digest), bytes, digest);
}

const short = (digest: string) => hexOf(digest as MadeImage['root']['digest']).slice(0, 12);

test("push speaks Docker's progress, the top layer first, and the root goes last under the image's own digest", async () => {
  await using engine = await fakeEngine();
  const made = makeImage({ layers: ['base', 'top'] });
  await load(engine, made, `${repository}:1`);
  const lines = await all(engine.images.push(`${repository}:1`, one));
  const [base, top] = (JSON.parse(made.blobs.get(made.root.digest)!.toString()) as { layers: { digest: string }[] })
    .layers;
  assert.deepEqual(lines.slice(0, 3), [
    { status: `The push refers to repository [${repository}]` },
    { status: 'Preparing', progressDetail: {}, id: short(top!.digest) },
    { status: 'Preparing', progressDetail: {}, id: short(base!.digest) },
  ]);
  for (const layer of [base!, top!])
    assert.equal(lines.filter(({ id }) => id === short(layer.digest)).at(-1)?.status, 'Pushed');
  const { digest, size } = made.root;
  assert.deepEqual(lines.slice(-2), [
    { status: `1: digest: ${digest} size: ${size}` },
    { progressDetail: {}, aux: { Tag: '1', Digest: digest, Size: size } },
  ]);
  assertPushed(engine, made, '1');
  assert.equal([...engine.registry.pushed.keys()].at(-1), `${repository}:1`);
  // It is known there by its digest from now on.
  assert.deepEqual((await engine.images.get(`${repository}:1`)).repoDigests, [`${repository}@${digest}`]);
  assert.deepEqual(engine.events.at(-1)?.actor, { id: `${repository}:1`, attributes: { name: repository } });
  const again = await all(engine.images.push(`${repository}:1`, one));
  assert.equal(again.filter(({ status }) => status === 'Layer already exists').length, 2);
});

test('what the registry has in another repository is mounted from there', async () => {
  await using engine = await fakeEngine();
  const made = makeImage({ layers: ['one'] });
  engine.registry.put('localhost:5000/first:1', made);
  await all(engine.images.pull('localhost:5000/first:1', {}));
  engine.registry.mounts.push(...[...made.blobs.keys()].map((digest) => `first@${digest}`));
  await engine.images.tag('localhost:5000/first:1', `${repository}:1`);
  const lines = await all(engine.images.push(`${repository}:1`, one));
  assert.ok(lines.some(({ status }) => status === 'Mounted from first'));
});

test('all tags of a repository, in order; nothing of others', async () => {
  await using engine = await fakeEngine();
  const [first, second] = [makeImage({ layers: ['1'] }), makeImage({ layers: ['2'] })];
  await load(engine, second, `${repository}:two`);
  await load(engine, first, `${repository}:one`, 'localhost:5000/a/bb:three');
  const lines = await all(engine.images.push(repository, { allTags: true }));
  assert.deepEqual(
    lines.flatMap(({ aux }) => (aux ? [(aux as { Tag: string }).Tag] : [])),
    ['one', 'two'],
  );
  assertPushed(engine, first, 'one');
  assertPushed(engine, second, 'two');
});

test('an index that is here whole goes whole; of one that is not, the image for this machine, and it is said', async () => {
  await using engine = await fakeEngine();
  const [here, there] = [makeImage({ layers: ['x'] }), makeImage({ layers: ['y'], platform: arm64 })];
  const index = makeIndex([
    { image: here, platform: amd64 },
    { image: there, platform: arm64 },
  ]);
  engine.registry.put('docker.io/library/part:1', index);
  await all(engine.images.pull('part:1', {}));
  await engine.images.tag('part:1', `${repository}:part`);
  const notes = (lines: readonly Progress[]) =>
    lines.flatMap(({ aux }) => (aux ? [aux as Record<string, unknown>] : []));
  const part = notes(await all(engine.images.push(`${repository}:part`, one)));
  assert.equal(part[0]!.Digest, here.root.digest);
  assert.equal(part[1]!.manifestPushedInsteadOfIndex, true);
  assert.deepEqual(part[1]!.originalIndex, index.root);
  assertPushed(engine, here, 'part');

  await load(engine, index, `${repository}:whole`);
  const whole = notes(await all(engine.images.push(`${repository}:whole`, one)));
  assert.deepEqual(whole, [{ Tag: 'whole', Digest: index.root.digest, Size: index.root.size }]);
  assertPushed(engine, index, 'whole');
  const only = notes(await all(engine.images.push(`${repository}:whole`, { ...one, platform: arm64 })));
  assert.equal(only[0]!.Digest, there.root.digest);
});

test("what cannot be pushed is told behind the first line, in Docker's words", async () => {
  await using engine = await fakeEngine();
  const made = makeImage();
  await load(engine, made, `${repository}:1`);
  for (const [name, allTags, message] of [
    [`${repository}:2`, false, `tag does not exist: ${repository}:2`],
    ['localhost:5000/nosuch:1', false, 'An image does not exist locally with the tag: localhost:5000/nosuch'],
    ['localhost:5000/nosuch', true, 'An image does not exist locally with the tag: localhost:5000/nosuch'],
    [`${repository}@${made.root.digest}`, false, 'cannot push a digest reference'],
  ] as const) {
    const lines = engine.images.push(name, { allTags })[Symbol.asyncIterator]();
    assert.match((await lines.next()).value?.status, /^The push refers to repository/);
    await assert.rejects(lines.next() as Promise<unknown>, { message });
  }
  assert.equal(engine.registry.pushed.size, 0);
  assert.throws(() => engine.images.push('Upper', one), /must be lowercase/);
});

test('an image that is removed while it is pushed arrives whole, and is gone then', async () => {
  await using engine = await fakeEngine();
  const made = makeImage({ layers: ['one', 'two', 'three'] });
  await load(engine, made, `${repository}:1`);
  let removed: Promise<unknown> | undefined;
  engine.registry.beforePush = async () => {
    removed ??= engine.images.remove(`${repository}:1`, { force: true, prune: true });
    await removed;
  };
  await all(engine.images.push(`${repository}:1`, one));
  assertPushed(engine, made, '1');
  assert.deepEqual(await engine.content.digests(), []);
});

test('one blob that fails ends the push without a manifest, and nothing is held', async () => {
  await using engine = await fakeEngine();
  await load(engine, makeImage({ layers: ['one', 'two'] }), `${repository}:1`);
  engine.registry.beforePush = async () => {
    throw new EngineError('forbidden', 'denied: requested access to the resource is denied');
  };
  await assert.rejects(all(engine.images.push(`${repository}:1`, one)), { kind: 'forbidden' });
  assert.equal(engine.registry.pushed.size, 0);
  assert.deepEqual((await engine.images.get(`${repository}:1`)).repoDigests, []);
  await engine.images.remove(`${repository}:1`, { force: false, prune: true });
  assert.deepEqual(await engine.content.digests(), []);
});

test('of several tags the later ones arrive too when they are removed meanwhile', async () => {
  await using engine = await fakeEngine();
  const images = [makeImage({ layers: ['1'] }), makeImage({ layers: ['2'] })];
  for (const [at, image] of images.entries()) await load(engine, image, `${repository}:t${at}`);
  let removed: Promise<unknown> | undefined;
  engine.registry.beforePush = async () => {
    removed ??= engine.images.remove(`${repository}:t1`, { force: true, prune: true });
    await removed;
  };
  await all(engine.images.push(repository, { allTags: true }));
  for (const [at, image] of images.entries()) assertPushed(engine, image, `t${at}`);
});
