import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { packTar } from '../../src/layers/tar-writer.ts';
import { onBothEngines } from '../lib/both-engines.ts';
import { dockerCli, type TestEngine } from '../lib/engines.ts';

/** docker cp with bytes on stdin or stdout. */
function cp(engine: TestEngine, args: readonly string[], input?: Buffer) {
  const result = spawnSync(dockerCli(), ['cp', ...args], { env: engine.env, input, maxBuffer: 1 << 28 });
  return { status: result.status, stdout: result.stdout, stderr: result.stderr.toString() };
}

/** `type name[ -> target]` of each entry, in the archive's order. */
function listed(archive: Buffer): string[] {
  const { stdout } = spawnSync('tar', ['-tvf', '-'], { input: archive, encoding: 'utf8' });
  return stdout
    .split('\n')
    .filter(Boolean)
    .map((line) => `${line[0]} ${line.split(/\s+/).slice(5).join(' ')}`);
}

const inside = (engine: TestEngine, name: string, command: string) => engine.must('exec', name, 'sh', '-c', command);

async function inTemporary(use: (dir: string) => void | Promise<void>): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), 'berth-cp-'));
  try {
    await use(dir);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

const tree =
  'mkdir -p /d/sub; echo hi >/d/f; ln -s f /d/l; ln -s /d /dl; ln -s /nowhere/x /broken; ln -s ../../../../etc /esc;' +
  'mkfifo /d/p; chmod 4755 /d/f; chmod 1777 /d/sub; ln /d/f /d/hard; echo v >/vol/v; echo ready; sleep 1000';

/** A container with all kinds of files, that runs or has stopped. */
async function withTree(engine: TestEngine, { stopped = false }, use: (name: string) => void | Promise<void>) {
  engine.must('run', '-d', '--name', 'tree', '-v', 'treevol:/vol', 'bb:1', 'sh', '-c', tree);
  for (let i = 0; i < 100 && !engine.docker(['logs', 'tree']).stdout.includes('ready'); i++)
    await new Promise((resolve) => setTimeout(resolve, 50));
  if (stopped) engine.must('kill', 'tree');
  try {
    await use('tree');
  } finally {
    engine.docker(['rm', '-f', 'tree']);
    engine.docker(['volume', 'rm', 'treevol']);
  }
}

interface Facts {
  readonly name: string;
  readonly size: number;
  readonly mode: number;
  readonly mtime: string;
  readonly linkTarget: string;
}

async function facts(engine: TestEngine, name: string, path: string): Promise<Facts | number> {
  const { status, headers } = await engine.api('HEAD', `/containers/${name}/archive?path=${encodeURIComponent(path)}`);
  const text = headers['x-docker-container-path-stat'];
  return typeof text === 'string' ? (JSON.parse(Buffer.from(text, 'base64').toString()) as Facts) : status;
}

onBothEngines('cp', {}, ({ same, berthOnly }) => {
  for (const stopped of [false, true]) {
    const state = stopped ? 'a stopped' : 'a running';

    same(`facts of paths in ${state} container`, (engine) =>
      withTree(engine, { stopped }, async (name) => {
        const dir = 2 ** 31 + 0o755;
        const expected: readonly (readonly [string, string, number, string])[] = [
          ['/d', 'd', dir, ''],
          ['/d/', 'd', dir, ''],
          ['/d/.', '.', dir, ''],
          ['d/f', 'f', 2 ** 23 + 0o755, ''],
          ['/d/../d//f', 'f', 2 ** 23 + 0o755, ''],
          ['/d/l', 'l', 2 ** 27 + 0o777, '/d/f'],
          ['/dl', 'dl', 2 ** 27 + 0o777, '/d'],
          ['/dl/', 'dl', dir, ''],
          ['/dl/f', 'f', 2 ** 23 + 0o755, ''],
          ['/broken', 'broken', 2 ** 27 + 0o777, '/nowhere/x'],
          ['/esc', 'esc', 2 ** 27 + 0o777, '/etc'],
          ['/esc/passwd', 'passwd', 0o644, ''],
          ['/d/p', 'p', 2 ** 25 + 0o644, ''],
          ['/d/sub', 'sub', 2 ** 31 + 2 ** 20 + 0o777, ''],
          ['/vol/v', 'v', 0o644, ''],
          ['/', '/', dir, ''],
          ['/proc', 'proc', dir, ''],
        ];
        for (const [path, base, mode, linkTarget] of expected) {
          const found = await facts(engine, name, path);
          assert.ok(typeof found === 'object', `${path}: ${found}`);
          assert.deepEqual([found.name, found.mode, found.linkTarget], [base, mode, linkTarget], path);
          assert.match(found.mtime, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z$/);
        }
        assert.equal(((await facts(engine, name, '/d/f')) as Facts).size, 3);
        assert.equal(((await facts(engine, name, '/broken')) as Facts).size, 10);
        for (const path of ['/nosuch', '/nosuch/x', '/broken/', '/proc/1/root', '/dev/null'])
          assert.equal(await facts(engine, name, path), 404, path);
        assert.equal(await facts(engine, name, ''), 400);
        assert.ok(((await facts(engine, name, '/d/f/')) as number) >= 400);
      }),
    );

    same(`what comes out of ${state} container`, (engine) =>
      withTree(engine, { stopped }, (name) => {
        const content = (base: string) => [
          `d ${base}/`,
          `- ${base}/f`,
          `h ${base}/hard link to ${base}/f`,
          `l ${base}/l -> f`,
          `p ${base}/p`,
          `d ${base}/sub/`,
        ];
        assert.deepEqual(listed(cp(engine, [`${name}:/d`, '-']).stdout), content('d'));
        assert.deepEqual(listed(cp(engine, [`${name}:/d/.`, '-']).stdout), content('.'));
        assert.deepEqual(listed(cp(engine, [`${name}:/dl/`, '-']).stdout), content('dl'));
        assert.deepEqual(listed(cp(engine, [`${name}:/dl`, '-']).stdout), ['l dl -> /d']);
        assert.deepEqual(listed(cp(engine, ['-L', `${name}:/d/l`, '-']).stdout), ['- f']);
        assert.deepEqual(listed(cp(engine, [`${name}:/vol`, '-']).stdout), ['d vol/', '- vol/v']);
        const { status, stderr } = cp(engine, [`${name}:/nosuch`, '-']);
        assert.notEqual(status, 0);
        assert.match(stderr, /Could not find the file \/nosuch in container tree/);
      }),
    );
  }

  same('files and directories go in and come back as they were', (engine) =>
    inTemporary(async (dir) => {
      engine.must('run', '-d', '--name', 'both', 'bb:1', 'sleep', '1000');
      mkdirSync(join(dir, 'from/deep/er'), { recursive: true });
      writeFileSync(join(dir, 'from/one'), 'one');
      writeFileSync(join(dir, 'from/deep/er/two'), 'x'.repeat(3_000_000));
      writeFileSync(join(dir, 'from/ü ñ\n"'), 'strange name');
      chmodSync(join(dir, 'from/one'), 0o640);
      symlinkSync('one', join(dir, 'from/link'));
      engine.must('cp', join(dir, 'from'), 'both:/new');
      engine.must('cp', join(dir, 'from'), 'both:/tmp');
      engine.must('cp', `${join(dir, 'from')}/.`, 'both:/tmp');
      engine.must('cp', join(dir, 'from/one'), 'both:/tmp/renamed');
      assert.equal(
        inside(
          engine,
          'both',
          'cat /new/one /tmp/from/one /tmp/one /tmp/renamed; readlink /tmp/link; stat -c %a /new/one',
        ),
        'oneoneoneoneone\n640',
      );
      assert.equal(inside(engine, 'both', 'wc -c </new/deep/er/two'), '3000000');
      engine.must('cp', 'both:/new', join(dir, 'back'));
      engine.must('cp', 'both:/new/.', `${dir}/into-new`);
      for (const back of ['back', 'into-new']) {
        assert.equal(readFileSync(join(dir, back, 'one'), 'utf8'), 'one');
        assert.equal(readFileSync(join(dir, back, 'ü ñ\n"'), 'utf8'), 'strange name');
        assert.equal(readlinkSync(join(dir, back, 'link')), 'one');
        assert.equal(statSync(join(dir, back, 'one')).mode & 0o777, 0o640);
        assert.equal(statSync(join(dir, back, 'deep/er/two')).size, 3_000_000);
      }
      // A directory is no place for a file of the same name, nor a file for a directory.
      mkdirSync(join(dir, 'one'));
      const refused = cp(engine, [join(dir, 'one'), 'both:/tmp']);
      assert.notEqual(refused.status, 0);
      assert.match(refused.stderr, /cannot overwrite non-directory/);
      const missing = cp(engine, [join(dir, 'from/one'), 'both:/nosuch/dir/']);
      assert.notEqual(missing.status, 0);
      assert.ok(!existsSync(join(dir, 'nosuch')));
    }),
  );

  same('an archive goes in from stdin, in any compression', (engine) => {
    engine.must('run', '-d', '--name', 'stdin', 'bb:1', 'sleep', '1000');
    const archive = (name: string) => packTar([{ name, content: name, uid: 1000, gid: 1000, mode: 0o600 }]);
    const through = (program: string, input: Buffer) => spawnSync(program, ['-c'], { input }).stdout;
    const forms = {
      plain: archive('plain'),
      gzip: gzipSync(archive('gzip')),
      zstd: zstdCompressSync(archive('zstd')),
      xz: through('xz', archive('xz')),
      bzip2: through('bzip2', archive('bzip2')),
    };
    for (const [name, bytes] of Object.entries(forms)) {
      const { status, stderr } = cp(engine, ['-', 'stdin:/tmp'], bytes);
      assert.equal(status, 0, `${name}: ${stderr}`);
      assert.equal(
        inside(engine, 'stdin', `cat /tmp/${name}; stat -c ' %u:%g %a' /tmp/${name}`),
        `${name} 1000:1000 600`,
      );
    }
  });

  same('-a gives the files to the user of the container', (engine) =>
    inTemporary((dir) => {
      engine.must('run', '-d', '--name', 'user', '-u', 'web', 'bb:1', 'sleep', '1000');
      writeFileSync(join(dir, 'f'), 'x');
      engine.must('cp', join(dir, 'f'), 'user:/tmp/plain');
      engine.must('cp', '-a', join(dir, 'f'), 'user:/tmp/archive');
      assert.equal(inside(engine, 'user', "stat -c '%u:%g' /tmp/plain /tmp/archive"), '0:0\n1000:1000');
    }),
  );

  same('a container that was never started, with a volume and a bind', (engine) =>
    inTemporary((dir) => {
      mkdirSync(join(dir, 'bound'));
      writeFileSync(join(dir, 'f'), 'content');
      engine.must(
        'create',
        '--name',
        'created',
        '-v',
        'cpvol:/vol',
        '-v',
        `${join(dir, 'bound')}:/bound`,
        'bb:1',
        'cat',
        '/vol/f',
      );
      engine.must('cp', join(dir, 'f'), 'created:/vol/f');
      engine.must('cp', join(dir, 'f'), 'created:/bound/f');
      engine.must('cp', join(dir, 'f'), 'created:/root/f');
      assert.equal(readFileSync(join(dir, 'bound/f'), 'utf8'), 'content');
      assert.equal(engine.must('start', '-a', 'created'), 'content');
      engine.must('cp', 'created:/vol/f', join(dir, 'back'));
      assert.equal(readFileSync(join(dir, 'back'), 'utf8'), 'content');
      engine.must('rm', '-f', 'created');
      engine.must('volume', 'rm', 'cpvol');
    }),
  );

  same('what is read-only stays as it is', async (engine) => {
    engine.must(
      'run',
      '-d',
      '--name',
      'ro',
      '--read-only',
      '-v',
      'rwvol:/rw',
      '-v',
      'rovol:/ro:ro',
      'bb:1',
      'sleep',
      '1000',
    );
    const tar = packTar([{ name: 'x', content: 'x' }]);
    const write = (path: string) => engine.api('PUT', `/containers/ro/archive?path=${path}`, tar);
    const rootfs = await write('/etc');
    assert.equal(rootfs.status, 400);
    assert.match(rootfs.body, /container rootfs is marked read-only/);
    const volume = await write('/ro');
    assert.equal(volume.status, 400);
    assert.match(volume.body, /mounted volume is marked read-only/);
    assert.equal((await write('/rw')).status, 200);
    assert.equal(inside(engine, 'ro', 'ls /ro /rw; ls /etc/x 2>&1 || true').replace(/ls: .*/, ''), '/ro:\n\n/rw:\nx\n');
    engine.must('rm', '-f', 'ro');
    engine.must('volume', 'rm', 'rwvol', 'rovol');
  });

  same('archives that are refused change nothing outside of the directory', async (engine) => {
    engine.must('run', '-d', '--name', 'bad', 'bb:1', 'sh', '-c', 'mkdir -p /d/sub; echo f >/d/f; sleep 1000');
    const write = (members: Parameters<typeof packTar>[0], query = '') =>
      engine.api('PUT', `/containers/bad/archive?path=/d${query}`, packTar(members));
    for (let i = 0; i < 100 && (await facts(engine, 'bad', '/d/f')) === 404; i++)
      await new Promise((resolve) => setTimeout(resolve, 50));
    const refused = async (members: Parameters<typeof packTar>[0], query = '') => {
      const { status, body } = await write(members, query);
      assert.ok(status >= 400, JSON.stringify(members));
      return body;
    };
    assert.match(await refused([{ name: '../out', content: 'x' }]), /invalid entry name/);
    assert.match(
      await refused([{ name: 'h', type: 'hardlink', linkName: '../etc/passwd' }]),
      /invalid hardlink target/,
    );
    await refused([{ name: 'h', type: 'hardlink', linkName: '/etc/passwd' }]);
    assert.match(
      await refused([{ name: 'f/', type: 'directory' }], '&noOverwriteDirNonDir=1'),
      /cannot overwrite non-directory/,
    );
    assert.match(
      await refused([{ name: 'sub', content: 'x' }], '&noOverwriteDirNonDir=1'),
      /cannot overwrite directory/,
    );
    assert.ok((await engine.api('PUT', '/containers/bad/archive?path=/d', 'no tar'.repeat(200))).status >= 400);
    const at = (path: string) => engine.api('PUT', `/containers/bad/archive?path=${path}`, packTar([]));
    assert.equal((await at('/nosuch')).status, 404);
    const file = await at('/d/f');
    assert.equal(file.status, 400);
    assert.match(file.body, /extraction point is not a directory/);
    assert.equal((await at('')).status, 400);
    assert.equal((await engine.api('PUT', '/containers/nosuch/archive?path=/', packTar([]))).status, 404);

    // A link that the archive makes leads nowhere out of the directory that it is unpacked into.
    assert.equal(
      (
        await write([
          { name: 's', type: 'symlink', linkName: '/etc' },
          { name: 's/evil', content: 'x' },
        ])
      ).status,
      200,
    );
    assert.equal(
      (
        await write([
          { name: '/abs', content: 'x' },
          { name: 'f/', type: 'directory' },
        ])
      ).status,
      200,
    );
    assert.equal(
      inside(engine, 'bad', 'ls / | tr "\\n" " "; ls /etc/evil 2>/dev/null; ls -d /d/etc/evil /d/abs /d/f/'),
      inside(engine, 'bad', 'ls / | tr "\\n" " "; ls -d /d/etc/evil /d/abs /d/f/'),
    );
    assert.equal(inside(engine, 'bad', 'ls / | grep -c -e out -e abs || true'), '0');
  });

  same('what is in an archive comes out as it is: modes, owners, devices, empty names of whiteouts', async (engine) => {
    engine.must('run', '-d', '--name', 'kinds', 'bb:1', 'sleep', '1000');
    const archive = packTar([
      { name: 'setuid', content: 'x', mode: 0o4755, uid: 1000, gid: 29 },
      { name: 'dev', type: 'char', major: 1, minor: 3, mode: 0o666 },
      { name: 'fifo', type: 'fifo', mode: 0o600 },
      { name: '.wh.setuid', content: '' },
      { name: 'made/on/the/way', content: 'x', uid: 1000 },
      { name: 'times/', type: 'directory', mtime: 1_000_000_000 },
      { name: 'times/in', content: 'x', mtime: 1_100_000_000 },
    ]);
    assert.equal((await engine.api('PUT', '/containers/kinds/archive?path=/tmp', archive)).status, 200);
    assert.equal(
      inside(
        engine,
        'kinds',
        "cd /tmp; stat -c '%n %F %a %u:%g' setuid dev fifo .wh.setuid made/on; stat -c %Y times times/in",
      ),
      'setuid regular file 4755 1000:29\ndev character special file 666 0:0\nfifo fifo 600 0:0\n' +
        '.wh.setuid regular empty file 644 0:0\nmade/on directory 755 0:0\n1000000000\n1100000000',
    );
  });

  same('events', (engine) =>
    inTemporary((dir) => {
      engine.must('create', '--name', 'told', 'bb:1', 'true');
      writeFileSync(join(dir, 'f'), 'x');
      const from = String(Date.now() / 1000 - 0.001);
      engine.must('cp', join(dir, 'f'), 'told:/f');
      engine.must('cp', 'told:/f', join(dir, 'g'));
      engine.must('export', '-o', join(dir, 'all.tar'), 'told');
      const until = String(Date.now() / 1000 + 1);
      const { stdout } = engine.docker([
        'events',
        '--since',
        from,
        '--until',
        until,
        '--format',
        '{{.Action}} {{.Actor.Attributes.name}}',
      ]);
      assert.deepEqual(stdout.trim().split('\n'), ['extract-to-dir told', 'archive-path told', 'export told']);
    }),
  );

  berthOnly('a tmpfs of a running container is seen too', (engine) =>
    inTemporary((dir) => {
      engine.must(
        'run',
        '-d',
        '--name',
        'tmp',
        '--tmpfs',
        '/t1',
        '--mount',
        'type=tmpfs,dst=/t2',
        'bb:1',
        'sleep',
        '1000',
      );
      writeFileSync(join(dir, 'f'), 'content');
      engine.must('cp', join(dir, 'f'), 'tmp:/t1/f');
      engine.must('cp', join(dir, 'f'), 'tmp:/t2/f');
      assert.equal(inside(engine, 'tmp', 'cat /t1/f /t2/f'), 'contentcontent');
      engine.must('cp', 'tmp:/t1', join(dir, 'back'));
      assert.equal(readFileSync(join(dir, 'back/f'), 'utf8'), 'content');
      assert.ok(lstatSync(join(dir, 'back')).isDirectory());
    }),
  );
});
