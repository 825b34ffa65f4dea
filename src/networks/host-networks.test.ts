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

const open = (root: string, database = new MemoryDatabase()) =>
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

test("networks of one's own are records, found by name, id and prefix; an ambiguous prefix is told", async () => {
  const definition = (id: string, name: string, subnet: string) => ({
    kind: 'network',
    key: id,
    value: {
      id,
      name,
      created: `2026-01-01T00:00:0${name.length}Z`,
      driver: 'bridge',
      internal: false,
      attachable: false,
      ipv4: true,
      ipv6: false,
      labels: { a: 'b' },
      options: {},
      configs: [{ subnet }],
      chosenSubnets: { ipv4: true, ipv6: false },
      bridge: `bn-${id.slice(0, 12)}`,
      ownsBridge: true,
    },
  });
  const ids = ['ab1', 'ab2'].map((start) => start.padEnd(64, '0'));
  const own = new MemoryDatabase();
  await own.write([definition(ids[0]!, 'one', '10.1.0.0/24'), definition(ids[1]!, 'three', '10.2.0.0/24')]);
  await using networks = await open('d', own);
  assert.deepEqual(
    networks.list().map(({ name }) => name),
    ['bridge', 'host', 'none', 'one', 'three'],
  );
  assert.deepEqual(networks.get('ab2').subnets, [{ subnet: '10.2.0.0/24' }]);
  assert.equal(networks.get('three').id, ids[1]);
  assert.throws(() => networks.get('ab'), {
    kind: 'invalid',
    message: 'network ab is ambiguous (2 matches found based on ID prefix)',
  });
  await assert.rejects(networks.remove('host'), { kind: 'forbidden' });
  await assert.rejects(networks.connect('c', { network: 'one' }, { ports: [] }), { kind: 'conflict' });

  await own.write([definition(ids[0]!, 'one', '172.29.8.0/24')]);
  await assert.rejects(open('d', own), {
    kind: 'invalid',
    message: /default bridge's subnet 172\.29\.0\.0\/16 overlaps/,
  });
});
