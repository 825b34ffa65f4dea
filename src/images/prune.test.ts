import assert from 'node:assert/strict';
import { test } from 'node:test';
import { all, type FakeEngine, fakeEngine, makeImage } from './fake-images.ts';
import { planPrune } from './prune.ts';

const web = 'docker.io/library/web';
const facts = { names: [], repositories: [], users: [], all: false };
const user = (name: string) => ({ id: 'c1', running: false, name });

test('what has no name and no user goes; with `all` what has names too', () => {
  assert.deepEqual(planPrune(facts), { names: [], repositories: [], image: true });
  assert.deepEqual(planPrune({ ...facts, repositories: [web] }), { names: [], repositories: [web], image: true });
  assert.equal(planPrune({ ...facts, names: [`${web}:1`] }), undefined);
  const named = { ...facts, names: [`${web}:1`], repositories: [web], all: true };
  assert.deepEqual(planPrune(named), { names: [`${web}:1`], repositories: [web], image: true });
});

test('what a container uses stays, under the name that it calls it by', () => {
  assert.equal(planPrune({ ...facts, users: [user('web')] }), undefined);
  const names = [`${web}:1`, `${web}:2`, 'docker.io/me/other:1'];
  const used = { names, repositories: [web, 'docker.io/me/other'], all: true };
  assert.deepEqual(planPrune({ ...used, users: [user('web:2')] }), {
    names: [`${web}:1`, 'docker.io/me/other:1'],
    repositories: ['docker.io/me/other'],
    image: false,
  });
  // By its ID it has none: one is left.
  assert.deepEqual(planPrune({ ...used, users: [user('sha256:1234')] })?.names, names.slice(1));
  assert.equal(planPrune({ ...facts, names: [`${web}:1`], users: [user('web:1')], all: true }), undefined);
});

async function pull(engine: FakeEngine, name: string, text: string) {
  const image = makeImage({ layers: [text], labels: { text } });
  engine.registry.put(name, image);
  await all(engine.images.pull(name, {}));
  return image.root.digest;
}

test('prune takes what matches, tells it, and frees its bytes; what is shared stays', async () => {
  await using engine = await fakeEngine();
  const old = await pull(engine, `${web}:1`, 'old');
  const now = await pull(engine, `${web}:1`, 'new');
  const other = await pull(engine, 'docker.io/library/other:1', 'other');
  const none = await engine.images.prune({
    all: false,
    matches: (image) => image.config.config?.Labels?.text !== 'old',
  });
  assert.deepEqual([none.deleted, none.bytes], [[], 0]);
  const { untagged, deleted, bytes } = await engine.images.prune({ all: false, matches: () => true });
  assert.deepEqual([untagged, deleted], [[`web@${old}`], [old]]);
  assert.ok(bytes > 0);
  assert.deepEqual(engine.events.at(-1), {
    type: 'image',
    action: 'prune',
    actor: { id: '', attributes: { reclaimed: String(bytes) } },
  });
  engine.users.set(other, [{ id: 'c1', running: true }]);
  assert.deepEqual((await engine.images.prune({ all: true, matches: () => true })).deleted, [now]);
  assert.deepEqual(
    (await engine.images.list()).map(({ id }) => id),
    [other],
  );
});

test('R30 the sizes of images add up: what two share is said of both, and counted once on the disk', async () => {
  await using engine = await fakeEngine();
  for (const [name, layers] of [
    ['a', ['base', 'a']],
    ['b', ['base', 'b']],
    ['c', ['alone']],
  ] as const) {
    engine.registry.put(`docker.io/library/${name}:1`, makeImage({ layers }));
    await all(engine.images.pull(`${name}:1`, {}));
  }
  const { shared } = await engine.images.usage();
  const images = await engine.images.list();
  const own = images.reduce((sum, { id, size }) => sum + size - shared.get(id)!, 0);
  const [a, b, c] = images.map(({ id }) => shared.get(id)!);
  assert.equal(a, b);
  assert.ok(a! > 0);
  assert.equal(c, 0);
  let everything = 0;
  for (const digest of await engine.content.digests()) everything += (await engine.content.size(digest))!;
  for (const size of engine.snapshots.all.values()) everything += size;
  assert.equal(own + a!, everything);
});
