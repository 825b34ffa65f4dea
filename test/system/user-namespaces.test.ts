/** Containers in user namespaces: usernsRemap of the engine, `--userns host`, `--userns auto`. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmodSync, chownSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { BerthCli } from '../lib/berth-cli.ts';
import { busyboxArchive } from '../lib/busybox-image.ts';
import { startBerth, type TestEngine } from '../lib/engines.ts';
import { assertNoLeaks, knownTo } from '../lib/leaks.ts';

const user = `berth-remap-${process.pid}`;
/** Where nobody's ranges are: below those of `--userns auto`. */
const first = 0x60000000 + (process.pid % 1024) * 0x10000;
const range = `${first}-${first + 65_535}`;

let engine: TestEngine;
let berth: BerthCli;
let base: string;
before(async () => {
  execFileSync('useradd', ['--system', '--user-group', '--no-create-home', '--shell', '/bin/false', user]);
  execFileSync('usermod', [`--add-subuids=${range}`, `--add-subgids=${range}`, user]);
  engine = await startBerth({ flags: ['--userns-remap', user] });
  berth = new BerthCli(engine);
  engine.must('load', '-q', '-i', busyboxArchive({ name: 'bb:1' }));
  base = mkdtempSync(join(tmpdir(), 'berth-userns-'));
  chmodSync(base, 0o711);
});
after(async () => {
  try {
    await engine?.[Symbol.asyncDispose]();
  } finally {
    if (base) rmSync(base, { recursive: true, force: true });
    execFileSync('userdel', [user], { stdio: 'ignore' });
  }
});

const sh = (script: string) => ['bb:1', 'sh', '-c', script];
const pidOf = (name: string) => Number(engine.must('inspect', '-f', '{{.State.Pid}}', name));
const mapOf = (name: string) =>
  readFileSync(`/proc/${pidOf(name)}/uid_map`, 'utf8')
    .trim()
    .split(/\s+/)
    .map(Number);
/** UID/GID and name of each member. */
const owners = (tar: string | Buffer) =>
  execFileSync('tar', ['-tvf', '-', '--numeric-owner'], { input: tar, encoding: 'utf8' })
    .split('\n')
    .map((line) => line.split(/\s+/))
    .map((words) => `${words[1]} ${words[5]}`);

