import assert from 'node:assert/strict';
import { test } from 'node:test';
import { exchange, exchangeWithin, insideOf, outsideOf } from './user-namespace.ts';

const at = (ranges: ReturnType<typeof exchange>, id: number) => {
  const found = ranges.filter(({ inside, count }) => id >= inside && id < inside + count);
  assert.equal(found.length, 1, `${id} is in one range`);
  return found[0]!.outside + id - found[0]!.inside;
};

test('two IDs change places, and every other stays what it is', () => {
  for (const [stored, seen] of [
    [1000, 0],
    [0, 1000],
    [5, 6],
    [0xfffffffe, 0],
    [7, 7],
  ] as const) {
    const ranges = exchange(stored, seen);
    assert.equal(at(ranges, stored), seen);
    assert.equal(at(ranges, seen), stored);
    for (const id of [0, 1, 4, 999, 1001, 65534, 0xfffffffd, 0xfffffffe])
      if (id !== stored && id !== seen) assert.equal(at(ranges, id), id);
    assert.equal(
      ranges.reduce((sum, { count }) => sum + count, 0),
      0xffffffff,
    );
  }
});

test('an ID is looked up in both directions, and what is in no range is nobody', () => {
  const ranges = [
    { inside: 0, outside: 100_000, count: 10 },
    { inside: 10, outside: 300_000, count: 5 },
  ];
  assert.deepEqual(
    [0, 9, 10, 14, 15].map((id) => outsideOf(ranges, id)),
    [100_000, 100_009, 300_000, 300_004, undefined],
  );
  assert.deepEqual(
    [100_000, 300_004, 99_999, 0].map((id) => insideOf(ranges, id)),
    [0, 14, undefined, undefined],
  );
});

test('two IDs change places for who looks from a user namespace, and no other of the host is seen', () => {
  const own = [{ inside: 0, outside: 200_000, count: 65_536 }];
  const ranges = exchangeWithin(own, 70_000, 0);
  // The owner on the host, far outside of the range, is root in there.
  assert.equal(outsideOf(ranges, 70_000), 200_000);
  assert.equal(outsideOf(ranges, 1000), 201_000);
  assert.equal(outsideOf(ranges, 0), undefined);
  assert.equal(outsideOf(ranges, 65_536), undefined);
  const near = exchangeWithin(own, 1000, 0);
  assert.deepEqual(
    [0, 1, 1000, 65_535].map((id) => outsideOf(near, id)),
    [201_000, 200_001, 200_000, 265_535],
  );
});
