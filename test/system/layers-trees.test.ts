import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { packTar, type TarMember, tarEnd, tarHeader, tarPadding } from '../../src/layers/tar-writer.ts';
import { verifyTar } from '../../src/layers/verify.ts';
import { type Digest, DigestMismatch, digestOf, hexOf } from '../../src/oci/digest.ts';
import { debianTar, describeTree, forms, LayerLab, oddHeader } from './layers-lab.ts';

const mtime = 1_700_000_000;

for (const form of forms) {
  suite(`a layer as ${form}`, () => {
    const seen = async (tar: Buffer, look: (path: string) => void | Promise<void>) => {
      await using lab = new LayerLab(form);
      await using view = await lab.snapshotter.view([await lab.apply(tar)]);
      await look(view.path);
    };
    /** The same tree as GNU tar makes of it. */
    const asTar = async (tar: Buffer) => {
      await using lab = new LayerLab(form);
      const unpacked = join(lab.place, 'unpacked');
      mkdirSync(unpacked);
      const args = ['-C', unpacked, '--xattrs', '--xattrs-include=*', '--numeric-owner', '-xpf', '-'];
      execFileSync('tar', args, { input: tar, maxBuffer: 1024 ** 3 });
      await using view = await lab.snapshotter.view([await lab.apply(tar)]);
      const tree = describeTree(view.path);
      assert.equal(tree, describeTree(unpacked));
      return tree;
    };

    test('a Debian base system is the same as unpacked by tar', { timeout: 120_000 }, async () => {
      await asTar(readFileSync(debianTar()));
    });

    test('every type, owner, mode, time and attribute is the same as unpacked by tar', async () => {
      const tree = await asTar(
        packTar([
          { name: './', type: 'directory', mode: 0o755, mtime },
          { name: 'd/', type: 'directory', mode: 0o2750, uid: 1000, gid: 70_000, mtime, mtimeNsec: 123_456_789 },
          { name: 'd/file', content: 'hello', mode: 0o4755, uid: 4_000_000_000, mtime, mtimeNsec: 1 },
          { name: 'd/empty', mtime },
          { name: 'd/block', content: 'x'.repeat(512), mtime },
          { name: 'd/odd', content: 'y'.repeat(100_001), mode: 0, mtime },
          { name: 'd/hard', type: 'hardlink', linkName: 'd/file' },
          { name: 'd/hard2', type: 'hardlink', linkName: './d/hard' },
          { name: 'sym', type: 'symlink', linkName: '../../etc/passwd', mtime, uid: 5 },
          { name: 'abs', type: 'symlink', linkName: '/proc/self/fd', mtime },
          { name: 'long', type: 'symlink', linkName: `${'x/'.repeat(600)}end`, mtime },
          { name: 'longest', type: 'symlink', linkName: 'l'.repeat(4095), mtime },
          { name: 'hardsym', type: 'hardlink', linkName: 'sym' },
          { name: 'null', type: 'char', major: 1, minor: 3, mode: 0o666, mtime },
          { name: 'disk', type: 'block', major: 259, minor: 70_000, mode: 0o660, gid: 6, mtime },
          { name: 'pipe', type: 'fifo', mode: 0o600, mtime },
          { name: 'old', content: 'before the epoch', mtime: -5, mtimeNsec: 250_000_000 },
          { name: 'late', content: 'after 2038', mtime: 5_000_000_000 },
          { name: 'n'.repeat(255), content: 'long name', mtime },
          { name: `${'p'.repeat(200)}/`, type: 'directory', mtime },
          { name: `${'p'.repeat(200)}/${'q'.repeat(200)}/`, type: 'directory', mtime },
          { name: `${'p'.repeat(200)}/${'q'.repeat(200)}/f`, content: 'long path', mtime },
          { name: 'ümläut/', type: 'directory', mtime },
          { name: 'ümläut/日本語', content: 'utf-8', mtime },
          { name: Buffer.from([0x62, 0xff, 0xfe]), content: 'not utf-8', mtime },
          {
            name: 'caps',
            content: 'x',
            mtime,
            xattrs: new Map([
              ['security.capability', Buffer.from('0100000200200000000000000000000000000000', 'hex')],
              ['user.note', Buffer.from('a note')],
              ['user.empty', Buffer.alloc(0)],
            ]),
          },
          { name: 'annotated/', type: 'directory', mtime, xattrs: new Map([['user.big', Buffer.alloc(3000, 'v')]]) },
        ]),
      );
      assert.match(tree, /\/caps .*security\.capability=0100000200200000.* user\.empty= user\.note=61206e6f7465/);
      assert.match(tree, /\/annotated .*user\.big=(76){3000}/);
    });

    test('directories with 100,000 names can be listed and searched', { timeout: 60_000 }, () => {
      const parts: Buffer[] = [];
      for (let i = 0; i < 100_000; i++) parts.push(tarHeader({ name: `many/file-${i * 7919}`, mtime }));
      return seen(Buffer.concat([...parts, tarEnd()]), (path) => {
        const names = execFileSync('ls', ['-U', join(path, 'many')], { encoding: 'utf8', maxBuffer: 1024 ** 3 });
        assert.equal(new Set(names.trim().split('\n')).size, 100_000);
        for (let i = 0; i < 100_000; i += 997)
          assert.equal(readFileSync(join(path, `many/file-${i * 7919}`)).length, 0);
      });
    });

    test('the last entry of a name wins, and directories keep their content', async () => {
      await asTar(
        packTar([
          { name: 'a', content: 'first', mtime },
          { name: 'd/', type: 'directory', mode: 0o700, mtime },
          { name: 'd/in', content: 'in', mtime },
          { name: 'l', type: 'hardlink', linkName: 'a' },
          { name: 'a', content: 'second', mtime },
          { name: 'd/', type: 'directory', mode: 0o755, mtime },
        ]),
      );
    });

    test('sparse files of every form read as they were', async () => {
      const data = Buffer.alloc(8192, 'A');
      const expected = Buffer.alloc(1_000_000);
      data.copy(expected, 65_536);
      data.copy(expected, 131_072 + 4096);
      const map = [65_536, 8192, 135_168, 8192];
      const record = (key: string, value: string) => {
        const rest = ` ${key}=${value}\n`;
        let length = rest.length + 1;
        while (String(length).length + rest.length > length) length++;
        return `${length}${rest}`;
      };
      const pax = (records: readonly string[]) => {
        const content = Buffer.from(records.join(''));
        const header = oddHeader({ name: 'x', size: content.length }, (bytes) => bytes.write('x', 156));
        return [header, content, tarPadding(content.length)];
      };
      const file = (name: string, size: number) => tarHeader({ name, size, mtime });
      const old = oddHeader({ name: 'gnu', size: 16_384, mtime }, (header) => {
        header.write('S', 156);
        header.write('ustar  \0', 257, 'latin1');
        for (const [i, value] of map.entries()) header.write(value.toString(8).padStart(11, '0'), 386 + i * 12);
        header.write((1_000_000).toString(8).padStart(11, '0'), 483);
      });
      const mapBlock = Buffer.alloc(512);
      mapBlock.write(`2\n${map.join('\n')}\n`);
      // Parts that begin and end anywhere.
      const ragged = [1000, 3, 70_001, 12_345];
      const raggedData = Buffer.from('abc'.padEnd(12_348, 'z'));
      const tar = Buffer.concat([
        old,
        data,
        data,
        ...pax([
          record('GNU.sparse.size', '1000000'),
          record('GNU.sparse.numblocks', '2'),
          record('GNU.sparse.offset', '65536'),
          record('GNU.sparse.numbytes', '8192'),
          record('GNU.sparse.offset', '135168'),
          record('GNU.sparse.numbytes', '8192'),
        ]),
        file('pax0.0', 16_384),
        data,
        data,
        ...pax([
          record('GNU.sparse.size', '1000000'),
          record('GNU.sparse.name', 'pax0.1'),
          record('GNU.sparse.numblocks', '2'),
          record('GNU.sparse.map', map.join(',')),
        ]),
        file('GNUSparseFile.0/pax0.1', 16_384),
        data,
        data,
        ...pax([
          record('GNU.sparse.major', '1'),
          record('GNU.sparse.minor', '0'),
          record('GNU.sparse.name', 'pax1.0'),
          record('GNU.sparse.realsize', '1000000'),
        ]),
        file('GNUSparseFile.0/pax1.0', 16_384 + 512),
        mapBlock,
        data,
        data,
        ...pax([
          record('GNU.sparse.size', '100000'),
          record('GNU.sparse.numblocks', '2'),
          record('GNU.sparse.map', ragged.join(',')),
        ]),
        file('ragged', 12_348),
        raggedData,
        tarPadding(12_348),
        ...pax([
          record('GNU.sparse.size', '99999'),
          record('GNU.sparse.numblocks', '1'),
          record('GNU.sparse.map', '99999,0'),
        ]),
        file('hollow', 0),
        tarEnd(),
      ]);
      await seen(tar, (path) => {
        for (const name of ['gnu', 'pax0.0', 'pax0.1', 'pax1.0']) {
          assert.ok(readFileSync(join(path, name)).equals(expected), name);
        }
        const holes = Buffer.alloc(100_000);
        raggedData.copy(holes, 1000, 0, 3);
        raggedData.copy(holes, 70_001, 3);
        assert.ok(readFileSync(join(path, 'ragged')).equals(holes));
        assert.ok(readFileSync(join(path, 'hollow')).equals(Buffer.alloc(99_999)));
      });
    });

    test('sparse archives that GNU tar writes are the same as it unpacks them', async () => {
      for (const format of ['--format=gnu', ...['0.0', '0.1', '1.0'].map((version) => `--sparse-version=${version}`)]) {
        await using lab = new LayerLab(form);
        const from = join(lab.place, 'from');
        mkdirSync(from);
        // Enough parts for continuation headers.
        const script =
          'truncate -s 9M f; for i in 1 3 5 7 20 60 61 300 500 700 900 1200 1500 1700 2000; do printf data$i | dd of=f bs=4096 seek=$i conv=notrunc status=none; done; printf end >> f';
        execFileSync('sh', ['-c', script], { cwd: from });
        const options = format.startsWith('--sparse') ? ['--format=posix', format] : [format];
        const tar = execFileSync('tar', [...options, '-S', '-cf', '-', 'f'], { cwd: from, maxBuffer: 1024 ** 3 });
        assert.ok(tar.length < 1_000_000);
        await using view = await lab.snapshotter.view([await lab.apply(tar)]);
        assert.ok(readFileSync(join(view.path, 'f')).equals(readFileSync(join(from, 'f'))), format);
      }
    });

    test('GNU long names, V7 directories, base-256 numbers and files without an end marker are read', () => {
      const longName = `${'deep/'.repeat(60)}leaf`;
      const gnu = (flag: string, text: string) => {
        const content = Buffer.from(`${text}\0`);
        const header = oddHeader({ name: '././@LongLink', size: content.length }, (bytes) => bytes.write(flag, 156));
        return [header, content, tarPadding(content.length)];
      };
      const v7 = oddHeader({ name: 'v7dir/', mode: 0o711, mtime }, (header) => {
        header[156] = 0;
        header.fill(0, 257, 265);
      });
      const big = oddHeader({ name: 'big-owner', mtime }, (header) => {
        header.fill(0, 108, 116);
        header[108] = 0x80;
        header.writeUInt32BE(3_000_000_000, 112);
      });
      return seen(
        Buffer.concat([
          ...gnu('L', longName),
          tarHeader({ name: 'cut', size: 2, mtime }),
          Buffer.from('hi'),
          tarPadding(2),
          ...gnu('K', 't'.repeat(300)),
          tarHeader({ name: 'link', type: 'symlink', linkName: 'cut', mtime }),
          v7,
          big,
          tarHeader({ name: 'last', size: 3, mtime }),
          // Neither padding nor end.
          Buffer.from('end'),
        ]),
        (path) => {
          const tree = describeTree(path);
          assert.match(tree, new RegExp(`\\./${longName} `));
          assert.match(tree, /\/link \| 120777 .* -> t{300} /);
          assert.match(tree, /\/v7dir \| 40711 /);
          assert.match(tree, /\/big-owner \| \d+ \| 3000000000:0 /);
          assert.equal(readFileSync(join(path, 'last'), 'utf8'), 'end');
        },
      );
    });

    test('a layer comes through every compression, and through several members', async () => {
      const tar = packTar([{ name: 'f', content: 'x'.repeat(300_000), mtime }]);
      const half = 1234;
      const [one, two] = [tar.subarray(0, half), tar.subarray(half)];
      const blobs = {
        gzip: gzipSync(tar),
        'gzip in members': Buffer.concat([gzipSync(one), gzipSync(Buffer.alloc(0)), gzipSync(two)]),
        zstd: zstdCompressSync(tar),
        'zstd in frames': Buffer.concat([
          Buffer.from([0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3]),
          zstdCompressSync(one),
          zstdCompressSync(two),
        ]),
        xz: execFileSync('xz', ['-c'], { input: tar }),
        bzip2: execFileSync('bzip2', ['-c'], { input: tar }),
        none: tar,
      };
      for (const [name, blob] of Object.entries(blobs)) {
        await using lab = new LayerLab(form);
        await using view = await lab.snapshotter.view([await lab.apply(tar, blob)]);
        assert.equal(readFileSync(join(view.path, 'f'), 'utf8').length, 300_000, name);
      }
    });

    test('content that is not what the diff ID names is refused and leaves nothing', async () => {
      await using lab = new LayerLab(form);
      const blobPath = lab.blob(gzipSync(packTar([{ name: 'f', content: 'x' }])));
      const diffId = digestOf('something else');
      await assert.rejects(lab.applier.apply({ blobPath, diffId }), DigestMismatch);
      assert.equal(lab.snapshotter.hasLayer(diffId), false);
      assert.equal(execFileSync('find', [lab.root, '-type', 'f'], { encoding: 'utf8' }), '');
    });

    test('the same layer asked for twice is made once, and progress tells the compressed bytes', async () => {
      await using lab = new LayerLab(form);
      const tar = packTar([
        { name: 'f', content: Buffer.from(Array.from({ length: 3_000_000 }, (_, i) => (i * i) >> 3)) },
      ]);
      const blob = gzipSync(tar);
      const blobPath = lab.blob(blob);
      const told: number[] = [];
      const request = { blobPath, diffId: digestOf(tar), onProgress: (bytes: number) => void told.push(bytes) };
      const [one, two] = await Promise.all([lab.applier.apply(request), lab.applier.apply(request)]);
      assert.deepEqual(one, { size: tar.length, entries: 1 });
      assert.deepEqual(one, two);
      assert.equal(told.at(-1), blob.length);
      assert.deepEqual(
        told,
        told.toSorted((a, b) => a - b),
      );
      assert.equal(new Set(told).size, told.length);
    });

    test('a canceled layer ends soon and leaves nothing', async () => {
      await using lab = new LayerLab(form);
      const tar = packTar([{ name: 'f', content: Buffer.alloc(200_000_000) }]);
      const diffId = digestOf(tar);
      const abort = new AbortController();
      const applying = lab.applier.apply({
        blobPath: lab.blob(tar),
        diffId,
        signal: abort.signal,
        onProgress: () => abort.abort(),
      });
      await assert.rejects(applying, { name: 'AbortError' });
      assert.equal(lab.snapshotter.hasLayer(diffId), false);
      assert.equal(execFileSync('find', [join(lab.root, 'staging'), '-type', 'f'], { encoding: 'utf8' }), '');
    });

    test('closing while a layer is made refuses it and leaves nothing', async () => {
      await using lab = new LayerLab(form);
      const tar = packTar([{ name: 'f', content: Buffer.alloc(100_000_000) }]);
      const applying = lab.applier.apply({
        blobPath: lab.blob(tar),
        diffId: digestOf(tar),
        onProgress: () => void lab.applier[Symbol.asyncDispose](),
      });
      await assert.rejects(applying, { kind: 'canceled' });
      assert.equal(execFileSync('find', [lab.root, '-type', 'f'], { encoding: 'utf8' }), '');
    });
  });
}

test('a stored tar can be verified against its diff ID (R08)', async () => {
  await using lab = new LayerLab('tar+erofs');
  const diffId = await lab.apply(packTar([{ name: 'f', content: 'x' } satisfies TarMember & { content: string }]));
  const path = join(lab.root, 'layers', hexOf(diffId), 'layer.tar');
  assert.equal(await verifyTar(path, diffId), true);
  assert.equal(await verifyTar(path, `sha256:${'0'.repeat(64)}` as Digest), false);
});
