import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { kernelVersion, parseKernelList, readMachine } from './machine.ts';

describe('readMachine', () => {
  let root: string;
  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'machine-'));
  });
  afterEach(() => rmSync(root, { recursive: true }));
  const put = (files: Record<string, string>) => {
    for (const [path, text] of Object.entries(files)) {
      mkdirSync(dirname(join(root, path)), { recursive: true });
      writeFileSync(join(root, path), text);
    }
  };

  it('reads a cgroup v2 machine with AppArmor', () => {
    put({
      'proc/sys/kernel/osrelease': '6.1.0-18-amd64\n',
      'proc/self/status': 'Name:\tx\nCapBnd:\t00000000a80425fb\nSeccomp:\t0\n',
      'proc/self/limits':
        'Limit                     Soft Limit           Hard Limit           Units     \n' +
        'Max open files            1024                 20000                files     \n' +
        'Max core file size        0                    unlimited            bytes     \n',
      'sys/fs/cgroup/cgroup.controllers': 'cpuset cpu io memory pids\n',
      'sys/devices/system/cpu/online': '0-3,8\n',
      'sys/devices/system/cpu/cpu0/thermal_throttle/x': '',
      'sys/devices/system/node/online': '0\n',
      'sys/module/apparmor/parameters/enabled': 'Y\n',
      'sys/kernel/security/apparmor/profiles': '',
      'proc/sys/net/ipv4/ping_group_range': '1 0\n',
    });
    const machine = readMachine(root);
    assert.deepEqual(machine.kernel, [6, 1]);
    assert.equal(machine.cgroupVersion, 2);
    assert.deepEqual([...machine.controllers], ['cpuset', 'cpu', 'io', 'memory', 'pids']);
    assert.deepEqual([machine.cpus, machine.cpuList, machine.memoryList], [5, '0-3,8', '0']);
    assert.equal(machine.capabilities.size, 14);
    assert.deepEqual(machine.hardLimits, { RLIMIT_NOFILE: 20000, RLIMIT_CORE: Number.POSITIVE_INFINITY });
    assert.deepEqual(
      [machine.appArmor, machine.selinux, machine.seccomp, machine.swapLimit],
      [true, false, true, true],
    );
    assert.deepEqual(machine.thermalPaths, ['/sys/devices/system/cpu/cpu0/thermal_throttle']);
    assert.deepEqual([...machine.sysctls], ['net.ipv4.ping_group_range']);
    assert.equal(machine.recursiveReadOnly, true);
  });

  it('reads a cgroup v1 machine by what is mounted', () => {
    put({
      'proc/self/mountinfo':
        '32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n35 31 0:32 / /m rw - cgroup cgroup rw,memory\n41 31 0:38 / /u rw - cgroup2 cgroup2 rw\n',
      'sys/fs/cgroup/memory/memory.memsw.limit_in_bytes': '',
    });
    const machine = readMachine(root);
    assert.equal(machine.cgroupVersion, 1);
    for (const name of ['cpu', 'cpuacct', 'memory']) assert.ok(machine.controllers.has(name), name);
    assert.equal(machine.swapLimit, true);
    assert.equal(machine.blockWeight, false);
  });

  it('reads what is there where nothing is', () => {
    const machine = readMachine(root);
    assert.equal(machine.capabilities.size, 0);
    assert.ok(machine.cpus >= 1);
  });
});

describe('parseKernelList', () => {
  it('reads lists and refuses what is none', () => {
    assert.deepEqual([...parseKernelList('0-2,7')!], [0, 1, 2, 7]);
    for (const list of ['x', '2-1', '-1', '1-', '0-99999']) assert.equal(parseKernelList(list), undefined, list);
  });
  it('reads kernel versions', () => {
    assert.deepEqual(
      [kernelVersion('5.10.0-8-amd64'), kernelVersion('junk')],
      [
        [5, 10],
        [0, 0],
      ],
    );
  });
});
