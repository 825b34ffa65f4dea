import assert from 'node:assert/strict';
import { onBothEngines } from '../lib/both-engines.ts';
import type { TestEngine } from '../lib/engines.ts';

/** Fields of `HostConfig` that cannot be, or not here: never taken in silence. */
onBothEngines('fields of HostConfig', { runtimes: ['crun'] }, ({ same, berthOnly }) => {
  const create = async (engine: TestEngine, HostConfig: object) => {
    const answer = await engine.api('POST', '/v1.48/containers/create', { Image: 'bb:1', Cmd: ['true'], HostConfig });
    const body = JSON.parse(answer.body) as { Id?: string; message?: string; Warnings?: string[] | null };
    return { status: answer.status, ...body, message: body.message?.split('\n')[0] };
  };

  const refused: readonly (readonly [HostConfig: object, message: string])[] = [
    [
      { CpuRealtimePeriod: 1000, CpuRealtimeRuntime: 2000 },
      'cpu real-time runtime cannot be higher than cpu real-time period',
    ],
    [{ NanoCpus: 5e8, CpuQuota: 1000 }, 'Conflicting options: Nano CPUs and CPU Quota cannot both be set'],
    [{ NanoCpus: 5e8, CpuPeriod: 1000 }, 'Conflicting options: Nano CPUs and CPU Period cannot both be set'],
    [{ Memory: 2e7, MemorySwap: 1e7 }, 'Minimum memoryswap limit should be larger than memory limit, see usage'],
    [{ MemorySwap: 2e7 }, 'You should always set the Memory limit when using Memoryswap limit, see usage'],
    [{ IOMaximumIOps: 1 }, 'invalid option: QoS maximum IOPs configuration is not supported on linux'],
    [{ IOMaximumBandwidth: 1 }, 'invalid option: QoS maximum bandwidth configuration is not supported on linux'],
    [{ Isolation: 'hyperv' }, "invalid isolation (hyperv): linux only supports 'default'"],
    [
      { MemoryReservation: 3e7, Memory: 2e7 },
      'Minimum memory limit can not be less than memory reservation limit, see usage',
    ],
    [{ Annotations: { '': 'x' } }, 'invalid Annotations: the empty string is not permitted as an annotation key'],
    [{ Runtime: 'nosuch' }, 'unknown or invalid runtime name: nosuch'],
    [{ CpusetCpus: 'x' }, 'Invalid value x for cpuset cpus: invalid format: x'],
    [{ CpuShares: -1 }, 'invalid CPU shares (-1): value must be a positive integer'],
    [{ ShmSize: -1 }, 'SHM size can not be less than 0'],
    [{ UTSMode: 'x' }, 'invalid UTS mode: x'],
    [{ IpcMode: 'x' }, 'invalid IPC mode: x'],
    [{ PidMode: 'x' }, 'invalid PID mode: x'],
    [{ CgroupnsMode: 'x' }, 'invalid cgroup namespace mode: x'],
    [{ OomScoreAdj: 2000 }, 'Invalid value 2000, range for oom score adj is [-1000, 1000]'],
  ];
  for (const [HostConfig, message] of refused)
    same(`refused: ${JSON.stringify(HostConfig)}`, async (engine) => {
      const answer = await create(engine, HostConfig);
      assert.deepEqual([answer.status, answer.message], [400, message]);
    });

  const taken: readonly (readonly [HostConfig: object, warnings: readonly string[]])[] = [
    [{ CpuPercent: 10 }, ['linux does not support CPU percent. Percent discarded.']],
    [{ PidsLimit: 0 }, []],
    [{ PidsLimit: -5 }, []],
    [{ MaskedPaths: [], ReadonlyPaths: [] }, []],
    [{ ConsoleSize: [1, 2] }, []],
    [{ Privileged: true, UsernsMode: 'host' }, []],
  ];
  for (const [HostConfig, warnings] of taken)
    same(`taken, and runs: ${JSON.stringify(HostConfig)}`, async (engine) => {
      const { status, Id, Warnings } = await create(engine, HostConfig);
      assert.deepEqual([status, Warnings ?? []], [201, warnings]);
      const started = await engine.api('POST', `/containers/${Id}/start`);
      assert.equal(started.status, 204, started.body);
      assert.equal(engine.must('wait', Id!), '0');
    });

  // The reference takes these and does nothing of it.
  berthOnly(
    'a user namespace mode that is not there, and a count of processors, are not taken in silence',
    async (engine) => {
      const { message } = await create(engine, { UsernsMode: 'private' });
      assert.equal(message, 'invalid user namespace mode: private');
      assert.deepEqual((await create(engine, { CpuCount: 1 })).Warnings, [
        'linux does not support CPU count. Count discarded.',
      ]);
    },
  );

  // The reference has sizes on XFS with quotas only.
  berthOnly('a size of the container is kept, and one that is none is refused', async (engine) => {
    assert.equal((await create(engine, { StorageOpt: { size: '10M' } })).status, 201);
    for (const [StorageOpt, expected] of [
      [{ size: 'x' }, "invalid size: 'x'"],
      [{ sizes: '1m' }, 'Unknown option sizes'],
    ] as const) {
      const { status, message } = await create(engine, { StorageOpt });
      assert.deepEqual([status, message], [400, expected]);
    }
  });
});
