import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type EngineClient, ResponseError } from '../../client/client.ts';
import type { Listed } from '../ps-words.ts';
import { asTable } from './ps.ts';

const listed: readonly Listed[] = [
  {
    Id: 'a'.repeat(64),
    Names: ['/web'],
    Image: 'nginx',
    State: 'running',
    Status: 'Up 3 minutes (healthy)',
    Ports: [],
  },
  {
    Id: 'b'.repeat(64),
    Names: ['/db'],
    Image: 'postgres',
    State: 'exited',
    Status: 'Exited (137) 3 minutes ago',
    Ports: [],
  },
];

const engine = (stats: (look: number) => unknown) => {
  let looks = 0;
  const inspected = {
    State: { OOMKilled: true, Error: '' },
    RestartCount: 0,
    HostConfig: { RestartPolicy: { Name: 'no', MaximumRetryCount: 0 } },
  };
  const json = async (_method: string, path: string) =>
    path === '/berth/stopping' ? [] : path.endsWith('/stats') ? stats(looks++) : inspected;
  return { json } as unknown as EngineClient;
};

const rows = async (client: EngineClient) =>
  (await asTable(client, listed)).split('\n').map((line) => line.split(/ {3,}/));

test('an engine without statistics: no columns for them, and health only where somebody has it', async () => {
  const client = engine(() => {
    throw new ResponseError(501, 'not yet');
  });
  assert.deepEqual(await rows(client), [
    ['NAME', 'STATE', 'HEALTH', 'PORTS', 'IMAGE', 'ID'],
    ['web', 'up 3 minutes', 'healthy', '-', 'nginx', 'aaaaaaaaaaaa'],
    ['db', 'exited (137: killed, out of memory) 3 minutes ago → berth why db', '-', '-', 'postgres', 'bbbbbbbbbbbb'],
    [''],
  ]);
});

test('the share of a processor is from two looks, or from the one before that the engine keeps', async () => {
  const memory_stats = { usage: 50 * 1024 ** 2, stats: { inactive_file: 8 * 1024 ** 2 } };
  const at = (milliseconds: number) => new Date(1_800_000_000_000 + milliseconds).toISOString();
  const cpu = (milliseconds: number) => ({ cpu_usage: { total_usage: 1 + milliseconds * 1e6 } });
  const twice = engine((look) => ({ read: at(look * 100), cpu_stats: cpu(look * 25), memory_stats }));
  const kept = engine(() => ({
    read: at(1000),
    preread: at(0),
    cpu_stats: cpu(250),
    precpu_stats: cpu(0),
    memory_stats,
  }));
  for (const client of [twice, kept]) {
    const [head, web, db] = await rows(client);
    assert.deepEqual(head!.slice(2, 5), ['HEALTH', 'CPU', 'MEMORY']);
    assert.deepEqual(web!.slice(2, 5), ['healthy', '25.0 %', '42 MiB']);
    assert.deepEqual(db!.slice(2, 5), ['-', '-', '-']);
  }
});
