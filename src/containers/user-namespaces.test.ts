import assert from 'node:assert/strict';
import { test } from 'node:test';
import { freeRange } from './user-namespaces.ts';

const used = (...firsts: number[]) => firsts.map((outside) => ({ inside: 0, outside, count: 65_536 }));

test('ranges of the user berth are taken in order, the gaps before the end, until none is left', () => {
  const entries = [
    { user: 'web', first: 100_000, count: 65_536 },
    { user: 'berth', first: 200_000, count: 65_536 * 3 },
  ];
  assert.equal(freeRange(entries, []), 200_000);
  assert.equal(freeRange(entries, used(200_000)), 265_536);
  assert.equal(freeRange(entries, used(331_072, 200_000)), 265_536);
  assert.equal(freeRange(entries, used(200_000, 265_536, 331_072)), undefined);
  // What overlaps only in part is passed too.
  assert.equal(freeRange(entries, used(190_000)), 255_536);
});

test('without any, IDs that systemd leaves to nobody, and none that somebody else was given', () => {
  assert.equal(freeRange([], []), 0x70000000);
  assert.equal(freeRange([], used(0x70000000, 0x70010000)), 0x70020000);
  assert.equal(freeRange([{ user: 'web', first: 0x70000000 - 10, count: 11 }], []), 0x70000001);
  assert.equal(freeRange([{ user: 'web', first: 0x70000000, count: 0x10000000 }], []), undefined);
});
