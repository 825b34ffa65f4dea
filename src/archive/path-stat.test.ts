import assert from 'node:assert/strict';
import { test } from 'node:test';
import { baseName, bytesOfText, cleanPath, goMode, textOfBytes, timeText } from './path-stat.ts';

test("modes are Go's", () => {
  const cases: readonly (readonly [number, number])[] = [
    [0o100644, 0o644],
    [0o040755, 2147484141],
    [0o120777, 134218239],
    [0o104755, 8389101],
    [0o102755, 2 ** 22 + 0o755],
    [0o041777, 2148532735],
    [0o010644, 33554852],
    [0o140600, 2 ** 24 + 0o600],
    [0o020666, 2 ** 26 + 2 ** 21 + 0o666],
    [0o060660, 2 ** 26 + 0o660],
  ];
  for (const [mode, expected] of cases) assert.equal(goMode(mode), expected, mode.toString(8));
});

test("the last component of a path is as Go's filepath.Base has it", () => {
  const cases = {
    '': '.',
    '/': '/',
    '//': '/',
    '/a': 'a',
    '/a/': 'a',
    'a/b//': 'b',
    '/a/.': '.',
    '/a/..': '..',
    '.': '.',
  };
  for (const [path, expected] of Object.entries(cases)) assert.equal(baseName(path), expected, path);
});

test('times have as many digits as they need', () => {
  assert.equal(timeText(0n), '1970-01-01T00:00:00Z');
  assert.equal(timeText(1_700_000_000_120_000_000n), '2023-11-14T22:13:20.12Z');
  assert.equal(timeText(1_700_000_000_000_000_001n), '2023-11-14T22:13:20.000000001Z');
  assert.equal(timeText(-1n), '1969-12-31T23:59:59.999999999Z');
});

test('names of any encoding come through', () => {
  assert.equal(textOfBytes(bytesOfText('ü ñ 漢')), 'ü ñ 漢');
  assert.equal(bytesOfText('ü').length, 2);
});

test('paths are cleaned as clients mean them, and keep what tells of a directory', () => {
  const cases = {
    '': '/',
    '.': '/.',
    a: '/a',
    '/a/../b': '/b',
    '/a/': '/a/',
    '/a/.': '/a/.',
    '/a/..': '/',
    '/../..//a//b/': '/a/b/',
    '/.': '/.',
  };
  for (const [path, expected] of Object.entries(cases)) assert.equal(cleanPath(path), expected, path);
});
