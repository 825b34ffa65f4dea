import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { HostConfig } from '../../protocol/container.ts';
import { checkHostConfig } from './check.ts';
import type { Machine } from './input.ts';
import { resourcesOf } from './resources.ts';
import { sampleHostConfig, sampleMachine } from './sample.ts';

const MiB = 1024 * 1024;
const check = (host: Partial<HostConfig>, machine: Partial<Machine> = {}, options = {}) =>
  checkHostConfig({ ...sampleHostConfig, ...host }, { ...sampleMachine, ...machine }, options);
const unified: Partial<Machine> = { cgroupVersion: 2, controllers: new Set(['memory', 'cpu', 'cpuset', 'pids', 'io']) };

describe('checkHostConfig', () => {
  it("fills in Docker's defaults", () => {
    const bare = { ShmSize: 0, IpcMode: '', CgroupnsMode: '' };
    const { hostConfig, warnings } = check({ ...bare, Memory: 64 * MiB });
    assert.deepEqual(
      [
        hostConfig.ShmSize,
        hostConfig.IpcMode,
        hostConfig.CgroupnsMode,
        hostConfig.OomKillDisable,
        hostConfig.MemorySwap,
      ],
      [64 * MiB, 'private', 'host', false, 128 * MiB],
    );
    assert.deepEqual(warnings, []);
    assert.equal(check(bare, unified).hostConfig.CgroupnsMode, 'private');
    assert.equal(check({ MemorySwappiness: -1 }).hostConfig.MemorySwappiness, null);
  });

  it('takes no count of processors in silence', () => {
    const { hostConfig, warnings } = check({ CpuCount: 2 });
    assert.equal(hostConfig.CpuCount, 0);
    assert.deepEqual(warnings, ['linux does not support CPU count. Count discarded.']);
  });

  it("refuses in Docker's words", () => {
    const refused: [Partial<HostConfig>, string][] = [
      [{ Memory: 1000 }, 'Minimum memory limit allowed is 6MB'],
      [{ Memory: -1 }, 'Minimum memory limit allowed is 6MB'],
      [{ IOMaximumIOps: 1 }, 'invalid option: QoS maximum IOPs configuration is not supported on linux'],
      [
        { Memory: 64 * MiB, MemorySwap: 32 * MiB },
        'Minimum memoryswap limit should be larger than memory limit, see usage',
      ],
      [{ MemorySwap: 32 * MiB }, 'You should always set the Memory limit when using Memoryswap limit, see usage'],
      [{ MemorySwappiness: 200 }, 'Invalid value: 200, valid memory swappiness range is 0-100'],
      [{ MemoryReservation: 100 }, 'Minimum memory reservation allowed is 6MB'],
      [
        { Memory: 8 * MiB, MemoryReservation: 64 * MiB },
        'Minimum memory limit can not be less than memory reservation limit, see usage',
      ],
      [{ NanoCpus: 3e9 }, 'range of CPUs is from 0.01 to 2.00, as there are only 2 CPUs available'],
      [{ NanoCpus: 1e9, CpuPeriod: 10000 }, 'Conflicting options: Nano CPUs and CPU Period cannot both be set'],
      [{ NanoCpus: 1e9, CpuQuota: 10000 }, 'Conflicting options: Nano CPUs and CPU Quota cannot both be set'],
      [{ CpuPeriod: 10 }, 'CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)'],
      [{ CpuQuota: 10 }, 'CPU cfs quota can not be less than 1ms (i.e. 1000)'],
      [{ CpusetCpus: '0-2' }, 'Requested CPUs are not available - requested 0-2, available: 0-1'],
      [{ CpusetCpus: 'x' }, 'Invalid value x for cpuset cpus: invalid format: x'],
      [{ CpusetMems: '7' }, 'Requested memory nodes are not available - requested 7, available: 0'],
      [{ BlkioWeight: 5 }, 'Range of blkio weight is from 10 to 1000'],
      [{ OomScoreAdj: 2000 }, 'Invalid value 2000, range for oom score adj is [-1000, 1000]'],
      [{ ShmSize: -5 }, 'SHM size can not be less than 0'],
      [{ IpcMode: 'foo' }, 'invalid IPC mode: foo'],
      [{ PidMode: 'container:' }, 'invalid PID mode: container:'],
      [{ UTSMode: 'foo' }, 'invalid UTS mode: foo'],
      [{ CgroupnsMode: 'foo' }, 'invalid cgroup namespace mode: foo'],
      [{ Tmpfs: { '/': '' } }, "invalid specification: destination can't be '/'"],
      [{ Tmpfs: { x: '' } }, "invalid mount path: 'x' mount path must be absolute"],
      [{ CapAdd: ['FOO'] }, 'invalid CapAdd: unknown capability: "CAP_FOO"'],
      [{ SecurityOpt: ['foo'] }, 'invalid --security-opt 1: "foo"'],
      [{ DeviceCgroupRules: ['x'] }, "invalid device cgroup rule format: 'x'"],
      [{ Ulimits: [{ Name: 'foo', Soft: 1, Hard: 1 }] }, 'invalid ulimit type: foo'],
      [
        { Sysctls: { 'net.core.somaxconn': '1' }, NetworkMode: 'host' },
        'sysctl "net.core.somaxconn" not allowed in host network namespace',
      ],
    ];
    for (const [host, message] of refused) assert.throws(() => check(host), { kind: 'invalid', message }, message);
  });

  it('accepts what is on the edge', () => {
    const fine: Partial<HostConfig>[] = [
      { Memory: 6 * MiB },
      { Memory: 64 * MiB, MemorySwap: -1 },
      { Memory: 64 * MiB, MemorySwap: 64 * MiB },
      { NanoCpus: 2e9 },
      { CpusetCpus: '0,1' },
      { IpcMode: 'container:x', PidMode: 'container:x' },
      { PidsLimit: -1 },
    ];
    for (const host of fine) assert.deepEqual(check(host).warnings, [], JSON.stringify(host));
    assert.doesNotThrow(() => check({ MemorySwap: 64 * MiB }, {}, { update: true }));
  });

  it('discards with a warning what the machine cannot do', () => {
    const none: Partial<Machine> = { controllers: new Set(), swapLimit: false, blockWeight: false };
    const { hostConfig, warnings } = check(
      {
        Memory: 64 * MiB,
        MemoryReservation: 32 * MiB,
        PidsLimit: 5,
        CpuShares: 5,
        CpuQuota: 5000,
        CpusetCpus: '0',
        BlkioWeight: 50,
      },
      none,
    );
    assert.deepEqual(resourcesOf(hostConfig, {}), {});
    assert.equal(warnings.length, 7);
    assert.ok(warnings.every((warning) => /discarded\.$/.test(warning)));
    const noSwap = check({ Memory: 64 * MiB }, { swapLimit: false });
    assert.equal(noSwap.hostConfig.MemorySwap, -1);
    assert.match(noSwap.warnings[0]!, /Memory limited without swap\.$/);
    assert.throws(() => check({ NanoCpus: 1e9 }, none), { message: /^NanoCPUs can not be set/ });
  });

  it('knows what cgroup v2 does not have', () => {
    const { hostConfig, warnings } = check({ MemorySwappiness: 10, OomKillDisable: true }, unified);
    assert.deepEqual([hostConfig.MemorySwappiness, hostConfig.OomKillDisable], [null, null]);
    assert.equal(warnings.length, 2);
    assert.deepEqual(check({}, unified).warnings, []);
  });

  it('leaves what it was given as it is', () => {
    const given = Object.freeze({ ...sampleHostConfig, Memory: 64 * MiB });
    checkHostConfig(given, sampleMachine);
    assert.equal(given.MemorySwap, 0);
  });
});

