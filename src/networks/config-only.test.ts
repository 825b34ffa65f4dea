import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseSubnet } from './addresses.ts';
import { parseSubnet6 } from './addresses6.ts';
import { checkUnused } from './config-only.ts';
import { define, type NetworkDefinition, type NetworkRequest, overlapping, type Surroundings } from './definition.ts';

const around = (configurations: readonly NetworkDefinition[] = []): Surroundings => ({
  networks: [{ id: 'd', name: 'other', bridge: 'berth0', configs: [{ subnet: '10.8.0.0/24' }] }],
  configurations,
  overlaps: (subnet) => overlapping(subnet, '10.8.0.0/24'),
  pool: () => parseSubnet('172.30.0.0/16'),
  pool6: () => parseSubnet6('fd12:3456:789a::/64')!,
  interfaces: () => ['lo'],
});

const request = (more: Partial<NetworkRequest> = {}): NetworkRequest => ({
  name: 'lan',
  driver: '',
  internal: false,
  attachable: false,
  ipv4: true,
  ipv6: false,
  labels: {},
  options: {},
  ipam: { driver: '', options: undefined, configs: [] },
  ...more,
});

const ipam = (...subnets: string[]) => ({
  driver: '',
  options: undefined,
  configs: subnets.map((subnet) => ({ subnet })),
});

test("a configuration is kept as it was asked for: nothing is chosen, and its subnet is nobody's yet", () => {
  const options = { 'com.docker.network.driver.mtu': 'abc' };
  const held = define(request({ configOnly: true, driver: 'nosuch', options, ipam: ipam('10.8.0.0/24') }), around());
  assert.deepEqual(
    [held.driver, held.configs, held.options, held.bridge, held.ownsBridge],
    ['null', [{ subnet: '10.8.0.0/24' }], options, '', false],
  );
  assert.deepEqual(define(request({ configOnly: true, ipv4: false }), around()).configs, []);
});

test('a network of a configuration has all that it says, and its name', () => {
  const labels = { a: 'b' };
  const held = define(request({ name: 'held', configOnly: true, labels, ipam: ipam('10.9.0.0/24') }), around());
  const made = define(request({ configFrom: 'held', internal: true }), around([held]));
  assert.deepEqual(
    [made.driver, made.configs, made.labels, made.internal, made.configFrom, made.configOnly],
    ['bridge', [{ subnet: '10.9.0.0/24' }], labels, true, 'held', undefined],
  );
  assert.throws(() => checkUnused(held, [made]), { kind: 'forbidden', message: /"held" is in use/ });
  checkUnused(held, []);
});

test('what a configuration holds is read when a network is made of it', () => {
  const held = (more: Partial<NetworkRequest>) =>
    define(request({ name: 'held', configOnly: true, ...more }), around());
  const made = (one: NetworkDefinition) => define(request({ configFrom: 'held' }), around([one]));
  assert.throws(() => made(held({ options: { 'com.docker.network.driver.mtu': 'abc' } })), /failed to parse/);
  assert.throws(() => made(held({ ipv4: false })), /IPv4 or IPv6 must be enabled/);
  assert.throws(() => made(held({ ipam: ipam('10.8.0.0/25') })), /Pool overlaps/);
  assert.throws(() => define(request({ name: 'held' }), around([held({})])), { kind: 'conflict' });
});
