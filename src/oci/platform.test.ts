import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatPlatform, hostPlatform, parsePlatform, platformScore } from './platform.ts';

const parse = (text: string) => parsePlatform(text)!;

test('platforms are read with the names that machines have for themselves', () => {
  assert.deepEqual(parse('linux/amd64'), { os: 'linux', architecture: 'amd64' });
  assert.deepEqual(parse('x86_64'), { os: 'linux', architecture: 'amd64' });
  assert.deepEqual(parse('linux/aarch64'), { os: 'linux', architecture: 'arm64', variant: 'v8' });
  assert.deepEqual(parse('linux/arm'), { os: 'linux', architecture: 'arm', variant: 'v7' });
  assert.deepEqual(parse('linux/arm/v6'), { os: 'linux', architecture: 'arm', variant: 'v6' });
  assert.deepEqual(parse('linux'), hostPlatform());
  assert.equal(formatPlatform(parse('linux/arm/v6')), 'linux/arm/v6');
  for (const wrong of ['', '/', 'linux/', 'a/b/c/d', 'linux/../x', 'linux amd64'])
    assert.equal(parsePlatform(wrong), undefined, wrong);
});

test('the same platform is best, an older arm will do, another architecture will not', () => {
  assert.equal(platformScore(parse('linux/amd64'), parse('linux/amd64')), 100);
  assert.equal(platformScore(parse('linux/arm64'), { os: 'linux', architecture: 'arm64' }), 100);
  assert.equal(platformScore(parse('linux/amd64'), parse('linux/arm64')), 0);
  assert.equal(platformScore(parse('linux/amd64'), { os: 'windows', architecture: 'amd64' }), 0);
  assert.equal(platformScore(parse('linux/amd64'), { os: 'unknown', architecture: 'unknown' }), 0);
  const older = platformScore(parse('linux/arm/v7'), parse('linux/arm/v6'));
  assert.ok(older > platformScore(parse('linux/arm/v7'), parse('linux/arm/v5')));
  assert.ok(older > 0 && older < 100);
  assert.equal(platformScore(parse('linux/arm/v6'), parse('linux/arm/v7')), 0);
});

test('a variant that is none makes no score that cannot be compared', () => {
  for (const variant of ['', 'v', 'a', 'v6x', '6', '0'])
    assert.ok(platformScore(parse('linux/arm/v7'), { os: 'linux', architecture: 'arm', variant }) >= 0, variant);
});
