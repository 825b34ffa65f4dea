import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { request } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { onBothEngines } from '../lib/both-engines.ts';
import { dockerCli, type TestEngine } from '../lib/engines.ts';

interface Stats {
  readonly name?: string;
  readonly read: string;
  readonly preread: string;
  readonly pids_stats: { current?: number; limit?: number };
  readonly cpu_stats: { cpu_usage: { total_usage: number }; system_cpu_usage?: number; online_cpus?: number };
  readonly precpu_stats: { cpu_usage: { total_usage: number }; system_cpu_usage?: number };
  readonly memory_stats: { usage?: number; limit?: number; stats?: Record<string, number> };
  readonly networks?: Record<string, Record<string, number>>;
}

const never = '0001-01-01T00:00:00Z';
const busy = ['sh', '-c', 'while :; do :; done'];

/** Every key, with those of its objects. */
function keysOf(value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return typeof value;
  return Object.fromEntries(Object.entries(value).map(([key, entry]) => [key, keysOf(entry)]));
}

async function once(engine: TestEngine, name: string, query: string): Promise<Stats> {
  const { status, body } = await engine.api('GET', `/v1.51/containers/${name}/stats?${query}`);
  assert.equal(status, 200, body);
  return JSON.parse(body) as Stats;
}

/** The first objects of a stream, which is then left. */
function streamed(engine: TestEngine, path: string, count: number): Promise<Stats[]> {
  return new Promise((resolve, reject) => {
    const sent = request({ socketPath: engine.socket, path }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk;
        const lines = text.split('\n').slice(0, -1);
        if (lines.length < count) return;
        sent.destroy();
        resolve(lines.map((line) => JSON.parse(line) as Stats));
      });
    });
    sent.on('error', reject).end();
  });
}

const cpuShapes: unknown[] = [];

