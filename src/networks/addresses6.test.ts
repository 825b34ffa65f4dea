import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AddressPool6, contains6, formatAddress6, overlap6, parseAddress6, parseSubnet6 } from './addresses6.ts';

test('IPv6 addresses are read in every form and written in the shortest', () => {
  for (const [given, wanted] of [
    ['::', '::'],
    ['::1', '::1'],
    ['FD00:0:0:1::', 'fd00:0:0:1::'],
    ['fd00:0001:0:0:2:0:0:3', 'fd00:1::2:0:0:3'],
    ['1:0:0:2:0:0:0:3', '1:0:0:2::3'],
    ['1:2:3:4:5:6:7:8', '1:2:3:4:5:6:7:8'],
    ['1:0:3:0:5:0:7:0', '1:0:3:0:5:0:7:0'],
    ['0:0:3:4:5:6:7:8', '::3:4:5:6:7:8'],
    ['::ffff:10.0.0.1', '::ffff:a00:1'],
  ])
    assert.equal(formatAddress6(parseAddress6(given!)!), wanted);
  for (const text of ['', ':', '1::2::3', 'fe80::1%eth0', '10.0.0.1', 'g::'])
    assert.equal(parseAddress6(text), undefined);
});

test('subnets contain and overlap', () => {
  const subnet = parseSubnet6('fd00:1::5/64')!;
  assert.equal(formatAddress6(subnet.base), 'fd00:1::');
  assert.equal(contains6(subnet, parseAddress6('fd00:1::ffff:1')!), true);
  assert.equal(contains6(subnet, parseAddress6('fd00:1:0:1::')!), false);
  assert.equal(overlap6(subnet, parseSubnet6('fd00::/16')!), true);
  assert.equal(overlap6(subnet, parseSubnet6('fd00:2::/64')!), false);
  for (const text of ['fd00::', 'fd00::/129', 'fd00::/x', '10.0.0.0/8']) assert.equal(parseSubnet6(text), undefined);
});

test('addresses are given in order, those asked for once, and a small subnet to its end', () => {
  const options = { network: 'x', gateway: undefined, range: undefined, reserved: ['fd00::3'] };
  const pool = new AddressPool6(parseSubnet6('fd00::/125')!, options);
  assert.equal(pool.gateway, 'fd00::1');
  assert.equal(pool.takeThis('fd00::5'), true);
  assert.equal(pool.takeThis('fd00::5'), false);
  assert.equal(pool.takeThis('fd01::5'), false);
  assert.deepEqual([pool.take(), pool.take(), pool.take(), pool.take()], ['fd00::2', 'fd00::4', 'fd00::6', 'fd00::7']);
  assert.throws(() => pool.take(), { kind: 'unavailable' });
  pool.release('fd00::4');
  assert.equal(pool.take(), 'fd00::4');
});
