import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EngineError } from '../../src/base/errors.ts';
import { digestOf, isDigest } from '../../src/oci/digest.ts';
import { mediaTypes } from '../../src/oci/manifest.ts';
import { readImageConfig, readIndex, readManifest, sniffMediaType } from '../../src/oci/validate.ts';
import { parseChallenges } from '../../src/remotes/challenge.ts';
import { readWireErrors } from '../../src/remotes/errors.ts';

function randomFrom(seed: number) {
  let state = seed;
  return (below: number) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

const digest = digestOf('x');
const descriptor = {
  mediaType: mediaTypes.ociLayer,
  digest,
  size: 1,
  platform: { os: 'linux', architecture: 'amd64' },
};
const seeds: readonly object[] = [
  {
    schemaVersion: 2,
    mediaType: mediaTypes.ociManifest,
    config: descriptor,
    layers: [descriptor],
    annotations: { a: 'b' },
  },
  { schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests: [descriptor, descriptor] },
  {
    architecture: 'amd64',
    os: 'linux',
    config: {
      Env: ['A=b'],
      Cmd: ['x'],
      Labels: { a: 'b' },
      ExposedPorts: { '80/tcp': {} },
      Healthcheck: { Test: ['x'], Interval: 1 },
    },
    rootfs: { type: 'layers', diff_ids: [digest] },
    history: [{ created_by: 'x', empty_layer: true }],
  },
];
const strange: readonly unknown[] = [
  null,
  true,
  -1,
  1.5,
  1e308,
  2 ** 53,
  '',
  'x',
  '\u0000',
  '../..',
  [],
  {},
  [[]],
  { a: {} },
  'x'.repeat(5000),
  Array(1001).fill(null),
];

/** The document with one value somewhere in it replaced by a strange one, or left out. */
function mutate(value: unknown, random: (below: number) => number): unknown {
  if (random(4) === 0 || typeof value !== 'object' || value === null) return strange[random(strange.length)];
  const keys = Object.keys(value);
  if (keys.length === 0) return strange[random(strange.length)];
  const key = keys[random(keys.length)]!;
  const copy: unknown = structuredClone(value);
  const fields = copy as Record<string, unknown>;
  if (random(8) === 0 && !Array.isArray(copy)) delete fields[key];
  else fields[key] = mutate(fields[key], random);
  return copy;
}

test('S16 S34 manifests, indexes and configs that were tampered with are read into their types or refused, never more', () => {
  const seed = Number(process.env.FUZZ_SEED ?? Date.now() % 2 ** 31);
  const random = randomFrom(seed);
  let read = 0;
  let refused = 0;
  for (let round = 0; round < 20_000; round++) {
    let document: unknown = seeds[random(seeds.length)];
    for (let times = random(3); times > 0; times--) document = mutate(document, random);
    const bytes = Buffer.from(JSON.stringify(document) ?? '');
    // Bytes too are damaged at times: cut, or one of them another.
    const given = random(5) === 0 ? bytes.subarray(0, random(bytes.length + 1)) : bytes;
    if (given.length > 0 && random(5) === 0) given[random(given.length)] = random(256);
    for (const reader of [
      () =>
        readManifest(given, mediaTypes.ociManifest).layers.every((layer) => isDigest(layer.digest) && layer.size >= 0),
      () => readIndex(given, mediaTypes.ociIndex).manifests.every((entry) => isDigest(entry.digest) && entry.size >= 0),
      () => readImageConfig(given).rootfs.diff_ids.every(isDigest),
      () => typeof sniffMediaType(given) === 'string',
    ])
      try {
        assert.equal(reader(), true, `seed ${seed}, round ${round}`);
        read++;
      } catch (error) {
        const known = error instanceof EngineError && ['invalid', 'corrupt', 'unsupported'].includes(error.kind);
        assert.ok(known, `seed ${seed}, round ${round}: ${String(error)}`);
        refused++;
      }
  }
  assert.ok(read > 1000 && refused > 1000, `${read} read, ${refused} refused`);
});

test('S16 JSON nested a hundred thousand deep is answered', () => {
  const deep = Buffer.from(`{"layers":${'['.repeat(100_000)}${']'.repeat(100_000)}}`);
  for (const reader of [() => readManifest(deep, mediaTypes.ociManifest), () => readIndex(deep, mediaTypes.ociIndex)])
    assert.throws(reader, EngineError);
});

test('S16 error bodies and challenges of strangers are read without harm', () => {
  const random = randomFrom(7);
  const parts = [
    'Bearer ',
    'Basic',
    'realm',
    '=',
    '"',
    ',',
    '\\',
    'https://x/',
    ' ',
    '__proto__',
    'constructor',
    '\t',
    '"a"',
    ';',
    '\u0080',
  ];
  for (let round = 0; round < 20_000; round++) {
    let header = '';
    for (let left = random(12); left > 0; left--) header += parts[random(parts.length)]!;
    for (const { scheme, parameters } of parseChallenges(header)) {
      assert.match(scheme, /^\S+$/);
      assert.ok(Object.values(parameters).every((value) => typeof value === 'string'));
    }
    readWireErrors(
      Buffer.from(JSON.stringify(mutate({ errors: [{ code: 'X', message: 'y' }], details: 'z' }, random)) ?? ''),
    );
  }
  assert.deepEqual(
    parseChallenges('Bearer realm="https://a/t?b=\\"c",service="d e",scope="r:p:pull,push", Basic realm=x'),
    [
      { scheme: 'bearer', parameters: { realm: 'https://a/t?b="c', service: 'd e', scope: 'r:p:pull,push' } },
      { scheme: 'basic', parameters: { realm: 'x' } },
    ],
  );
  const [error] = readWireErrors(Buffer.from('{"errors":[{"code":"A","message":"\\u001b]52;c;x\\u0007"}]}'));
  assert.equal(error!.message, ' ]52;c;x ');
});
