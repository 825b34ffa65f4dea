import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, readlinkSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, afterEach, before, suite, test } from 'node:test';
import { createGzip, gzipSync, zstdCompressSync } from 'node:zlib';
import { EngineError } from '../../src/base/errors.ts';
import { silentLog } from '../../src/base/log.ts';
import { LayerApplier } from '../../src/layers/apply.ts';
import { packTar, type TarMember, tarEnd, tarHeader, tarPadding } from '../../src/layers/tar-writer.ts';
import { type Digest, digestOf } from '../../src/oci/digest.ts';
import { DiskLimits } from '../../src/quotas/disk-limits.ts';
import { chooseSnapshotter } from '../../src/snapshots/probe.ts';
import { describeTree, forms, LayerLab, oddHeader } from './layers-lab.ts';

interface Case {
  readonly tar: Buffer;
  /** What the error says; without it the tar is taken, and shows this. */
  readonly refused?: RegExp;
  readonly shows?: (path: string) => void;
}

const file = (name: string | Buffer, content = 'hostile'): TarMember & { content: string } => ({ name, content });
const link = (name: string, linkName: string) => ({ name, type: 'symlink', linkName }) as const;
const hard = (name: string, linkName: string) => ({ name, type: 'hardlink', linkName }) as const;
const directory = (name: string) => ({ name, type: 'directory' }) as const;
const refusedTar = (
  refused: RegExp,
  ...members: Parameters<typeof packTar>[0] extends Iterable<infer M> ? M[] : never
): Case => ({
  tar: packTar(members),
  refused,
});
const taken = (
  shows: (path: string) => void,
  ...members: Parameters<typeof packTar>[0] extends Iterable<infer M> ? M[] : never
): Case => ({
  tar: packTar(members),
  shows,
});
const names =
  (...expected: string[]) =>
  (path: string) =>
    assert.deepEqual(readdirSync(path).sort(), expected.sort());

function pax(records: Buffer | string): Buffer[] {
  const content = Buffer.from(records);
  const header = oddHeader({ name: 'x', size: content.length }, (bytes) => bytes.write('x', 156));
  return [header, content, tarPadding(content.length)];
}
function record(key: string, value: string): string {
  const rest = Buffer.byteLength(` ${key}=${value}\n`);
  let length = rest + 1;
  while (String(length).length + rest !== length) length = String(length).length + rest;
  return `${length} ${key}=${value}\n`;
}
function gnu(flag: 'L' | 'K', text: string): Buffer[] {
  const content = Buffer.from(text);
  const header = oddHeader({ name: '././@LongLink', size: content.length }, (bytes) => bytes.write(flag, 156));
  return [header, content, tarPadding(content.length)];
}
const odd = (refused: RegExp, change: (header: Buffer) => void, member: TarMember = { name: 'f' }): Case => ({
  tar: Buffer.concat([oddHeader(member, change), tarEnd()]),
  refused,
});
const bytes = (...parts: (Buffer | Buffer[])[]) => Buffer.concat(parts.flat());

