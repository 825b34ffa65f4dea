import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { BridgeFamily, BridgeSpec } from './bridge-spec.ts';
import type { PublishedPort } from './networks.ts';
import { changeBridges, changePorts, renderTable } from './ruleset.ts';

/** As nft(8) would be told. */
const said = (changes: ReturnType<typeof changePorts>) =>
  changes.map(({ verb, table, set, elements }) => `${verb} element inet ${table} ${set} { ${elements.join(', ')} }`);

const port = (hostAddress: string, hostPort: number, more: Partial<PublishedPort> = {}): PublishedPort => ({
  port: 80,
  protocol: 'tcp',
  hostAddress,
  hostPort,
  ...more,
});

const family = (subnet: string, gateway: string, more: Partial<BridgeFamily> = {}): BridgeFamily => ({
  subnet,
  prefixLength: Number(subnet.split('/')[1]),
  gateway,
  hasAddress: true,
  mode: 'nat',
  hostAddress: '',
  ...more,
});

const standard: BridgeSpec = {
  name: 'berth0',
  mac: '02:42:ac:1d:00:01',
  mtu: 1500,
  ipv4: family('172.29.0.0/16', '172.29.0.1'),
  ipv6: undefined,
  icc: true,
  masquerade: true,
  internal: false,
  owned: false,
  trusted: [],
};

const web = { address: '172.29.0.2', ports: [port('0.0.0.0', 8080), port('::', 8080), port('127.0.0.1', 8081)] };
const dns = { address: '172.29.0.3', ports: [port('0.0.0.0', 53, { port: 5353, protocol: 'udp' })] };

test('the table is replaced in one transaction and has every published port', () => {
  const table = renderTable({ table: 'berth', bridges: [standard] }, [web, dns]);
  assert.ok(table.startsWith('table inet berth\ndelete table inet berth\ntable inet berth {\n'));
  assert.ok(table.includes('elements = { tcp . 8080 : 172.29.0.2 . 80, udp . 53 : 172.29.0.3 . 5353 }\n'));
  assert.ok(table.includes('elements = { 127.0.0.1 . tcp . 8081 : 172.29.0.2 . 80 }\n'));
  assert.ok(table.includes('elements = { "berth0" . 172.29.0.0/16 }\n'));
  const s39 =
    'iifname != "lo" ip daddr @subnets iifname . ip daddr != @own ct state != { established, related } drop\n';
  assert.ok(table.includes(s39), 'S39');
});

test('without a published port the maps are empty', () => {
  const table = renderTable({ table: 'berth', bridges: [] }, []);
  assert.ok(!table.includes('elements'));
});

test('what is true of a bridge is said in sets: added and taken back in one transaction', () => {
  const dual = { ...standard, name: 'bn-1', ipv6: family('fd00:1::/64', 'fd00:1::1') };
  assert.deepEqual(said(changeBridges('add', 'berth', [{ ...dual, icc: false }])), [
    'add element inet berth bridges { "bn-1" }',
    'add element inet berth same { "bn-1" . "bn-1" }',
    'add element inet berth closed { "bn-1" . "bn-1" }',
    'add element inet berth subnets { 172.29.0.0/16 }',
    'add element inet berth subnets6 { fd00:1::/64 }',
    'add element inet berth own { "bn-1" . 172.29.0.0/16 }',
    'add element inet berth own6 { "bn-1" . fd00:1::/64 }',
    'add element inet berth masqueraded { 172.29.0.0/16 }',
    'add element inet berth masqueraded6 { fd00:1::/64 }',
  ]);
  const internal = said(changeBridges('delete', 'berth', [{ ...standard, internal: true }]));
  assert.ok(internal.includes('delete element inet berth internal { "berth0" }'));
  assert.ok(!internal.some((line) => line.includes('masqueraded')));
});

test("an endpoint's ports are one command for each map, and IPv6 is not among them", () => {
  assert.deepEqual(said(changePorts('add', 'berth', web)), [
    'add element inet berth published { tcp . 8080 : 172.29.0.2 . 80 }',
    'add element inet berth published_at { 127.0.0.1 . tcp . 8081 : 172.29.0.2 . 80 }',
  ]);
  assert.deepEqual(said(changePorts('delete', 'berth', dns)), [
    'delete element inet berth published { udp . 53 : 172.29.0.3 . 5353 }',
  ]);
  assert.deepEqual(changePorts('add', 'berth', { address: '172.29.0.4', ports: [port('::1', 80)] }), []);
});

test('gateway modes, other addresses of the host and trusted interfaces are elements too', () => {
  const elements = (more: Partial<BridgeFamily>, bridge: Partial<BridgeSpec> = {}) =>
    said(changeBridges('add', 'berth', [{ ...standard, ipv4: family('10.1.0.0/24', '10.1.0.1', more), ...bridge }]))
      .map((line) => line.replace('add element inet berth ', ''))
      .filter((line) => line.includes('10.1.0.0/24') && !line.startsWith('own'));
  assert.deepEqual(elements({ mode: 'nat-unprotected' }), [
    'masqueraded { 10.1.0.0/24 }',
    'unprotected { 10.1.0.0/24 }',
  ]);
  assert.deepEqual(elements({ mode: 'routed' }), ['subnets { 10.1.0.0/24 }', 'routed { 10.1.0.0/24 }']);
  assert.deepEqual(elements({ mode: 'routed' }, { internal: true }), ['subnets { 10.1.0.0/24 }']);
  assert.deepEqual(elements({ hostAddress: '10.99.0.9' }), [
    'subnets { 10.1.0.0/24 }',
    'sources { 10.1.0.0/24 : 10.99.0.9 }',
  ]);
  assert.deepEqual(elements({ hostAddress: '10.99.0.9' }, { masquerade: false }), ['subnets { 10.1.0.0/24 }']);
  assert.ok(
    elements({}, { trusted: ['eth0', 'eth1'] }).includes('trusted { "eth0" . 10.1.0.0/24, "eth1" . 10.1.0.0/24 }'),
  );
});

test("ports that are only opened take no port of the host; each is one of the container's own address", () => {
  const ipv6 = { address: 'fd00:1::2', prefixLength: 64, gateway: 'fd00:1::1' };
  const changes = changePorts('add', 'berth', {
    address: '10.1.0.2',
    ipv6,
    ports: [port('0.0.0.0', 0), port('::', 0)],
  });
  assert.deepEqual(said(changes), [
    'add element inet berth opened { 10.1.0.2 . tcp . 80 }',
    'add element inet berth opened6 { fd00:1::2 . tcp . 80 }',
  ]);
});
