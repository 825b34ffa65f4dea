import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { request } from 'node:http';
import { after, before, suite, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import { packTar } from '../../src/layers/tar-writer.ts';
import { busyboxArchive } from '../lib/busybox-image.ts';
import { dockerCli, startBerth, type TestEngine } from '../lib/engines.ts';
import { openFiles } from '../lib/leaks.ts';

async function until(check: () => boolean | Promise<boolean>, what: string): Promise<void> {
  for (let round = 0; round < 200; round++) {
    if (await check()) return;
    await sleep(50);
  }
  assert.fail(`still not: ${what}`);
}

/** Mounts of anything below the engine's directory, as another process sees them. */
const mounts = (engine: TestEngine) =>
  readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .map((line) => line.split(' ')[4] ?? '')
    .filter((target) => target.startsWith(`${engine.dir}/`))
    .sort();

/** A client that asks for an archive and takes its beginning only; it is destroyed by whoever called. */
function stuckReader(engine: TestEngine, path: string): Promise<() => void> {
  return new Promise((resolve, reject) => {
    const sent = request({ socketPath: engine.socket, path }, (response) => {
      response.on('error', () => {});
      response.once('readable', () => {
        response.read(1);
        resolve(() => sent.destroy());
      });
    });
    sent.on('error', reject);
    sent.end();
  });
}

/** A client that sends the beginning of an archive of one large file. */
function stuckWriter(engine: TestEngine, path: string): () => void {
  const sent = request({ socketPath: engine.socket, path, method: 'PUT' });
  sent.on('error', () => {});
  const header = packTar([{ name: 'large', content: '' }]).subarray(0, 512);
  header.write('00100000000\0', 124);
  header.fill(' ', 148, 156);
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
  sent.write(Buffer.concat([header, Buffer.alloc(1_000_000, 'x')]));
  return () => sent.destroy();
}

for (const snapshotter of ['erofs', 'overlay']) {
  suite(`the files of containers, with ${snapshotter}`, () => {
    let engine: TestEngine;
    const archive = (name: string, path: string) => `/containers/${name}/archive?path=${path}`;
    const there = async (name: string, path: string) => (await engine.api('HEAD', archive(name, path))).status === 200;
    before(async () => {
      engine = await startBerth({ flags: ['--snapshotter', snapshotter], name: `berth-${snapshotter}` });
      engine.must('load', '-q', '-i', busyboxArchive({ name: 'bb:1' }));
    });
    after(async () => {
      const left = engine.must('ps', '-aq').split('\n').filter(Boolean);
      if (left.length > 0) engine.must('rm', '-f', '-v', ...left);
      // Fails for whatever is left of mounts, processes, cgroups and files.
      await engine[Symbol.asyncDispose]();
    });

    test('clients that stop reading or sending, and vanish, leave nothing', async () => {
      engine.must(
        'run',
        '-d',
        '--name',
        'vanish',
        'bb:1',
        'sh',
        '-c',
        'dd if=/dev/zero of=/big bs=1M count=64 2>/dev/null; sleep 1000',
      );
      engine.must('create', '--name', 'stopped', 'bb:1', 'true');
      await until(
        async () => (await engine.api('HEAD', archive('vanish', '/big'))).body === '' && there('vanish', '/big'),
        'the file',
      );
      await engine.api('PUT', archive('stopped', '/root'), packTar([{ name: 'big', content: 'x'.repeat(20_000_000) }]));
      // Threads that are kept for a while have descriptors of their own.
      const warm = await Promise.all(Array.from({ length: 8 }, () => stuckReader(engine, archive('vanish', '/big'))));
      for (const leave of warm) leave();
      await sleep(200);
      const before = openFiles(engine.pid);
      const inside = mounts(engine);
      const leaves = [
        ...(await Promise.all(Array.from({ length: 20 }, () => stuckReader(engine, archive('vanish', '/big'))))),
        ...(await Promise.all(Array.from({ length: 10 }, () => stuckReader(engine, archive('stopped', '/root'))))),
        ...(await Promise.all(Array.from({ length: 5 }, () => stuckReader(engine, '/containers/vanish/export')))),
        ...Array.from({ length: 10 }, () => stuckWriter(engine, archive('vanish', '/tmp'))),
        ...Array.from({ length: 10 }, () => stuckWriter(engine, archive('stopped', '/root'))),
      ];
      await until(() => there('stopped', '/root/large'), 'a writer began');
      // Others are served meanwhile, and nothing of it is mounted where anybody sees it.
      assert.ok(await there('vanish', '/etc/passwd'));
      assert.deepEqual(mounts(engine), inside);
      for (const leave of leaves) leave();
      await until(
        () => openFiles(engine.pid) <= before + 2,
        `descriptors come back to ${before}: ${openFiles(engine.pid)}`,
      );
      await until(
        async () => !(await there('stopped', '/root/large')) && !(await there('vanish', '/tmp/large')),
        'halves go',
      );
      engine.must('rm', '-f', 'vanish', 'stopped');
    });

    test('a container starts, stops, starts and goes while its files are read and written', async () => {
      engine.must('create', '--name', 'busy', 'bb:1', 'sleep', '1000');
      await engine.api('PUT', archive('busy', '/root'), packTar([{ name: 'big', content: 'x'.repeat(30_000_000) }]));
      const leave = await stuckReader(engine, archive('busy', '/root'));
      engine.must('start', 'busy');
      await engine.api('PUT', archive('busy', '/root'), packTar([{ name: 'while', content: 'it runs' }]));
      assert.equal(engine.must('exec', 'busy', 'cat', '/root/while'), 'it runs');
      engine.must('exec', 'busy', 'sh', '-c', 'echo inside >/root/inside');
      engine.must('kill', 'busy');
      await engine.api('PUT', archive('busy', '/root'), packTar([{ name: 'after', content: 'it stopped' }]));
      assert.ok(await there('busy', '/root/inside'));
      engine.must('start', 'busy');
      assert.equal(
        engine.must('exec', 'busy', 'cat', '/root/while', '/root/after', '/root/inside'),
        'it runsit stoppedinside',
      );
      const another = await stuckReader(engine, '/containers/busy/export');
      engine.must('rm', '-f', 'busy');
      leave();
      another();
      assert.equal((await engine.api('HEAD', archive('busy', '/root'))).status, 404);
    });

    test('the engine ends while archives are read and written, and leaves nothing', { timeout: 60_000 }, async () => {
      engine.must('create', '--name', 'ending', 'bb:1', 'true');
      await engine.api('PUT', archive('ending', '/root'), packTar([{ name: 'big', content: 'x'.repeat(30_000_000) }]));
      const leaves = [
        await stuckReader(engine, archive('ending', '/root')),
        await stuckReader(engine, '/containers/ending/export'),
        stuckWriter(engine, archive('ending', '/tmp')),
      ];
      await until(() => there('ending', '/tmp/large'), 'the writer began');
      assert.equal(await engine.stop(), 0);
      assert.deepEqual(mounts(engine), []);
      for (const leave of leaves) leave();
      await engine.restart();
      engine.must('rm', 'ending');
    });

    test('S02: programs and libraries of the image have no part in it', async () => {
      engine.must(
        'run',
        '-d',
        '--name',
        'trojan',
        'bb:1',
        'sh',
        '-c',
        'mkdir -p /usr/bin /lib; for p in xz bzip2 gzip unpigz zstd tar cp; do printf "#!/bin/sh\\ntouch /canary\\n" >/usr/bin/$p; cp /usr/bin/$p /lib/libnss_files.so.2; chmod 755 /usr/bin/$p; done; echo ready; sleep 1000',
      );
      await until(() => engine.must('logs', 'trojan').includes('ready'), 'ready');
      const plain = packTar([{ name: 'f', content: 'x' }]);
      const { spawnSync } = await import('node:child_process');
      for (const bytes of [
        plain,
        gzipSync(plain),
        ...['xz', 'bzip2'].map((p) => spawnSync(p, ['-c'], { input: plain }).stdout),
      ])
        assert.equal((await engine.api('PUT', archive('trojan', '/tmp'), bytes)).status, 200);
      assert.equal((await engine.api('GET', archive('trojan', '/usr'))).status, 200);
      assert.ok(!(await there('trojan', '/canary')));
      engine.must('rm', '-f', 'trojan');
    });

    test('diff and commit: whiteouts, replaced directories, extended attributes, hard links', async () => {
      engine.must(
        'run',
        '--name',
        'layer',
        'bb:1',
        'sh',
        '-c',
        'rm -rf /bin/vi /home /etc; mkdir /etc; echo new >/etc/passwd; ln /etc/passwd /etc/linked; rm -rf /var; echo file >/var',
      );
      const capability = Buffer.from('0100000200200000000000000000000000000000', 'hex');
      await engine.api(
        'PUT',
        archive('layer', '/'),
        packTar([{ name: 'cap', content: 'x', mode: 0o755, xattrs: new Map([['security.capability', capability]]) }]),
      );
      assert.deepEqual(engine.must('diff', 'layer').split('\n').sort(), [
        'A /cap',
        'A /etc/linked',
        'C /bin',
        'C /etc',
        'C /etc/passwd',
        'C /var',
        'D /bin/vi',
        'D /etc/group',
        'D /home',
      ]);
      engine.must('commit', 'layer', 'layer:1');
      assert.equal(
        engine.must(
          'run',
          '--rm',
          '--name',
          'look',
          'layer:1',
          'sh',
          '-c',
          'ls /bin/vi /home /etc 2>/dev/null; cat /var; stat -c %h /etc/passwd',
        ),
        '/etc:\nhostname\nhosts\nlinked\nmtab\npasswd\nresolv.conf\nfile\n2',
      );
      engine.must('create', '--name', 'second', 'layer:1', 'true');
      const { body } = await engine.api('GET', archive('second', '/cap'));
      assert.match(body, /SCHILY\.xattr\.security\.capability=/);
      assert.equal(engine.must('diff', 'second'), '');
      engine.must('rm', 'layer', 'second');
      engine.must('rmi', 'layer:1');
    });

    test('R01: the engine is killed in the middle: nothing stays mounted, and the next one goes on', {
      timeout: 120_000,
    }, async () => {
      engine.must('create', '--name', 'killed', '-v', 'killedvol:/vol', 'bb:1', 'sleep', '1000');
      engine.must('run', '-d', '--name', 'runs', 'bb:1', 'sleep', '1000');
      await engine.api('PUT', archive('killed', '/root'), packTar([{ name: 'big', content: 'x'.repeat(30_000_000) }]));
      const inside = mounts(engine);
      for (let round = 0; round < 3; round++) {
        const leaves = [
          await stuckReader(engine, archive('killed', '/root')),
          await stuckReader(engine, '/containers/runs/export'),
        ];
        const writer = stuckWriter(engine, archive('killed', '/vol'));
        const committing: ChildProcess = spawn(dockerCli(), ['commit', 'killed', 'killed:1'], {
          env: engine.env,
          stdio: 'ignore',
        });
        const ended = new Promise((resolve) => committing.once('close', resolve));
        await sleep(round * 60);
        await engine.kill();
        // Of the running container's root and what it stands on; and no more.
        for (const target of mounts(engine)) assert.ok(inside.includes(target), `mounted: ${target}`);
        for (const leave of [...leaves, writer]) leave();
        await ended;
        await engine.restart();
        assert.equal(engine.must('exec', 'runs', 'echo', 'runs'), 'runs');
        assert.ok(await there('killed', '/root/big'));
      }
      engine.must('start', 'killed');
      assert.equal(engine.must('exec', 'killed', 'sh', '-c', 'wc -c </root/big'), '30000000');
      engine.must('rm', '-f', 'killed', 'runs');
      engine.must('volume', 'rm', 'killedvol');
      engine.docker(['rmi', 'killed:1']);
    });
  });
}
