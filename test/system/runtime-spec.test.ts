import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { HostConfig } from '../../src/protocol/container.ts';
import { buildSpec } from '../../src/runtime/spec/build.ts';
import { checkHostConfig } from '../../src/runtime/spec/check.ts';
import { resolveDevices } from '../../src/runtime/spec/devices.ts';
import { containerEnv } from '../../src/runtime/spec/env.ts';
import type { ContainerMount } from '../../src/runtime/spec/input.ts';
import { specJson } from '../../src/runtime/spec/json.ts';
import { readMachine } from '../../src/runtime/spec/machine.ts';
import { sampleHostConfig, sampleInput } from '../../src/runtime/spec/sample.ts';
import { resolveUser } from '../../src/runtime/spec/user.ts';

const parent = `/berth-spec-${process.pid}`;
const machine = readMachine();

for (const runtime of ['crun', 'runc'])
  describe(`a spec in ${runtime}`, { skip: spawnSync(runtime, ['--version']).status !== 0 }, () => {
    let directory: string;
    let rootfs: string;
    before(() => {
      directory = mkdtempSync(join(tmpdir(), 'berth-spec-'));
      rootfs = join(directory, 'rootfs');
      for (const name of ['bin', 'etc', 'proc', 'sys', 'dev', 'tmp', 'sbin', 'masked'])
        mkdirSync(join(rootfs, name), { recursive: true });
      copyFileSync('/bin/busybox', join(rootfs, 'bin/busybox'));
      const applets = execFileSync('/bin/busybox', ['--list'], { encoding: 'utf8' }).trim().split('\n');
      for (const name of applets) if (name !== 'busybox') symlinkSync('busybox', join(rootfs, 'bin', name));
      writeFileSync(join(rootfs, 'etc/passwd'), 'root:x:0:0::/root:/bin/sh\nweb:x:33:33::/srv:/bin/sh\n');
      writeFileSync(join(rootfs, 'etc/group'), 'root:x:0:\nweb:x:33:\naudio:x:29:web\nvideo:x:44:\n');
    });
    after(() => {
      rmSync(directory, { recursive: true });
      for (const hierarchy of readdirSync('/sys/fs/cgroup'))
        if (existsSync(`/sys/fs/cgroup/${hierarchy}${parent}`)) rmdirSync(`/sys/fs/cgroup/${hierarchy}${parent}`);
      if (existsSync(`/sys/fs/cgroup${parent}`)) rmdirSync(`/sys/fs/cgroup${parent}`);
    });

    let count = 0;
    /** Runs a shell script as `docker run` with these options would; gives what it printed, both streams. */
    async function run(
      script: string,
      host: Partial<HostConfig> = {},
      { user = '', mounts = [], init }: { user?: string; mounts?: ContainerMount[]; init?: string } = {},
    ) {
      const asked = { ...sampleHostConfig, CgroupnsMode: '', ...host };
      const { hostConfig } = checkHostConfig(asked, machine);
      const who = resolveUser(rootfs, user, hostConfig.GroupAdd ?? []);
      const id = `spec-${process.pid}-${count++}`;
      const spec = buildSpec({
        ...sampleInput({ id, rootfs, user: who, mounts, init, cgroupParent: parent }),
        hostConfig,
        machine,
        args: ['/bin/sh', '-c', `exec 2>&1; ${script}`],
        env: containerEnv({ config: { Env: [], Tty: false }, hostname: 'h1', home: who.home }),
        devices: await resolveDevices(hostConfig),
      });
      // A new network namespace instead of one that was made before.
      const namespaces = spec.linux.namespaces.map((namespace) =>
        namespace.type === 'network' ? { type: 'network' } : namespace,
      );
      const bundle = join(directory, id);
      mkdirSync(bundle);
      writeFileSync(join(bundle, 'config.json'), specJson({ ...spec, linux: { ...spec.linux, namespaces } }));
      const state = join(directory, 'state');
      const done = spawnSync(runtime, ['--root', state, 'run', '-b', bundle, id], {
        encoding: 'utf8',
        timeout: 30_000,
      });
      return `${done.stdout}${done.stderr}`.trim();
    }

    it('S19 gives no capability that exec would turn into more, and only the groups that were asked for', async () => {
      const status = 'grep -E "^Cap(Inh|Prm|Eff|Amb)|^NoNew" /proc/self/status | tr -s "\\t" " "; id';
      const root = await run(status);
      for (const line of [
        'CapInh: 0000000000000000',
        'CapEff: 00000000a80425fb',
        'CapAmb: 0000000000000000',
        'NoNewPrivs: 0',
      ])
        assert.ok(root.includes(line), root);
      const web = await run(status, { GroupAdd: ['video'], SecurityOpt: ['no-new-privileges'] }, { user: 'web' });
      for (const line of [
        'CapInh: 0000000000000000',
        'CapPrm: 0000000000000000',
        'CapEff: 0000000000000000',
        'CapAmb: 0000000000000000',
        'NoNewPrivs: 1',
        'uid=33(web) gid=33(web) groups=29(audio),33(web),44(video)',
      ])
        assert.ok(web.includes(line), web);
    });

    it('S20 keeps from a container what would reach the host', async () => {
      const probes: Record<string, string> = {
        'mount -t tmpfs x /tmp': 'mounting',
        'unshare -m true': 'a mount namespace',
        'unshare -U true': 'a user namespace',
        'echo x > /proc/sysrq-trigger': 'sysrq',
        'echo x > /proc/sys/kernel/core_pattern': 'the core pattern',
        'echo 1 > /sys/kernel/mm/ksm/run': 'sysfs',
        'mount -o remount,rw /sys': 'remounting sysfs',
        'umount /proc/interrupts': 'unmasking',
        'mknod /tmp/sda b 8 0 && head -c 1 /tmp/sda': 'a disk',
        'head -c 1 /dev/kmsg': 'the kernel log',
        'hostname x': 'the host name',
        'date -s 2020-01-01 > /dev/null; test $(date +%Y) = 2020': 'the clock',
        dmesg: 'dmesg',
        'insmod /x': 'modules',
      };
      for (const [probe, what] of Object.entries(probes))
        assert.match(await run(`(${probe}) && echo REACHED; true`), /^(?![^]*REACHED)/, what);
      assert.equal(await run('cat /proc/interrupts /proc/keys /proc/timer_list; ls /sys/firmware; ls /proc/acpi'), '');
      assert.match(await run('grep Seccomp: /proc/self/status'), /2$/);
    });

    it('S11 leaves no descriptor open but the standard ones', async () => {
      // ls has one of its own, on the directory that it lists.
      const open = (await run('ls -l /proc/self/fd')).matchAll(/ (\d+) -> (.*)$/gm);
      const theirs = [...open].filter(([, , target]) => !/^\/proc\/\d+\/fd$/.test(target!));
      assert.deepEqual(
        theirs.map(([, fd]) => fd),
        ['0', '1', '2'],
      );
    });

    it('limits what was asked to be limited', async () => {
      const out = await run(
        'ulimit -n; ulimit -Hn; cat /proc/sys/net/ipv4/ip_forward /proc/self/oom_score_adj; touch /x; grep -c . /dev/shm/none; df -k /dev/shm | tail -1 | tr -s " " | cut -d" " -f2',
        {
          Ulimits: [{ Name: 'nofile', Soft: 100, Hard: 200 }],
          Sysctls: { 'net.ipv4.ip_forward': '1' },
          OomScoreAdj: 300,
          ReadonlyRootfs: true,
          ShmSize: 1024 * 1024,
        },
      );
      assert.match(out, /^100\n200\n1\n300\ntouch: \/x: Read-only file system\n.*\n1024$/s);
    });

    it('sets the limits of the cgroup', { skip: machine.cgroupVersion !== 1 }, async () => {
      const read =
        'cd /sys/fs/cgroup; cat memory/memory.limit_in_bytes memory/memory.memsw.limit_in_bytes cpu/cpu.cfs_quota_us cpu/cpu.shares pids/pids.max cpuset/cpuset.cpus';
      const out = await run(read, { Memory: 64 << 20, NanoCpus: 5e8, CpuShares: 512, PidsLimit: 50, CpusetCpus: '0' });
      assert.deepEqual(out.split('\n'), ['67108864', '134217728', '50000', '512', '50', '0']);
    });

    it('makes mounts as they were asked for', async () => {
      const source = join(directory, 'source');
      mkdirSync(source, { recursive: true });
      const bind = (target: string, readOnly: boolean): ContainerMount => ({
        type: 'bind',
        source,
        target,
        readOnly,
        recursive: true,
        recursiveReadOnly: 'possible',
      });
      const tmpfs: ContainerMount = {
        type: 'tmpfs',
        target: '/mnt/t',
        options: ['noexec', 'nosuid', 'nodev', 'size=64k', 'mode=1770'],
      };
      const out = await run(
        'touch /mnt/ro/x; touch /mnt/rw/y && ls /mnt/ro; stat -c %a /mnt/t; grep " /mnt/t " /proc/mounts; cp /bin/busybox /mnt/t/ || echo full',
        {},
        { mounts: [tmpfs, bind('/mnt/ro', true), bind('/mnt/rw', false)] },
      );
      assert.match(
        out,
        /\/mnt\/ro\/x: Read-only file system\ny\n1770\ntmpfs \/mnt\/t tmpfs rw,nosuid,nodev,noexec,.*size=64k.*full$/s,
      );
    });

    it('runs init as the first process', { skip: !existsSync('/usr/bin/tini-static') }, async () => {
      const out = await run('cat /proc/1/comm; echo $$', {}, { init: '/usr/bin/tini-static' });
      assert.match(out, /^docker-init\n\d+$/);
      assert.notEqual(out.split('\n')[1], '1');
    });

    it('gives devices with the access that was asked for', async () => {
      const Devices = [{ PathOnHost: '/dev/full', PathInContainer: '/dev/mine', CgroupPermissions: 'r' }];
      assert.match(await run('head -c 1 /dev/mine | wc -c; stat -c %t:%T /dev/mine', { Devices }), /^1\n1:7$/);
      const denied = {
        Devices: [{ PathOnHost: '/dev/loop-control', PathInContainer: '/dev/lc', CgroupPermissions: 'r' }],
      };
      if (existsSync('/dev/loop-control')) assert.match(await run('echo > /dev/lc', denied), /Operation not permitted/);
    });

    it('gives a privileged container everything that the engine has', async () => {
      const bounding = execFileSync('grep', ['CapBnd', '/proc/self/status'], { encoding: 'utf8' }).trim();
      const out = await run('grep CapEff /proc/self/status; mount -t tmpfs x /tmp && echo mounted', {
        Privileged: true,
      });
      assert.ok(out.includes(bounding.split('\t')[1]!) && out.endsWith('mounted'), out);
    });
  });