for (const runtime of ['crun', 'runc'])
  describe(`containers in a user namespace, ${runtime}`, () => {
    const run = ['run', '--rm', '--runtime', runtime];

    test('files are root’s inside, the process is somebody else on the host, and the kernel’s files are there', () => {
      const script = `id -u; cat /proc/self/uid_map; stat -c %u:%g / /bin/busybox /etc/passwd /etc/hosts /dev /dev/shm
        echo x >> /etc/passwd && echo x >> /etc/hosts && mkdir /made && chown 1000:29 /made && stat -c %u:%g /made
        ls -d /sys/class/net/eth0 /sys/fs/cgroup /dev/pts/ptmx; echo x > /dev/null; touch /proc/sys/kernel/core_pattern`;
      const { stdout, stderr } = engine.docker([...run, '-w', '/deep/er', ...sh(`${script}; stat -c %u . `)]);
      const lines = stdout.split('\n').map((line) => line.trim().replace(/\s+/g, ' '));
      assert.deepEqual(lines, [
        ...['0', `0 ${first} 65536`, '0:0', '0:0', '0:0', '0:0', '0:0', '0:0', '1000:29'],
        ...['/dev/pts/ptmx', '/sys/class/net/eth0', '/sys/fs/cgroup', '0', ''],
      ]);
      assert.match(stderr, /core_pattern: (Permission denied|Read-only file system)/);
      // crun gives its descriptors to root of the container: none of them may be a file of the host.
      engine.must(...run, '-t', ...sh('true'));
      assert.equal(statSync('/dev/null').uid, 0);
    });

    test('volumes are shared with the host’s user namespace, binds have the owners of the host', () => {
      const volume = `shared-${runtime}`;
      const into = (...more: string[]) => [...run, '-v', `${volume}:/v`, ...more];
      engine.must(...into(...sh('echo a > /v/a; chown 1000:1000 /v/a')));
      const stored = engine.must('volume', 'inspect', '-f', '{{.Mountpoint}}', volume);
      assert.equal(statSync(join(stored, 'a')).uid, 1000);
      assert.equal(
        engine
          .must(...into('--userns', 'host', ...sh('stat -c %u /v/a; cat /proc/self/uid_map; touch /v/b')))
          .replace(/\s+/g, ' '),
        '1000 0 0 4294967295',
      );
      assert.equal(engine.must(...into(...sh('stat -c %u /v/a /v/b; rm /v/a'))), '1000\n0');
      engine.must('volume', 'rm', volume);
      const bound = join(base, runtime);
      // As Docker: what is made for a bind belongs to root of the container.
      engine.must(...run, '-v', `${join(bound, 'made')}:/b`, ...sh('touch /b/file'));
      assert.equal(statSync(join(bound, 'made')).uid, first);
      chownSync(bound, 0, 0);
      writeFileSync(join(bound, 'file'), 'of root', { mode: 0o644 });
      const script = 'stat -c %u /b/file; cat /b/file; echo x > /b/new';
      const { stdout, status } = engine.docker([...run, '-v', `${bound}:/b`, ...sh(script)]);
      assert.deepEqual([stdout, status !== 0], ['65534\nof root', true]);
      // Mapped, the owner of the directory is the container's user; read-only it stays.
      assert.equal(
        engine.must(...run, '-v', `${bound}:/b:idmap`, ...sh(`${script}; stat -c %u /b/new`)),
        '0\nof root0',
      );
      assert.equal(statSync(join(bound, 'new')).uid, 0);
      assert.match(engine.docker([...run, '-v', `${bound}:/b:ro,idmap`, ...sh('rm /b/new')]).stderr, /Read-only/);
    });

    test('exec, terminal, health, top, names and networks', () => {
      const net = `net-${runtime}`;
      engine.must('network', 'create', net);
      const health = ['--health-cmd', 'test "$(id -u)" = 0', '--health-interval', '100ms'];
      engine.must(
        'run',
        '-d',
        '--ipc',
        'shareable',
        '--runtime',
        runtime,
        '--name',
        'server',
        '--net',
        net,
        '--init',
        ...health,
        ...sh('echo here > /tmp/x; httpd -f -p 80 -h /tmp'),
      );
      const ask = 'for i in 1 2 3 4 5 6 7 8 9 10; do wget -qO- http://server/x && break; sleep 0.3; done';
      assert.equal(engine.must(...run, '--net', net, ...sh(ask)), 'here');
      assert.equal(
        engine.must(
          ...run,
          '--net',
          'container:server',
          ...sh('wget -qO- http://127.0.0.1/x; ls -d /sys/class/net/eth0'),
        ),
        'here\n/sys/class/net/eth0',
      );
      // Its processes too, and each time a network of its own.
      for (const kind of ['pid', 'ipc'])
        assert.equal(
          engine.must(
            ...run,
            `--${kind}`,
            'container:server',
            '--device',
            '/dev/fuse',
            '--sysctl',
            'net.core.somaxconn=99',
            ...sh('ls -d /dev/fuse; cat /proc/sys/net/core/somaxconn'),
          ),
          '/dev/fuse\n99',
        );
      assert.equal(
        engine.must('exec', '-u', 'web', 'server', 'sh', '-c', 'id -u; touch /tmp/y; stat -c %u /tmp/y'),
        '1000\n1000',
      );
      assert.match(engine.must('exec', '-t', 'server', 'sh', '-c', 'tty; stat -c %u $(tty)'), /^\/dev\/pts\/\d+\s+0$/);
      assert.match(engine.must('top', 'server', '-eo', 'uid,pid,comm'), new RegExp(`${first} +\\d+ +httpd`));
      for (let tries = 0; engine.must('inspect', '-f', '{{.State.Health.Status}}', 'server') !== 'healthy'; tries++) {
        assert.ok(tries < 300, 'it never became healthy');
        execFileSync('sleep', ['0.1']);
      }
      engine.must('rm', '-f', 'server');
      engine.must('network', 'rm', net);
    });

    // What the snapshots do, whatever the runtime.
    if (runtime === 'crun')
      test('commit, diff, cp and export have the IDs of the container; it outlives the engine', async () => {
        engine.must(
          'run',
          '-d',
          '--runtime',
          runtime,
          '--name',
          'held',
          ...sh('echo x > /root/file; chown 1000:29 /root/file; sleep 600'),
        );
        for (
          let tries = 0;
          engine.docker(['exec', 'held', 'test', '-O', '/root/file']).status === 0 ||
          engine.docker(['exec', 'held', 'test', '-f', '/root/file']).status !== 0;
          tries++
        )
          assert.ok(tries < 100);
        await engine.kill();
        await engine.restart();
        assert.equal(mapOf('held')[1], first);
        engine.must('restart', '-t', '0', 'held');
        for (const state of ['running', 'stopped']) {
          if (state === 'stopped') engine.must('stop', '-t', '0', 'held');
          assert.deepEqual(owners(engine.docker(['cp', 'held:/root/file', '-']).stdout)[0], '1000/29 file', state);
          const exported = owners(
            execFileSync('docker', ['-H', `unix://${engine.socket}`, 'export', 'held'], { maxBuffer: 1 << 26 }),
          );
          assert.ok(exported.includes('1000/29 root/file') && exported.includes('0/0 bin/busybox'), state);
          writeFileSync(join(base, 'copied'), 'x');
          engine.must('cp', join(base, 'copied'), `held:/root/in-${state}`);
        }
        assert.equal(engine.must('diff', 'held'), 'C /root\nA /root/file\nA /root/in-running\nA /root/in-stopped');
        engine.must('commit', 'held', 'made:1');
        for (const userns of [[], ['--userns', 'host']])
          assert.equal(
            engine.must(
              ...run,
              ...userns,
              'made:1',
              'stat',
              '-c',
              '%u:%g',
              '/root/file',
              '/root/in-running',
              '/root/in-stopped',
              '/bin/busybox',
            ),
            '1000:29\n0:0\n0:0\n0:0',
          );
        engine.must('rm', 'held');
        engine.must('rmi', 'made:1');
      });
  });

