import assert from 'node:assert/strict';
import { test } from 'node:test';
import { exchange } from './user-namespace.ts';

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
