import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { examine, infoWarnings } from './doctor.ts';
import { type FakeMachine, fakeHost } from './fake-host.ts';
import { applyFixes, type Finding, worst } from './finding.ts';
import { type Host, LinuxHost } from './host.ts';

const look = (machine?: FakeMachine) => examine({ host: fakeHost(machine).host, dataRoot: '/var/lib/berth' });
const bad = async (machine?: FakeMachine) => (await look(machine)).filter(({ state }) => state !== 'ok');
/** The one finding that is not ok. */
async function only(machine: FakeMachine): Promise<Finding> {
  const findings = await bad(machine);
  assert.equal(findings.length, 1, JSON.stringify(findings));
  return findings[0]!;
}

describe('examine', () => {
  it('finds nothing wrong on a machine where nothing is', async () => {
    assert.deepEqual(await bad(), []);
  });

  it('gives every check its own name', async () => {
    const names = (await look()).map(({ name }) => name);
    assert.equal(new Set(names).size, names.length);
    assert.ok(names.length > 20);
  });

  it('tells what the kernel lacks', async () => {
    const cases: [FakeMachine, string, string][] = [
      [{ files: { '/proc/filesystems': '\terofs\n' } }, 'kernel.overlay', 'fail'],
      [{ files: { '/proc/filesystems': '\toverlay\n' } }, 'kernel.erofs', 'warn'],
      [{ files: { '/proc/sys/kernel/osrelease': '6.1.0\n' } }, 'kernel.erofs', 'warn'],
      [
        { files: { '/proc/config.gz': 'CONFIG_EROFS_FS=y\n# CONFIG_EROFS_FS_BACKED_BY_FILE is not set\n' } },
        'kernel.erofs',
        'warn',
      ],
      [{ files: { '/proc/modules': 'bridge 1\nveth 1\n' } }, 'kernel.nf_tables', 'fail'],
      [{ files: { '/proc/sys/kernel/seccomp/actions_avail': undefined } }, 'kernel.seccomp', 'fail'],
      [
        { directories: { '/proc/self/ns': ['mnt', 'net', 'pid', 'ipc', 'cgroup', 'user'] } },
        'kernel.namespaces',
        'fail',
      ],
      [{ directories: { '/proc/self/ns': ['mnt', 'net', 'pid', 'ipc', 'cgroup', 'uts'] } }, 'kernel.userns', 'warn'],
      [{ files: { '/proc/sys/user/max_user_namespaces': '0\n' } }, 'kernel.userns', 'warn'],
    ];
    for (const [machine, name, state] of cases) {
      const finding = await only(machine);
      assert.deepEqual([finding.name, finding.state], [name, state]);
    }
    const built = {
      '/proc/modules': '',
      '/proc/filesystems': '',
      '/proc/config.gz':
        'CONFIG_OVERLAY_FS=y\nCONFIG_EROFS_FS=m\nCONFIG_EROFS_FS_BACKED_BY_FILE=y\nCONFIG_NF_TABLES=m\nCONFIG_BRIDGE=m\nCONFIG_VETH=m\n',
    };
    assert.deepEqual(await bad({ files: built }), []);
    const loadable = {
      '/proc/modules': '',
      '/lib/modules/6.12.1-amd64/modules.dep':
        'kernel/net/nf_tables.ko.xz:\nkernel/net/bridge/bridge.ko: x\nkernel/drivers/net/veth.ko:\n',
    };
    assert.deepEqual(await bad({ files: loadable }), []);
    assert.equal((await bad({ files: { '/proc/sys/kernel/osrelease': '4.19.0\n' } }))[0]?.name, 'kernel.version');
  });

  it('tells cgroup versions apart and what they lack', async () => {
    const v2 = await only({ files: { '/sys/fs/cgroup/cgroup.controllers': 'cpuset cpu io pids\n' } });
    assert.deepEqual([v2.name, v2.state], ['cgroups.controllers', 'warn']);
    assert.match(v2.found, /--memory/);
    const none = await only({ files: { '/proc/self/mountinfo': '' } });
    assert.deepEqual([none.name, none.state], ['cgroups.version', 'fail']);
    const noDevices = await only({
      files: { '/proc/self/mountinfo': v1Lines('memory', 'cpu', 'pids', 'cpuset', 'freezer', 'blkio') },
    });
    assert.deepEqual([noDevices.name, noDevices.state], ['cgroups.controllers', 'fail']);
  });

  it('finds what keeps old crun from a hybrid machine, and cures it', async () => {
    const mountinfo = `${v1Lines('memory', 'cpu', 'pids', 'cpuset', 'devices', 'freezer', 'blkio')}41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n`;
    const hybrid = (crun: string, left: string): FakeMachine => ({
      files: { '/proc/self/mountinfo': mountinfo, '/sys/fs/cgroup/unified/cgroup.controllers': left },
      programs: { '/usr/bin/crun': `crun version ${crun}\n` },
    });
    assert.deepEqual(await bad(hybrid('1.8.1', '\n')), []);
    assert.deepEqual(await bad(hybrid('1.9', 'hugetlb\n')), []);
    const { host, changes } = fakeHost(hybrid('1.8.1', 'hugetlb\n'));
    const findings = await examine({ host, dataRoot: '/var/lib/berth' });
    const finding = findings.find(({ name }) => name === 'cgroups.hybrid')!;
    assert.equal(finding.state, 'warn');
    assert.match(finding.found, /hugetlb, which crun 1\.8\.1 refuses/);
    assert.deepEqual(await applyFixes(findings), [{ name: 'cgroups.hybrid', error: undefined }]);
    assert.deepEqual(changes, ['mount hugetlb /sys/fs/cgroup/hugetlb']);
    assert.equal((await only({ ...hybrid('1.8.1', 'hugetlb\n'), root: true })).name, 'cgroups.hybrid');
    const asUser = (await bad({ ...hybrid('1.8.1', 'hugetlb\n'), root: false })).find(
      ({ name }) => name === 'cgroups.hybrid',
    );
    assert.equal(asUser?.fix, undefined);
  });

  it('S12 fails on a runtime with known holes, unless the package or a probe closes them', async () => {
    const runc = (deb: string | undefined, log?: string): FakeMachine => ({
      files: { '/usr/share/doc/runc/changelog.Debian.gz': log },
      programs: {
        '/usr/sbin/runc': 'runc version 1.1.5+ds1\nspec: 1.0.2\n',
        '/usr/bin/dpkg-query': `${deb ? `runc installed ${deb}\n` : ''}libnftables1 installed 1\nnftables installed 1\nprocps installed 1\ntini installed 1\n`,
      },
    });
    const late = ['CVE-2024-45310', 'CVE-2025-31133', 'CVE-2025-52565', 'CVE-2025-52881'];
    const plain = await only(runc(undefined));
    assert.deepEqual([plain.name, plain.state, plain.holes], ['runtime.runc', 'fail', ['CVE-2024-21626', ...late]]);
    assert.match(plain.cure!, /--runtime crun/);
    assert.deepEqual((await only(runc('1.1.5+ds1-1+deb12u1'))).holes, late);
    assert.deepEqual((await only(runc('1.1.5+ds1-1'))).holes, ['CVE-2024-21626', ...late]);
    const logged = await only(
      runc(
        '1.1.5+ds1-1+deb12u9',
        'runc (1.1.5+ds1-1+deb12u9)\n  * CVE-2025-31133, CVE-2025-52565\n  * CVE-2025-52881\n',
      ),
    );
    assert.deepEqual([logged.state, logged.holes], ['warn', ['CVE-2024-45310']]);
    const probed = await examine({
      host: fakeHost(runc('1.1.5+ds1-1+deb12u1')).host,
      dataRoot: '/var/lib/berth',
      closedByProbe: new Set(late),
    });
    assert.equal(worst(probed), 'ok');
  });

  it('does not take a runtime that was built here for the package', async () => {
    const finding = await only({
      programs: {
        '/usr/local/sbin/runc': 'runc version 1.1.5\n',
        '/usr/bin/dpkg-query':
          'runc installed 1.1.5+ds1-1+deb12u1\nlibnftables1 installed 1\nnftables installed 1\nprocps installed 1\ntini installed 1\n',
      },
    });
    assert.ok(finding.holes?.includes('CVE-2024-21626'));
  });

  it('asks for a runtime where there is none, and for packages by what they are for', async () => {
    const none = await only({ programs: { '/usr/bin/crun': undefined } });
    assert.deepEqual([none.name, none.state], ['runtime', 'fail']);
    const without = await bad({ programs: { '/usr/bin/dpkg-query': 'crun installed 1.20-1\nnftables installed 1\n' } });
    assert.deepEqual(
      without.map(({ name, state }) => `${name} ${state}`),
      ['package.libnftables1 fail', 'package.procps warn', 'package.tini warn'],
    );
    const elsewhere: FakeMachine = {
      programs: { '/usr/bin/dpkg-query': undefined, '/usr/bin/ps': '', '/usr/bin/tini-static': '' },
      stats: { '/usr/lib64/libnftables.so.1': {} },
    };
    assert.deepEqual(await bad(elsewhere), []);
    const armor = await only({ files: { '/sys/module/apparmor/parameters/enabled': 'Y\n' } });
    assert.deepEqual([armor.name, armor.state], ['package.apparmor', 'fail']);
  });

  it('looks at the data root', async () => {
    const GiB = 1024 ** 3;
    const cases: [FakeMachine, string, string][] = [
      [{ disk: { magic: 0x6969 } }, 'data.filesystem', 'fail'],
      [{ disk: { magic: 0x794c7630 } }, 'data.filesystem', 'fail'],
      [{ disk: { magic: 0x01021994 } }, 'data.filesystem', 'warn'],
      [{ disk: { magic: 0x1234 } }, 'data.filesystem', 'warn'],
      [
        { disk: { magic: 0x58465342 }, programs: { '/usr/sbin/xfs_info': 'naming ... ftype=0' } },
        'data.filesystem',
        'fail',
      ],
      [{ disk: { freeBytes: GiB / 4 } }, 'data.space', 'fail'],
      [{ disk: { freeBytes: 2 * GiB } }, 'data.space', 'warn'],
      [{ disk: { freeInodes: 20_000 } }, 'data.inodes', 'warn'],
      [{ disk: { freeInodes: 5 } }, 'data.inodes', 'fail'],
    ];
    for (const [machine, name, state] of cases) {
      const finding = await only(machine);
      assert.deepEqual([finding.name, finding.state], [name, state]);
    }
    assert.deepEqual(await bad({ disk: { inodes: 0, freeInodes: 0 } }), []);
    assert.deepEqual(await bad({ disk: { magic: 0x58465342 }, programs: { '/usr/sbin/xfs_info': 'ftype=1' } }), []);
  });

  it('S21 fails on a data root that others can enter, and cures it', async () => {
    for (const mode of [0o711, 0o755, 0o770, 0o701])
      assert.equal((await only({ stats: { '/var/lib/berth': { mode } } })).name, 'data.permissions');
    for (const mode of [0o700, 0o710]) assert.deepEqual(await bad({ stats: { '/var/lib/berth': { mode } } }), []);
    assert.equal((await only({ stats: { '/var/lib/berth': { uid: 1000 } } })).fix, undefined);
    const { host, changes } = fakeHost({ stats: { '/var/lib/berth': { mode: 0o755 } } });
    await applyFixes(await examine({ host, dataRoot: '/var/lib/berth' }));
    assert.deepEqual(changes, ['chmod /var/lib/berth 700']);
  });

  it('finds other firewalls', async () => {
    const ufw = await only({ files: { '/etc/ufw/ufw.conf': '# x\nENABLED=yes\n' } });
    assert.equal(ufw.name, 'firewall.ufw');
    assert.match(ufw.cure!, /berth0/);
    assert.deepEqual(await bad({ files: { '/etc/ufw/ufw.conf': 'ENABLED=no\n' } }), []);
    assert.equal(
      (await only({ files: { '/run/firewalld.pid': '77\n', '/proc/77/comm': 'firewalld' } })).name,
      'firewall.firewalld',
    );
    assert.deepEqual(await bad({ files: { '/run/firewalld.pid': '77\n' } }), []);
    const legacy: FakeMachine = {
      files: { '/proc/net/ip_tables_names': 'nat\nfilter\n' },
      programs: { '/usr/sbin/iptables-legacy': '-P FORWARD DROP\n' },
    };
    assert.equal((await only(legacy)).name, 'firewall.iptables');
  });

  it('tells settings that are too small, and raises them', async () => {
    const { host, changes } = fakeHost({
      files: { '/proc/sys/net/ipv4/ip_forward': '0\n', '/proc/sys/fs/inotify/max_user_instances': '16\n' },
    });
    const findings = await examine({ host, dataRoot: '/var/lib/berth' });
    assert.deepEqual(
      findings.filter(({ state }) => state !== 'ok').map(({ name }) => name),
      ['sysctl.ip_forward', 'sysctl.max_user_instances'],
    );
    await applyFixes(findings);
    assert.deepEqual(changes, [
      'write /proc/sys/net/ipv4/ip_forward 1',
      'write /proc/sys/fs/inotify/max_user_instances 512',
    ]);
  });

  it('tells limits and rights of the engine', async () => {
    const limits = (hard: string) => ({
      files: { '/proc/self/limits': `Max open files            1  ${hard}  files\n` },
    });
    assert.equal((await only(limits('4096'))).state, 'warn');
    assert.equal((await only(limits('256'))).state, 'fail');
    assert.deepEqual(await bad(limits('unlimited')), []);
    const rights = (mask: string) => ({ files: { '/proc/self/status': `CapBnd:\t${mask}\n` } });
    assert.match((await only(rights('000001fffeffffff'))).found, /CAP_SYS_RESOURCE/);
    assert.equal((await only(rights('00000000a80425fb'))).state, 'fail');
    assert.equal((await only({ root: false })).name, 'limit.rights');
  });

  it('tells a clock that cannot be right', async () => {
    assert.equal((await only({ now: 0 })).state, 'fail');
    const stats = { '/var/lib/berth/engine.db': { modified: Date.UTC(2026, 6) } };
    assert.equal((await only({ stats })).state, 'warn');
    assert.deepEqual(await bad({ stats: { '/var/lib/berth/engine.db': { modified: Date.UTC(2026, 4) } } }), []);
  });

  it('never throws and never waits', async () => {
    const { host } = fakeHost();
    const broken: Host = {
      ...host,
      read: () => Promise.reject(new Error('broken')),
      run: () => Promise.reject(new Error('broken')),
      statfs: () => new Promise(() => {}),
    };
    const findings = await examine({ host: broken, dataRoot: '/x', patience: 20 });
    const unchecked = findings.filter(({ found }) => found.startsWith('could not be checked: '));
    assert.deepEqual(
      unchecked.map(({ name, found }) => `${name}: ${found.slice(22)}`),
      [
        'kernel: broken',
        'cgroups: broken',
        'runtime: broken',
        'package: broken',
        'data: no answer within 20 ms',
        'firewall: broken',
        'limits: broken',
      ],
    );
  });

  it('looks at the machine that it runs on, as it is', async () => {
    const findings = await examine({ host: new LinuxHost(), dataRoot: '/var/lib/berth', patience: 20_000 });
    assert.equal(findings.find(({ name }) => name === 'kernel.namespaces')?.state, 'ok');
    assert.ok(findings.every(({ found }) => !found.startsWith('could not be checked')));
  });
});

