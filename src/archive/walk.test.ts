import assert from 'node:assert/strict';
import {
  closeSync,
  constants,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, beforeEach, test } from 'node:test';
import type { MountView } from './view.ts';
import { Walk } from './walk.ts';

const base = mkdtempSync(join(tmpdir(), 'berth-walk-'));
const root = join(base, 'root');
after(() => rmSync(base, { recursive: true, force: true }));

beforeEach(() => {
  rmSync(root, { recursive: true, force: true });
  mkdirSync(join(root, 'a/b'), { recursive: true });
  writeFileSync(join(root, 'a/b/file'), 'x');
});

function walking<T>(mounts: readonly MountView[], use: (walk: Walk) => T): T {
  const fd = openSync(root, constants.O_RDONLY | constants.O_DIRECTORY);
  const before = readdirSync('/proc/self/fd').length;
  try {
    using walk = new Walk({ root: fd, readOnly: false, mounts });
    return use(walk);
  } finally {
    assert.equal(readdirSync('/proc/self/fd').length, before, 'every descriptor was closed');
    closeSync(fd);
  }
}

/** Where a path leads; the code of why it leads nowhere. */
function pathOf(path: string, options: Parameters<Walk['resolve']>[1] = {}, mounts: readonly MountView[] = []): string {
  return walking(mounts, (walk) => {
    try {
      const resolved = walk.resolve(path, options);
      resolved.place.close();
      return resolved.path;
    } catch (error) {
      return (error as { code: string }).code;
    }
  });
}

test('paths are taken from the root, whatever is before, doubled or superfluous in them', () => {
  for (const path of ['/a/b/file', 'a/b/file', '//a/./b//file', '/../../a/b/file', '/a/b/../b/file'])
    assert.equal(pathOf(path), '/a/b/file', path);
  assert.equal(pathOf('/'), '/');
  assert.equal(pathOf(''), '/');
  assert.equal(pathOf('/a/b/'), '/a/b');
});

test('what is not there, no directory, or a loop is told as the kernel would', () => {
  symlinkSync('loop', join(root, 'loop'));
  symlinkSync('two/x', join(root, 'one'));
  symlinkSync('one/x', join(root, 'two'));
  assert.equal(pathOf('/nosuch'), 'ENOENT');
  assert.equal(pathOf('/a/b/file/x'), 'ENOTDIR');
  assert.equal(pathOf('/a/b/file/'), 'ENOTDIR');
  assert.equal(pathOf('/a/b/file/.'), 'ENOTDIR');
  assert.equal(pathOf('/loop/'), 'ELOOP');
  assert.equal(pathOf('/one', { follow: true }), 'ELOOP');
  assert.equal(pathOf('/loop'), '/loop');
});

test('S01 links are followed from the root and never out of it', () => {
  symlinkSync('/a', join(root, 'abs'));
  symlinkSync('../../../../a/b', join(root, 'a/up'));
  symlinkSync(base, join(root, 'out'));
  assert.equal(pathOf('/abs/b/file'), '/a/b/file');
  assert.equal(pathOf('/a/up/file'), '/a/b/file');
  assert.equal(pathOf('/abs'), '/abs');
  assert.equal(pathOf('/abs/'), '/a');
  assert.equal(pathOf('/abs', { follow: true }), '/a');
  // `..` of where a link leads, and not of the link.
  assert.equal(pathOf('/a/up/..'), '/a');
  assert.equal(pathOf('/out/root'), 'ENOENT');
});

test('links can be refused, and a path can have a root of its own', () => {
  symlinkSync('/a', join(root, 'a/link'));
  assert.equal(pathOf('/a/link/b', { links: 'refused' }), 'ELOOP');
  assert.equal(pathOf('/a/b/file', { links: 'refused' }), '/a/b/file');
  walking([], (walk) => {
    const { place: from } = walk.resolve('/a');
    const inner = walk.resolve('../../b/file', { from });
    assert.equal(inner.path, '/b/file');
    inner.place.close();
    assert.throws(() => walk.resolve('link/b', { from, follow: true }), { code: 'ENOENT' });
    from.close();
  });
});

test('where a link leads is told as far as there is something', () => {
  symlinkSync('/nowhere/../x/y', join(root, 'broken'));
  symlinkSync('a/b', join(root, 'good'));
  walking([], (walk) => {
    assert.equal(walk.targetOf('/broken'), '/x/y');
    assert.equal(walk.targetOf('/good'), '/a/b');
    assert.equal(walk.targetOf('/good/new/../newer'), '/a/b/newer');
  });
});

test('S03 what is mounted is seen in its place, also where nothing is below it yet', () => {
  const volume = join(base, 'volume');
  mkdirSync(join(volume, 'sub/deep'), { recursive: true });
  symlinkSync('/a', join(root, 'link'));
  const mount = (target: string, below = ''): MountView => ({
    ...{ target, readOnly: true, alone: false },
    source: { at: volume, below },
  });
  const mounts = [mount('/link/data'), mount('/new/place', 'sub')];
  assert.equal(pathOf('/a/data/sub/deep', {}, mounts), '/a/data/sub/deep');
  assert.equal(pathOf('/new/place/deep', {}, mounts), '/new/place/deep');
  assert.equal(pathOf('/new/place/../../a', {}, mounts), '/a');
  assert.equal(pathOf('/a/data/../../volume', {}, mounts), 'ENOENT');
  walking(mounts, (walk) => {
    const { place } = walk.resolve('/a');
    assert.deepEqual(walk.names(place), ['b', 'data']);
    const inside = walk.resolve('/a/data/sub').place;
    assert.deepEqual([inside.mount, inside.isMountPoint], [mounts[0], false]);
    inside.close();
    place.close();
  });
  assert.equal(pathOf('/gone', {}, [{ ...mount('/gone'), source: { at: join(base, 'nosuch'), below: '' } }]), 'ENOENT');
});
