import assert from 'node:assert/strict';
import { Readable } from 'node:stream';
import { test } from 'node:test';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { digestOf } from '../oci/digest.ts';
import { all, arm64, fakeEngine } from './fake-images.ts';
import type { ImportOptions } from './images.ts';
import { tarOf } from './tar-of.ts';

const rootfs = tarOf([{ name: 'etc/hostname', content: 'imported\n' }]);
const options = (changes: Partial<ImportOptions> = {}): ImportOptions => ({
  name: '',
  message: 'Imported from -',
  changes: [],
  ...changes,
});

test('import makes an image of one layer, with the changes, under the name, and tells its ID', async () => {
  await using engine = await fakeEngine();
  const changes = ['CMD ["/bin/sh"]', 'ENV A=1'];
  const lines = await all(
    engine.images.import(Readable.from([rootfs]), options({ name: 'mine:1', message: 'hello', changes })),
  );
  const image = await engine.images.get('mine:1');
  assert.deepEqual(lines, [{ status: image.id }]);
  assert.deepEqual(image.layers, [digestOf(rootfs)]);
  assert.deepEqual(image.config.config, { Cmd: ['/bin/sh'], Env: ['A=1'] });
  assert.deepEqual(image.config.history, [{ created: image.created, comment: 'hello' }]);
  assert.deepEqual(
    engine.events.map(({ action, actor }) => [action, actor.attributes.name]),
    [
      ['tag', 'mine:1'],
      ['import', image.id],
    ],
  );
});

test('import takes every compression, and the layer is the same', async () => {
  await using engine = await fakeEngine();
  for (const body of [rootfs, gzipSync(rootfs), zstdCompressSync(rootfs)]) {
    const [line] = await all(engine.images.import(Readable.from([body]), options()));
    assert.deepEqual((await engine.images.get(line!.status!)).layers, [digestOf(rootfs)]);
  }
});

test('import is for the platform that is named, and for nothing an empty image', async () => {
  await using engine = await fakeEngine();
  await all(engine.images.import(Readable.from([rootfs]), options({ name: 'arm', platform: arm64 })));
  assert.equal((await engine.images.get('arm')).config.architecture, 'arm64');
  await all(engine.images.import(Readable.from([]), options({ name: 'empty' })));
  assert.equal((await engine.images.get('empty')).layers.length, 1);
});

test('import of what cannot be is refused before a byte is read, and nothing stays', async () => {
  await using engine = await fakeEngine();
  const body = () =>
    Readable.from(
      (async function* () {
        yield Buffer.alloc(0);
        assert.fail('nobody should read this');
      })(),
    );
  assert.throws(
    () => engine.images.import(body(), options({ changes: ['RUN x'] })),
    /RUN is not a valid change command/,
  );
  assert.throws(() => engine.images.import(body(), options({ name: 'Upper' })), /must be lowercase/);
  const digest = `x@${digestOf('x')}`;
  assert.throws(() => engine.images.import(body(), options({ name: digest })), /cannot import digest reference/);
});

test('an upload that is cut, or damaged, leaves nothing', async () => {
  await using engine = await fakeEngine();
  const cut = async function* () {
    yield rootfs.subarray(0, 100);
    throw new Error('the client went away');
  };
  await assert.rejects(all(engine.images.import(Readable.from(cut()), options({ name: 'mine' }))));
  const damaged = gzipSync(rootfs).subarray(0, 40);
  await assert.rejects(
    all(engine.images.import(Readable.from([damaged]), options({ name: 'mine' }))),
    /unexpected EOF/,
  );
  assert.deepEqual(await engine.content.digests(), []);
  assert.deepEqual(await engine.images.list(), []);
});
