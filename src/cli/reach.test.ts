import assert from 'node:assert/strict';
import type { NetworkInterfaceInfo } from 'node:os';
import { test } from 'node:test';
import { inputDrops } from './port-firewalls.ts';
import { outerAddresses, reachOf, reachText, scopeOf } from './reach.ts';

const info = (address: string) => ({ address }) as NetworkInterfaceInfo;
const host = outerAddresses(
  {
    lo: [info('127.0.0.1'), info('::1')],
    eth0: [info('192.168.1.5'), info('2001:db8::5'), info('fe80::1')],
    tun0: [info('203.0.113.9')],
    berth0: [info('172.17.0.1')],
    docker0: [info('172.18.0.1')],
    'br-0123456789ab': [info('172.19.0.1')],
    veth1: [info('fe80::2')],
    bth47b5d621548c: [info('fe80::3')],
  },
  'berth0',
);

test('bridges to containers and loopback are no way from outside', () => {
  assert.deepEqual(
    host.map(({ interface: name, address }) => `${name} ${address}`),
    ['eth0 192.168.1.5', 'eth0 2001:db8::5', 'eth0 fe80::1', 'tun0 203.0.113.9'],
  );
});

test('who can reach a port goes by the addresses that it is published on', () => {
  const text = (...published: string[]) => reachText(reachOf(published, host));
  assert.equal(text('127.0.0.1'), 'this machine only');
  assert.equal(text('127.0.0.1', '::1'), 'this machine only');
  assert.equal(text('192.168.1.5'), 'the local network at 192.168.1.5 (eth0)');
  assert.equal(text('0.0.0.0'), 'the internet at 203.0.113.9 (tun0); the local network at 192.168.1.5 (eth0)');
  assert.equal(
    text('0.0.0.0', '::', '192.168.1.5'),
    'the internet at 203.0.113.9 (tun0), 2001:db8::5 (eth0); the local network at 192.168.1.5 (eth0)',
  );
  assert.equal(text('127.0.0.1', '10.9.9.9'), 'nobody at 10.9.9.9: no interface has it now');
  assert.equal(reachText(reachOf(['0.0.0.0'], [])), 'this machine and its containers: there is no other network');
});

test('an address says whom it is for', () => {
  for (const [address, scope] of [
    ['10.1.2.3', 'local network'],
    ['172.31.0.1', 'local network'],
    ['172.32.0.1', 'internet'],
    ['192.169.0.1', 'internet'],
    ['100.64.0.1', 'local network'],
    ['169.254.1.1', 'link'],
    ['fe80::1', 'link'],
    ['fd12::1', 'local network'],
    ['2001:db8::1', 'internet'],
  ] as const)
    assert.equal(scopeOf(address), scope, address);
});

test('input chains that drop are named for IPv6 only', () => {
  const chain = (family: string, hook: string, policy: string) => ({
    chain: { family, table: 'filter', name: 'INPUT', hook, policy },
  });
  const json = JSON.stringify({
    nftables: [chain('ip', 'input', 'drop'), chain('ip6', 'input', 'drop'), chain('inet', 'input', 'accept'), {}],
  });
  assert.deepEqual(
    inputDrops(json).map(({ text }) => text.split(' drops')[0]),
    ['ip6 filter INPUT'],
  );
  assert.deepEqual(inputDrops('no json'), []);
});
