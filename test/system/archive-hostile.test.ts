import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import {
  closeSync,
  constants,
  existsSync,
  ftruncateSync,
  lstatSync,
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
import { after, before, suite, test } from 'node:test';
import { FileJobs } from '../../src/archive/file-jobs.ts';
import type { UnpackOptions } from '../../src/archive/unpack.ts';
import type { MountView, RootView } from '../../src/archive/view.ts';
import { packTar, type TarMember } from '../../src/layers/tar-writer.ts';
import { InodeCalls } from '../../src/sys/inode.ts';

const O_PATH = 0o10000000;

type Member = TarMember & { readonly content?: string };

/** A root that a stranger fills, beside files that nobody may reach through it. */
class Lab implements Disposable {
  readonly base = mkdtempSync(join(tmpdir(), 'berth-archive-'));
  readonly root = join(this.base, 'root');
  readonly outside = join(this.base, 'outside');
  readonly #fd: number;

  constructor() {
    mkdirSync(this.root);
    mkdirSync(this.outside);
    writeFileSync(join(this.outside, 'secret'), 'canary');
    this.#fd = openSync(this.root, O_PATH | constants.O_DIRECTORY);
  }

  view(mounts: readonly MountView[] = []): RootView {
    return { root: this.#fd, readOnly: false, mounts };
  }

  /** What is outside is as it was. */
  assertUntouched(): void {
    assert.deepEqual(readdirSync(this.outside), ['secret']);
    assert.equal(readFileSync(join(this.outside, 'secret'), 'utf8'), 'canary');
    assert.deepEqual(readdirSync(this.base).sort(), ['outside', 'root']);
  }

  [Symbol.dispose](): void {
    closeSync(this.#fd);
    rmSync(this.base, { recursive: true, force: true });
  }
}

const plain: UnpackOptions = { keepTypes: false, owner: undefined };
const once = async function* (bytes: Buffer) {
  yield bytes;
};
const own = { uid: 0, gid: 0 };

suite('the files of containers against hostile content', () => {
  const jobs = new FileJobs();
  let started = 0;
  before(async () => {
    // The threads have descriptors of their own.
    using lab = new Lab();
    await Promise.all([1, 2, 3, 4].map(() => jobs.stat(lab.view(), '/')));
    started = readdirSync('/proc/self/fd').length;
  });
  after(async () => {
    const now = readdirSync('/proc/self/fd').length;
    await jobs[Symbol.asyncDispose]();
    assert.ok(now <= started + 2, `${now} descriptors are open, ${started} were at the start`);
  });

  const read = async (view: RootView, path: string): Promise<Buffer> => {
    await using packed = await jobs.pack(view, path);
    const pieces: Buffer[] = [];
    for await (const piece of packed.pieces) pieces.push(piece);
    return Buffer.concat(pieces);
  };
  const write = (view: RootView, path: string, members: readonly Member[], options = plain) =>
    jobs.unpack(view, path, once(packTar(members)), options);

  test('S01: links lead nowhere out of the root, however they are written', async () => {
    using lab = new Lab();
    const links = {
      abs: lab.outside,
      up: `../${'../'.repeat(40)}${lab.outside.slice(1)}`,
      proc: '/proc/self/root/etc',
      cwd: '/proc/self/cwd',
      chain: 'abs/../up',
      loop: 'loop',
    };
    for (const [name, target] of Object.entries(links)) symlinkSync(target, join(lab.root, name));
    for (const name of Object.keys(links)) {
      for (const path of [`/${name}/secret`, `/${name}/`, `/${name}/../outside/secret`, `${name}/..//secret`])
        await assert.rejects(jobs.stat(lab.view(), path), name);
      await assert.rejects(write(lab.view(), `/${name}`, [{ name: 'evil' }]), name);
    }
    lab.assertUntouched();
  });

  test('S01, S05: archives make nothing outside of the directory that they are unpacked into', async () => {
    using lab = new Lab();
    mkdirSync(join(lab.root, 'into'));
    writeFileSync(join(lab.root, 'beside'), 'canary');
    const up = '../'.repeat(20);
    const hostile: readonly (readonly Member[])[] = [
      [{ name: '../evil' }],
      [{ name: `${up}${lab.outside}/evil` }],
      [{ name: `a/../../evil` }],
      [{ name: 's', type: 'symlink', linkName: lab.outside }, { name: 's/evil' }],
      [{ name: 's', type: 'symlink', linkName: `${up}${lab.outside}` }, { name: 's/evil' }],
      [
        { name: 's', type: 'symlink', linkName: '..' },
        { name: 's/beside', content: 'x' },
      ],
      [
        { name: 's', type: 'symlink', linkName: `${lab.outside}/secret` },
        { name: 's', content: 'x' },
      ],
      [
        { name: 's', type: 'symlink', linkName: `${lab.outside}/secret`, mode: 0o777 },
        { name: 's', type: 'directory', mode: 0 },
      ],
      [{ name: 'h', type: 'hardlink', linkName: `${lab.outside}/secret` }],
      [{ name: 'h', type: 'hardlink', linkName: '../beside' }, { name: 'h' }],
      [
        { name: 's', type: 'symlink', linkName: lab.outside },
        { name: 'h', type: 'hardlink', linkName: 's/secret' },
      ],
      [
        { name: 's', type: 'symlink', linkName: `${lab.outside}/secret` },
        { name: 'h', type: 'hardlink', linkName: 's' },
        { name: 'h', mode: 0o777 },
      ],
      [{ name: 'x'.repeat(300) }],
      [{ name: `${'d/'.repeat(3000)}x` }],
    ];
    for (const members of hostile) {
      await write(lab.view(), '/into', members).catch(() => {});
      lab.assertUntouched();
      assert.equal(readFileSync(join(lab.root, 'beside'), 'utf8'), 'canary');
      assert.deepEqual(readdirSync(lab.root).sort(), ['beside', 'into']);
      rmSync(join(lab.root, 'into'), { recursive: true, force: true });
      mkdirSync(join(lab.root, 'into'));
    }
    assert.equal(lstatSync(join(lab.outside, 'secret')).mode & 0o777, 0o644 & ~process.umask());
  });

  test('S01: attributes of a link are its own, and not of what it leads to', async () => {
    using lab = new Lab();
    const secret = join(lab.outside, 'secret');
    const before = statSync(secret);
    const xattrs = new Map([['trusted.test', Buffer.from('x')]]);
    const link = {
      name: 'l',
      type: 'symlink',
      linkName: secret,
      mode: 0o777,
      uid: 99,
      gid: 99,
      mtime: 5,
      xattrs,
    } as const;
    await write(lab.view(), '/', [link]);
    await write(lab.view(), '/', [
      link,
      { name: 'h', type: 'hardlink', linkName: 'l', mode: 0o777, uid: 99, mtime: 5 },
    ]);
    const { mode, uid, gid, mtimeMs } = statSync(secret);
    assert.deepEqual([mode, uid, gid, mtimeMs], [before.mode, before.uid, before.gid, before.mtimeMs]);
    const calls = new InodeCalls();
    const fd = openSync(secret, 'r');
    assert.deepEqual(calls.xattrNames(fd), []);
    closeSync(fd);
    assert.ok((await read(lab.view(), '/l')).includes('SCHILY.xattr.trusted.test='));
    lab.assertUntouched();
  });

  test('S01: a container that swaps a directory for a link all the time', { timeout: 120_000 }, async () => {
    using lab = new Lab();
    for (const name of ['a/b', 'spare/b']) {
      mkdirSync(join(lab.root, name), { recursive: true });
      writeFileSync(join(lab.root, name, 'secret'), 'inside');
    }
    // Renames as the kernel does them at its fastest, from another process: a/b is a directory, then a link out, and so on.
    const script = `
      const { renameSync, symlinkSync, mkdirSync, writeFileSync, rmSync } = require('node:fs');
      process.chdir(${JSON.stringify(lab.root)});
      symlinkSync(${JSON.stringify(lab.outside)}, 'link');
      process.stdout.write('go');
      for (;;) {
        try {
          renameSync('a/b', 'spare/x'); renameSync('link', 'a/b');
          renameSync('a/b', 'link'); renameSync('spare/x', 'a/b');
          renameSync('a', 'c'); symlinkSync('..', 'a'); rmSync('a'); renameSync('c', 'a');
        } catch (error) { if (error.code !== 'ENOTEMPTY' && error.code !== 'EEXIST' && error.code !== 'ENOENT') throw error; }
      }`;
    const racer = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'pipe', 'inherit'] });
    try {
      await new Promise((resolve) => racer.stdout.once('data', resolve));
      const outcomes = { read: 0, wrote: 0, failed: 0 };
      for (let round = 0; round < 2000; round++) {
        const path = round % 2 === 0 ? '/a/b' : '/a/b/';
        try {
          if (round % 4 < 2) {
            const archive = await read(lab.view(), round % 8 < 4 ? path : '/a/b/secret');
            assert.ok(!archive.includes('canary'), 'a file outside was read');
            outcomes.read++;
          } else {
            await write(lab.view(), path, [{ name: 'new' }, { name: 'deep/new', mode: 0o4755 }]);
            outcomes.wrote++;
          }
        } catch (error) {
          if (error instanceof assert.AssertionError) throw error;
          outcomes.failed++;
        }
      }
      lab.assertUntouched();
      assert.ok(outcomes.read > 0 && outcomes.wrote > 0, JSON.stringify(outcomes));
    } finally {
      racer.kill('SIGKILL');
      await new Promise((resolve) => racer.once('close', resolve));
    }
  });

  test('S01: names that change under an archive that is being unpacked', { timeout: 60_000 }, async () => {
    using lab = new Lab();
    mkdirSync(join(lab.root, 'into'));
    const script = `
      const { renameSync, symlinkSync, rmSync } = require('node:fs');
      process.chdir(${JSON.stringify(join(lab.root, 'into'))});
      process.stdout.write('go');
      for (let i = 0; ; i++) {
        for (const name of ['f', 'd', 'n']) {
          try { rmSync(name, { recursive: true, force: true }); symlinkSync(${JSON.stringify(join(lab.outside, 'secret'))}, name); } catch {}
        }
      }`;
    const racer = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'pipe', 'inherit'] });
    try {
      await new Promise((resolve) => racer.stdout.once('data', resolve));
      for (let round = 0; round < 500; round++) {
        await write(lab.view(), '/into', [
          { name: 'f', content: 'x', mode: 0o4777, uid: 1234, gid: 1234 },
          { name: 'd/', type: 'directory', mode: 0o777, uid: 1234 },
          { name: 'd/in', mode: 0o777 },
          { name: 'n', type: 'fifo', mode: 0o777, uid: 1234 },
        ]).catch(() => {});
      }
      const { mode, uid, size } = statSync(join(lab.outside, 'secret'));
      assert.deepEqual([mode & 0o7777, uid, size], [0o644 & ~process.umask(), 0, 6]);
      lab.assertUntouched();
    } finally {
      racer.kill('SIGKILL');
      await new Promise((resolve) => racer.once('close', resolve));
    }
  });

  test('S03: what is mounted is found where its place was moved to, and its place is not taken away', async () => {
    using lab = new Lab();
    const volume = join(lab.base, 'outside');
    mkdirSync(join(lab.root, 'srv'));
    mkdirSync(join(lab.root, 'srv/data'));
    writeFileSync(join(lab.root, 'srv/data/below'), 'hidden');
    symlinkSync('/srv', join(lab.root, 'link'));
    const mounts = [{ target: '/link/data', source: { at: volume, below: '' }, readOnly: false, alone: false }];
    for (const path of ['/srv/data/secret', '/link/data/secret', 'srv/../link/data/../data/secret'])
      assert.equal((await jobs.stat(lab.view(mounts), path)).size, 6, path);
    await assert.rejects(jobs.stat(lab.view(mounts), '/srv/data/below'));
    // `..` of a mount is the directory that it is in, and not what is above it on the host.
    assert.equal((await jobs.stat(lab.view(mounts), '/srv/data/../data')).name, 'data');
    await assert.rejects(jobs.stat(lab.view(mounts), '/srv/data/../root'));
    await assert.rejects(write(lab.view(mounts), '/srv', [{ name: 'data' }]), { code: 'EBUSY' });
    await assert.rejects(write(lab.view(mounts), '/', [{ name: 'srv' }]), { code: 'EBUSY' });
    await assert.rejects(
      write(lab.view(mounts.map((mount) => ({ ...mount, readOnly: true }))), '/srv', [{ name: 'data/x' }]),
      {
        code: 'EROFS',
      },
    );
    assert.ok((await read(lab.view(mounts), '/srv')).includes('canary'));
    lab.assertUntouched();
  });

  test('a mount whose path in a volume was made a link by somebody stays in the volume', async () => {
    using lab = new Lab();
    const volume = join(lab.root, 'volume');
    mkdirSync(volume);
    symlinkSync(lab.outside, join(volume, 'sub'));
    const mounts = [{ target: '/m', source: { at: volume, below: 'sub' }, readOnly: false, alone: false }];
    await assert.rejects(jobs.stat(lab.view(mounts), '/m/secret'));
  });

  test('devices, pipes and sockets are described and never opened', { timeout: 30_000 }, async () => {
    using lab = new Lab();
    await write(lab.view(), '/', [
      { name: 'pipe', type: 'fifo' },
      { name: 'tape', type: 'char', major: 9, minor: 0 },
      { name: 'disk', type: 'block', major: 7, minor: 99 },
    ]);
    const archive = await read(lab.view(), '/.');
    assert.ok(archive.includes('pipe') && archive.includes('tape') && archive.includes('disk'));
    await assert.rejects(
      write(lab.view(), '/', [{ name: 'bad', type: 'char', major: 5000, minor: 0 }]),
      /device number/,
    );
  });

  test('a large sparse file goes through in pieces, and what it grows or shrinks by meanwhile breaks nothing', async () => {
    using lab = new Lab();
    const big = openSync(join(lab.root, 'big'), 'w');
    ftruncateSync(big, 3 * 1024 ** 3);
    const before = process.memoryUsage.rss();
    await using packed = await jobs.pack(lab.view(), '/big');
    let size = 0;
    for await (const piece of packed.pieces) {
      if (size === 0) ftruncateSync(big, 1024);
      size += piece.length;
    }
    closeSync(big);
    assert.equal(packed.stat.size, 3 * 1024 ** 3);
    // A header, the extended one before it or not, the data, the end.
    assert.ok(size >= 3 * 1024 ** 3 + 1536 && size <= 3 * 1024 ** 3 + 4096, String(size));
    assert.ok(process.memoryUsage.rss() - before < 200 * 1024 ** 2);
  });

  test('half of a file that did not come whole does not stay', async () => {
    using lab = new Lab();
    const archive = packTar([
      { name: 'whole', content: 'x' },
      { name: 'half', content: 'y'.repeat(2_000_000) },
    ]);
    await assert.rejects(jobs.unpack(lab.view(), '/', once(archive.subarray(0, 1_000_000)), plain), /unexpected end/);
    assert.deepEqual(readdirSync(lab.root), ['whole']);
    const broken = async function* () {
      yield archive.subarray(0, 1_000_000);
      throw new Error('the client went away');
    };
    await assert.rejects(jobs.unpack(lab.view(), '/', broken(), plain), /went away/);
    assert.deepEqual(readdirSync(lab.root), ['whole']);
  });

  test('an archive that nobody reads on holds nothing once it is ended', async () => {
    using lab = new Lab();
    writeFileSync(join(lab.root, 'big'), Buffer.alloc(8_000_000));
    const open = () => readdirSync('/proc/self/fd').length;
    const before = open();
    for (let i = 0; i < 50; i++) {
      const packed = await jobs.pack(lab.view(), '/');
      if (i % 2) await packed.pieces.next();
      await packed[Symbol.asyncDispose]();
    }
    assert.ok(open() <= before, `${open()} descriptors, ${before} before`);
    const given = await jobs.pack(lab.view(), '/');
    await given.pieces.next();
    await given[Symbol.asyncDispose]();
    // What comes after the end of it is no archive.
    await assert.rejects(async () => {
      for await (const _ of given.pieces);
    }, /given up/);
  });

  test('attributes come back: set-user-ID, owners, times, extended attributes, without those of overlay', async () => {
    using lab = new Lab();
    const capability = Buffer.from('0100000200200000000000000000000000000000', 'hex');
    await write(lab.view(), '/', [
      {
        ...{ name: 'f', content: 'x', mode: 0o6755, uid: 12, gid: 34, mtime: 1_000_000_000, mtimeNsec: 5 },
        xattrs: new Map([
          ['security.capability', capability],
          ['trusted.overlay.opaque', Buffer.from('y')],
          ['trusted.overlay.redirect', Buffer.from('/etc')],
        ]),
      },
    ]);
    const { mode, uid, gid, mtimeMs } = statSync(join(lab.root, 'f'));
    assert.deepEqual([mode & 0o7777, uid, gid, mtimeMs], [0o6755, 12, 34, 1_000_000_000_000]);
    const archive = await read(lab.view(), '/f');
    assert.ok(archive.includes('SCHILY.xattr.security.capability='));
    assert.ok(!archive.includes('trusted.overlay'));
    await write(lab.view(), '/', [{ name: 'f', uid: 12 }], { keepTypes: true, owner: own });
    assert.equal(statSync(join(lab.root, 'f')).uid, 0);
    assert.ok(existsSync(join(lab.root, 'f')));
  });
});