onBothEngines('stats', { runtimes: ['crun', 'runc'] }, ({ same, berthOnly }) => {
  same('one object: how busy it is, its memory, its traffic', async (engine) => {
    engine.must('run', '-d', '--name', 'web', '-m', '64m', '--pids-limit', '33', 'bb:1', ...busy);
    const stats = await once(engine, 'web', 'stream=0');
    assert.equal(stats.name, '/web');
    const second = Date.parse(stats.read) - Date.parse(stats.preread);
    assert.ok(second > 700 && second < 5000, `${second} ms between the two looks`);
    const used = stats.cpu_stats.cpu_usage.total_usage - stats.precpu_stats.cpu_usage.total_usage;
    assert.ok(used > 50_000_000, `${used} ns of a busy loop`);
    assert.ok(stats.cpu_stats.system_cpu_usage! > stats.precpu_stats.system_cpu_usage!);
    assert.ok(stats.cpu_stats.online_cpus! >= 1);
    assert.equal(stats.memory_stats.limit, 64 * 1024 * 1024);
    assert.ok(stats.memory_stats.usage! > 0);
    assert.deepEqual(stats.pids_stats, { current: 1, limit: 33 });
    assert.deepEqual(Object.keys(stats.networks ?? {}), ['eth0']);
    assert.equal(stats.networks!['eth0']!['rx_errors'], 0);
    cpuShapes.push(keysOf(stats));
    assert.deepEqual(keysOf(stats), cpuShapes[0]);
  });

  same('one shot: at once, and nothing before it', async (engine) => {
    engine.must('run', '-d', '--name', 'web', '--network', 'none', 'bb:1', 'sleep', '1000');
    const stats = await once(engine, 'web', 'stream=false&one-shot=true');
    assert.equal(stats.preread, never);
    assert.deepEqual(stats.precpu_stats, {
      cpu_usage: { total_usage: 0, usage_in_kernelmode: 0, usage_in_usermode: 0 },
      throttling_data: { periods: 0, throttled_periods: 0, throttled_time: 0 },
    });
    assert.equal('networks' in stats, false);
    assert.ok(stats.memory_stats.limit! > 64 * 1024 * 1024, 'the limit is the machine');
    const { status, body } = await engine.api('GET', '/v1.51/containers/web/stats?stream=1&one-shot=1');
    assert.deepEqual([status, body.trim()], [400, '{"message":"cannot have stream=true and one-shot=true"}']);
    assert.equal((await engine.api('GET', '/v1.51/containers/nosuch/stats')).status, 404);
  });

  same('a container that does not run is all zeros, its stream goes on', async (engine) => {
    engine.must('create', '--name', 'web', 'bb:1', 'true');
    const { status, body } = await engine.api('GET', '/v1.51/containers/web/stats?stream=0');
    assert.equal(status, 200);
    const { id: _id, ...rest } = JSON.parse(body) as Record<string, unknown>;
    const cpu = {
      cpu_usage: { total_usage: 0, usage_in_kernelmode: 0, usage_in_usermode: 0 },
      throttling_data: { periods: 0, throttled_periods: 0, throttled_time: 0 },
    };
    assert.deepEqual(rest, {
      name: '/web',
      read: never,
      preread: never,
      pids_stats: {},
      blkio_stats: {
        io_service_bytes_recursive: null,
        io_serviced_recursive: null,
        io_queue_recursive: null,
        io_service_time_recursive: null,
        io_wait_time_recursive: null,
        io_merged_recursive: null,
        io_time_recursive: null,
        sectors_recursive: null,
      },
      num_procs: 0,
      storage_stats: {},
      cpu_stats: cpu,
      precpu_stats: cpu,
      memory_stats: {},
    });
    const shot = await engine.api('GET', '/v1.51/containers/web/stats?stream=0&one-shot=1');
    assert.deepEqual(JSON.parse(shot.body), JSON.parse(body));
    assert.equal((await streamed(engine, '/v1.51/containers/web/stats', 2)).length, 2);
  });

  same('a stream: each has the look before, and it ends with the container', async (engine) => {
    engine.must('run', '-d', '--name', 'web', 'bb:1', ...busy);
    const [first, second, third] = await streamed(engine, '/v1.51/containers/web/stats', 3);
    assert.equal(first!.preread, never);
    assert.equal(second!.preread, first!.read);
    assert.equal(third!.preread, second!.read);
    const ended = engine.api('GET', '/v1.51/containers/web/stats?stream=true');
    await sleep(500);
    engine.must('rm', '-f', 'web');
    assert.equal((await ended).status, 200);
  });

  same('docker stats, once and going on', async (engine) => {
    engine.must('run', '-d', '--name', 'web', '-m', '64m', 'bb:1', ...busy);
    engine.must('create', '--name', 'idle', 'bb:1', 'true');
    const format = '{{.Name}} {{.CPUPerc}} {{.MemUsage}} {{.PIDs}}';
    assert.match(engine.must('stats', '--no-stream', '--format', format), /^web [1-9][\d.]*% [\d.]+[KM]iB \/ 64MiB 1$/);
    const all = engine.must('stats', '--no-stream', '-a', '--format', format).split('\n').sort();
    assert.deepEqual([all.length, all[0]], [2, 'idle 0.00% 0B / 0B 0']);
    assert.match(engine.docker(['stats', '--no-stream', 'nosuch']).stderr, /No such container: nosuch/);
    const child = spawn(dockerCli(), ['stats', '--format', format], { env: engine.env });
    let text = '';
    child.stdout.setEncoding('utf8').on('data', (chunk: string) => void (text += chunk));
    for (let round = 0; round < 200 && !/web [1-9][\d.]*% [\d.]+[KM]iB/.test(text); round++) await sleep(100);
    child.kill('SIGINT');
    await new Promise((resolve) => child.once('close', resolve));
    assert.match(text, /web [1-9][\d.]*% [\d.]+[KM]iB \/ 64MiB 1/);
  });

  berthOnly('an engine that comes later counts what it adopted', async (engine) => {
    engine.must('run', '-d', '--name', 'web', 'bb:1', ...busy);
    await engine.kill();
    await engine.restart();
    const stats = await once(engine, 'web', 'stream=0');
    assert.ok(stats.cpu_stats.cpu_usage.total_usage > 0);
    assert.deepEqual(Object.keys(stats.networks ?? {}), ['eth0']);
  });
});
