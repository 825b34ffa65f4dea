import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { onBothEngines } from '../lib/both-engines.ts';
import type { TestEngine } from '../lib/engines.ts';

const inspect = (engine: TestEngine, name: string, fields: string) =>
  engine.must(
    'inspect',
    '-f',
    fields
      .split(' ')
      .map((field) => `{{.HostConfig.${field}}}`)
      .join(' '),
    name,
  );

/** What the kernel says inside; of either version of control groups. */
const limitInside = (engine: TestEngine, name: string, v1: string, v2: string) =>
  engine.must('exec', name, 'sh', '-c', `cat /sys/fs/cgroup/${v1} 2>/dev/null || cat /sys/fs/cgroup/${v2}`);

async function updated(engine: TestEngine, name: string, body: unknown) {
  const { status, body: text } = await engine.api('POST', `/v1.51/containers/${name}/update`, body);
  const { message, Warnings } = JSON.parse(text) as { message?: string; Warnings?: readonly string[] | null };
  return { status, message: message?.replace(/[0-9a-f]{64}/, 'ID') ?? '', warnings: Warnings };
}

onBothEngines('update', { runtimes: ['crun', 'runc'] }, ({ same, berthOnly }) => {
  same('limits of a running container change at once, and are there after a restart', (engine) => {
    engine.must('run', '-d', '--name', 'web', '-m', '64m', 'bb:1', 'sleep', '1000');
    const since = (Date.now() / 1000 - 0.01).toFixed(3);
    assert.equal(engine.must('update', '-m', '80m', '--cpu-shares', '512', '--pids-limit', '44', 'web'), 'web');
    assert.equal(inspect(engine, 'web', 'Memory MemorySwap CpuShares PidsLimit'), '83886080 134217728 512 44');
    const memory = () => limitInside(engine, 'web', 'memory/memory.limit_in_bytes', 'memory.max');
    const pids = () => limitInside(engine, 'web', 'pids/pids.max', 'pids.max');
    assert.equal(memory(), '83886080');
    assert.equal(pids(), '44');
    engine.must('update', '-m', '100m', '--memory-swap', '300m', 'web');
    assert.equal(memory(), String(100 * 1024 * 1024));
    engine.must('update', '--pids-limit', '-1', 'web');
    assert.equal(pids(), 'max');
    engine.must('update', '--cpus', '0.5', '--cpuset-cpus', '0', 'web');
    assert.equal(inspect(engine, 'web', 'NanoCpus CpusetCpus'), '500000000 0');
    assert.match(limitInside(engine, 'web', 'cpu/cpu.cfs_quota_us', 'cpu.max'), /^50000/);
    engine.must('restart', '-t', '0', 'web');
    assert.equal(memory(), String(100 * 1024 * 1024));
    assert.match(limitInside(engine, 'web', 'cpu/cpu.cfs_quota_us', 'cpu.max'), /^50000/);
    const until = (Date.now() / 1000 + 0.1).toFixed(3);
    const events = engine.must(
      'events',
      '--since',
      since,
      '--until',
      until,
      '-f',
      'event=update',
      '--format',
      '{{.Action}} {{.Actor.Attributes.name}}',
    );
    assert.equal(events, Array(4).fill('update web').join('\n'));
  });

  same(
    'of a container that does not run the limits count from its next start; a paused one has them at once',
    (engine) => {
      engine.must('create', '--name', 'web', 'bb:1', 'sleep', '1000');
      engine.must('update', '-m', '64m', '--memory-swap', '-1', '--cpu-period', '50000', '--cpu-quota', '20000', 'web');
      assert.equal(inspect(engine, 'web', 'Memory MemorySwap CpuPeriod CpuQuota'), '67108864 -1 50000 20000');
      engine.must('start', 'web');
      assert.equal(limitInside(engine, 'web', 'memory/memory.limit_in_bytes', 'memory.max'), '67108864');
      engine.must('pause', 'web');
      engine.must('update', '-m', '70m', '--memory-swap', '140m', 'web');
      engine.must('unpause', 'web');
      assert.equal(limitInside(engine, 'web', 'memory/memory.limit_in_bytes', 'memory.max'), String(70 * 1024 * 1024));
    },
  );

  same('the restart policy', async (engine) => {
    engine.must('run', '-d', '--name', 'web', 'bb:1', 'sh', '-c', 'sleep 1; exit 3');
    engine.must('update', '--restart', 'on-failure:1', 'web');
    assert.equal(inspect(engine, 'web', 'RestartPolicy.Name RestartPolicy.MaximumRetryCount'), 'on-failure 1');
    const state = () => engine.must('inspect', '-f', '{{.State.Status}} {{.RestartCount}}', 'web');
    for (let round = 0; round < 100 && state() !== 'exited 1'; round++) await sleep(100);
    assert.equal(state(), 'exited 1');
  });

  same('what cannot be is refused in the same words, and changes nothing', async (engine) => {
    engine.must('run', '-d', '--name', 'plain', 'bb:1', 'sleep', '1000');
    engine.must('run', '-d', '--name', 'limited', '-m', '64m', 'bb:1', 'sleep', '1000');
    engine.must('run', '-d', '--rm', '--name', 'cpus', '--cpus', '0.5', 'bb:1', 'sleep', '1000');
    engine.must('run', '-d', '--name', 'period', '--cpu-period', '50000', 'bb:1', 'sleep', '1000');
    engine.must('create', '--name', 'quota', '--cpu-quota', '50000', 'bb:1', 'sleep', '1000');
    const swap =
      'Cannot update container ID: Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time';
    const conflicting = (text: string) =>
      `Cannot update container ID: Conflicting options: ${text} has already been set`;
    const cases: readonly (readonly [string, unknown, number, string | RegExp])[] = [
      ['plain', { Memory: 67108864 }, 409, swap],
      ['limited', { Memory: 268435456 }, 409, swap],
      ['plain', { Memory: 1000 }, 400, 'Minimum memory limit allowed is 6MB'],
      ['plain', { Memory: -5 }, 400, 'Minimum memory limit allowed is 6MB'],
      ['plain', { MemoryReservation: 1 }, 400, 'Minimum memory reservation allowed is 6MB'],
      [
        'plain',
        { Memory: 100000000, MemorySwap: 50000000 },
        400,
        'Minimum memoryswap limit should be larger than memory limit, see usage',
      ],
      ['plain', { MemorySwappiness: 400 }, 400, 'Invalid value: 400, valid memory swappiness range is 0-100'],
      [
        'cpus',
        { RestartPolicy: { Name: 'always' } },
        409,
        'Cannot update container ID: Restart policy cannot be updated because AutoRemove is enabled for the container',
      ],
      [
        'plain',
        { RestartPolicy: { Name: 'bogus' } },
        400,
        "invalid restart policy: unknown policy 'bogus'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'",
      ],
      [
        'plain',
        { RestartPolicy: { Name: 'always', MaximumRetryCount: 3 } },
        400,
        "invalid restart policy: maximum retry count can only be used with 'on-failure'",
      ],
      ['cpus', { CpuPeriod: 50000 }, 409, conflicting('CPU Period cannot be updated as NanoCPUs')],
      ['cpus', { CpuQuota: 50000 }, 409, conflicting('CPU Quota cannot be updated as NanoCPUs')],
      ['period', { NanoCpus: 500000000 }, 409, conflicting('Nano CPUs cannot be updated as CPU Period')],
      ['quota', { NanoCpus: 500000000 }, 409, conflicting('Nano CPUs cannot be updated as CPU Quota')],
      [
        'plain',
        { NanoCpus: 500000000, CpuPeriod: 50000 },
        400,
        'Conflicting options: Nano CPUs and CPU Period cannot both be set',
      ],
      [
        'plain',
        { NanoCpus: 500000000000 },
        400,
        /^range of CPUs is from 0\.01 to \d+\.00, as there are only \d+ CPUs available$/,
      ],
      ['plain', { CpusetCpus: '4096' }, 400, /^Requested CPUs are not available - requested 4096, available: /],
      ['plain', { CpusetMems: '77' }, 400, /^Requested memory nodes are not available - requested 77, available: /],
      ['plain', { CpusetCpus: 'x' }, 400, 'Invalid value x for cpuset cpus: invalid format: x'],
      [
        'plain',
        { CpuPeriod: 5 },
        400,
        'CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)',
      ],
      ['plain', { CpuQuota: 5 }, 400, 'CPU cfs quota can not be less than 1ms (i.e. 1000)'],
      ['plain', [], 400, 'invalid JSON: json: cannot unmarshal array into Go value of type container.UpdateConfig'],
      [
        'plain',
        { Memory: 'x' },
        400,
        'invalid JSON: json: cannot unmarshal string into Go struct field UpdateConfig.Memory of type int64',
      ],
      ['nosuch', {}, 404, 'No such container: nosuch'],
    ];
    const before = engine.must('inspect', '-f', '{{json .HostConfig}}', 'plain', 'limited', 'cpus', 'period', 'quota');
    for (const [name, body, status, message] of cases) {
      const found = await updated(engine, name, body);
      assert.equal(found.status, status, `${name} ${JSON.stringify(body)}: ${found.message}`);
      if (typeof message === 'string')
        assert.equal(found.message.replace('type UpdateConfig', 'type container.UpdateConfig'), message);
      else assert.match(found.message, message);
    }
    const after = engine.must('inspect', '-f', '{{json .HostConfig}}', 'plain', 'limited', 'cpus', 'period', 'quota');
    assert.equal(after, before);
    assert.deepEqual(await updated(engine, 'plain', {}), { status: 200, message: '', warnings: null });
    assert.equal((await engine.api('POST', '/v1.51/containers/plain/update')).status, 200);
  });

  same('what the kernel refuses is told, and the record stays as it was', async (engine) => {
    engine.must('run', '-d', '--name', 'web', 'bb:1', 'sleep', '1000');
    // Less than what its memory alone may be.
    const { status, message } = await updated(engine, 'web', { MemorySwap: 1000, CpuShares: 512 });
    assert.equal(status, 500, message);
    assert.match(message, /^Cannot update container ID: .* did not terminate successfully: /);
    assert.equal(inspect(engine, 'web', 'MemorySwap CpuShares'), '0 0');
  });

  berthOnly('after kill -9 an update is what it was acknowledged to be', async (engine) => {
    engine.must('run', '-d', '--name', 'web', '-m', '64m', 'bb:1', 'sleep', '1000');
    engine.must('update', '-m', '80m', '--restart', 'always', 'web');
    await engine.kill();
    await engine.restart();
    assert.equal(inspect(engine, 'web', 'Memory RestartPolicy.Name'), '83886080 always');
    engine.must('update', '-m', '90m', 'web');
    assert.equal(limitInside(engine, 'web', 'memory/memory.limit_in_bytes', 'memory.max'), String(90 * 1024 * 1024));
  });
});
