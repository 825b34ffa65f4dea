import assert from 'node:assert/strict';
import { test } from 'node:test';
import { freeInterface, gatewayOf, publisherOf, routesOf, targetOf } from './endpoints.ts';
import type { Endpoint } from './networks.ts';

const endpoint = (network: string, number: number, more: Partial<Endpoint> = {}): Endpoint => ({
  id: network,
  containerId: 'c',
  networkId: network,
  network,
  interface: `eth${number}`,
  address: `10.0.${number}.2`,
  prefixLength: 24,
  gateway: `10.0.${number}.1`,
  mac: '',
  ports: [],
  ...more,
});
const ipv6 = (number: number) => ({ address: `fd00:${number}::2`, prefixLength: 64, gateway: `fd00:${number}::1` });

test('the default route goes by priority, then by name; internal networks lead nowhere', () => {
  const [a, b] = [endpoint('a', 1), endpoint('b', 0)];
  assert.equal(gatewayOf([b, a], 'ipv4'), a);
  const first = { ...b, priority: 1 };
  assert.equal(gatewayOf([a, first], 'ipv4'), first);
  const internal = endpoint('0', 2, { gateway: '' });
  assert.equal(gatewayOf([internal, a], 'ipv4'), a);
  assert.equal(publisherOf([internal]), undefined);
  assert.deepEqual(routesOf([internal]), { ipv4: undefined, ipv6: undefined });
});

test('each family has a route of its own', () => {
  const [four, six] = [endpoint('a', 0), endpoint('b', 1, { ipv6: ipv6(1) })];
  assert.deepEqual(routesOf([four, six]), {
    ipv4: { interface: 'eth0', gateway: '10.0.0.1' },
    ipv6: { interface: 'eth1', gateway: 'fd00:1::1' },
  });
  const alone = endpoint('c', 2, { address: '', gateway: '', ipv6: ipv6(2) });
  assert.equal(publisherOf([alone]), alone);
  assert.equal(targetOf(alone), 'fd00:2::2');
});

test('an interface gets the lowest number that is free', () => {
  assert.equal(freeInterface('eth', []), 'eth0');
  assert.equal(freeInterface('eth', [endpoint('a', 0), endpoint('b', 2)]), 'eth1');
  assert.equal(freeInterface('net', [endpoint('a', 0)]), 'net0');
});
