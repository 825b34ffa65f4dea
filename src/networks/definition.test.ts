import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatSubnet, parseSubnet } from './addresses.ts';
import { parseSubnet6 } from './addresses6.ts';
import { BridgeNetwork } from './bridge-network.ts';
import {
  define,
  type IpamConfig,
  type NetworkRequest,
  overlapping,
  readBridgeOptions,
  type Surroundings,
} from './definition.ts';
import { checkJoin } from './join-check.ts';

const around: Surroundings = {
  networks: [{ id: 'd', name: 'other', bridge: 'berth0', configs: [{ subnet: '172.29.0.0/16' }] }],
  configurations: [],
  overlaps: (subnet) => overlapping(subnet, '172.29.0.0/16'),
  pool: () => parseSubnet('172.30.0.0/16'),
  pool6: () => parseSubnet6('fd12:3456:789a::/64')!,
  interfaces: () => ['lo', 'br9'],
};

function request(more: Partial<NetworkRequest> = {}, ...configs: IpamConfig[]): NetworkRequest {
  return {
    name: 'lan',
    driver: 'bridge',
    internal: false,
    attachable: false,
    ipv4: true,
    ipv6: false,
    labels: {},
    options: {},
    ipam: { driver: 'default', options: undefined, configs },
    ...more,
  };
}

test('what was asked for comes first, and what was not is chosen with its gateway', () => {
  const plain = define(request(), around);
  assert.deepEqual(plain.configs, [{ subnet: '172.30.0.0/16', gateway: '172.30.0.1' }]);
  assert.equal(plain.bridge, `bn-${plain.id.slice(0, 12)}`);
  assert.equal(plain.ownsBridge, true);
  const dual = define(request({ ipv6: true }, { subnet: 'fd00:1::/64', gateway: 'fd00:1::9' }), around);
  assert.deepEqual(dual.configs, [
    { subnet: 'fd00:1::/64', gateway: 'fd00:1::9' },
    { subnet: '172.30.0.0/16', gateway: '172.30.0.1' },
  ]);
  assert.deepEqual(dual.chosenSubnets, { ipv4: false, ipv6: true });
  const six = define(request({ ipv4: false, ipv6: true }), around);
  assert.deepEqual(six.configs, [{ subnet: 'fd12:3456:789a::/64', gateway: 'fd12:3456:789a::1' }]);
  const named = define(request({ options: { 'com.docker.network.bridge.name': 'br9' } }), around);
  assert.deepEqual([named.bridge, named.ownsBridge], ['br9', false], 'a bridge that is there is not ours');
});

test('every fault of the ranges is told at once; an IPv6 range without IPv6 is shown and not used', () => {
  const refused = (message: string | RegExp, ...configs: IpamConfig[]) =>
    assert.throws(() => define(request({ ipv6: true }, ...configs), around), { kind: 'invalid', message });
  refused(/invalid subnet 10\.0\.0\.0\/31: an IPv4 subnet from \/8 to \/30 is needed/, { subnet: '10.0.0.0/31' });
  refused(/invalid subnet fd00::1\/64: it should be fd00::\/64/, { subnet: 'fd00::1/64' });
  refused(/parent subnet is an IPv4 block/, { subnet: '10.0.0.0/24', gateway: 'fd00::1' });
  refused(/invalid ip-range x: invalid CIDR block notation/, { subnet: '10.0.0.0/24', ipRange: 'x' });
  refused(/invalid ip-range 10\.0\.0\.3\/30: it should be 10\.0\.0\.0\/30/, {
    subnet: '10.0.0.0/24',
    ipRange: '10.0.0.3/30',
  });
  refused(
    'invalid network config:\n* invalid gateway x: invalid address\n' +
      "* invalid auxiliary address 10.1.0.1: parent subnet 10.0.0.0/24 doesn't contain this address",
    { subnet: '10.0.0.0/24', gateway: 'x', auxiliaryAddresses: { a: '10.1.0.1' } },
  );
  const off = define(request({}, { subnet: 'fd00:1::/64' }), around);
  assert.deepEqual(off.configs.length, 2);
  assert.equal(new BridgeNetwork(off, { mtu: 1500 }).bridge.ipv6, undefined);
});

