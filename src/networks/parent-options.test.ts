import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseSubnet } from './addresses.ts';
import { parseSubnet6 } from './addresses6.ts';
import { define, type IpamConfig, type NetworkDefinition, type NetworkRequest } from './definition.ts';
import { planEndpoint, wiringOf } from './endpoints.ts';
import { ParentNetwork } from './parent-network.ts';

const request = (
  driver: string,
  options: Record<string, string> = {},
  more: Partial<NetworkRequest> = {},
  ...configs: IpamConfig[]
): NetworkRequest => ({
  name: 'lan',
  driver,
  internal: false,
  attachable: false,
  ipv4: true,
  ipv6: false,
  labels: {},
  options,
  ipam: { driver: '', options: undefined, configs },
  ...more,
});

const make = (asked: NetworkRequest, networks: readonly NetworkDefinition[] = []) =>
  define(asked, {
    networks,
    configurations: [],
    overlaps: () => false,
    pool: () => parseSubnet('172.30.0.0/16'),
    pool6: () => parseSubnet6('fd12:3456:789a::/64')!,
    interfaces: () => ['lo', 'eth0', 'eth0.7'],
  });

const specOf = (definition: NetworkDefinition) => networkOf(definition).parent;
const networkOf = ({ parent, ...rest }: NetworkDefinition) => new ParentNetwork({ ...rest, parent: parent! });

test('a parent is what was asked for, a VLAN that is made, or a link that leads nowhere', () => {
  const there = make(request('macvlan', { parent: 'eth0' }));
  assert.deepEqual([there.bridge, there.ownsBridge, there.parent], ['', false, { name: 'eth0', owned: false }]);
  assert.deepEqual(specOf(there), {
    kind: 'macvlan',
    parent: 'eth0',
    mode: 'bridge',
    flag: 'bridge',
    mtu: undefined,
    made: undefined,
  });
  const vlan = make(request('macvlan', { parent: 'eth0.20', macvlan_mode: 'vepa' }));
  assert.deepEqual([specOf(vlan).made, specOf(vlan).mode], [{ kind: 'vlan', of: 'eth0', id: 20 }, 'vepa']);
  assert.equal(specOf(make(request('macvlan', { parent: 'eth0.7' }))).made, undefined, 'somebody else made it');
  for (const [driver, prefix] of [
    ['macvlan', 'dm'],
    ['ipvlan', 'di'],
  ] as const) {
    const nowhere = make(request(driver));
    assert.equal(specOf(nowhere).parent, `${prefix}-${nowhere.id.slice(0, 12)}`);
    assert.deepEqual(specOf(nowhere).made, { kind: 'dummy' });
  }
  const three = specOf(make(request('ipvlan', { parent: 'eth0', ipvlan_mode: 'l3s', ipvlan_flag: 'private' })));
  assert.deepEqual([three.mode, three.flag], ['l3s', 'private']);
});

test("wrong options and parents are refused in Docker's words", () => {
  const refused = (driver: string, options: Record<string, string>, message: string | RegExp) =>
    assert.throws(() => make(request(driver, options)), { message });
  refused(
    'macvlan',
    { macvlan_mode: 'x' },
    "requested macvlan mode 'x' is not valid, 'bridge' mode is the macvlan driver default",
  );
  refused(
    'ipvlan',
    { ipvlan_mode: 'l4' },
    "requested ipvlan mode 'l4' is not valid, 'l2' mode is the ipvlan driver default",
  );
  refused(
    'ipvlan',
    { ipvlan_flag: 'x' },
    "requested ipvlan flag 'x' is not valid, 'bridge' is the ipvlan driver default",
  );
  refused('macvlan', { parent: 'lo' }, 'loopback interface is not a valid macvlan parent link');
  refused('macvlan', { parent: 'x' }, 'invalid subinterface vlan name x, example formatting is eth0.10');
  refused('macvlan', { parent: 'x.2' }, '-o parent interface was not found on the host: x');
  refused('macvlan', { parent: 'eth0.5000' }, 'vlan id must be between 1-4094, received: 5000');
  refused('macvlan', { parent: 'eth0.x' }, 'unable to parse a valid vlan id from: x (ex. eth0.10 for vlan 10)');
  refused('macvlan', { parent: 'eth0.1.2' }, /required interface name format is: name.vlan_id.* received eth0.1.2/);
  refused('macvlan', { parent: 'eth0', 'com.docker.network.driver.mtu': 'x' }, /invalid MTU x/);
});