const v1Lines = (...controllers: string[]) =>
  controllers.map((name) => `32 31 0:29 / /sys/fs/cgroup/${name} rw - cgroup cgroup rw,${name}\n`).join('');

describe('infoWarnings', () => {
  it("says in Docker's words what the machine cannot do, and names holes", () => {
    const whole = {
      controllers: new Set(['memory', 'cpu', 'cpuset', 'pids', 'io']),
      swapLimit: true,
      blockWeight: true,
      cgroupVersion: 2 as const,
    };
    assert.deepEqual(infoWarnings(whole, []), []);
    assert.deepEqual(
      infoWarnings({ ...whole, swapLimit: false, blockWeight: false }, [
        { name: 'sysctl.ip_forward', state: 'warn', found: '' },
        { name: 'runtime.runc', state: 'fail', found: '', holes: ['CVE-1', 'CVE-2'] },
        { name: 'limit.nofile', state: 'fail', found: '256 open files: too few' },
      ]),
      [
        'WARNING: No swap limit support',
        'WARNING: No blkio weight support',
        'WARNING: No blkio weight_device support',
        'WARNING: 256 open files: too few',
        'WARNING: IPv4 forwarding is disabled',
        'WARNING: runc has known holes: CVE-1, CVE-2',
      ],
    );
  });
});
