import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Log, silentLog } from '../base/log.ts';
import { MemoryDatabase } from '../state/memory-database.ts';
import { BridgeNetwork } from './bridge-network.ts';
import { DefinedNetworks } from './defined-networks.ts';
import type { NetworkRequest } from './definition.ts';
import { Directory } from './directory.ts';
import type { Kernel } from './kernel.ts';
import { OwnNetworks } from './own-networks.ts';
import { defaultDefinition } from './predefined.ts';
import { Upkeep } from './upkeep.ts';

const record = {
  version: 1 as const,
  created: '2026-01-01T00:00:00Z',
  ids: { bridge: 'a'.repeat(64), host: 'b'.repeat(64), none: 'c'.repeat(64) },
  subnet: '172.29.0.0/16',
  forwardingEnabled: false,
};

/** The room's parts with a kernel that only notes what it is asked for, between what is written. */
async function opened(database = new MemoryDatabase(), log: Log = silentLog) {
  const steps: string[] = [];
  database.onWrite = (changes) =>
    void steps.push(...changes.map(({ value }) => (value === undefined ? 'forget' : 'record')));
  const kernel = {
    call: async (name: string) => {
      steps.push(name);
      return { forwardingEnabled: false };
    },
  } as unknown as Kernel;
  const bridge = {
    ...{ name: 'berth0', subnet: '172.29.0.0/16', gateway: '172.29.0.1', mtu: 1500 },
    ...{ range: undefined, icc: true, masquerade: true, hostIp: '0.0.0.0' },
  };
  const standard = new BridgeNetwork(defaultDefinition(record, bridge), { mtu: 1500, isDefault: true });
  const defined = await DefinedNetworks.open({
    database,
    mtu: 1500,
    resolvConf: '/dev/null',
    pools: [],
    default: standard,
    log,
  });
  const directory = new Directory(record, { defined, endpoints: () => [] });
  const upkeep = new Upkeep({
    kernel,
    log: silentLog,
    auditMs: 60_000,
    wanted: { table: () => '', bridges: () => [] },
    tableName: 'berth',
    forwardingEnabled: async () => {},
  });
  const events = { emit: () => {}, history: () => [], listen: () => ({ [Symbol.dispose]() {} }), listeners: 0 };
  const own = new OwnNetworks({
    defined,
    directory,
    upkeep,
    kernel,
    events,
    table: 'berth',
    options: {},
    settled: async () => {},
  });
  return { own, defined, directory, database, steps, [Symbol.asyncDispose]: () => upkeep.stop() };
}

const request = (name: string): NetworkRequest => ({
  name,
  driver: '',
  internal: false,
  attachable: false,
  ipv4: true,
  ipv6: false,
  labels: {},
  options: {},
  ipam: { driver: '', options: undefined, configs: [{ subnet: '10.9.0.0/24' }] },
});

test('R01 a bridge is never without a record: it comes after it, and goes before it', async () => {
  await using room = await opened();
  await room.own.create(request('lan'));
  await room.own.remove('lan');
  const kept = room.steps.filter((step) => ['record', 'forget', 'addBridge', 'removeBridges'].includes(step));
  assert.deepEqual(kept, ['record', 'addBridge', 'removeBridges', 'forget']);
});

test("what a network has is nobody else's until it is gone; one that could not be removed is there again", async () => {
  await using room = await opened();
  await room.own.create(request('lan'));
  const going = room.own.remove('lan');
  assert.throws(() => room.directory.get('lan'), { kind: 'not-found' });
  await assert.rejects(room.own.create(request('lan')), { kind: 'conflict' });
  await assert.rejects(room.own.create(request('other')), /Pool overlaps/);
  await going;
  await room.own.create(request('lan'));

  const { onWrite } = room.database;
  room.database.onWrite = () => {
    throw new Error('disk full');
  };
  await assert.rejects(room.own.remove('lan'), /disk full/);
  assert.equal(room.steps.at(-1), 'addBridge');
  assert.equal(room.directory.get('lan').name, 'lan');
  room.database.onWrite = onWrite;
  await room.own.remove('lan');
  assert.throws(() => room.directory.get('lan'), { kind: 'not-found' });
});

test('a record with options that are refused today stops no start: it is shown as it is, and goes on without them', async () => {
  const database = new MemoryDatabase();
  const base = {
    ...{ driver: 'bridge', created: '2026-01-01T00:00:00Z', ownsBridge: true, labels: {} },
    ...{ internal: false, attachable: false },
  };
  const mtu = 'com.docker.network.driver.mtu';
  const icc = 'com.docker.network.bridge.enable_icc';
  const records = [
    {
      ...{ ...base, id: 'd'.repeat(64), name: 'old', bridge: 'bn-old', options: { [mtu]: 'lots', [icc]: 'false' } },
      configs: [{ subnet: '10.7.0.0/24', gateway: '10.7.0.1' }],
    },
    {
      ...{ ...base, id: 'e'.repeat(64), name: 'older', bridge: '', driver: 'macvlan' },
      ...{ options: { parent: 'eth0', [mtu]: '7' }, parent: { name: 'eth0', owned: false } },
      configs: [{ subnet: '10.8.0.0/24', gateway: '10.8.0.1' }],
    },
  ];
  await database.write(records.map((value) => ({ kind: 'network', key: value.id, value })));
  const warned: unknown[] = [];
  await using room = await opened(database, { ...silentLog, warn: (_, fields) => void warned.push(fields) });
  assert.deepEqual(room.directory.get('old').options, { [mtu]: 'lots', [icc]: 'false' });
  assert.deepEqual(room.directory.get('older').options, { parent: 'eth0', [mtu]: '7' });
  const { bridge } = room.defined.bridges.find(({ definition }) => definition.name === 'old')!;
  assert.deepEqual([bridge.icc, bridge.mtu], [false, 1500]);
  assert.deepEqual(
    warned.map((fields) => [(fields as { network: string }).network, (fields as { option: string }).option]),
    [
      ['old', mtu],
      ['older', mtu],
    ],
  );
  await room.own.remove('old');
  assert.throws(() => room.directory.get('old'), { kind: 'not-found' });
});
