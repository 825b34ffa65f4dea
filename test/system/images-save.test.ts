/** Archives that real tools read: skopeo in both of their forms; and imports of what no honest file system has. */
import assert from 'node:assert/strict';
import { execFile, execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { all } from '../../src/images/fake-images.ts';
import type { ImportOptions } from '../../src/images/images.ts';
import { hexOf } from '../../src/oci/digest.ts';
import {
  busyboxFiles,
  busyboxImage,
  layoutTar,
  multiPlatformImage,
  type TarEntry,
  type TestImage,
  tar,
} from '../lib/images.ts';
import { openImages, type RealImages, tempDir } from './images-fixture.ts';

const run = promisify(execFile);
const plain: ImportOptions = { name: 'mine:1', message: '', changes: [] };

async function load(engine: RealImages, image: TestImage, name: string): Promise<void> {
  await all(engine.images.load(Readable.from([layoutTar(image, name)]), { quiet: true }));
}

async function saveTo(engine: RealImages, file: string, ...names: string[]): Promise<void> {
  const { signal } = new AbortController();
  writeFileSync(file, Buffer.concat(await Array.fromAsync(await engine.images.save(names, { signal }))));
}

for (const prefer of ['auto', 'overlay'] as const)
  test(`skopeo reads what save writes, as OCI layout and as docker-archive (${prefer})`, async () => {
    await using dir = await tempDir();
    await using engine = await openImages(dir.path, prefer);
    const file = join(dir.path, 'saved.tar');
    for (const compression of ['gzip', 'zstd', 'none'] as const) {
      const image = busyboxImage({ compression, extraLayers: 1 });
      await load(engine, image, 'web:1');
      await saveTo(engine, file, 'web:1');
      const layout = join(dir.path, `oci-${compression}`);
      await run('skopeo', [
        '--insecure-policy',
        'copy',
        '--quiet',
        '--preserve-digests',
        `oci-archive:${file}`,
        `oci:${layout}:x`,
      ]);
      for (const [digest, bytes] of image.blobs)
        assert.deepEqual(readFileSync(join(layout, 'blobs/sha256', hexOf(digest))), bytes, digest);
      const { stdout } = await run('skopeo', [
        '--insecure-policy',
        'inspect',
        '--config',
        `docker-archive:${file}:web:1`,
      ]);
      const config = JSON.parse(stdout) as { rootfs: { diff_ids: string[] } };
      assert.deepEqual(config.rootfs.diff_ids, (await engine.images.get('web:1')).layers);
      await run('skopeo', [
        '--insecure-policy',
        'copy',
        '--quiet',
        `docker-archive:${file}:web:1`,
        `dir:${join(dir.path, `dir-${compression}`)}`,
      ]);
      await engine.images.remove('web:1', { force: true, prune: true });
    }
  });

test('an index with every platform comes back by load with the same digest', async () => {
  await using dir = await tempDir();
  await using engine = await openImages(join(dir.path, 'one'));
  await using other = await openImages(join(dir.path, 'two'));
  const image = multiPlatformImage();
  await load(engine, image, 'many:1');
  const file = join(dir.path, 'saved.tar');
  await saveTo(engine, file, 'many:1');
  await all(other.images.load(Readable.from([readFileSync(file)]), { quiet: true }));
  assert.equal((await other.images.get('many:1')).id, image.descriptor.digest);
  assert.deepEqual([...(await other.content.digests())].sort(), [...image.blobs.keys()].sort());
});

test('import takes a tar as tar makes it, in every compression, and its files are the image', async () => {
  await using dir = await tempDir();
  await using engine = await openImages(dir.path);
  const body = tar([...busyboxFiles(), { name: 'etc/hello', content: 'hello\n' }]);
  const by = (program: string) => execFileSync(program, ['-c'], { input: body, maxBuffer: 64 * 1024 * 1024 });
  for (const bytes of [body, gzipSync(body), zstdCompressSync(body), by('xz'), by('bzip2')]) {
    const [line] = await all(engine.images.import(Readable.from([bytes]), plain));
    const image = await engine.images.get(line!.status!);
    await using view = await engine.snapshots.view(image.layers);
    assert.equal(readFileSync(join(view.path, 'etc/hello'), 'utf8'), 'hello\n');
  }
});

test('S05 import refuses what leaves its root, and keeps nothing', async () => {
  await using dir = await tempDir();
  await using engine = await openImages(dir.path);
  const canary = join(tmpdir(), 'berth-import-escaped');
  const hostile: Readonly<Record<string, readonly TarEntry[]>> = {
    dotdot: [{ name: '../../../../../../../../tmp/berth-import-escaped', content: 'out' }],
    hardlink: [{ name: 'stolen', type: 'hardlink', target: '../../../../../../../etc/hostname' }],
    cut: [],
  };
  for (const [what, entries] of Object.entries(hostile)) {
    const body = what === 'cut' ? tar([{ name: 'a', content: Buffer.alloc(5000) }]).subarray(0, 2000) : tar(entries);
    await assert.rejects(all(engine.images.import(Readable.from([body]), plain)), what);
  }
  await assert.rejects(all(engine.images.import(Readable.from([Buffer.from('no tar at all'.repeat(100))]), plain)));
  assert.equal(existsSync(canary), false);
  assert.deepEqual(await engine.images.list(), []);
  assert.deepEqual(await engine.content.digests(), []);
  assert.deepEqual(engine.snapshots.layers(), []);
});

test('import from the web: progress and all; what is not there, and what is cut in the middle, leave nothing', async () => {
  await using dir = await tempDir();
  await using engine = await openImages(dir.path);
  const body = tar([{ name: 'a', content: Buffer.alloc(300_000, 1) }]);
  const server = createServer((request, response) => {
    if (request.url === '/moved') response.writeHead(302, { location: '/good' }).end();
    else if (request.url === '/good') response.end(body);
    else if (request.url === '/cut') {
      response.writeHead(200, { 'content-length': body.length });
      response.write(body.subarray(0, 100_000), () => response.destroy());
    } else response.writeHead(404).end('not here');
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const at = (path: string) => new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/${path}`);
  try {
    for (const path of ['good', 'moved']) {
      const lines = await all(engine.images.import(at(path), plain));
      assert.equal(lines[0]!.status, `Downloading from ${at(path).href}`);
      assert.equal((await engine.images.get('mine:1')).id, lines.at(-1)!.status);
    }
    await engine.images.remove('mine:1', { force: true, prune: true });
    await engine.images.prune({ all: true, matches: () => true });
    await assert.rejects(all(engine.images.import(at('nosuch'), plain)), { kind: 'not-found' });
    await assert.rejects(all(engine.images.import(at('cut'), plain)), /connection was cut/);
    assert.deepEqual(await engine.content.digests(), []);
  } finally {
    server.closeAllConnections();
    server.close();
  }
});

test('R05 a disk that is full: import says which path, keeps nothing, and works once there is room', async () => {
  const disk = mkdtempSync(join(tmpdir(), 'berth-import-full-'));
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=8m', 'tmpfs', disk]);
  try {
    mkdirSync(join(disk, 'root'));
    await using engine = await openImages(join(disk, 'root'));
    const body = (bytes: number) => tar([{ name: 'big', content: Buffer.alloc(bytes, 1) }]);
    await assert.rejects(all(engine.images.import(Readable.from([body(12_000_000)]), plain)), (error: Error) => {
      assert.match(error.message, new RegExp(`write ${disk}.*no space left on device`));
      return true;
    });
    assert.deepEqual(await engine.content.digests(), []);
    assert.deepEqual(readdirSync(join(disk, 'root/content/ingest')), []);
    await all(engine.images.import(Readable.from([body(1_000_000)]), plain));
    assert.equal((await engine.images.list()).length, 1);
  } finally {
    execFileSync('umount', ['-l', disk]);
    rmSync(disk, { recursive: true });
  }
});
