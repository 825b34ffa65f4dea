import assert from 'node:assert/strict';
import { test } from 'node:test';
import { humanBytes, humanMemory, plain, plainLine, table } from './terminal.ts';

test('whole escape sequences go, not only their first byte; text, newlines and tabs stay', () => {
  for (const [given, left] of [
    ['\x1b[31mred\x1b[0m', 'red'],
    ['\x1b]0;title\x07after', 'after'],
    ['\x1b]52;c;ZXZpbA==\x1b\\after', 'after'],
    ['\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\', 'link'],
    ['\x1bPq#0\x1b\\after', 'after'],
    ['\x1b(0line\x1bcreset', 'linereset'],
    ['\u009b31mred', 'red'],
    ['\u009d0;title\u009cafter', 'after'],
    ['never ends \x1b]0;x', 'never ends '],
    ['\x1b', ''],
    ['back\b\rspace\x7f', 'backspace'],
    ['a\tb\nc', 'a\tb\nc'],
    ['user\u202etxt.exe\u2066', 'usertxt.exe'],
    ['größe 大 🐳', 'größe 大 🐳'],
  ] as const)
    assert.equal(plain(given), left, JSON.stringify(given));
  assert.equal(plainLine('two\nlines\tone'), 'two lines one');
});

test('a cell with a newline or an escape does not break the table', () => {
  assert.equal(table(['A', 'B'], [['x\ny', '\x1b[2Jz']]), 'A     B\nx y   z\n');
});

test('sizes on disk in powers of 1,000, memory in powers of 1,024', () => {
  assert.deepEqual([humanBytes(999), humanBytes(1_234_567)], ['999 B', '1.2 MB']);
  assert.deepEqual(
    [humanMemory(0), humanMemory(64 * 1024 ** 2), humanMemory(1.5 * 1024 ** 3)],
    ['0 B', '64 MiB', '1.5 GiB'],
  );
});
