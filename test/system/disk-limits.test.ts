/**
 * Containers and volumes of limited size, by whatever the file system below the engine has: here a file with an ext4 of its own;
 * in the virtual machine (test/vm/limits.test.ts) project quotas too.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { DiskLimits } from '../../src/quotas/disk-limits.ts';
import { busyboxArchive } from '../lib/busybox-image.ts';
import { startBerth, type TestEngine } from '../lib/engines.ts';

test('a disk that is full says so, and nothing is left on it', async () => {
  const place = mkdtempSync(join(tmpdir(), 'berth-full-'));
  assert.equal(spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=128k', 'none', place]).status, 0);
  try {
    const home = join(place, 'home');
    mkdirSync(home);
    await assert.rejects(new DiskLimits().limit(home, 20 << 20), {
      kind: 'unavailable',
      message: `limit ${home}: no space left on device`,
      hint: /berth prune/,
    });
    assert.deepEqual(readdirSync(home), []);
  } finally {
    spawnSync('umount', ['-l', place]);
    rmdirSync(place);
  }
});

describe('disk limits', () => {
  let engine: TestEngine;
  const devices = () =>
    readdirSync('/sys/block').filter((name) => {
      const file = `/sys/block/${name}/loop/backing_file`;
      return existsSync(file) && readFileSync(file, 'utf8').startsWith(engine.dir);
    });
  const until = async (what: string, is: () => boolean) => {
    for (const end = Date.now() + 60_000; !is(); await new Promise((done) => setTimeout(done, 50)))
      assert.ok(Date.now() < end, what);
  };
  const total = (path: string) => `df -k ${path} | awk 'END { print $2 }'`;
  const overfill = (path: string) => `dd if=/dev/zero of=${path} bs=1M count=40`;

  before(async () => {
    engine = await startBerth();
    const data = { name: 'data:1', config: { Volumes: { '/data': {} } }, files: { 'data/one': 'from the image' } };
    for (const image of [{ name: 'bb:1' }, data]) engine.must('load', '-q', '-i', busyboxArchive(image));
  });
  after(() => engine[Symbol.asyncDispose]());

  test('a container has what it may have, and no more, and what it shows is right', async () => {
    engine.must('run', '-d', '--name', 'small', '--storage-opt', 'size=20m', 'bb:1', 'sleep', '100000');
    engine.must('run', '-d', '--name', 'other', '--storage-opt', 'size=30m', 'bb:1', 'sleep', '100000');
    assert.equal(engine.must('inspect', '-f', '{{json .HostConfig.StorageOpt}}', 'small'), '{"size":"20m"}');
    assert.equal(engine.must('exec', 'small', 'sh', '-c', total('/')), '20480');
    const full = engine.docker(['exec', 'small', 'sh', '-c', overfill('/big')]);
    assert.notEqual(full.status, 0);
    assert.match(full.stderr, /No space left on device|Disk quota exceeded/);
    engine.must('exec', 'other', 'sh', '-c', 'head -c 10000000 /dev/zero >/fits');
    const size = Number(
      /"SizeRw":(\d+)/.exec((await engine.api('GET', '/v1.47/containers/small/json?size=1')).body)?.[1],
    );
    assert.ok(size > 10_000_000 && size <= 20 * 1024 ** 2, String(size));
    assert.match(engine.must('diff', 'small'), /^A \/big$/m);
    engine.must('exec', 'small', 'rm', '/big');
    engine.must('exec', 'small', 'sh', '-c', 'echo kept >/kept');
  });

  test('a volume has a size, is empty but for what the image has, and outlives its users', () => {
    assert.equal(engine.must('volume', 'create', '-o', 'size=10m', 'vol'), 'vol');
    assert.equal(engine.must('volume', 'inspect', '-f', '{{json .Options}}', 'vol'), '{"size":"10m"}');
    const run = (...args: string[]) => engine.docker(['run', '--rm', '-v', 'vol:/data', 'data:1', ...args]);
    assert.equal(run('sh', '-c', 'ls -A /data').stdout, 'one\n');
    assert.equal(run('sh', '-c', total('/data')).stdout, '10240\n');
    assert.notEqual(run('sh', '-c', overfill('/data/big')).status, 0);
    assert.equal(run('sh', '-c', 'rm /data/big; cat /data/one').stdout, 'from the image');
  });

  test('kill -9 and a restart leave what runs alone, and find it all again', async () => {
    const held = devices();
    await engine.kill();
    mkdirSync(join(engine.dir, 'root/volumes/.creating-half'));
    writeFileSync(join(engine.dir, 'root/volumes/.creating-half/limited.ext4'), 'half');
    mkdirSync(join(engine.dir, 'root/snapshots/containers/half'));
    writeFileSync(join(engine.dir, 'root/snapshots/containers/half/limited.ext4'), 'half');
    await engine.restart();
    assert.equal(existsSync(join(engine.dir, 'root/volumes/.creating-half')), false);
    assert.equal(existsSync(join(engine.dir, 'root/snapshots/containers/half')), false);
    assert.deepEqual(devices(), held);
    assert.equal(engine.must('exec', 'small', 'cat', '/kept'), 'kept');
    engine.must('restart', '-t', '0', 'small');
    assert.equal(engine.must('exec', 'small', 'cat', '/kept'), 'kept');

    engine.must('stop', '-t', '0', 'other');
    await engine.stop();
    // Of what runs alone; that of the volume and of the stopped one are given back.
    await until('devices', () => devices().length <= 1);
    await engine.restart();
    assert.equal(devices().length, held.length === 0 ? 0 : 2);
    assert.equal(engine.must('run', '--rm', '-v', 'vol:/data', 'bb:1', 'cat', '/data/one'), 'from the image');
    engine.must('start', 'other');
    assert.equal(engine.must('exec', 'other', 'sh', '-c', 'wc -c </fits'), '10000000');
    engine.must('cp', 'other:/fits', join(engine.dir, 'fits'));
    assert.equal(statSync(join(engine.dir, 'fits')).size, 10_000_000);
  });

  test('what is no size is refused in Docker’s words, and nothing is made', () => {
    const refused: readonly (readonly [option: string, RegExp])[] = [
      ['size=x', /invalid size: 'x'/],
      ['size=1x', /invalid suffix: 'x'/],
      // Not where there are project quotas.
      ...(devices().length > 0
        ? [['size=1k', /1024 bytes are too few for a file system: 1m is the least/] as const]
        : []),
      ['colour=1', /Unknown option colour/],
    ];
    for (const [option, message] of refused)
      assert.match(engine.docker(['create', '--storage-opt', option, 'bb:1']).stderr, message);
    assert.match(
      engine.docker(['volume', 'create', '-o', 'size=1e', 'tiny']).stderr,
      /create tiny: invalid suffix: 'e'/,
    );
    assert.equal(engine.must('volume', 'ls', '-q'), 'vol');
    assert.equal(engine.must('ps', '-aq').split('\n').length, 2);
  });

  test('a kill amid creates and removals leaves nothing', async () => {
    for (const pause of [15, 40, 80, 140]) {
      const HostConfig = { StorageOpt: { size: '20m' } };
      const asked = [1, 2].flatMap((n) => [
        engine.api('POST', '/v1.47/containers/create', { Image: 'bb:1', HostConfig }),
        engine.api('POST', '/v1.47/volumes/create', { Name: `v${pause}${n}`, DriverOpts: { size: '10m' } }),
        engine.api('DELETE', `/v1.47/volumes/v${pause}${n}`),
      ]);
      const ended = Promise.allSettled(asked);
      await new Promise((done) => setTimeout(done, pause));
      await engine.kill();
      await ended;
      await engine.restart();
      // What is there is whole, each with its limit.
      for (const name of engine
        .must('volume', 'ls', '-q')
        .split('\n')
        .filter((name) => name !== 'vol'))
        if (name !== '') engine.must('run', '--rm', '-v', `${name}:/data`, 'bb:1', 'touch', '/data/x');
    }
  });

  test('nothing is left of what is removed', async () => {
    engine.must('rm', '-f', ...engine.must('ps', '-aq').split('\n'));
    engine.must('volume', 'rm', ...engine.must('volume', 'ls', '-q').split('\n'));
    await until('devices', () => devices().length === 0);
    const in_ = (folder: string) => readdirSync(join(engine.dir, 'root', folder));
    await until('files', () => in_('snapshots/trash').length === 0);
    assert.deepEqual([in_('snapshots/limited'), in_('snapshots/containers'), in_('volumes')], [[], [], []]);
  });
});