test('what would be the host’s is refused in Docker’s words, and --userns host opts out', () => {
  const refused = (words: RegExp, ...flags: string[]) => {
    const { status, stderr } = engine.docker(['run', '--rm', ...flags, ...sh('true')]);
    assert.equal(status, 125, flags.join(' '));
    assert.match(stderr, words);
    assert.equal(
      engine.docker(['run', '--rm', '--userns', 'host', ...flags, ...sh('true')]).status,
      0,
      flags.join(' '),
    );
  };
  refused(
    /privileged mode is incompatible with user namespaces\. {1,2}You must run the container in the host namespace when running privileged mode/,
    '--privileged',
  );
  refused(/cannot share the host's network namespace when user namespaces are enabled/, '--network', 'host');
  refused(/cannot share the host PID namespace when user namespaces are enabled/, '--pid', 'host');
  refused(/cannot share the host's IPC namespace when user namespaces are enabled/, '--ipc', 'host');
  for (const flags of [['--uts', 'host'], ['--read-only'], ['--ipc', 'shareable'], ['--network', 'none']])
    engine.must('run', '--rm', ...flags, ...sh('ls -d /dev/shm /dev/mqueue > /dev/null'));
  assert.match(engine.must('info', '-f', '{{.SecurityOptions}}'), /name=userns/);
});

test('--userns auto: two containers have IDs of their own, kept for life, and share a volume', async () => {
  for (const name of ['one', 'two']) {
    berth.must(
      'create',
      '--name',
      name,
      '--userns',
      'auto',
      '-v',
      'common:/v',
      ...sh(`touch /v/${name}; stat -c %u /v/*; sleep 600`),
    );
    engine.must('start', name);
  }
  const [one, two] = [mapOf('one'), mapOf('two')] as const;
  assert.ok(one[1] !== first && two[1] !== first && Math.abs(one[1]! - two[1]!) >= 65_536, `${one} ${two}`);
  assert.deepEqual([one[0], one[2]], [0, 65_536]);
  for (let tries = 0; !/^0\n0\n?$/.test(engine.docker(['logs', 'two']).stdout); tries++) assert.ok(tries < 100);
  // Who joins another's network has its IDs.
  assert.match(
    berth.must('run', '--rm', '--userns', 'auto', '--network', 'container:one', ...sh('cat /proc/self/uid_map')),
    new RegExp(` ${one[1]} `),
  );
  const { stderr } = engine.docker(['run', '--rm', '--network', 'container:one', ...sh('true')]);
  assert.match(stderr, /cannot share a namespace of container one: it has other IDs of the host/);
  engine.must('restart', '-t', '0', 'one');
  assert.deepEqual(mapOf('one'), one);
  engine.must('rm', '-f', 'one', 'two');
  engine.must('volume', 'rm', 'common');
  await assertNoLeaks(engine, () => knownTo(engine));
});
