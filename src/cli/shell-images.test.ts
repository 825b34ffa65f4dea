import assert from 'node:assert/strict';
import { test } from 'node:test';
import { byPromise } from './shell-images.ts';

test('images that are known for their shell come first, the others by size; those without a name are left out', () => {
  const image = (Size: number, ...RepoTags: string[]) => ({ Id: '', RepoTags, Size });
  assert.deepEqual(
    byPromise([
      image(9, 'app:1'),
      image(5, 'registry.example/debian:12'),
      image(3, 'mybusybox:1'),
      image(1),
      image(7, 'busybox:latest', 'b:1'),
      image(8, 'nicolaka/netshoot:latest'),
    ]),
    ['nicolaka/netshoot:latest', 'busybox:latest', 'registry.example/debian:12', 'mybusybox:1', 'app:1'],
  );
});
