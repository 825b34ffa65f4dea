import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { onBothEngines } from '../lib/both-engines.ts';
import type { TestEngine } from '../lib/engines.ts';

async function made(engine: TestEngine, body: Record<string, unknown>) {
  const answer = await engine.api('POST', '/v1.51/volumes/create', body);
  return { status: answer.status, ...(JSON.parse(answer.body) as Record<string, unknown>) };
}

/** What is mounted at a volume on the host. */
const mountsOf = (engine: TestEngine, name: string) =>
  readFileSync(`/proc/${engine.pid}/mounts`, 'utf8')
    .split('\n')
    .filter((line) => line.split(' ')[1]?.endsWith(`/volumes/${name}/_data`)).length;

const withData = {
  name: 'data:1',
  config: { Volumes: { '/data': {} } },
  files: { 'data/one': 'from the image', 'data/sub/two': '2' },
};

onBothEngines(
  'volumes',
  { runtimes: ['crun', 'runc'], images: [{ name: 'bb:1' }, withData] },
  ({ same, berthOnly }) => {
    const remove = (engine: TestEngine) => engine.must('volume', 'prune', '-af');

    same('options of local: a tmpfs, for as long as somebody uses it', (engine) => {
      engine.must(
        'volume',
        'create',
        '-o',
        'type=tmpfs',
        '-o',
        'device=tmpfs',
        '-o',
        'o=size=1m,uid=1000,nosuid',
        'mem',
      );
      assert.deepEqual(JSON.parse(engine.must('volume', 'inspect', '-f', '{{json .Options}}', 'mem')), {
        device: 'tmpfs',
        o: 'size=1m,uid=1000,nosuid',
        type: 'tmpfs',
      });
      assert.equal(mountsOf(engine, 'mem'), 0);
      engine.must('run', '-d', '--name', 'one', '-v', 'mem:/m', 'bb:1', 'sleep', '1000');
      assert.match(
        engine.must('exec', 'one', 'grep', ' /m ', '/proc/mounts'),
        /^tmpfs \/m tmpfs rw,nosuid.*size=1024k.*uid=1000/,
      );
      engine.must(
        'run',
        '-d',
        '--name',
        'two',
        '--mount',
        'type=volume,src=mem,dst=/m,readonly',
        'bb:1',
        'sleep',
        '1000',
      );
      engine.must('exec', 'one', 'sh', '-c', 'echo shared > /m/file');
      assert.equal(engine.must('exec', 'two', 'cat', '/m/file'), 'shared');
      assert.equal(mountsOf(engine, 'mem'), 1);
      engine.must('rm', '-f', 'one');
      assert.equal(engine.must('exec', 'two', 'cat', '/m/file'), 'shared');
      assert.match(
        engine.docker(['volume', 'rm', '-f', 'mem']).stderr,
        /remove mem: volume is in use - \[[0-9a-f]{64}\]/,
      );
      engine.must('rm', '-f', 'two');
      engine.must('volume', 'rm', 'mem');
      assert.equal(mountsOf(engine, 'mem'), 0);
    });

    same('options of local: a directory of the host, which outlives the volume', (engine) => {
      const device = join(engine.dir, 'bound');
      mkdirSync(device);
      writeFileSync(join(device, 'file'), 'host\n');
      engine.must('volume', 'create', '-o', 'type=none', '-o', 'o=bind', '-o', `device=${device}`, 'bound');
      assert.equal(
        engine.must('run', '--rm', '-v', 'bound:/b', 'bb:1', 'sh', '-c', 'cat /b/file; echo > /b/made'),
        'host',
      );
      assert.deepEqual(readdirSync(device).sort(), ['file', 'made']);
      engine.must('volume', 'create', '-o', 'type=none', '-o', 'o=bind,ro', '-o', `device=${device}`, 'only');
      assert.match(
        engine.docker(['run', '--rm', '-v', 'only:/b', 'bb:1', 'touch', '/b/x']).stderr,
        /Read-only file system/,
      );
      engine.must('volume', 'rm', 'bound', 'only');
      assert.deepEqual(readdirSync(device).sort(), ['file', 'made']);
      // An empty one is filled from the image.
      rmSync(device, { recursive: true });
      mkdirSync(device);
      engine.must(
        'run',
        '--rm',
        '--mount',
        `type=volume,src=fill,dst=/data,volume-opt=type=none,volume-opt=o=bind,volume-opt=device=${device}`,
        'data:1',
        'true',
      );
      assert.equal(readFileSync(join(device, 'one'), 'utf8'), 'from the image');
      assert.deepEqual(readdirSync(device).sort(), ['one', 'sub']);
      remove(engine);
      assert.equal(engine.must('volume', 'ls', '-q'), 'fill', 'a volume with options is not pruned');
      engine.must('volume', 'rm', 'fill');
      assert.equal(existsSync(join(device, 'sub/two')), true);
    });

    same(
      'cp to and from a stopped container goes to what a volume mounts, and leaves nothing mounted',
      async (engine) => {
        const directory = join(engine.dir, 'given');
        mkdirSync(directory);
        writeFileSync(join(directory, 'out'), 'from the host');
        engine.must('volume', 'create', '-o', 'type=none', '-o', 'o=bind', '-o', `device=${directory}`, 'given');
        engine.must('create', '--name', 'still', '-v', 'given:/data', 'bb:1', 'true');
        writeFileSync(join(engine.dir, 'in'), 'into the volume');
        engine.must('cp', join(engine.dir, 'in'), 'still:/data/in');
        assert.equal(readFileSync(join(directory, 'in'), 'utf8'), 'into the volume');
        engine.must('cp', 'still:/data/out', join(engine.dir, 'copied'));
        assert.equal(readFileSync(join(engine.dir, 'copied'), 'utf8'), 'from the host');
        // An engine answers when the last byte is sent, and tidies up then.
        for (let round = 0; round < 100 && mountsOf(engine, 'given') > 0; round++) await sleep(100);
        assert.equal(mountsOf(engine, 'given'), 0);
        engine.must('rm', 'still');
        engine.must('volume', 'rm', 'given');
        rmSync(directory, { recursive: true });
      },
    );

    same('what cannot be mounted says so at the start, without passwords', async (engine) => {
      const cases: readonly (readonly [Record<string, string>, RegExp])[] = [
        [
          { type: 'none', device: '/nosuch/dir', o: 'bind' },
          /failed to mount local volume: mount \/nosuch\/dir:\/\S+\/_data, flags: 0x1000: no such file or directory$/,
        ],
        [
          { type: 'nosuchfs', device: 'x', o: 'password=geheim' },
          /mount x:\/\S+\/_data, data: password=\*{8}: no such device$/,
        ],
        [{ type: 'tmpfs', device: 'tmpfs', o: 'bogus' }, /mount tmpfs:\/\S+\/_data, data: bogus: invalid argument$/],
        [
          { type: 'nfs', device: ':/x', o: 'addr=nosuch.invalid' },
          /error resolving passed in network volume address: /,
        ],
      ];
      for (const [DriverOpts, message] of cases) {
        assert.equal((await made(engine, { Name: 'bad', DriverOpts })).status, 201);
        engine.must('create', '--name', 'user', '-v', 'bad:/b', 'bb:1', 'true');
        assert.match(engine.docker(['start', 'user']).stderr, /error while mounting volume '\/\S+\/bad\/_data': /);
        assert.equal(engine.must('inspect', '-f', '{{.State.Status}} {{.State.ExitCode}}', 'user'), 'created 128');
        const error = engine.must('inspect', '-f', '{{.State.Error}}', 'user');
        assert.match(error, /^error while mounting volume '\/\S+\/bad\/_data': /);
        assert.match(error, message);
        engine.must('rm', 'user');
        engine.must('volume', 'rm', 'bad');
      }
    });

    same('options and drivers that are none are refused, and nothing is made', async (engine) => {
      const cases: readonly (readonly [Record<string, unknown>, number, string])[] = [
        [{ DriverOpts: { bogus: 'x' } }, 400, 'create vol: invalid option: "bogus"'],
        [{ DriverOpts: { type: 'tmpfs' } }, 400, 'create vol: missing required option: "device"'],
        [{ DriverOpts: { device: '/tmp' } }, 400, 'create vol: missing required option: "type"'],
        [{ DriverOpts: { size: 'x' } }, 400, "create vol: invalid size: 'x'"],
        [{ DriverOpts: { size: '1x' } }, 400, "create vol: invalid suffix: 'x'"],
      ];
      for (const [body, status, message] of cases)
        assert.deepEqual(await made(engine, { Name: 'vol', ...body }), { status, message });
      assert.equal(engine.must('volume', 'ls', '-q'), '');
      const mount = (options: string) =>
        engine.docker(['run', '--rm', '--mount', `type=volume,dst=/x,${options}`, 'bb:1', 'true']).stderr;
      assert.match(mount('src=vol,volume-opt=bogus=1'), /create vol: invalid option: "bogus"/);
      assert.match(
        mount('src=vol,volume-subpath=../x'),
        /invalid mount config for type "volume": subpath must be a relative path within the volume/,
      );
      assert.equal(engine.must('ps', '-aq'), '');
    });

    same('labels and filters', (engine) => {
      engine.must('volume', 'create', '--label', 'k=v', '--label', 'only', 'labeled');
      engine.must('volume', 'create', 'plain');
      engine.must('run', '--name', 'user', '-v', 'used:/u', 'bb:1', 'true');
      const list = (...filters: string[]) =>
        engine
          .must('volume', 'ls', '-q', ...filters.flatMap((filter) => ['-f', filter]))
          .split('\n')
          .sort()
          .join();
      assert.equal(list('label=k=v'), 'labeled');
      assert.equal(list('label=only'), 'labeled');
      assert.equal(list('label=k=w'), '');
      assert.equal(list('name=lai'), 'plain');
      assert.equal(list('driver=local'), 'labeled,plain,used');
      assert.equal(list('driver=other'), '');
      assert.equal(list('dangling=true'), 'labeled,plain');
      assert.equal(list('dangling=false'), 'used');
      assert.match(engine.docker(['volume', 'ls', '-f', 'nosuch=1']).stderr, /invalid filter 'nosuch'/);
      assert.match(engine.docker(['volume', 'rm', 'nosuch']).stderr, /get nosuch: no such volume/);
      assert.equal(engine.docker(['volume', 'rm', '-f', 'nosuch']).status, 0);
      engine.must('rm', 'user');
      remove(engine);
    });

    same('volumes of the image, of another container, without its content, and parts of one', (engine) => {
      engine.must('run', '-d', '--name', 'donor', '-v', 'more:/more', 'data:1', 'sleep', '1000');
      assert.equal(engine.must('exec', 'donor', 'cat', '/data/one'), 'from the image');
      engine.must('exec', 'donor', 'sh', '-c', 'echo here > /more/file');
      const read = ['sh', '-c', 'cat /data/one /more/file; touch /more/x'];
      const from = engine.docker(['run', '--rm', '--volumes-from', 'donor:ro', 'bb:1', ...read]);
      assert.equal(from.stdout, 'from the imagehere\n');
      assert.match(from.stderr, /Read-only file system/);
      assert.equal(engine.docker(['run', '--rm', '--volumes-from', 'donor', 'bb:1', ...read]).stderr, '');
      assert.match(
        engine.docker(['run', '--rm', '--volumes-from', 'nosuch', 'bb:1', 'true']).stderr,
        /No such container: nosuch/,
      );
      assert.match(engine.docker(['run', '--rm', '--volumes-from', 'donor:bogus', 'bb:1', 'true']).stderr, /invalid/);
      assert.equal(
        engine.must('run', '--rm', '--mount', 'type=volume,src=none,dst=/data,volume-nocopy', 'data:1', 'ls', '/data'),
        '',
      );
      assert.equal(engine.must('run', '--rm', '-v', 'none2:/data:nocopy', 'data:1', 'ls', '/data'), '');
      engine.must('run', '--rm', '-v', 'filled:/data', 'data:1', 'true');
      const part = (path: string) => `type=volume,src=filled,dst=/p,volume-subpath=${path}`;
      assert.equal(engine.must('run', '--rm', '--mount', part('sub'), 'bb:1', 'cat', '/p/two'), '2');
      assert.equal(engine.must('run', '--rm', '--mount', part('sub/two'), 'bb:1', 'cat', '/p'), '2');
      assert.match(
        engine.docker(['run', '--rm', '--mount', part('nosuch'), 'bb:1', 'true']).stderr,
        /cannot access path \/\S+\/nosuch: lstat \/\S+\/nosuch: no such file or directory/,
      );
      engine.must('run', '--rm', '-v', 'filled:/v', 'bb:1', 'ln', '-s', '/etc', '/v/out');
      const out = engine.docker(['run', '--rm', '--mount', part('out'), 'bb:1', 'cat', '/p/shadow']);
      assert.notEqual(out.status, 0);
      assert.doesNotMatch(out.stdout, /root:/);
      engine.must('rm', '-fv', 'donor');
      remove(engine);
    });

    berthOnly('after kill -9 a mounted volume goes with the last that uses it', async (engine) => {
      const device = join(engine.dir, 'kept');
      mkdirSync(device);
      writeFileSync(join(device, 'file'), '');
      engine.must('volume', 'create', '-o', 'type=tmpfs', '-o', 'device=tmpfs', 'mem');
      engine.must('volume', 'create', '-o', 'type=none', '-o', 'o=bind', '-o', `device=${device}`, 'bind');
      const run = (name: string) => engine.must('run', '-d', '--name', name, '-v', 'mem:/m', 'bb:1', 'sleep', '1000');
      run('one');
      engine.must('run', '-d', '--name', 'ends', '-v', 'bind:/b', 'bb:1', 'sleep', '1000');
      engine.must('exec', 'one', 'touch', '/m/before');
      const pid = Number(engine.must('inspect', '-f', '{{.State.Pid}}', 'ends'));
      await engine.kill();
      process.kill(pid, 'SIGKILL');
      await engine.restart();
      assert.deepEqual([mountsOf(engine, 'mem'), mountsOf(engine, 'bind')], [1, 0]);
      run('two');
      assert.equal(engine.must('exec', 'two', 'ls', '/m'), 'before');
      engine.must('rm', '-f', 'one', 'ends');
      assert.equal(mountsOf(engine, 'mem'), 1);
      engine.must('rm', '-f', 'two');
      engine.must('volume', 'rm', 'mem', 'bind');
      assert.equal(mountsOf(engine, 'mem'), 0);
      assert.deepEqual(readdirSync(device), ['file']);
    });

    berthOnly('a volume that is mounted still is not deleted with what is mounted in it', async (engine) => {
      const device = join(engine.dir, 'precious');
      mkdirSync(device);
      writeFileSync(join(device, 'file'), '');
      engine.must('volume', 'create', '-o', 'type=none', '-o', 'o=bind', '-o', `device=${device}`, 'bind');
      engine.must('run', '-d', '--name', 'user', '-v', 'bind:/b', 'bb:1', 'sleep', '1000');
      const pid = Number(engine.must('inspect', '-f', '{{.State.Pid}}', 'user'));
      await engine.kill();
      process.kill(pid, 'SIGKILL');
      await engine.restart();
      engine.must('rm', 'user');
      engine.must('volume', 'rm', 'bind');
      assert.deepEqual(readdirSync(device), ['file']);
    });
  },
);
