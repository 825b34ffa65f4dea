/** What images do to a whole engine: bytes on its disk, clients that vanish, crashes in the middle. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { connect } from 'node:net';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { busyboxArchive } from '../lib/busybox-image.ts';
import { startBerth, type TestEngine } from '../lib/engines.ts';
import { busyboxImage, layoutTar, makeImage, tar } from '../lib/images.ts';

const noise = (name: string, bytes: number) => [{ name, content: randomBytes(bytes) }];

function load(engine: TestEngine, image: Parameters<typeof layoutTar>[0], name: string): void {
  const file = join(engine.dir, 'load.tar');
  writeFileSync(file, layoutTar(image, name));
  engine.must('load', '-q', '-i', file);
}

async function until(what: string, holds: () => boolean): Promise<void> {
  for (const deadline = Date.now() + 20_000; Date.now() < deadline; await sleep(20)) if (holds()) return;
  assert.fail(`${what}: not within 20 seconds`);
}

const blobs = (engine: TestEngine) => readdirSync(join(engine.dir, 'root/content/blobs/sha256')).length;
const ingests = (engine: TestEngine) => readdirSync(join(engine.dir, 'root/content/ingest')).length;

describe('R30 what `system df` adds up to is what `du` says', () => {
  for (const snapshotter of ['erofs', 'overlay'])
    test(`with ${snapshotter}: images, containers, volumes, and after each is gone`, async () => {
      await using engine = await startBerth({ flags: ['--snapshotter', snapshotter] });
      const base = busyboxImage({ layers: [noise('base', 12_000_000)] });
      load(engine, base, 'base:1');
      load(engine, busyboxImage({ layers: [noise('own', 9_000_000)], compression: 'none' }), 'plain:1');
      engine.must('load', '-q', '-i', busyboxArchive({ name: 'bb:1' }));
      engine.must('volume', 'create', 'data');
      const dd = (file: string, megabytes: number) => [
        'dd',
        'if=/dev/urandom',
        `of=${file}`,
        'bs=1M',
        `count=${megabytes}`,
      ];
      engine.must('run', '--name', 'writes', '-v', 'data:/data', 'bb:1', ...dd('/data/file', 15));
      engine.must('run', '--name', 'more', 'base:1', ...dd('/file', 10));

      const compare = async (what: string) => {
        const df = JSON.parse((await engine.api('GET', '/system/df')).body) as {
          LayersSize: number;
          Containers: { SizeRw: number }[];
          Volumes: { UsageData: { Size: number } }[];
        };
        const sum =
          df.LayersSize +
          df.Containers.reduce((total, { SizeRw }) => total + SizeRw, 0) +
          df.Volumes.reduce((total, { UsageData }) => total + UsageData.Size, 0);
        // Records, logs and the compiled monitor are the engine's own; mounts are no files of the disk.
        const own = ['engine.db*', 'monitor', 'containers', 'mounts', 'views'].map((name) => `--exclude=${name}`);
        // Containers' writable layers stand below a folder of that name too.
        const du = (path: string, ...options: string[]) =>
          Number(execFileSync('du', ['-sxB1', ...options, path], { encoding: 'utf8' }).split('\t')[0]);
        const root = join(engine.dir, 'root');
        const all = du(root, ...own) + du(join(root, 'snapshots/containers'));
        assert.ok(Math.abs(sum - all) <= all / 100 + 150_000, `${what}: df says ${sum}, du ${all}`);
      };
      await compare('everything');
      engine.must('rm', '-v', 'writes', 'more');
      await until(
        'the writable layers are gone',
        () => readdirSync(join(engine.dir, 'root/snapshots/trash')).length === 0,
      );
      await compare('without containers');
      engine.must('volume', 'rm', 'data');
      engine.must('rmi', 'plain:1');
      await compare('without a volume and an image');
      const { SpaceReclaimed } = JSON.parse(
        (await engine.api('POST', `/images/prune?filters=${encodeURIComponent('{"dangling":["false"]}')}`)).body,
      ) as { SpaceReclaimed: number };
      assert.ok(SpaceReclaimed > 24_000_000, String(SpaceReclaimed));
      assert.equal(blobs(engine), 0);
    });
});

test('R14 a client that saves and reads nothing holds up nobody, and costs little memory', async () => {
  await using engine = await startBerth();
  load(engine, makeImage({ compression: 'none', layers: [noise('big', 60_000_000)] }), 'big:1');
  const memory = () => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${engine.pid}/status`, 'utf8'))![1]) * 1024;
  const before = memory();
  const stuck = Array.from({ length: 5 }, () => {
    const socket = connect(engine.socket);
    socket.pause();
    socket.write('GET /images/big:1/get HTTP/1.1\r\nHost: x\r\n\r\n');
    return socket;
  });
  await sleep(1500);
  assert.ok(memory() - before < 60_000_000, `${memory() - before} bytes more`);
  // What they read stays for them; its name can go.
  engine.must('rmi', 'big:1');
  assert.ok(blobs(engine) > 0);
  for (const socket of stuck) socket.destroy();
  await until('what nobody needs any more is gone', () => blobs(engine) === 0);
});

test('a client that vanishes in the middle of an import leaves nothing', async () => {
  await using engine = await startBerth();
  const body = tar(noise('big', 20_000_000));
  const sent = request({ socketPath: engine.socket, method: 'POST', path: '/images/create?fromSrc=-&repo=imp' });
  sent.on('error', () => {});
  sent.write(body.subarray(0, 9_000_000));
  await until('the upload has begun', () => ingests(engine) > 0);
  sent.destroy();
  await until('what came is gone', () => ingests(engine) === 0 && blobs(engine) === 0);
  assert.equal(engine.must('images', '-aq'), '');
});

test('R01 killed in the middle of an import and of a save: the next start finds nothing half done', async () => {
  await using engine = await startBerth();
  load(engine, makeImage({ compression: 'none', layers: [noise('big', 60_000_000)] }), 'big:1');
  const kept = blobs(engine);
  const sent = request({ socketPath: engine.socket, method: 'POST', path: '/images/create?fromSrc=-&repo=imp' });
  sent.on('error', () => {});
  sent.write(tar(noise('big', 20_000_000)).subarray(0, 9_000_000));
  const reader = connect(engine.socket);
  reader.on('error', () => {});
  reader.pause();
  reader.write('GET /images/big:1/get HTTP/1.1\r\nHost: x\r\n\r\n');
  await until('the upload has begun', () => ingests(engine) > 0);
  engine.must('rmi', 'big:1');
  await engine.kill();
  reader.destroy();
  assert.ok(ingests(engine) > 0 && blobs(engine) === kept);
  await engine.restart();
  await until('what was left is gone', () => ingests(engine) === 0 && blobs(engine) === 0);
  assert.equal(engine.must('images', '-aq'), '');
});

test('a save that is cut by a damaged blob ends without its end, so that no client takes it for whole', async () => {
  await using engine = await startBerth();
  const image = makeImage({ compression: 'none', layers: [noise('big', 3_000_000)] });
  load(engine, image, 'big:1');
  const largest = [...image.blobs].sort(([, a], [, b]) => b.length - a.length)[0]![0];
  const path = join(engine.dir, 'root/content/blobs/sha256', largest.slice(7));
  writeFileSync(path, randomBytes(image.blobs.get(largest)!.length));
  const failed = engine.docker(['save', '-o', join(engine.dir, 'out.tar'), 'big:1']);
  assert.equal(failed.status, 1);
  assert.match(failed.stderr, /unexpected EOF/);
  assert.match(engine.log(), /digest mismatch/);
});

test('all tags of a repository are pulled where none is given', async () => {
  await using engine = await startBerth();
  const { startRegistry } = await import('../lib/registry.ts');
  await using registry = await startRegistry({ netns: engine.netns });
  for (const tag of ['1', '2']) await registry.push(makeImage({ layers: [noise(tag, 1000)] }), `app:${tag}`);
  engine.must('pull', '-q', '-a', `${registry.host}/app`);
  const names = engine.must('images', '--format', '{{.Tag}}').split('\n').sort();
  assert.deepEqual(names, ['1', '2']);
  const child = engine.docker(['pull', '-a', `${registry.host}/app:1`]);
  assert.equal(child.status, 1);
});
