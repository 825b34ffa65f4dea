import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ownerInside, ownerOutside } from './view.ts';

test('owners are those of the container on the way out, and of the host on the way in', () => {
  const ranges = [{ inside: 0, outside: 100_000, count: 65_536 }];
  const owners = { uids: ranges, gids: ranges };
  assert.deepEqual(ownerInside(owners, { uid: 101_000, gid: 100_000 }), { uid: 1000, gid: 0 });
  // Who is nobody there is shown as the kernel shows it.
  assert.deepEqual(ownerInside(owners, { uid: 0, gid: 5 }), { uid: 65_534, gid: 65_534 });
  assert.deepEqual(ownerOutside(owners, { uid: 1000, gid: 0 }), { uid: 101_000, gid: 100_000 });
  assert.throws(() => ownerOutside(owners, { uid: 70_000, gid: 0 }), {
    kind: 'invalid',
    message: 'Container ID 70000 cannot be mapped to a host ID',
  });
  for (const owner of [ownerInside, ownerOutside])
    assert.deepEqual(owner(undefined, { uid: 70_000, gid: 1 }), { uid: 70_000, gid: 1 });
});
