import assert from 'node:assert/strict';
import {
  closeSync,
  constants,
  linkSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, beforeEach, test } from 'node:test';
import { packTar } from '../layers/tar-writer.ts';
import { packPath, packRoot, statPath } from './pack.ts';
import { type UnpackOptions, unpackInto } from './unpack.ts';
import type { PathStat, RootView } from './view.ts';

const root = mkdtempSync(join(tmpdir(), 'berth-unpack-'));
const fd = openSync(root, constants.O_RDONLY | constants.O_DIRECTORY);
after(() => {
  closeSync(fd);
  rmSync(root, { recursive: true, force: true });
});
beforeEach(() => {
  for (const name of readdirSync(root)) rmSync(join(root, name), { recursive: true });
});

const owner = { uid: process.getuid!(), gid: process.getgid!() };
const view: RootView = { root: fd, readOnly: false, mounts: [] };

function unpack(archive: Buffer, path = '/', options: Partial<UnpackOptions> = {}, of = view): void {
  const unpacking = unpackInto(of, path, { keepTypes: false, owner, ...options });
  try {
    unpacking.next();
    // In pieces that end anywhere.
    for (let at = 0; at < archive.length; at += 777) unpacking.next(archive.subarray(at, at + 777));
    unpacking.next(undefined);
  } finally {
    unpacking.return();
  }
}

function pack(path: string, options: Parameters<typeof packPath>[2] = {}): { stat: PathStat; tar: Buffer } {
  const [stat, ...pieces] = [...packPath(view, path, options)];
  return { stat: stat as PathStat, tar: Buffer.concat(pieces as Buffer[]) };
}

test('a tree comes back as it was', () => {
  mkdirSync(join(root, 'from/deep/er'), { recursive: true });
  writeFileSync(join(root, 'from/one'), 'one', { mode: 0o640 });
  writeFileSync(join(root, 'from/deep/er/ü'), 'x'.repeat(600_000));
  linkSync(join(root, 'from/one'), join(root, 'from/two'));
  symlinkSync('../one', join(root, 'from/deep/link'));
  const { stat, tar } = pack('/from');
  assert.equal(stat.name, 'from');
  mkdirSync(join(root, 'to'));
  unpack(tar, '/to');
  const again = pack('/to/from').tar;
  assert.deepEqual(again, tar);
  assert.equal(statSync(join(root, 'to/from/two')).nlink, 2);
  assert.deepEqual(pack('/to', { as: 'from' }).tar.length > tar.length, true);
});

test('the root of an archive is called as the path ends', () => {
  mkdirSync(join(root, 'd/sub'), { recursive: true });
  const names = (tar: Buffer) => [...tar.toString('latin1').matchAll(/([\w./]+)\0+0000755/g)].map(([, name]) => name);
  assert.deepEqual(names(pack('/d').tar), ['d/', 'd/sub/']);
  assert.deepEqual(names(pack('/d/').tar), ['d/', 'd/sub/']);
  assert.deepEqual(names(pack('/d/.').tar), ['./', './sub/']);
  assert.deepEqual(names(pack('/d/sub/..').tar), ['d/', 'd/sub/']);
  assert.deepEqual(names(pack('/d', { as: 'other' }).tar), ['other/', 'other/sub/']);
  assert.deepEqual(names(Buffer.concat([...packRoot(view)])), ['d/', 'd/sub/']);
  assert.throws(() => statPath(view, '/nosuch'), { kind: 'not-found', code: 'ENOENT' });
});

test('what is there gives way, but for a type that is to be kept', () => {
  mkdirSync(join(root, 'dir'));
  writeFileSync(join(root, 'dir/in'), 'stays');
  writeFileSync(join(root, 'file'), 'old');
  const directory = packTar([
    { name: 'dir/', type: 'directory' },
    { name: 'file', content: 'new' },
  ]);
  unpack(directory, '/', { keepTypes: true });
  assert.equal(readFileSync(join(root, 'dir/in'), 'utf8'), 'stays');
  assert.equal(readFileSync(join(root, 'file'), 'utf8'), 'new');
  const swapped = packTar([
    { name: 'dir', content: 'a file' },
    { name: 'file/', type: 'directory' },
  ]);
  assert.throws(() => unpack(swapped, '/', { keepTypes: true }), /cannot overwrite directory "dir" with non-directory/);
  assert.ok(statSync(join(root, 'dir')).isDirectory());
  unpack(swapped);
  assert.equal(readFileSync(join(root, 'dir'), 'utf8'), 'a file');
  assert.ok(statSync(join(root, 'file')).isDirectory());
});

test('a link that is replaced is not written through', () => {
  writeFileSync(join(root, 'kept'), 'kept');
  symlinkSync('kept', join(root, 'link'));
  unpack(packTar([{ name: 'link', content: 'new' }]));
  assert.equal(readFileSync(join(root, 'kept'), 'utf8'), 'kept');
  assert.equal(readFileSync(join(root, 'link'), 'utf8'), 'new');
});

test('only a directory that can be written is a place to unpack to', () => {
  writeFileSync(join(root, 'file'), 'x');
  const empty = packTar([]);
  assert.throws(() => unpack(empty, '/nosuch'), { code: 'ENOENT' });
  assert.throws(() => unpack(empty, '/file'), /extraction point is not a directory/);
  assert.throws(() => unpack(empty, '/', {}, { ...view, readOnly: true }), /container rootfs is marked read-only/);
  const mounts = [{ target: '/m', source: { at: root, below: '' }, readOnly: true, alone: false }];
  assert.throws(() => unpack(empty, '/m', {}, { ...view, mounts }), /mounted volume is marked read-only/);
  unpack(packTar([{ name: 'x' }]), '/m', {}, { ...view, readOnly: true, mounts: [{ ...mounts[0]!, readOnly: false }] });
  assert.deepEqual(readdirSync(root).sort(), ['file', 'x']);
});

test('S04 of an archive that is to bring one thing nothing else comes, under the name that it is to have', () => {
  const archive = packTar([
    { name: 'd/', type: 'directory' },
    { name: 'd/f', content: 'x' },
    { name: 'd/h', type: 'hardlink', linkName: 'd/f' },
  ]);
  unpack(archive, '/', { only: { from: 'd', to: 'other' } });
  unpack(archive, '/other', { only: { from: 'd', to: '' } });
  assert.deepEqual(readdirSync(root), ['other']);
  assert.deepEqual(readdirSync(join(root, 'other')).sort(), ['f', 'h']);
  for (const name of ['f', 'd2/f', '/etc/f', '../d/f', 'd/../f', './f'])
    assert.throws(() => unpack(packTar([{ name }]), '/', { only: { from: 'd', to: 'd' } }), /invalid entry name/, name);
  const link = { name: 'd', type: 'symlink', linkName: '.' } as const;
  assert.throws(() => unpack(packTar([link, { name: 'd/f' }]), '/', { only: { from: 'd', to: 'd' } }), {
    code: 'ELOOP',
  });
  assert.deepEqual(readdirSync(root).sort(), ['d', 'other']);
});

test('directories have the times of the archive, though something came into them later', () => {
  unpack(
    packTar([
      { name: 'd/', type: 'directory', mtime: 1000 },
      { name: 'd/sub/', type: 'directory', mtime: 2000 },
      { name: 'd/sub/f', content: 'x', mtime: 3000 },
    ]),
  );
  const times = ['d', 'd/sub', 'd/sub/f'].map((name) => statSync(join(root, name)).mtimeMs);
  assert.deepEqual(times, [1_000_000, 2_000_000, 3_000_000]);
});
