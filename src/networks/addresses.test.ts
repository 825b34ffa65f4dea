import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  AddressPool,
  chooseSubnet,
  formatSubnet,
  macOf,
  overlap,
  parseMac,
  parseRoutes,
  parseSubnet,
  TakenSubnets,
} from './addresses.ts';

test('addresses are given in order, and one that was freed is not given next', () => {
  const pool = new AddressPool(parseSubnet('172.29.0.0/16'));
  assert.equal(pool.gateway, '172.29.0.1');
  assert.deepEqual([pool.take(), pool.take(), pool.take()], ['172.29.0.2', '172.29.0.3', '172.29.0.4']);
  pool.release('172.29.0.3');
  assert.equal(pool.take(), '172.29.0.5');
});

test('a small subnet is given whole, without gateway and broadcast, then refused; a freed address is given again', () => {
  const pool = new AddressPool(parseSubnet('10.1.2.0/29'));
  assert.deepEqual(
    Array.from({ length: 5 }, () => pool.take()),
    ['10.1.2.2', '10.1.2.3', '10.1.2.4', '10.1.2.5', '10.1.2.6'],
  );
  assert.throws(() => pool.take(), { kind: 'unavailable', message: /no available IPv4 addresses/ });
  pool.release('10.1.2.4');
  assert.equal(pool.take(), '10.1.2.4');
});

test('a /16 gives 65,533 different addresses', () => {
  const pool = new AddressPool(parseSubnet('172.29.0.0/16'));
  assert.equal(new Set(Array.from({ length: 65_533 }, () => pool.take())).size, 65_533);
  assert.throws(() => pool.take());
});

test('what endpoints have after a restart is not given again, and foreign addresses are not counted', () => {
  const pool = new AddressPool(parseSubnet('172.29.0.0/24'));
  for (const address of ['172.29.0.2', '172.29.0.7', '172.29.0.1', '192.168.0.9']) pool.claim(address);
  assert.equal(pool.used, 2);
  assert.equal(pool.take(), '172.29.0.8');
});

test('the subnet avoids the routes of the host and its name servers', () => {
  const routes = ['172.29.4.0/24', '172.28.0.0/16', '172.16.0.0/13'].map(parseSubnet);
  assert.equal(formatSubnet(chooseSubnet(routes, ['172.27.0.53', 'fe80::1'])), '172.26.0.0/16');
  assert.throws(() => chooseSubnet(['172.16.0.0/12', '192.168.0.0/16'].map(parseSubnet), []), { kind: 'unavailable' });
  assert.equal(overlap(parseSubnet('10.0.0.0/8'), parseSubnet('10.9.0.0/16')), true);
  assert.equal(overlap(parseSubnet('10.0.0.0/9'), parseSubnet('10.128.0.0/9')), false);
});

test('routes are read from /proc/net/route, without the default one', () => {
  const table = `Iface	Destination	Gateway 	Flags	RefCnt	Use	Metric	Mask		MTU	Window	IRTT
eth0	00000000	010200C0	0003	0	0	0	00000000	0	0	0
eth0	000200C0	00000000	0001	0	0	0	00FFFFFF	0	0	0
`;
  assert.deepEqual(parseRoutes(table).map(formatSubnet), ['192.0.2.0/24']);
});

test('subnets and MAC addresses that cannot be are refused', () => {
  for (const text of ['', '172.29.0.0', '172.29.0.0/33', '1.2.3/16', '256.0.0.0/16', '10.0.0.0/7', '10.0.0.0/1e1'])
    assert.throws(() => parseSubnet(text), { kind: 'invalid' }, text);
  for (const text of ['', '02:42', '01:00:00:00:00:01', '00:00:00:00:00:00', '02:42:ac:11:00:0g'])
    assert.throws(() => parseMac(text), { kind: 'invalid' }, text);
  assert.equal(parseMac('02-42-AC-11-00-02'), '02:42:ac:11:00:02');
  assert.equal(macOf('172.29.1.10'), '02:42:ac:1d:01:0a');
});

test('an ip-range gives its own addresses only, past gateway and auxiliary ones; asked for, any of the subnet is given once', () => {
  const pool = new AddressPool(parseSubnet('10.1.2.0/24'), {
    network: 'x',
    range: parseSubnet('10.1.2.128/30'),
    reserved: ['10.1.2.130'],
  });
  assert.equal(pool.gateway, '10.1.2.128');
  assert.deepEqual([pool.take(), pool.take()], ['10.1.2.129', '10.1.2.131']);
  assert.throws(() => pool.take(), { message: /address pools: x \(10\.1\.2\.0\/24\)/ });
  assert.equal(pool.takeThis('10.1.2.7'), true);
  for (const address of ['10.1.2.7', '10.1.2.0', '10.1.2.255', '10.1.2.128', '10.1.2.130', '10.1.3.1', 'x'])
    assert.equal(pool.takeThis(address), false, address);
  assert.equal(pool.used, 3);
  pool.release('10.1.2.128');
  assert.equal(pool.takeThis('10.1.2.128'), false, 'the gateway stays');
  pool.release('10.1.2.7');
  assert.equal(pool.takeThis('10.1.2.7'), true);
});

test('there are pools for more than 4,000 networks; none overlaps another, a route or a subnet that somebody chose', () => {
  const routes = [parseSubnet('172.28.0.0/16'), parseSubnet('192.168.0.0/16')];
  const networks = [parseSubnet('10.192.4.0/25')];
  // Those below are taken for given: to ask 4,000 times takes seconds.
  for (let at = 0; at < 3_990; at++)
    networks.push({ base: parseSubnet('10.192.8.0/22').base + at * 1024, prefixLength: 22 });
  const taken = new TakenSubnets();
  for (const subnet of networks) taken.add(subnet);
  for (let count = 0; count < 110; count++) {
    const pool = taken.choose(routes);
    networks.push(pool);
    taken.add(pool);
  }
  const sorted = networks.toSorted((a, b) => a.base - b.base);
  for (const [at, subnet] of sorted.entries())
    if (at > 0) assert.ok(!overlap(sorted[at - 1]!, subnet), formatSubnet(subnet));
  assert.ok(!networks.some((subnet) => routes.some((route) => overlap(route, subnet))));
});

test('pools that are all taken: who has them is said, and what to do; one that is given back is chosen again', () => {
  const taken = new TakenSubnets();
  const routes = [parseSubnet('10.0.0.0/8'), parseSubnet('192.168.7.0/24')];
  const given: ReturnType<typeof parseSubnet>[] = [];
  const take = (pools?: readonly string[]) => {
    const pool = taken.choose(routes, pools);
    given.push(pool);
    taken.add(pool);
  };
  assert.throws(
    () => {
      for (;;) take();
    },
    (error: { message: string; hint: string }) => {
      assert.equal(error.message, 'all predefined address pools have been fully subnetted');
      assert.match(error.hint, /^29 networks and .* of this host \(10\.0\.0\.0\/8, 192\.168\.7\.0\/24\) take them: /);
      assert.match(error.hint, /docker network prune/);
      return true;
    },
  );
  taken.delete(given[3]!);
  assert.deepEqual(taken.choose(routes), given[3]);
  const configured = ['172.16.0.0/23:24'];
  take(configured);
  take(configured);
  assert.throws(() => take(configured), { hint: /add to defaultAddressPools$/ });
});
