import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EngineError } from '../base/errors.ts';
import { digestOf } from './digest.ts';
import { mediaTypes } from './manifest.ts';
import { checkIndexDepth, imageLimits, readImageConfig, readIndex, readManifest, sniffMediaType } from './validate.ts';

const digest = digestOf('x');
const descriptor = { mediaType: mediaTypes.ociLayerGzip, digest, size: 3 };
const config = { mediaType: mediaTypes.ociConfig, digest, size: 2 };
const bytes = (value: unknown) => Buffer.from(JSON.stringify(value));
const manifest = { schemaVersion: 2, mediaType: mediaTypes.ociManifest, config, layers: [descriptor] };

function refuses(run: () => unknown, kind: string, words: RegExp) {
  assert.throws(run, (error) => {
    assert.ok(error instanceof EngineError);
    assert.equal(error.kind, kind);
    assert.match(error.message, words);
    return true;
  });
}

test('a manifest is read into its typed form, and unknown members are left out', () => {
  const read = readManifest(bytes({ ...manifest, surprise: 1, annotations: { a: 'b' } }), mediaTypes.ociManifest);
  assert.deepEqual(read, {
    schemaVersion: 2,
    mediaType: mediaTypes.ociManifest,
    annotations: { a: 'b' },
    config,
    layers: [descriptor],
  });
});

test('S34 a manifest that calls itself something else than it was announced as is refused', () => {
  refuses(() => readManifest(bytes(manifest), mediaTypes.dockerManifest), 'invalid', /calls itself/);
  refuses(
    () => readIndex(bytes({ schemaVersion: 2, mediaType: mediaTypes.ociManifest, manifests: [] }), mediaTypes.ociIndex),
    'invalid',
    /calls itself/,
  );
});

test('S34 a document that could be read as manifest and as index is neither', () => {
  const both = { schemaVersion: 2, config, layers: [], manifests: [descriptor] };
  refuses(() => readManifest(bytes(both), mediaTypes.ociManifest), 'invalid', /lists manifests/);
  refuses(() => readIndex(bytes(both), mediaTypes.ociIndex), 'invalid', /has config/);
});

test('S34 an index has at most 1,000 entries and is nested at most 4 deep, a manifest has at most 128 layers', () => {
  const index = (count: number) =>
    bytes({ schemaVersion: 2, manifests: Array.from({ length: count }, () => descriptor) });
  assert.equal(readIndex(index(1000), mediaTypes.ociIndex).manifests.length, 1000);
  refuses(() => readIndex(index(1001), mediaTypes.ociIndex), 'invalid', /1001 entries/);
  const layers = (count: number) => bytes({ ...manifest, layers: Array.from({ length: count }, () => descriptor) });
  assert.equal(readManifest(layers(128), mediaTypes.ociManifest).layers.length, 128);
  refuses(() => readManifest(layers(129), mediaTypes.ociManifest), 'invalid', /129 entries/);
  checkIndexDepth(imageLimits.indexDepth);
  refuses(() => checkIndexDepth(imageLimits.indexDepth + 1), 'invalid', /nested/);
});

test('S34 a manifest larger than 4 MiB is refused before it is parsed', () => {
  refuses(() => readManifest(Buffer.alloc(4 * 1024 * 1024 + 1, 0x20), mediaTypes.ociManifest), 'invalid', /4194305/);
});

test('sizes and digests of descriptors are checked', () => {
  for (const size of [-1, 1.5, '3', null, 2 ** 53])
    refuses(
      () => readManifest(bytes({ ...manifest, layers: [{ ...descriptor, size }] }), mediaTypes.ociManifest),
      'invalid',
      /size/,
    );
  for (const wrong of ['sha256:abc', 'md5:00', '../../etc/passwd', 7, `${digest}0`])
    refuses(
      () => readManifest(bytes({ ...manifest, config: { ...config, digest: wrong } }), mediaTypes.ociManifest),
      'invalid',
      /digest/,
    );
});

test('bytes that are no JSON are corrupt, schema 1 is unsupported with a hint', () => {
  refuses(() => readManifest(Buffer.from('{"schemaVersion":2,'), mediaTypes.ociManifest), 'corrupt', /not JSON/);
  refuses(() => readManifest(Buffer.from([0x7b, 0xff, 0x7d]), mediaTypes.ociManifest), 'corrupt', /not JSON/);
  refuses(() => readManifest(bytes({ schemaVersion: 1 }), mediaTypes.ociManifest), 'unsupported', /schema 1/);
  refuses(
    () => readManifest(bytes({}), 'application/vnd.docker.distribution.manifest.v1+prettyjws'),
    'unsupported',
    /schema 1/,
  );
});

test('an image config keeps what Docker knows, and null means absent', () => {
  const read = readImageConfig(
    bytes({
      architecture: 'amd64',
      os: 'linux',
      rootfs: { type: 'layers', diff_ids: [digest] },
      config: { Cmd: ['sh'], Entrypoint: null, Env: null, ExposedPorts: { '80/tcp': {} }, Labels: null, Hostname: 'x' },
      history: [{ created_by: 'x', empty_layer: true }, {}],
    }),
  );
  assert.deepEqual(read, {
    architecture: 'amd64',
    os: 'linux',
    rootfs: { type: 'layers', diff_ids: [digest] },
    config: { Cmd: ['sh'], ExposedPorts: { '80/tcp': {} } },
    history: [{ created_by: 'x', empty_layer: true }, {}],
  });
});

test('S16 an image config of wrong types is refused by the name of the member', () => {
  const base = { architecture: 'amd64', os: 'linux', rootfs: { type: 'layers', diff_ids: [] } };
  refuses(() => readImageConfig(bytes({ ...base, config: { Env: 'A=b' } })), 'invalid', /config Env/);
  refuses(() => readImageConfig(bytes({ ...base, config: { Labels: { a: 1 } } })), 'invalid', /Labels/);
  refuses(() => readImageConfig(bytes({ ...base, rootfs: { type: 'zip' } })), 'invalid', /rootfs/);
  refuses(() => readImageConfig(bytes({ ...base, history: {} })), 'invalid', /history/);
  refuses(() => readImageConfig(bytes([])), 'invalid', /a list/);
});

test('S16 a label named __proto__ is a label and changes no prototype', () => {
  const read = readImageConfig(
    Buffer.from('{"architecture":"a","os":"l","config":{"Labels":{"__proto__":"x"}},"__proto__":{"author":"y"}}'),
  );
  assert.deepEqual(Object.keys(read.config!.Labels!), ['__proto__']);
  assert.equal(Object.getPrototypeOf(read.config!.Labels), Object.prototype);
  assert.equal(read.author, undefined);
});

test('the media type of a document without one follows from its members', () => {
  assert.equal(sniffMediaType(bytes({ schemaVersion: 2, manifests: [] })), mediaTypes.ociIndex);
  assert.equal(sniffMediaType(bytes({ schemaVersion: 2, config, layers: [] })), mediaTypes.ociManifest);
  assert.equal(sniffMediaType(bytes({ mediaType: mediaTypes.dockerIndex })), mediaTypes.dockerIndex);
});