test('who else may stand on the same link', () => {
  const bridge = make(request('macvlan', { parent: 'eth0' }, {}, { subnet: '10.1.0.0/24' }));
  const through = make(request('macvlan', { parent: 'eth0', macvlan_mode: 'passthru' }, {}, { subnet: '10.2.0.0/24' }));
  const other = (driver: string, options: Record<string, string>, beside: NetworkDefinition) =>
    make(request(driver, options, { name: 'other' }, { subnet: '10.3.0.0/24' }), [beside]);
  other('macvlan', { parent: 'eth0', macvlan_mode: 'private' }, bridge);
  assert.throws(() => other('macvlan', { parent: 'eth0', macvlan_mode: 'passthru' }, bridge), {
    message: `cannot use mode passthru, macvlan network ${bridge.id} is already using parent interface eth0`,
  });
  assert.throws(() => other('macvlan', { parent: 'eth0' }, through), {
    message: `macvlan network ${through.id} is already using parent interface eth0 in mode passthru`,
  });
  const first = other('ipvlan', { parent: 'eth0' }, bridge);
  assert.throws(() => make(request('ipvlan', { parent: 'eth0' }), [first]), {
    message: `network di-${first.id.slice(0, 12)} is already using parent interface eth0`,
  });
  const vlan = make(request('macvlan', { parent: 'eth0.20' }, {}, { subnet: '10.4.0.0/24' }));
  const second = define(request('macvlan', { parent: 'eth0.20' }, { name: 'second' }, { subnet: '10.5.0.0/24' }), {
    networks: [vlan],
    configurations: [],
    overlaps: () => false,
    pool: () => parseSubnet('172.30.0.0/16'),
    pool6: () => parseSubnet6('fd12:3456:789a::/64')!,
    interfaces: () => ['eth0', 'eth0.20'],
  });
  assert.deepEqual(second.parent, { name: 'eth0.20', owned: true }, 'the link goes with the last of them');
});

test('several subnets: the first with an address left, or that of the address; each has its gateway', () => {
  const network = networkOf(
    make(
      request(
        'macvlan',
        { parent: 'eth0' },
        {},
        { subnet: '10.1.0.0/30' },
        { subnet: '10.2.0.0/24', gateway: '10.2.0.9' },
      ),
    ),
  );
  const plan = (address?: string) => planEndpoint('c', network, { network: 'lan', address, names: ['web'] }, []);
  const three = [plan(), plan(), plan('10.2.0.77')];
  assert.deepEqual(
    three.map(({ address, prefixLength, gateway }) => `${address}/${prefixLength} ${gateway}`),
    ['10.1.0.2/30 10.1.0.1', '10.2.0.1/24 10.2.0.9', '10.2.0.77/24 10.2.0.9'],
  );
  assert.deepEqual([three[0]!.mac, three[0]!.driver], ['02:42:0a:01:00:02', 'macvlan']);
  assert.throws(() => plan('10.2.0.77'), { message: 'Address already in use' });
  const wiring = wiringOf(network, three[0]!);
  assert.ok('parent' in wiring && !('bridge' in wiring));
  for (const endpoint of three) network.release(endpoint);
  assert.equal(plan('10.2.0.77').address, '10.2.0.77');
});

test('without a use for a gateway none is kept, unless it was asked for', () => {
  const gateway = (asked: NetworkRequest) => {
    const definition = make(asked);
    const network = networkOf(definition);
    const { address, gateway: by, isRouted } = planEndpoint('c', network, { network: 'lan' }, []);
    return [definition.configs[0]!.gateway, address, by, isRouted];
  };
  const on = { parent: 'eth0' };
  assert.deepEqual(gateway(request('macvlan', on)), ['172.30.0.1', '172.30.0.2', '172.30.0.1', undefined]);
  assert.deepEqual(gateway(request('macvlan', on, { internal: true })), [undefined, '172.30.0.1', '', undefined]);
  const routed = { ...on, ipvlan_mode: 'l3' };
  assert.deepEqual(gateway(request('ipvlan', routed)), [undefined, '172.30.0.1', '', true]);
  assert.deepEqual(gateway(request('ipvlan', routed, {}, { subnet: '10.1.0.0/24', gateway: '10.1.0.1' })), [
    '10.1.0.1',
    '10.1.0.2',
    '',
    true,
  ]);
});

test('an ipvlan interface has no MAC of its own', () => {
  const network = networkOf(make(request('ipvlan', { parent: 'eth0' })));
  assert.equal(planEndpoint('c', network, { network: 'lan' }, []).mac, '');
  assert.throws(() => planEndpoint('c', network, { network: 'lan', mac: '02:00:00:00:00:01', names: ['web'] }, []), {
    message:
      'failed to create endpoint web on network lan: ipvlan interfaces do not support custom mac address assignment',
  });
});
