import assert from 'node:assert/strict';
import { test } from 'node:test';
import { attributes, nl, routeRequests } from './netlink.ts';
import { parentRequests } from './parent-requests.ts';

/** The attributes of a link message, by type, in hex. */
const parts = (body: Buffer) =>
  Object.fromEntries([...attributes(body.subarray(16))].map(({ type, value }) => [type, value.toString('hex')]));

test('a macvlan is one request: the link below, the namespace, mode and MAC', () => {
  const { body } = parentRequests.addUpper({
    kind: 'macvlan',
    name: 'eth0',
    lower: 4,
    mode: 'bridge',
    flag: 'bridge',
    mtu: 1400,
    mac: '02:42:0a:14:00:09',
    namespace: 9,
  });
  assert.deepEqual(parts(body), {
    [nl.IFLA_IFNAME]: '6574683000',
    5: '04000000',
    [nl.IFLA_ADDRESS]: '02420a140009',
    [nl.IFLA_MTU]: '78050000',
    [nl.IFLA_NET_NS_FD]: '09000000',
    // INFO_KIND "macvlan", INFO_DATA { MACVLAN_MODE 4 }.
    [nl.IFLA_LINKINFO]: `0c0001006d6163766c616e00${'0c00028008000100' + '04000000'}`,
  });
});

test('an ipvlan has mode and flag, and no MAC', () => {
  const { body } = parentRequests.addUpper({
    kind: 'ipvlan',
    name: 'eth0',
    lower: 4,
    mode: 'l3',
    flag: 'vepa',
    mtu: undefined,
    mac: '',
    namespace: 9,
  });
  assert.deepEqual(Object.keys(parts(body)), ['3', '5', '18', '28']);
  assert.equal(parts(body)[18], '0b0001006970766c616e0000' + '14000280' + '0600010001000000' + '0600020002000000');
});

test('a VLAN names its number and the link below', () => {
  const { body } = parentRequests.addVlan('eth0.20', { lower: 2, id: 20 });
  assert.equal(parts(body)[5], '02000000');
  assert.equal(parts(body)[18], '09000100766c616e00000000' + '0c000280' + '0600010014000000');
});

test('a default route without a gateway is one on the link', () => {
  const { body } = routeRequests.setDefaultRoute('ipv4', 3, '');
  assert.equal(body.toString('hex'), '02000000fe03fd0100000000' + '0800040003000000');
});