test('a name or a bridge that is taken, and a range that overlaps, are refused', () => {
  const refused = (kind: string, message: RegExp, asked: NetworkRequest) =>
    assert.throws(() => define(asked, around), { kind, message });
  refused('conflict', /network with name other already exists/, request({ name: 'other' }));
  refused('forbidden', /Pool overlaps/, request({}, { subnet: '172.29.8.0/24' }));
  const bridge = (name: string) => request({ options: { 'com.docker.network.bridge.name': name } });
  refused('forbidden', /networks have same bridge name/, bridge('berth0'));
  for (const name of ['a b', '../x', 'a*', 'x'.repeat(16), '..', '"'])
    refused('invalid', /invalid bridge name/, bridge(name));
});

test('the options of a bridge are read as Docker reads them', () => {
  const option = (name: string, value: string) => readBridgeOptions({ [`com.docker.network.${name}`]: value });
  assert.deepEqual(readBridgeOptions({}), {
    icc: true,
    masquerade: true,
    hostBinding: '',
    mtu: 0,
    interfacePrefix: 'eth',
    modes: { ipv4: 'nat', ipv6: 'nat' },
    hostAddresses: { ipv4: '', ipv6: '' },
    inhibitIpv4: false,
    trusted: [],
  });
  assert.equal(option('bridge.enable_icc', 'F').icc, false);
  assert.equal(option('bridge.enable_ip_masquerade', '0').masquerade, false);
  assert.equal(option('bridge.host_binding_ipv4', '127.0.0.1').hostBinding, '127.0.0.1');
  assert.equal(option('driver.mtu', '1400').mtu, 1400);
  assert.equal(option('container_iface_prefix', 'net').interfacePrefix, 'net');
  assert.equal(option('bridge.inhibit_ipv4', '1').inhibitIpv4, true);
  for (const [name, value] of [
    ['driver.mtu', '5'],
    ['driver.mtu', '1e3'],
    ['container_iface_prefix', '../x'],
    ['bridge.enable_icc', 'yes'],
  ] as const)
    assert.throws(() => option(name, value), { kind: 'invalid' }, `${name}=${value}`);
});

test('the bridge has the addresses, the range and the gateway of its definition', () => {
  const definition = define(
    request(
      { internal: true },
      { subnet: '10.1.2.0/24', ipRange: '10.1.2.128/25', auxiliaryAddresses: { a: '10.1.2.129' } },
    ),
    around,
  );
  const network = new BridgeNetwork(definition, { mtu: 1450 });
  const { bridge } = network;
  const { pool } = network.ipv4[0]!;
  assert.equal(formatSubnet(pool.subnet), '10.1.2.0/24');
  const { subnet, gateway, prefixLength } = bridge.ipv4!;
  assert.deepEqual([subnet, gateway, prefixLength], ['10.1.2.0/24', '10.1.2.128', 24]);
  assert.deepEqual([bridge.mtu, bridge.internal, bridge.ipv6], [1450, true, undefined]);
  assert.equal(bridge.mac, `02:${definition.id.slice(0, 10).match(/../g)!.join(':')}`);
  assert.equal(pool.take(), '10.1.2.130');
  const check = (address: string) => checkJoin(network, { network: 'lan', address });
  check('10.1.2.5');
  assert.throws(() => check('10.1.3.5'), {
    message: /no configured subnet or ip-range contain the IP address 10\.1\.3\.5/,
  });
  assert.throws(() => check('fd00::5'), { message: /^invalid endpoint settings:\n\* invalid IPv4 address: fd00::5/ });
});
