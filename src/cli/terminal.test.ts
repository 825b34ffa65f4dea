import assert from 'node:assert/strict';
import { test } from 'node:test';
import { humanBytes, humanMemory, jsonText, PlainOutput, plain, plainLine, table } from './terminal.ts';

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

test('JSON is the same when it is read, and safe when it is looked at', () => {
  const value = { a: '\x1b[31m\u009b\u202e\x7f 大\n' };
  assert.deepEqual(JSON.parse(jsonText(value)), value);
  assert.doesNotMatch(jsonText(value), /[\x1b\u009b\u202e\x7f]/);
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

test('output that comes in pieces is plain whole: an escape that is cut is waited for, colours stay where they may', () => {
  const text = 'a\x1b[31mred\x1b[0m\x1b]0;title\x07b\x1b[2Jc 大\n';
  const bytes = Buffer.from(text);
  for (const [colours, wanted] of [
    [false, 'aredbc 大\n'],
    [true, 'a\x1b[31mred\x1b[0mbc 大\n'],
  ] as const)
    for (let cut = 0; cut <= bytes.length; cut++) {
      const output = new PlainOutput({ colours });
      const said = output.push(bytes.subarray(0, cut)) + output.push(bytes.subarray(cut)) + output.end();
      assert.equal(said, wanted, `cut at ${cut}`);
    }
  const endless = new PlainOutput({ colours: false });
  assert.equal(endless.push(Buffer.from(`\x1b]${'x'.repeat(5000)}`)), '');
  assert.equal(endless.push(Buffer.from('after\n')), 'after\n', 'it is given up in the end');
});
