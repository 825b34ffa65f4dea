import assert from 'node:assert/strict';
import {
  closeSync,
  constants,
  fstatSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { Walk } from '../../src/archive/walk.ts';
import { codeOf } from '../../src/base/errors.ts';
import { openat2, resolve } from '../../src/sys/openat2.ts';

const O_PATH = 0o10000000;
const O_NOFOLLOW = 0o400000;
const rounds = 40;
const pathsEach = 250;

/** Small numbers that are the same for the same seed. */
function numbers(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

const names = ['a', 'b', 'c', 'd', '.', '..', ''];

function randomPath(next: (below: number) => number): string {
  const parts = Array.from({ length: 1 + next(6) }, () => names[next(names.length)]!);
  return (next(3) === 0 ? '/' : '') + parts.join('/');
}

/** Three levels of directories, files and links to anywhere, by the same few names. */
function plant(directory: string, next: (below: number) => number, depth: number): void {
  for (const name of ['a', 'b', 'c', 'd']) {
    const path = join(directory, name);
    const kind = next(4);
    if (kind === 0) writeFileSync(path, 'x');
    else if (kind === 1) symlinkSync(randomPath(next) || '.', path);
    else if (kind === 2 && depth > 0) {
      mkdirSync(path);
      plant(path, next, depth - 1);
    }
  }
}

test('S01 in random trees every path leads where the kernel would lead in a root, or fails for the same reason', (t) => {
  const seed = Number(process.env.BERTH_FUZZ_SEED ?? 1 + Math.floor(Math.random() * 1e9));
  t.diagnostic(`seed ${seed}`);
  const next = numbers(seed);
  let found = 0;
  for (let round = 0; round < rounds; round++) {
    const root = mkdtempSync(join(tmpdir(), 'berth-walk-'));
    plant(root, next, 3);
    const fd = openSync(root, constants.O_RDONLY | constants.O_DIRECTORY);
    try {
      using walk = new Walk({ root: fd, readOnly: false, mounts: [] });
      for (let i = 0; i < pathsEach; i++) {
        const path = randomPath(next);
        const follow = next(2) === 0;
        const expected = byKernel(walk, fd, path, follow);
        const actual = byWalk(walk, path, follow);
        assert.equal(
          actual,
          expected,
          `seed ${seed}, ${JSON.stringify(path)}, ${follow ? 'followed' : 'not followed'}`,
        );
        if (actual.startsWith('inode')) found++;
      }
    } finally {
      closeSync(fd);
      rmSync(root, { recursive: true });
    }
  }
  assert.ok(found > rounds, `${found} paths led somewhere`);
});

function byWalk(walk: Walk, path: string, follow: boolean): string {
  try {
    const { place } = walk.resolve(path, { follow });
    place.close();
    return `inode ${place.stat.ino}`;
  } catch (error) {
    return codeOf(error) ?? String(error);
  }
}

/** Asked again while something else on the machine was renamed or mounted: the kernel does not tell which. */
function byKernel(walk: Walk, root: number, path: string, follow: boolean): string {
  try {
    // For the kernel an empty path is none; here it is the root.
    const flags = O_PATH | (follow ? 0 : O_NOFOLLOW);
    const fd = openat2(root, path || '.', { flags, resolve: resolve.inRoot | resolve.noMagicLinks });
    const { ino } = fstatSync(fd, { bigint: true });
    walk.calls.close(fd);
    return `inode ${ino}`;
  } catch (error) {
    if (codeOf(error) === 'EAGAIN') return byKernel(walk, root, path, follow);
    return codeOf(error) ?? String(error);
  }
}