const escape = 'berth-test-escaped';
const cases: Readonly<Record<string, Case>> = {
  'absolute name': taken(
    (path) => assert.equal(readFileSync(join(path, 'tmp', escape), 'utf8'), 'hostile'),
    file(`/tmp/${escape}`),
  ),
  'many leading slashes': taken(names('tmp'), file(`////tmp/${escape}`)),
  'dot-dot name': refusedTar(/\.\.\/berth.* leaves the root/, file(`../${escape}`)),
  'dot-dot in the middle': refusedTar(/leaves the root/, file(`a/../../${escape}`)),
  'absolute dot-dot': refusedTar(/leaves the root/, file(`/../${escape}`)),
  'deep dot-dot': refusedTar(/leaves the root/, file(`${'../'.repeat(100)}tmp/${escape}`)),
  'dot-dot directory': refusedTar(/leaves the root/, directory('../')),
  'dot-dot that stays inside': taken(names('b'), file('a/../b')),
  'dot-dot as the whole name': refusedTar(/leaves the root/, file('..')),
  'name of dots': taken(names('...'), file('...')),
  'backslashes are letters': taken(names('..\\..\\x'), file('..\\..\\x')),
  'empty name as a file': refusedTar(/root directory is given as a file/, file('')),
  'slash as a file': refusedTar(/root directory is given as a file/, file('/')),
  'the root as a symbolic link': refusedTar(/root directory is given as a symlink/, link('.', '/etc')),
  'the root as a hard link': refusedTar(/root directory is given as a hardlink/, hard('./', 'x')),
  'symbolic link, then a file through it': taken(
    (path) => {
      assert.equal(readlinkSync(join(path, 'a')), '/tmp');
      assert.equal(readFileSync(join(path, 'tmp', escape), 'utf8'), 'hostile');
    },
    link('a', '/tmp'),
    file(`a/${escape}`),
  ),
  'relative symbolic link out, then a file through it': taken(
    names('a', escape),
    link('a', '../../../..'),
    file(`a/${escape}`),
  ),
  'chain of symbolic links, then a file': taken(
    (path) => assert.ok(existsSync(join(path, 'tmp', escape))),
    link('a', 'b'),
    link('b', 'c/..'),
    link('c', '/tmp/x'),
    file(`a/${escape}`),
  ),
  'symbolic link loop as a parent': refusedTar(/loop of symbolic links/, link('a', 'b'), link('b', 'a'), file('a/f')),
  'symbolic link to itself as a parent': refusedTar(/loop of symbolic links/, link('a', 'a'), file('a/f')),
  'symbolic link to /proc/self/root as a parent': taken(
    (path) => assert.ok(existsSync(join(path, 'proc/self/root/tmp', escape))),
    link('a', '/proc/self/root/tmp'),
    file(`a/${escape}`),
  ),
  'symbolic link replaced by a file of its name': taken(
    (path) => assert.equal(readFileSync(join(path, 'a'), 'utf8'), 'mine'),
    link('a', `/tmp/${escape}`),
    file('a', 'mine'),
  ),
  'symbolic link replaced by a directory, then a file': taken(
    (path) => assert.ok(statSync(join(path, 'a')).isDirectory()),
    link('a', '/tmp'),
    directory('a/'),
    file(`a/${escape}`),
  ),
  'directory replaced by a symbolic link, then a file': taken(
    (path) => {
      assert.equal(readlinkSync(join(path, 'a')), '/tmp');
      assert.deepEqual(readdirSync(join(path, 'tmp')), [escape]);
    },
    directory('a/'),
    file('a/before'),
    link('a', '/tmp'),
    file(`a/${escape}`),
  ),
  'file as a parent': taken((path) => assert.deepEqual(readdirSync(join(path, 'a')), ['b']), file('a'), file('a/b')),
  'device as a parent': taken(
    (path) => assert.deepEqual(readdirSync(join(path, 'a')), ['b']),
    { name: 'a', type: 'block', major: 8, minor: 0 },
    file('a/b'),
  ),
  'symbolic link without a target': refusedTar(/has no valid target/, link('a', '')),
  'symbolic link of 4096 bytes': refusedTar(
    /target of the symbolic link a has 4096 bytes/,
    link('a', 'x'.repeat(4096)),
  ),
  'symbolic link with a NUL': {
    tar: bytes(pax(record('linkpath', 'a\0b')), tarHeader(link('l', 'x'))),
    refused: /no valid target/,
  },
  'hard link to a host file': refusedTar(
    /hard link h to \/etc\/shadow: there is no such file/,
    hard('h', '/etc/shadow'),
  ),
  'hard link out of the root': refusedTar(/leaves the root/, hard('h', '../../../../etc/shadow')),
  'hard link to nothing': refusedTar(/hard link h to gone: there is no such file/, hard('h', 'gone')),
  'hard link to a directory': refusedTar(/that is a directory/, directory('d/'), hard('h', 'd')),
  'hard link to the root': refusedTar(/that is a directory/, hard('h', '.')),
  'hard link to a whiteout': refusedTar(/there is no such file/, file('.wh.x', ''), hard('h', 'x')),
  'hard link to a symbolic link': taken(
    (path) => assert.equal(readlinkSync(join(path, 'h')), '/etc/shadow'),
    link('s', '/etc/shadow'),
    hard('h', 's'),
  ),
  'hard link through a symbolic link': refusedTar(/there is no such file/, link('s', '/etc'), hard('h', 's/shadow')),
  'hard link, then a file of its name': taken(
    (path) => {
      assert.equal(readFileSync(join(path, 'a'), 'utf8'), 'one');
      assert.equal(readFileSync(join(path, 'h'), 'utf8'), 'two');
      assert.equal(statSync(join(path, 'a')).nlink, 1);
    },
    file('a', 'one'),
    hard('h', 'a'),
    file('h', 'two'),
  ),
  'hard link to itself': taken(
    (path) => assert.equal(readFileSync(join(path, 'a'), 'utf8'), 'one'),
    file('a', 'one'),
    hard('a', 'a'),
  ),
  'hard link that claims data': {
    tar: bytes(
      tarHeader({ name: 'a', size: 1 }),
      Buffer.from('x'),
      tarPadding(1),
      oddHeader({ name: 'h', type: 'hardlink', linkName: 'a' }, (header) => header.write('00000001000\0', 124)),
      tarHeader({ name: 'b' }),
      tarEnd(),
    ),
    shows: names('a', 'b', 'h'),
  },
  'whiteout of nothing': refusedTar(/hides no file/, file('.wh.')),
  'whiteout of the directory itself': refusedTar(/hides no file/, file('.wh..')),
  'whiteout of the parent': refusedTar(/hides no file/, file('d/.wh...')),
  'whiteout out of the root': refusedTar(/leaves the root/, file('../.wh.etc')),
  'whiteout as a directory': taken((path) => assert.equal(statSync(join(path, 'x')).rdev, 0), directory('.wh.x/')),
  "aufs's own files": taken(names('a'), file('.wh..wh.plnk/1.2'.replace('/1.2', '')), file('.wh..wh.aufs'), file('a')),
  'whiteout of what the layer brings': taken(names('a'), file('a'), file('.wh.a', '')),
  'opaque root': taken(names('a'), file('.wh..wh..opq', ''), file('a')),
  'same file twice': taken(
    (path) => assert.equal(readFileSync(join(path, 'a'), 'utf8'), '2'),
    file('a', '1'),
    file('a', '2'),
  ),
  'same name as file, directory, link, fifo': taken(
    (path) => assert.ok(statSync(join(path, 'a')).isFIFO()),
    file('a'),
    directory('a'),
    file('a/b'),
    link('a', 'x'),
    { name: 'a', type: 'fifo' },
  ),
  fifo: taken((path) => assert.ok(statSync(join(path, 'p')).isFIFO()), { name: 'p', type: 'fifo' }),
  'device 0:0': taken(() => {}, { name: 'w', type: 'char' }),
  'device with absurd numbers': refusedTar(/device number 5000:1/, { name: 'd', type: 'char', major: 5000, minor: 1 }),
  'set-user-ID file': taken((path) => assert.equal(statSync(join(path, 'su')).mode & 0o7777, 0o4755), {
    ...file('su'),
    mode: 0o4755,
  }),
  "overlay's own attributes": taken((path) => assert.doesNotMatch(describeTree(path), /overlay|secret/), {
    ...directory('d'),
    xattrs: new Map([
      ['trusted.overlay.redirect', Buffer.from('/../../secret')],
      ['trusted.overlay.metacopy', Buffer.alloc(0)],
      ['user.overlay.opaque', Buffer.from('y')],
    ]),
  }),
  'attributes of unknown and damaged names': taken(names('f'), {
    ...file('f'),
    xattrs: new Map([
      ['bogus', Buffer.from('1')],
      ['user.', Buffer.from('1')],
      [`user.${'n'.repeat(300)}`, Buffer.from('1')],
    ]),
  }),
  'NUL in a PAX path': {
    tar: bytes(pax(record('path', 'a\0b')), tarHeader({ name: 'x' }), tarEnd()),
    refused: /contains a NUL byte/,
  },
  'NUL ends a ustar name': odd(/root directory is given/, (header) => header.write('\0/../etc', 0), { name: 'x' }),
  'PAX path out of the root': {
    tar: bytes(pax(record('path', `../../${escape}`)), tarHeader({ name: 'fine' }), tarEnd()),
    refused: /leaves the root/,
  },
  'PAX path over a GNU long name': {
    tar: bytes(gnu('L', 'first\0'), pax(record('path', 'second')), tarHeader({ name: 'third' }), tarEnd()),
    shows: names('second'),
  },
  'GNU long name out of the root': {
    tar: bytes(gnu('L', `${'../'.repeat(50)}${escape}\0`), tarHeader({ name: 'fine' }), tarEnd()),
    refused: /leaves the root/,
  },
  'name of 64 KiB': {
    tar: bytes(gnu('L', 'n'.repeat(65_536)), tarHeader({ name: 'x' }), tarEnd()),
    refused: /has 65536 bytes, more than 4096/,
  },
  'component of 256 bytes': {
    tar: bytes(pax(record('path', 'n'.repeat(256))), tarHeader({ name: 'x' }), tarEnd()),
    refused: /has 256 bytes, more than 255/,
  },
  'path 10,000 deep': {
    tar: bytes(gnu('L', 'd/'.repeat(10_000)), tarHeader({ name: 'x' }), tarEnd()),
    refused: /more than 4096/,
  },
  'path 1,900 deep': {
    tar: bytes(gnu('L', `${'d/'.repeat(1900)}f`), tarHeader({ name: 'x' }), tarEnd()),
    shows: names('d'),
  },
  'deeper through links': {
    tar: bytes(
      gnu('L', `${'d/'.repeat(2000)}f`),
      tarHeader({ name: 'x' }),
      gnu('K', `${'d/'.repeat(2000)}`),
      tarHeader(link('l', 'x')),
      gnu('L', `l/${'e/'.repeat(2000)}f`),
      tarHeader({ name: 'x' }),
      tarEnd(),
    ),
    refused: /too deep/,
  },
  'bad UTF-8': {
    tar: packTar([file(Buffer.from([0xc3, 0x28, 0xff]))]),
    shows: (path) => assert.equal(readdirSync(path, 'buffer').length, 1),
  },
  'newline and escape codes in a name': taken(names('a\n\x1b[2Jb'), file('a\n\x1b[2Jb')),
  'negative size': odd(/size of f is negative/, (header) => header.fill(0xff, 124, 136)),
  'huge size': odd(/size is too large/, (header) => header.fill(0xff, 125, 136).fill(0x80, 124, 125)),
  'size of 8 EiB in PAX': {
    tar: bytes(pax(record('size', '9223372036854775807')), tarHeader({ name: 'x' }), tarEnd()),
    refused: /size is not a number/,
  },
  'size larger than the archive': odd(/unexpected end of archive/, (header) => header.write('00077777777\0', 124)),
  'size that is not octal': odd(/size is not a number/, (header) => header.write('0000000089x\0', 124)),
  'wrong checksum': {
    tar: bytes(Buffer.from(tarHeader({ name: 'f' })).fill('x', 0, 1), tarEnd()),
    refused: /wrong checksum/,
  },
  'unknown type': odd(/f is of unknown type "V"/, (header) => header.write('V', 156)),
  'owner that means nobody': odd(/owner of f is 4294967295/, (header) =>
    header.fill(0, 108, 112).fill(0xff, 112, 116).fill(0x80, 108, 109),
  ),
  'negative owner': odd(/owner of f is -1/, (header) => header.fill(0xff, 108, 116)),
  'PAX header of 100 MB': odd(
    /more than 1048576/,
    (header) => header.write('00575360400\0', 124).valueOf() && header.write('x', 156),
  ),
  'PAX record with a wrong length': {
    tar: bytes(pax('99 path=x\n'), tarHeader({ name: 'x' }), tarEnd()),
    refused: /PAX record is damaged/,
  },
  'PAX record of length zero': {
    tar: bytes(pax('0 path=x\n'), tarHeader({ name: 'x' }), tarEnd()),
    refused: /PAX record is damaged/,
  },
  'PAX record with an endless length': {
    tar: bytes(pax(`${'9'.repeat(400)} path=x\n`), tarHeader({ name: 'x' }), tarEnd()),
    refused: /PAX/,
  },
  'PAX header at the end': { tar: bytes(pax(record('path', 'x'))), refused: /unexpected end of archive/ },
  'sparse parts that overlap': {
    tar: bytes(
      pax(record('GNU.sparse.size', '100') + record('GNU.sparse.map', '0,10,5,10')),
      tarHeader({ name: 'x', size: 20 }),
      Buffer.alloc(512),
      tarEnd(),
    ),
    refused: /overlap/,
  },
  'sparse part behind the end': {
    tar: bytes(
      pax(record('GNU.sparse.size', '10') + record('GNU.sparse.map', '5,20')),
      tarHeader({ name: 'x', size: 20 }),
      Buffer.alloc(512),
      tarEnd(),
    ),
    refused: /behind its end/,
  },
  'sparse map that lies about the data': {
    tar: bytes(
      pax(record('GNU.sparse.size', '1000') + record('GNU.sparse.map', '5,500')),
      tarHeader({ name: 'x', size: 20 }),
      Buffer.alloc(512),
      tarEnd(),
    ),
    refused: /has 20 bytes of data, its map says 500/,
  },
  'sparse map without an end': {
    tar: bytes(
      pax(record('GNU.sparse.major', '1') + record('GNU.sparse.minor', '0')),
      tarHeader({ name: 'x', size: 512 }),
      Buffer.alloc(512, '1'),
      tarEnd(),
    ),
    refused: /map of a sparse file does not end/,
  },
  'sparse directory': {
    tar: bytes(pax(record('GNU.sparse.size', '0') + record('GNU.sparse.map', '')), tarHeader(directory('d')), tarEnd()),
    refused: /d is sparse, but no file/,
  },
  'one block of zeros, then a header': {
    tar: bytes(Buffer.alloc(512), tarHeader({ name: 'f' }), tarEnd()),
    refused: /follows a block of zeros/,
  },
  text: {
    tar: Buffer.from('this is no archive at all, but it goes on for a while\n'.repeat(20)),
    refused: /wrong checksum|not a number/,
  },
  'header cut off': { tar: tarHeader({ name: 'f' }).subarray(0, 300), refused: /unexpected end of archive/ },
  'data cut off': {
    tar: bytes(tarHeader({ name: 'f', size: 1000 }), Buffer.alloc(600)),
    refused: /unexpected end of archive/,
  },
  'nothing at all': { tar: Buffer.alloc(0), shows: names() },
  'only an end': { tar: tarEnd(), shows: names() },
  'rubbish behind the end': { tar: bytes(packTar([file('a')]), Buffer.from('rubbish')), shows: names('a') },
};

