import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { silentLog } from '../base/log.ts';
import { MemoryDatabase } from '../state/memory-database.ts';
import { defaultNetworksConfig, HostNetworks } from './host-networks.ts';

const directory = mkdtempSync(join(tmpdir(), 'berth-networks-unit-'));
after(() => rmSync(directory, { recursive: true }));

const database = new MemoryDatabase();

const open = (root: string) =>
  HostNetworks.open({
    root: join(directory, root),
    runDir: join(directory, root, 'run'),
    database,
    config: { ...defaultNetworksConfig, subnet: '172.29.0.0/16' },
    events: { emit: () => {}, history: () => [], listen: () => ({ [Symbol.dispose]() {} }), listeners: 0 },
    log: silentLog,
  });

test('the predefined networks keep their ids over a restart, and are found by name, id and prefix', async () => {
  await using first = await open('a');
  await using second = await open('a');
  assert.deepEqual(first.list(), second.list());
  assert.deepEqual(
    first.list().map(({ name, driver }) => `${name} ${driver}`),
    ['bridge bridge', 'host host', 'none null'],
  );
  const { id, subnets } = first.get('bridge');
  assert.deepEqual(subnets, [{ subnet: '172.29.0.0/16', gateway: '172.29.0.1' }]);
  for (const name of [id, id.slice(0, 12), 'default']) assert.equal(first.get(name).id, id);
  assert.throws(() => first.get('x'), { kind: 'not-found', message: 'network x not found' });
});

test('a damaged networks.json is made anew', async () => {
  await using first = await open('b');
  for (const content of ['', '{', 'null', '{"ids":{"bridge":"x"}}', '\0'.repeat(100)]) {
    writeFileSync(join(directory, 'b/networks.json'), content);
    await using second = await open('b');
    assert.notEqual(second.get('bridge').id, first.get('bridge').id);
  }
});

test("what is not a network of endpoints, or asks for what is not the network's, is refused before anything is made", async () => {
  await using networks = await open('c');
  const join = (network: string, { mac, sysctls }: { mac?: string; sysctls?: Record<string, string> } = {}) =>
    networks.open('c', { joins: [{ network, mac }], ports: [], ...(sysctls && { sysctls }) });
  await assert.rejects(join('x'), { kind: 'not-found' });
  await assert.rejects(join('host'), { kind: 'invalid' });
  await assert.rejects(join('bridge', { sysctls: { 'kernel.shmmax': '1' } }), { kind: 'invalid' });
  await assert.rejects(join('bridge', { sysctls: { 'net.ipv4/../../kernel/x': '1' } }), { kind: 'invalid' });
  await assert.rejects(join('bridge', { mac: 'x' }), { kind: 'invalid' });
});
