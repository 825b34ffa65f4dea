import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { Digester, digestOf, hexOf, isDigest, parseDigest } from './digest.ts';

const sha512 = `sha512:${createHash('sha512').update('x').digest('hex')}`;

test('digests of known algorithms in full length and lower case are digests, nothing else is', () => {
  const digest = digestOf('x');
  assert.equal(parseDigest(digest), digest);
  assert.equal(parseDigest(sha512), sha512);
  assert.equal(hexOf(digest), digest.slice(7));
  for (const wrong of [
    '',
    'sha256',
    'sha256:',
    digest.toUpperCase(),
    `${digest}a`,
    digest.slice(0, -1),
    ` ${digest}`,
    `${digest}\n`,
    `md5:${'0'.repeat(32)}`,
    `constructor:${'0'.repeat(64)}`,
    `:${'0'.repeat(64)}`,
    `sha256:${'g'.repeat(64)}`,
    `sha256:../${'0'.repeat(61)}`,
  ]) {
    assert.equal(isDigest(wrong), false, wrong);
    assert.throws(() => parseDigest(wrong), /invalid digest/);
  }
});

test('a running hash gives the digest in the algorithm that is expected', () => {
  const halves = new Digester().update(Buffer.from('a')).update(Buffer.from('b'));
  assert.equal(halves.digest(), digestOf('ab'));
  assert.equal(new Digester(parseDigest(sha512)).update(Buffer.from('x')).digest(), sha512);
});
