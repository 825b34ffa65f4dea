import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readSize } from './size.ts';

test('sizes are read as Docker reads them', () => {
  const sizes: readonly (readonly [string, number])[] = [
    ['0', 0],
    ['32', 32],
    ['32b', 32],
    ['1k', 1024],
    ['1Kb', 1024],
    ['1KiB', 1024],
    ['100m', 100 * 1024 ** 2],
    ['1.5 g', 1.5 * 1024 ** 3],
    ['2T', 2 * 1024 ** 4],
    ['.5k', 512],
  ];
  for (const [text, bytes] of sizes) assert.equal(readSize(text), bytes, text);
});

test('what is no size is refused in Docker’s words', () => {
  const refused: readonly (readonly [string, string | RegExp])[] = [
    ['', "invalid size: ''"],
    ['x', "invalid size: 'x'"],
    ['-1', "invalid size: '-1'"],
    ['1x', "invalid suffix: 'x'"],
    ['1bb', "invalid suffix: 'bb'"],
    ['1mbi', "invalid suffix: 'mbi'"],
    ['1.2.3', 'strconv.ParseFloat: parsing "1.2.3": invalid syntax'],
    ['m1', 'strconv.ParseFloat: parsing "m1": invalid syntax'],
    ['1  k', /invalid syntax/],
    ['99999999p', /more than any disk has/],
  ];
  for (const [text, message] of refused) assert.throws(() => readSize(text), { kind: 'invalid', message }, text);
});
