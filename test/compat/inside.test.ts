import assert from 'node:assert/strict';
import { existsSync, mkdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { onBothEngines } from '../lib/both-engines.ts';
import type { TestEngine } from '../lib/engines.ts';

/** What flags of docker run do, as seen by the program in the container, and often by one that is not root. */
onBothEngines('inside a container', { runtimes: ['crun'] }, ({ same }) => {
  const sees = (engine: TestEngine, flags: readonly string[], script: string, expected: string | RegExp) => {
    const { stdout, stderr } = engine.docker(['run', '--rm', ...flags, 'bb:1', 'sh', '-c', script]);
    const seen = (stdout + stderr).trim();
    if (typeof expected === 'string') assert.equal(seen, expected, flags.join(' '));
    else assert.match(seen, expected, flags.join(' '));
  };

  same('who is not root reads the files that the engine makes, and writes where everybody may', (engine) => {
    sees(
      engine,
      ['-u', '1000:1000'],
      'cat /etc/hosts /etc/resolv.conf /etc/hostname >/dev/null && touch /tmp/x /dev/shm/x && echo > /dev/null && echo ok',
      'ok',
    );
    sees(
      engine,
      ['-u', '1000', '-w', '/made/deep'],
      'pwd; ls -ld /made /made/deep | cut -c1-10',
      '/made/deep\ndrwxr-xr-x\ndrwxr-xr-x',
    );
    sees(engine, ['-u', '1000', '--tmpfs', '/t'], 'touch /t/x && echo ok', 'ok');
    sees(
      engine,
      ['-u', '1000', '-v', '/anonymous'],
      'ls -ld /anonymous | cut -c1-10; touch /anonymous/x',
      /^drwxr-xr-x\n.*Permission denied$/,
    );
    const source = join(engine.dir, 'new/deep');
    sees(engine, ['-u', '1000', '-v', `${source}:/n`], 'ls -ld /n | cut -c1-10', 'drwxr-xr-x');
    assert.equal(statSync(join(engine.dir, 'new')).mode & 0o777, 0o755);
  });

  same('/.dockerenv and /etc/mtab are in every container, in no difference and no commit', (engine) => {
    const look = 'ls -l /.dockerenv | cut -c1-10; stat -c %s /.dockerenv; readlink /etc/mtab; grep -c " / " /etc/mtab';
    const seen = '-rwxr-xr-x\n0\n/proc/mounts\n1';
    for (const flags of [[], ['--read-only'], ['--privileged'], ['-u', '1000']]) sees(engine, flags, look, seen);
    engine.must('run', '--name', 'idle', 'bb:1', 'true');
    assert.equal(engine.must('diff', 'idle'), '');
    assert.match(engine.docker(['cp', 'idle:/.dockerenv', '-']).stdout, /\.dockerenv\0/);
    engine.must('commit', 'idle', 'idle:1');
    engine.must('run', '--name', 'again', 'idle:1', 'sh', '-c', look);
    assert.equal(engine.must('logs', 'again'), seen);
    assert.equal(engine.must('diff', 'again'), '');
    engine.must('run', '--name', 'less', 'bb:1', 'sh', '-c', 'rm /.dockerenv /etc/mtab; ls -A / /etc');
    assert.doesNotMatch(engine.must('logs', 'less'), /dockerenv|mtab/);
    engine.must('restart', 'less');
    engine.must('wait', 'less');
    assert.doesNotMatch(engine.must('logs', 'less'), /dockerenv|mtab/);
  });

  same('a single file is bound to a place that was not there, to be written or not', (engine) => {
    const file = join(engine.dir, 'file');
    writeFileSync(file, 'hi\n');
    for (const flags of [
      ['-v', `${file}:/new/dir/file:ro`],
      ['--mount', `type=bind,src=${file},dst=/new/dir/file,readonly`],
      ['--mount', `type=bind,src=${file},dst=/etc/hosts,readonly`],
    ])
      sees(engine, flags, `cat ${flags.at(-1)!.includes('/etc/hosts') ? '/etc/hosts' : '/new/dir/file'}`, 'hi');
    sees(engine, ['-v', `${file}:/new/file:ro`], 'echo x >> /new/file', /Read-only file system$/);
    sees(engine, ['-v', `${file}:/new/file`], 'echo more >> /new/file; cat /new/file', 'hi\nmore');
  });

  same('a source that cannot be made is refused with its path, and nothing hangs', (engine) => {
    const { status, stderr } = engine.docker(['run', '--rm', '-v', '/proc/berth-nothing:/n', 'bb:1', 'true'], {
      timeout: 20_000,
    });
    assert.equal(status, 127);
    assert.match(
      stderr,
      /error while creating mount source path '\/proc\/berth-nothing': mkdir \/proc\/berth-nothing: no such file or directory/,
    );
    assert.equal(engine.must('ps', '-aq'), '');
  });

  same(
    'mounts: options of a tmpfs, one mount inside another, propagation, a read-only root with places to write',
    (engine) => {
      const dir = join(engine.dir, 'mounts');
      mkdirSync(join(dir, 'sub'), { recursive: true });
      sees(
        engine,
        ['--tmpfs', '/t:exec,mode=700,uid=5,gid=6,size=64k'],
        'ls -lnd /t | cut -c1-10; stat -c %u:%g /t; head -c 100000 /dev/zero 2>/dev/null > /t/x; stat -c %s /t/x; mount | grep -c " /t .*noexec"',
        /^drwx------\n5:6\n(head: .*\n)?65536\n0/,
      );
      sees(
        engine,
        ['--mount', 'type=tmpfs,dst=/t,tmpfs-size=100k,tmpfs-mode=1770'],
        'ls -ld /t | cut -c1-10; df -k /t | tail -1 | awk "{print \\$2}"',
        'drwxrwx--T\n100',
      );
      sees(
        engine,
        ['-v', `${dir}:/d:ro`, '-v', `${dir}/sub:/d/sub`],
        'touch /d/sub/x && touch /d/x',
        /Read-only file system$/,
      );
      sees(engine, ['-v', `${dir}:/d:rprivate`], 'grep " /d " /proc/self/mountinfo | cut -d" " -f7', '-');
      sees(
        engine,
        ['--read-only', '--tmpfs', '/run', '-v', `${dir}:/d`],
        'touch /run/x /d/y /dev/shm/x && echo ok; for f in /x /etc/hosts /tmp/x; do echo a 2>/dev/null >> $f || echo no; done',
        /^ok\n(.*Read-only file system\nno\n?|no\n?|sh: .*\n?){3,6}$/,
      );
    },
  );

  same('devices: with the rights that were given, and no others', (engine) => {
    // One that no container has by itself.
    if (existsSync('/dev/loop-control'))
      sees(
        engine,
        ['--device', '/dev/loop-control:/dev/mine:r'],
        ': < /dev/mine && echo read; : > /dev/mine',
        /^read\n.*(not permitted|denied)$/,
      );
    sees(engine, ['--device', '/dev/zero:/dev/z:rwm', '-u', '1000'], 'head -c 3 /dev/z | wc -c', '3');
    sees(engine, [], 'mknod /x b 8 0 && cat /x', /not permitted$/);
    sees(
      engine,
      ['--privileged'],
      'mkdir /m && mount -t tmpfs x /m && echo mounted; ls /dev/kmsg; mknod /m/n b 8 0 && echo made',
      'mounted\n/dev/kmsg\nmade',
    );
    sees(
      engine,
      ['--cap-add', 'SYS_ADMIN', '--security-opt', 'apparmor=unconfined'],
      'mkdir /m && mount -t tmpfs x /m && echo mounted',
      'mounted',
    );
  });

  same('capabilities and security options have the effect that they say', (engine) => {
    const effective = 'grep CapEff /proc/self/status | cut -f2';
    sees(engine, ['--cap-drop', 'all', '--cap-add', 'chown'], effective, '0000000000000001');
    sees(engine, ['--cap-add', 'cap_net_admin', '--cap-drop', 'net_admin'], effective, '00000000a80435fb');
    sees(engine, ['-u', '1000', '--cap-add', 'NET_ADMIN'], effective, '0000000000000000');
    sees(engine, ['--cap-drop', 'CHOWN'], 'chown 1 /tmp', /not permitted$/);
    const profile = join(engine.dir, 'no-mkdir.json');
    const syscalls = [{ names: ['mkdir', 'mkdirat'], action: 'SCMP_ACT_ERRNO', errnoRet: 13 }];
    writeFileSync(profile, JSON.stringify({ defaultAction: 'SCMP_ACT_ALLOW', syscalls }));
    sees(engine, ['--security-opt', `seccomp=${profile}`], 'mkdir /x', /Permission denied$/);
    sees(engine, ['--security-opt', 'systempaths=unconfined'], 'mount | grep -c " /proc/"', '0');
    sees(
      engine,
      ['--privileged', '--security-opt', 'no-new-privileges'],
      'grep NoNewPrivs /proc/self/status | cut -f2',
      '1',
    );
  });

  same('namespaces: what is shared is shared, with the flags of its mounts', (engine) => {
    engine.must('run', '-d', '--name', 'donor', '--ipc', 'shareable', '--shm-size', '2m', 'bb:1', 'sleep', '100');
    sees(
      engine,
      ['--ipc', 'container:donor'],
      'df -k /dev/shm | tail -1 | awk "{print \\$2}"; echo shared > /dev/shm/f',
      '2048',
    );
    assert.equal(engine.must('exec', 'donor', 'cat', '/dev/shm/f'), 'shared');
    for (const mode of ['private', 'shareable', 'container:donor'])
      sees(engine, ['--ipc', mode], 'mount | grep " /dev/shm "', /\(rw,nosuid,nodev,noexec,/);
    sees(engine, ['--ipc', 'none'], 'mount | grep -c " /dev/shm "', '0');
    sees(engine, ['--pid', 'container:donor'], 'cat /proc/1/cmdline | tr "\\0" " "', 'sleep 100');
    sees(engine, ['--network', 'container:donor'], 'hostname', engine.must('exec', 'donor', 'hostname'));
    sees(engine, ['--cgroupns', 'private'], 'cut -d: -f3 /proc/self/cgroup | sort -u', '/');
    sees(engine, ['--cgroupns', 'host'], 'cut -d: -f3 /proc/self/cgroup | grep -c "[0-9a-f]\\{64\\}"', /^[1-9]/);
    engine.must('rm', '-f', 'donor');
  });

  same('names: all of a host name and its first part are in /etc/hosts', (engine) => {
    const last = 'tail -1 /etc/hosts | cut -f2';
    sees(engine, ['-h', 'a.b.c'], `hostname; ${last}`, 'a.b.c\na.b.c a');
    sees(engine, ['-h', 'a', '--domainname', 'x.y'], `hostname; ${last}`, 'a\na.x.y a');
    sees(engine, ['-h', 'plain'], last, 'plain');
  });

  same('limits and sysctls are what the program has', (engine) => {
    sees(engine, ['--ulimit', 'nproc=77', '--ulimit', 'stack=1048576'], 'ulimit -u; ulimit -s', '77\n1024');
    sees(engine, ['--sysctl', 'net.core.somaxconn=99'], 'cat /proc/sys/net/core/somaxconn', '99');
    sees(engine, ['--sysctl', 'kernel.shmmax=12345'], 'cat /proc/sys/kernel/shmmax', '12345');
    sees(
      engine,
      ['--pids-limit', '6'],
      '(for i in 1 2 3 4 5 6 7 8; do sleep 0.2 & done; wait) 2>&1 | grep -c fork',
      /^[1-9]/,
    );
    sees(engine, ['--cpuset-cpus', '0'], 'nproc', '1');
    sees(engine, ['--shm-size', '1m'], 'df -k /dev/shm | tail -1 | awk "{print \\$2}"', '1024');
    sees(engine, ['-u', 'web', '--group-add', '777', '--group-add', 'audio'], 'id -G', '1000 29 777 2000');
  });

  same('exec: a user that does not exist is refused when the exec is made', async (engine) => {
    engine.must('run', '-d', '--name', 'there', 'bb:1', 'sleep', '100');
    for (const [user, message] of [
      ['nosuch', /unable to find user nosuch: no matching entries in passwd file/],
      ['0:nosuch', /unable to find group nosuch: no matching entries in group file/],
    ] as const) {
      const { status, body } = await engine.api('POST', '/containers/there/exec', { Cmd: ['pwd'], User: user });
      assert.equal(status, 400);
      assert.match(body, message);
    }
    assert.equal(engine.docker(['exec', '-u', 'nosuch', 'there', 'pwd']).status, 1);
    engine.must('rm', '-f', 'there');
  });

  same('annotations, labels, stop signal and timeout are kept, and the signal is the one that is sent', (engine) => {
    const script = 'trap "echo got; exit 9" USR1; while :; do sleep 0.1; done';
    const flags = ['--stop-signal', 'USR1', '--stop-timeout', '30', '--annotation', 'k=v', '--label', 'l=1'];
    engine.must('run', '-d', '--name', 'kept', ...flags, 'bb:1', 'sh', '-c', script);
    assert.equal(
      engine.must(
        'inspect',
        '-f',
        '{{json .HostConfig.Annotations}} {{.Config.Labels.l}} {{.Config.StopTimeout}} {{.Config.StopSignal}}',
        'kept',
      ),
      '{"k":"v"} 1 30 USR1',
    );
    engine.must('stop', 'kept');
    assert.equal(engine.must('logs', 'kept'), 'got');
    assert.equal(engine.must('inspect', '-f', '{{.State.ExitCode}}', 'kept'), '9');
    engine.must('rm', 'kept');
  });
});