for (const form of forms) {
  suite(`hostile layers as ${form} (S05)`, () => {
    let lab: LayerLab;
    let canary: string;
    let untouched: string;
    before(() => {
      lab = new LayerLab(form);
      canary = join(lab.place, 'canary');
      mkdirSync(canary);
      writeFileSync(join(canary, 'secret'), 'secret');
      untouched = describeTree(canary);
    });
    afterEach(async () => {
      for (const diffId of lab.snapshotter.layers()) await lab.snapshotter.removeLayer(diffId);
    });
    after(() => lab[Symbol.asyncDispose]());

    for (const [name, { tar, refused, shows }] of Object.entries(cases)) {
      test(name, async () => {
        const diffId = digestOf(tar);
        if (refused) {
          await assert.rejects(lab.apply(tar), (error: unknown) => {
            assert.ok(error instanceof EngineError, String(error));
            assert.equal(error.kind, 'invalid', error.message);
            assert.match(error.message, refused);
            return true;
          });
          assert.equal(lab.snapshotter.hasLayer(diffId), false);
        } else {
          await lab.apply(tar);
          await using view = await lab.snapshotter.view([diffId]);
          shows?.(view.path);
          // All of it can be read and, as part of a snapshot, mounted.
          describeTree(view.path);
          await lab.snapshotter.prepare('c', [diffId]);
          const target = join(lab.place, 'rootfs');
          mkdirSync(target, { recursive: true });
          await lab.snapshotter.mount('c', target);
          readdirSync(target);
          await lab.snapshotter.unmount('c', target);
          await lab.snapshotter.remove('c');
        }
        assert.equal(describeTree(canary), untouched);
        for (const place of ['/', '/tmp', lab.place, lab.root, join(lab.root, 'staging')]) {
          assert.equal(existsSync(join(place, escape)), false, place);
        }
        assert.deepEqual(readdirSync(join(lab.root, 'staging')), []);
      });
    }
  });

  suite(`bombs as ${form} (S06)`, () => {
    const invalid = (message: RegExp) => ({ kind: 'invalid', message });
    const apply = async (lab: LayerLab, blob: Buffer) => {
      const diffId = `sha256:${'0'.repeat(64)}` as Digest;
      await lab.applier.apply({ blobPath: lab.blob(blob), diffId }).finally(() => {
        assert.deepEqual(readdirSync(join(lab.root, 'staging')), []);
      });
    };

    test('a gzip that grows by more than a thousand is stopped at 100 MB', async () => {
      const gzip = createGzip({ level: 9 });
      const parts: Buffer[] = [];
      gzip.on('data', (part: Buffer) => parts.push(part));
      const ended = new Promise((resolve) => gzip.on('end', resolve));
      gzip.write(tarHeader({ name: 'zeros', size: 400_000_000 }));
      for (let i = 0; i < 400; i++) gzip.write(Buffer.alloc(1_000_000));
      gzip.end();
      await ended;
      await using lab = new LayerLab(form);
      await assert.rejects(apply(lab, Buffer.concat(parts)), invalid(/decompression bomb/));
    });

    test('a zstd that grows by more than a thousand is stopped, in one frame and in many', async () => {
      await using lab = new LayerLab(form);
      const header = tarHeader({ name: 'zeros', size: 800_000_000 });
      const frame = zstdCompressSync(Buffer.alloc(15_000_000));
      const frames = Buffer.concat([zstdCompressSync(header), ...Array.from({ length: 40 }, () => frame)]);
      await assert.rejects(apply(lab, frames), invalid(/decompression bomb/));
      const one = zstdCompressSync(Buffer.concat([header, Buffer.alloc(300_000_000)]));
      await assert.rejects(apply(lab, one), invalid(/decompression bomb/));
    });

    test('a zstd with a window of 2 GB is refused', async () => {
      await using lab = new LayerLab(form);
      // Magic, no single segment, window descriptor 2^31, one raw block of one byte.
      const blob = Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0x00, (31 - 10) << 3, 0x09, 0x00, 0x00, 0x61]);
      await assert.rejects(apply(lab, blob), invalid(/window of more than 134217728 bytes/));
    });

    test('more bytes, and more entries, than allowed are refused', async () => {
      await using lab = new LayerLab(form, { maxBytes: 1_000_000 });
      const big = packTar([file('a', 'x'.repeat(1_100_000))]);
      await assert.rejects(apply(lab, big), invalid(/more than 1000000 bytes uncompressed/));
      await using small = new LayerLab(form, { maxEntries: 10 });
      const many = packTar(Array.from({ length: 11 }, (_, i) => file(`f${i}`)));
      await assert.rejects(apply(small, many), invalid(/more than 10 entries/));
    });

    test('compressed data that is cut off or damaged is refused as such', async () => {
      await using lab = new LayerLab(form);
      const tar = packTar([
        file('f', Buffer.from(Array.from({ length: 50_000 }, (_, i) => (i * i) >> 5)).toString('latin1')),
      ]);
      for (const compress of [gzipSync, zstdCompressSync]) {
        const blob = compress(tar);
        for (const length of [5, 20, blob.length - 12, blob.length - 1]) {
          await assert.rejects(apply(lab, blob.subarray(0, length)), invalid(/unexpected end of archive/), `${length}`);
        }
        const damaged = Buffer.from(blob);
        damaged.fill(0x55, blob.length >> 1, (blob.length >> 1) + 40);
        await assert.rejects(apply(lab, damaged), invalid(/damaged|end of archive/));
        await assert.rejects(
          apply(lab, Buffer.concat([blob, Buffer.from('rubbish')])),
          invalid(/damaged|end of archive/),
        );
      }
      for (const program of ['xz', 'bzip2']) {
        const blob = execFileSync(program, ['-c'], { input: tar });
        await assert.rejects(apply(lab, blob.subarray(0, blob.length - 20)), invalid(/archive is damaged/));
      }
    });
  });

  test(`a full disk while a layer is made as ${form} is unavailable, with path and bytes (R05)`, async () => {
    await using outer = new LayerLab(form);
    const small = join(outer.place, 'small');
    mkdirSync(small);
    const image = outer.blob(Buffer.alloc(4 * 1024 * 1024));
    execFileSync('mkfs.ext4', ['-q', '-N', '200', '-O', '^has_journal', '-m', '0', image]);
    execFileSync('mount', ['-o', 'loop', image, small]);
    try {
      const prefer = form === 'directory' ? 'overlay' : 'erofs';
      await using snapshotter = chooseSnapshotter({
        root: join(small, 'root'),
        log: silentLog,
        limits: new DiskLimits(),
        prefer,
      });
      const full = async (tar: Buffer, reserveBytes: number, message: RegExp) => {
        await using applier = new LayerApplier({ snapshotter, limits: { reserveBytes } });
        const blobPath = outer.blob(tar);
        await assert.rejects(applier.apply({ blobPath, diffId: digestOf(tar) }), { kind: 'unavailable', message });
        assert.deepEqual(readdirSync(join(small, 'root/staging')), []);
      };
      const big = packTar([file('big', 'x'.repeat(4_000_000))]);
      await full(big, 0, /small\/root\/staging\/.*: no space left on the file system, \d+ bytes free/);
      await full(big, 2_900_000, /small\/root\/staging\/.*: \d+ bytes free, of which 2900000 stay reserved/);
      if (form === 'directory') {
        const many = packTar(Array.from({ length: 300 }, (_, i) => file(`f${i}`)));
        await full(many, 0, /small\/root\/staging\/.*: no inodes left/);
      }
    } finally {
      execFileSync('umount', ['-l', small]);
    }
  });
}
