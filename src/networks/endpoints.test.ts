import assert from 'node:assert/strict';
import { test } from 'node:test';
import { freeInterface, gatewayOf, linkOf, publisherOf, routesOf, standingOf, targetOf } from './endpoints.ts';
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

test('where the way out does not pass the host, nothing is published; l3 needs no gateway', () => {
  const bridge = endpoint('b', 0);
  const lan = endpoint('a', 1, { driver: 'macvlan' });
  assert.equal(publisherOf([bridge, lan]), undefined);
  assert.equal(publisherOf([{ ...bridge, priority: 1 }, lan])?.id, 'b');
  const routed = endpoint('r', 2, { driver: 'ipvlan', gateway: '', isRouted: true });
  assert.deepEqual(routesOf([routed]), { ipv4: { interface: 'eth2', gateway: '' }, ipv6: undefined });
  const six = { ...ipv6(2), gateway: '' };
  assert.deepEqual(routesOf([{ ...routed, address: '', ipv6: six }]), {
    ipv4: undefined,
    ipv6: { interface: 'eth2', gateway: '' },
  });
  assert.deepEqual([linkOf(lan), standingOf([bridge, lan])], [{ interface: 'eth1' }, ['eth1']]);
});

test('an interface gets the lowest number that is free', () => {
  assert.equal(freeInterface('eth', []), 'eth0');
  assert.equal(freeInterface('eth', [endpoint('a', 0), endpoint('b', 2)]), 'eth1');
  assert.equal(freeInterface('net', [endpoint('a', 0)]), 'net0');
});
