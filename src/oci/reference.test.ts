import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EngineError } from '../base/errors.ts';
import { digestOf } from './digest.ts';
import { familiarName, familiarRepository, formatReference, parseReference, withDefaultTag } from './reference.ts';

const digest = digestOf('x');

test('short names are of Docker Hub, and are shown short again', () => {
  for (const [typed, full, familiar] of [
    ['nginx', 'docker.io/library/nginx', 'nginx'],
    ['nginx:1.27', 'docker.io/library/nginx:1.27', 'nginx:1.27'],
    ['team/app', 'docker.io/team/app', 'team/app'],
    ['docker.io/nginx', 'docker.io/library/nginx', 'nginx'],
    ['index.docker.io/library/nginx:1', 'docker.io/library/nginx:1', 'nginx:1'],
    ['localhost/app', 'localhost/app', 'localhost/app'],
    ['localhost:5000/app:v1', 'localhost:5000/app:v1', 'localhost:5000/app:v1'],
    ['[::1]:5000/a/b:c', '[::1]:5000/a/b:c', '[::1]:5000/a/b:c'],
    ['Registry/app', 'Registry/app', 'Registry/app'],
    ['reg.test/a__b/c.d-e--f', 'reg.test/a__b/c.d-e--f', 'reg.test/a__b/c.d-e--f'],
    [`nginx@${digest}`, `docker.io/library/nginx@${digest}`, `nginx@${digest}`],
    [`reg.test:80/x:t@${digest}`, `reg.test:80/x:t@${digest}`, `reg.test:80/x:t@${digest}`],
  ] as const) {
    const reference = parseReference(typed);
    assert.equal(formatReference(reference), full);
    assert.equal(familiarName(reference), familiar);
    assert.deepEqual(parseReference(full), reference);
  }
  assert.equal(familiarRepository(parseReference('docker.io/library/a/b')), 'library/a/b');
});

test('latest is the tag of what has neither tag nor digest', () => {
  assert.equal(withDefaultTag(parseReference('a')).tag, 'latest');
  assert.equal(withDefaultTag(parseReference('a:b')).tag, 'b');
  assert.equal(withDefaultTag(parseReference(`a@${digest}`)).tag, undefined);
});

test('S08 what could be a path, a flag or a command is no name', () => {
  for (const wrong of [
    '',
    ':',
    'a:',
    'a@',
    'a/',
    '/a',
    'a//b',
    '../a',
    'a/../b',
    './a',
    '-a',
    '--privileged',
    'a b',
    'a\nb',
    'a:b\n',
    '$(id)',
    'a;b',
    'a:-t',
    'a:.t',
    `a:${'t'.repeat(129)}`,
    'a___b',
    'a..b',
    'a@sha256:abc',
    `a@${digest}0`,
    `${'a'.repeat(240)}/${'b'.repeat(20)}.`,
    'reg.test:port/a',
    'https://reg.test/a',
    'a\u0000',
    'ä',
  ])
    assert.throws(
      () => parseReference(wrong),
      (error) =>
        error instanceof EngineError && error.kind === 'invalid' && /^invalid reference format/.test(error.message),
      JSON.stringify(wrong),
    );
  assert.throws(() => parseReference('nginX'), /repository name \(library\/nginX\) must be lowercase/);
  assert.throws(() => parseReference('a'.repeat(64)), /cannot specify 64-byte hexadecimal strings/);
  assert.throws(() => parseReference(`reg.test/${'a'.repeat(250)}`), /must not be more than 255 characters/);
});