describe('resourcesOf', () => {
  const of = (host: Partial<HostConfig>) =>
    resourcesOf({ ...sampleHostConfig, ...host }, { '/dev/sda': { major: 8, minor: 0 } });

  it('writes only what was asked for', () => {
    assert.deepEqual(of({}), {});
    assert.deepEqual(
      of({ Memory: 5, MemorySwap: -1, MemoryReservation: 3, MemorySwappiness: 0, OomKillDisable: true }).memory,
      {
        limit: 5,
        reservation: 3,
        swappiness: 0,
        disableOOMKiller: true,
      },
    );
    assert.deepEqual(of({ NanoCpus: 1.5e9 }).cpu, { period: 100_000, quota: 150_000 });
    assert.deepEqual(of({ CpuPeriod: 1000, CpuQuota: -1, CpuShares: 2, CpusetCpus: '0', CpusetMems: '0' }).cpu, {
      shares: 2,
      cpus: '0',
      mems: '0',
      period: 1000,
      quota: -1,
    });
    assert.deepEqual([of({ PidsLimit: 0 }).pids, of({ PidsLimit: 7 }).pids], [undefined, { limit: 7 }]);
    assert.deepEqual(
      of({
        BlkioWeight: 10,
        BlkioWeightDevice: [{ Path: '/dev/sda', Weight: 20 }],
        BlkioDeviceWriteIOps: [{ Path: '/dev/sda', Rate: 30 }],
      }).blockIO,
      {
        weight: 10,
        weightDevice: [{ major: 8, minor: 0, weight: 20 }],
        throttleWriteIOPSDevice: [{ major: 8, minor: 0, rate: 30 }],
      },
    );
  });
});
