import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { onBothEngines } from '../lib/both-engines.ts';
import { dockerCli } from '../lib/engines.ts';

onBothEngines('docker run', { runtimes: ['crun', 'runc'] }, ({ same }) => {
  same('prints what the program prints, on both streams, and ends with its exit code', (engine) => {
    const result = engine.docker(['run', '--rm', 'bb:1', 'sh', '-c', 'echo out; echo err >&2; exit 7']);
    assert.equal(result.stdout, 'out\n');
    assert.equal(result.stderr, 'err\n');
    assert.equal(result.status, 7);
  });

  same('exit codes: 127 not found, 126 not executable, 125 for the engine, 128+n for a signal', (engine) => {
    const notFound = engine.docker(['run', '--rm', 'bb:1', 'nosuch']);
    assert.equal(notFound.status, 127);
    assert.match(notFound.stderr, /exec: "nosuch": executable file not found in \$PATH/);
    const denied = engine.docker(['run', '--rm', 'bb:1', '/etc/passwd']);
    assert.equal(denied.status, 126);
    assert.match(denied.stderr, /permission denied/);
    assert.equal(engine.docker(['run', '--rm', 'bb:1', '/etc']).status, 126);
    assert.equal(engine.docker(['run', '--rm', '--pull', 'never', 'nosuchimage:1']).status, 125);
    const killed = spawnSync(
      'sh',
      [
        '-c',
        `"$0" run --rm --name killed bb:1 sleep 60 & for i in $(seq 100); do "$0" kill killed >/dev/null 2>&1 && break; sleep 0.1; done; wait $!`,
        dockerCli(),
      ],
      { env: engine.env },
    );
    assert.equal(killed.status, 137);
    assert.equal(engine.must('ps', '-aq'), '');
  });

  same('stdin goes in, half-closes, and megabytes come back whole', (engine) => {
    const input = Buffer.alloc(8 * 1024 * 1024, 'abcdefghijklmnopqrstuvwxyz\n');
    const result = engine.docker(['run', '-i', '--rm', 'bb:1', 'cat'], { input });
    assert.equal(result.status, 0);
    assert.equal(result.stdout.length, input.length);
    assert.equal(result.stdout, input.toString());
  });

  same('output is never cut, however fast the program ends', (engine) => {
    for (let round = 0; round < 5; round++) {
      const result = engine.docker([
        'run',
        '--rm',
        'bb:1',
        'sh',
        '-c',
        'head -c 300000 /dev/zero | tr "\\0" x; echo end >&2',
      ]);
      assert.equal(result.stdout.length, 300_000);
      assert.equal(result.stderr, 'end\n');
    }
  });

  same('-e, --env-file, -w, -u, -h, --entrypoint', (engine) => {
    writeFileSync(join(engine.dir, 'env'), 'A=file\nB=two words\n#comment\n');
    assert.equal(
      engine.must(
        'run',
        '--rm',
        '-e',
        'A=1',
        '-e',
        'NOVALUE',
        '--env-file',
        join(engine.dir, 'env'),
        'bb:1',
        'sh',
        '-c',
        'echo "$A|$B|${NOVALUE-unset}|$HOME|$PATH"',
      ),
      '1|two words|unset|/root|/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
    );
    assert.equal(engine.must('run', '--rm', '-w', '/made/here', 'bb:1', 'pwd'), '/made/here');
    assert.equal(
      engine.must('run', '--rm', '-u', 'web', 'bb:1', 'sh', '-c', 'id; echo $HOME'),
      'uid=1000(web) gid=1000(web) groups=29(audio),1000(web),2000(extra)\n/home',
    );
    assert.equal(
      engine.must('run', '--rm', '-u', '7:8', '--group-add', 'audio', 'bb:1', 'id'),
      'uid=7 gid=8 groups=8,29(audio)',
    );
    assert.equal(engine.must('run', '--rm', '-h', 'ship', 'bb:1', 'hostname'), 'ship');
    assert.equal(engine.must('run', '--rm', '--entrypoint', 'echo', 'bb:1', 'a', 'b'), 'a b');
    const unknown = engine.docker(['run', '--rm', '-u', 'nobodyhere', 'bb:1', 'true']);
    assert.match(unknown.stderr, /unable to find user nobodyhere: no matching entries in passwd file/);
    assert.notEqual(unknown.status, 0);
  });

  same('bind mounts with -v and --mount, tmpfs, read-only root', (engine) => {
    const host = join(engine.dir, 'bound');
    mkdirSync(host);
    writeFileSync(join(host, 'a'), 'hello');
    assert.equal(
      engine.must('run', '--rm', '-v', `${host}:/data`, 'bb:1', 'sh', '-c', 'cat /data/a; echo new > /data/b'),
      'hello',
    );
    assert.equal(readFileSync(join(host, 'b'), 'utf8'), 'new\n');
    assert.match(
      engine.docker(['run', '--rm', '-v', `${host}:/data:ro`, 'bb:1', 'touch', '/data/c']).stderr,
      /Read-only file system/,
    );
    assert.equal(
      engine.must('run', '--rm', '--mount', `type=bind,src=${host},dst=/data,readonly`, 'bb:1', 'cat', '/data/a'),
      'hello',
    );
    const missing = engine.docker(['run', '--rm', '--mount', `type=bind,src=${host}/nosuch,dst=/data`, 'bb:1', 'true']);
    assert.equal(missing.status, 125);
    assert.match(missing.stderr, /bind source path does not exist/);
    assert.match(
      engine.must('run', '--rm', '--tmpfs', '/t:size=1m', 'bb:1', 'sh', '-c', 'mount | grep " /t "'),
      /^tmpfs on \/t type tmpfs \(rw,nosuid,nodev,noexec,relatime,size=1024k/,
    );
    assert.match(
      engine.must('run', '--rm', '--mount', 'type=tmpfs,dst=/t', 'bb:1', 'sh', '-c', 'mount | grep " /t "'),
      /^tmpfs on \/t type tmpfs/,
    );
    assert.match(engine.docker(['run', '--rm', '--read-only', 'bb:1', 'touch', '/x']).stderr, /Read-only file system/);
  });

  same('capabilities, privileged, no-new-privileges, seccomp', (engine) => {
    const caps = (...flags: string[]) =>
      engine
        .must(
          'run',
          '--rm',
          ...flags,
          'bb:1',
          'sh',
          '-c',
          'grep -E "CapEff|CapBnd|CapInh|CapAmb|NoNewPrivs|^Seccomp:" /proc/self/status | tr -s "\\t\\n" " "',
        )
        .trim();
    assert.equal(
      caps(),
      'CapInh: 0000000000000000 CapEff: 00000000a80425fb CapBnd: 00000000a80425fb CapAmb: 0000000000000000 NoNewPrivs: 0 Seccomp: 2',
    );
    assert.match(caps('--cap-add', 'NET_ADMIN', '--cap-drop', 'CHOWN'), /CapEff: 00000000a80435fa/);
    assert.match(caps('--cap-drop', 'ALL'), /CapEff: 0000000000000000 CapBnd: 0000000000000000/);
    assert.match(caps('--security-opt', 'no-new-privileges'), /NoNewPrivs: 1/);
    assert.match(caps('--security-opt', 'seccomp=unconfined'), /Seccomp: 0/);
    assert.match(caps('--privileged'), /CapEff: 0000(01|00)ff[f]?.* Seccomp: 0/);
    assert.match(
      engine.docker(['run', '--rm', '--cap-add', 'NOSUCH', 'bb:1', 'true']).stderr,
      /invalid (CapAdd: unknown )?capability/,
    );
  });

  same('masked and read-only paths, devices', (engine) => {
    // A kernel without /proc/kcore leaves nothing that the link could point to.
    const core = existsSync('/proc/kcore') ? '/dev/core' : '';
    assert.equal(
      engine.must(
        'run',
        '--rm',
        'bb:1',
        'sh',
        '-c',
        'cat /proc/timer_list 2>/dev/null | wc -c; ls /sys/firmware | wc -l; (echo x > /proc/sysrq-trigger) 2>/dev/null || echo ro',
      ),
      '0\n0\nro',
    );
    assert.equal(
      engine.must(
        'run',
        '--rm',
        'bb:1',
        'sh',
        '-c',
        `ls -d /dev/null /dev/zero /dev/full /dev/random /dev/urandom /dev/tty /dev/ptmx /dev/pts /dev/shm /dev/mqueue /dev/fd /dev/stdin ${core} | wc -l`,
      ),
      core === '' ? '12' : '13',
    );
    assert.equal(
      engine.must('run', '--rm', '--device', '/dev/null:/dev/mine:r', 'bb:1', 'sh', '-c', 'cat /dev/mine && echo ok'),
      'ok',
    );
    assert.equal(engine.docker(['run', '--rm', 'bb:1', 'sh', '-c', 'mknod /tmp/sda b 8 0 && cat /tmp/sda']).status, 1);
  });

  same('limits reach the cgroup and the process', (engine) => {
    const read = (flags: readonly string[], script: string) =>
      engine.must('run', '--rm', ...flags, 'bb:1', 'sh', '-c', script);
    const v1 = (file: string, v2: string) => `cat /sys/fs/cgroup/${file} 2>/dev/null || cat /sys/fs/cgroup/${v2}`;
    assert.equal(read(['--memory', '64m'], v1('memory/memory.limit_in_bytes', 'memory.max')), String(64 * 1024 * 1024));
    assert.equal(read(['--pids-limit', '33'], v1('pids/pids.max', 'pids.max')), '33');
    assert.match(read(['--cpus', '0.5'], v1('cpu/cpu.cfs_quota_us', 'cpu.max')), /^50000\b/);
    assert.equal(read(['--cpuset-cpus', '0'], v1('cpuset/cpuset.cpus', 'cpuset.cpus')), '0');
    assert.equal(read(['--ulimit', 'nofile=123:456'], 'ulimit -Sn; ulimit -Hn'), '123\n456');
    assert.match(read(['--shm-size', '8m'], 'mount | grep /dev/shm'), /size=8192k/);
    assert.equal(
      read(['--sysctl', 'net.ipv4.ip_forward=0', '--sysctl', 'kernel.msgmax=9999'], 'cat /proc/sys/kernel/msgmax'),
      '9999',
    );
    assert.match(
      engine.docker(['run', '--rm', '--memory', '1m', 'bb:1', 'true']).stderr,
      /Minimum memory limit allowed is 6MB/,
    );
  });

  same('a container over its memory limit is killed, and inspect says so', (engine) => {
    const result = engine.docker([
      'run',
      '--name',
      'oom',
      '--memory',
      '16m',
      '--memory-swap',
      '16m',
      'bb:1',
      'sh',
      '-c',
      'tail /dev/zero',
    ]);
    assert.equal(result.status, 137);
    assert.equal(engine.must('inspect', '-f', '{{.State.OOMKilled}} {{.State.ExitCode}}', 'oom'), 'true 137');
    engine.must('rm', 'oom');
  });

  same('network none, host, container; hosts, dns, add-host', (engine) => {
    assert.equal(engine.must('run', '--rm', '--network', 'none', 'bb:1', 'ls', '/sys/class/net'), 'lo');
    assert.match(engine.must('run', '--rm', '--network', 'host', 'bb:1', 'ls', '/sys/class/net'), /lo/);
    assert.match(
      engine.must('run', '--rm', '--add-host', 'db:10.9.8.7', '-h', 'web', 'bb:1', 'cat', '/etc/hosts'),
      /127\.0\.0\.1\s+localhost[\s\S]*10\.9\.8\.7\s+db[\s\S]*\d+\.\d+\.\d+\.\d+\s+web/,
    );
    assert.match(
      engine.must('run', '--rm', '--dns', '9.9.9.9', '--dns-search', 'a.example', 'bb:1', 'cat', '/etc/resolv.conf'),
      /nameserver 9\.9\.9\.9/,
    );
    const first = engine.must('run', '-d', '--name', 'first', 'bb:1', 'sleep', '60');
    const address = engine.must('inspect', '-f', '{{.NetworkSettings.Networks.bridge.IPAddress}}', first);
    assert.match(
      engine.must('run', '--rm', '--network', 'container:first', 'bb:1', 'ip', 'addr'),
      new RegExp(address.replaceAll('.', '\\.')),
    );
    assert.match(engine.must('run', '--rm', 'bb:1', 'ping', '-c1', '-W3', address), /1 packets received/);
    engine.must('rm', '-f', 'first');
  });

  same('ipc, pid, uts, cgroupns modes', (engine) => {
    engine.must('run', '-d', '--name', 'target', '--ipc', 'shareable', 'bb:1', 'sleep', '61');
    assert.match(engine.must('run', '--rm', '--pid', 'container:target', 'bb:1', 'ps'), /sleep 61/);
    assert.equal(
      engine.must('run', '--rm', '--uts', 'host', 'bb:1', 'hostname'),
      readFileSync('/proc/sys/kernel/hostname', 'utf8').trim(),
    );
    assert.match(engine.must('run', '--rm', '--pid', 'host', 'bb:1', 'ps'), /sleep 61/);
    engine.must('run', '--rm', '--ipc', 'container:target', 'bb:1', 'true');
    engine.must('run', '--rm', '--cgroupns', 'private', 'bb:1', 'true');
    engine.must('rm', '-f', 'target');
  });

  same('--init reaps, and pid 1 is the init', (engine) => {
    const result = engine.docker(['run', '--rm', '--init', 'bb:1', 'sh', '-c', 'cat /proc/1/comm']);
    assert.match(result.stdout, /init|tini/);
  });

  same('names: taken, malformed, and free again after rm', (engine) => {
    engine.must('create', '--name', 'one', 'bb:1');
    const taken = engine.docker(['create', '--name', 'one', 'bb:1']);
    assert.notEqual(taken.status, 0);
    assert.match(
      taken.stderr,
      /Conflict\. The container name "\/one" is already in use by container "[0-9a-f]{64}"\. You have to remove \(or rename\) that container to be able to reuse that name\./,
    );
    assert.match(engine.docker(['create', '--name', 'ä', 'bb:1']).stderr, /Invalid container name/);
    engine.must('rm', 'one');
    engine.must('create', '--name', 'one', 'bb:1');
    engine.must('rm', 'one');
  });

  same('wrong input: unknown runtime, network, image, working directory that is a file', (engine) => {
    assert.match(
      engine.docker(['run', '--rm', '--runtime', 'nosuch', 'bb:1']).stderr,
      /unknown or invalid runtime name: nosuch/,
    );
    assert.match(engine.docker(['run', '--rm', '--network', 'nosuch', 'bb:1']).stderr, /network nosuch not found/);
    assert.match(engine.docker(['run', '--rm', '--pull', 'never', 'nosuch']).stderr, /No such image: nosuch:latest/);
    const file = engine.docker(['run', '--rm', '-w', '/etc/passwd', 'bb:1', 'pwd']);
    assert.notEqual(file.status, 0);
    assert.match(file.stderr, /not a directory|Cannot mkdir/);
    assert.equal(engine.must('ps', '-aq'), '');
  });

  same('an interrupted CLI passes the signal on, and the container ends', async (engine) => {
    const child = spawn(
      dockerCli(),
      [
        'run',
        '--rm',
        '--name',
        'sig',
        'bb:1',
        'sh',
        '-c',
        'trap "echo got; exit 3" INT; echo ready; while :; do sleep 0.1; done',
      ],
      { env: engine.env, stdio: ['ignore', 'pipe', 'inherit'] },
    );
    let out = '';
    child.stdout.on('data', (chunk: Buffer) => {
      out += chunk;
      if (String(chunk).includes('ready')) child.kill('SIGINT');
    });
    const code = await new Promise((resolve) => child.once('close', resolve));
    assert.equal(out, 'ready\ngot\n');
    assert.equal(code, 3);
  });
});
