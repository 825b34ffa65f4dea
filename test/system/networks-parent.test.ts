import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { after, afterEach, before, describe, type TestContext, test } from 'node:test';
import type { NetworkRequest } from '../../src/networks/definition.ts';
import type { HostNetworks } from '../../src/networks/host-networks.ts';
import { Lab, run, until } from './networks-lab.ts';

const ipam = (...configs: NetworkRequest['ipam']['configs']) => ({ driver: '', options: undefined, configs });

/** Whether this kernel can make such links at all. */
const can = (...link: string[]) =>
  spawnSync('ip', ['link', 'add', ...link]).status === 0 &&
  run('ip', 'link', 'del', link[link.indexOf('name') + 1]!) === '';

describe('containers on a link of the host', () => {
  let lab: Lab;
  let networks: HostNetworks;
  let kinds: { readonly vlan: boolean; readonly dummy: boolean; readonly ipvlan: boolean };

  const inside = (path: string, ...args: string[]) => run('nsenter', `--net=${path}`, 'ip', ...args);
  const ping = (path: string, address: string) =>
    spawnSync('nsenter', [`--net=${path}`, 'ping', '-c', '1', '-W', '2', address]).status === 0;
  const links = () =>
    run('ip', '-o', 'link')
      .split('\n')
      .flatMap((line) => /^\d+: ([^:@]+)/.exec(line)?.[1] ?? []);
  const lacks = (t: TestContext, kind: keyof typeof kinds) => {
    if (!kinds[kind]) t.skip(`this kernel has no ${kind} links`);
    return !kinds[kind];
  };
  /** The LAN of the lab, in which the machine and its neighbour have addresses. */
  const onLan = (name: string, options: Record<string, string> = {}, more: Partial<NetworkRequest> = {}) =>
    lab.network(name, {
      driver: 'macvlan',
      options: { parent: 'lan0', ...options },
      ipam: ipam({
        subnet: '10.99.0.0/24',
        ipRange: '10.99.0.128/25',
        gateway: lab.lanAddress,
        auxiliaryAddresses: { host: lab.hostAddress, first: '10.99.0.128' },
      }),
      ...more,
    });

  before(async () => {
    lab = new Lab();
    kinds = {
      vlan: can('link', 'lan0', 'name', 'probe0', 'type', 'vlan', 'id', '9'),
      dummy: can('name', 'probe0', 'type', 'dummy'),
      ipvlan: can('link', 'lan0', 'name', 'probe0', 'type', 'ipvlan', 'mode', 'l2'),
    };
    networks = await lab.open({ auditMs: 500 });
    await networks.recover([]);
  });

  afterEach(async () => {
    for (const { containerId } of networks.list().flatMap(({ endpoints }) => endpoints))
      await networks.close(containerId);
    await networks.prune(() => true);
    await lab.stopProcesses();
  });

  after(async () => {
    await networks[Symbol.asyncDispose]();
    await lab[Symbol.asyncDispose]();
  });

  test('macvlan: a container is a machine of the LAN, with names, and what was reserved is never given', async () => {
    await networks.create(onLan('lan'));
    const web = await lab.joined(networks, [{ network: 'lan', names: ['web'] }]);
    const other = await lab.joined(networks, [{ network: 'lan', names: ['other'], address: '10.99.0.200' }]);
    assert.equal(web.endpoint.address, '10.99.0.129');
    assert.match(inside(web.path, '-d', 'link', 'show', 'eth0'), /macvlan mode bridge/);
    assert.match(
      inside(web.path, 'route'),
      new RegExp(`default via ${lab.lanAddress.replaceAll('.', '\\.')} dev eth0`),
    );
    await lab.serve(web, 80);
    await lab.serve({ ...web, path: lab.lanPath }, 8000);
    assert.match(lab.ask(lab.lanPath, web.endpoint.address, 80), /^from 10\.99\.0\.2\n/, 'the neighbour reaches it');
    assert.match(lab.ask(web.path, lab.lanAddress, 8000), /^from 10\.99\.0\.129\n/, 'by its own address');
    assert.match(lab.ask(other.path, web.endpoint.address, 80), /^from 10\.99\.0\.200\n/);
    assert.equal(lab.resolve(other, 'web'), `0 ${web.endpoint.address}`);
    await assert.rejects(lab.joined(networks, [{ network: 'lan', address: lab.hostAddress }]), {
      message: 'Address already in use',
    });
    assert.deepEqual(networks.get('lan').endpoints.length, 2);
    await assert.rejects(networks.remove('lan'), /has active endpoints/);
    for (const { id } of [web, other]) await networks.close(id);
    await networks.remove('lan');
    assert.ok(links().includes('lan0'), "the parent is somebody else's and stays");
  });

  test('a container that starts again has its address and MAC at once, also while its former namespace is held', async () => {
    await networks.create(onLan('lan'));
    const join = { network: 'lan', address: '10.99.0.150', mac: '02:42:0a:63:00:96' };
    for (let round = 0; round < 3; round++) {
      const one = await lab.joined(networks, [join]);
      // As a process that outlives its container would.
      lab.start('nsenter', [`--net=${one.path}`, 'sleep', '1000']);
      assert.ok(ping(lab.lanPath, '10.99.0.150'), `round ${round}`);
      await networks.close(one.id);
      assert.equal(ping(lab.lanPath, '10.99.0.150'), false, `round ${round}: nobody has it any more`);
    }
    await networks.remove('lan');
  });

  test('private: containers reach the LAN and not each other', async () => {
    await networks.create(onLan('alone', { macvlan_mode: 'private' }));
    const [one, two] = [await lab.joined(networks, ['alone']), await lab.joined(networks, ['alone'])];
    assert.match(inside(one.path, '-d', 'link', 'show', 'eth0'), /macvlan mode private/);
    assert.ok(ping(one.path, lab.lanAddress));
    assert.equal(ping(one.path, two.endpoint.address), false);
    for (const { id } of [one, two]) await networks.close(id);
    await networks.remove('alone');
  });

  test("vepa and passthru are the kernel's; a second container in passthru is refused and leaves nothing", async () => {
    await networks.create(onLan('relay', { macvlan_mode: 'vepa' }));
    const one = await lab.joined(networks, ['relay']);
    assert.match(inside(one.path, '-d', 'link', 'show', 'eth0'), /macvlan mode vepa/);
    await networks.close(one.id);
    await networks.remove('relay');
    await networks.create(onLan('through', { macvlan_mode: 'passthru' }));
    const two = await lab.joined(networks, ['through']);
    assert.match(inside(two.path, '-d', 'link', 'show', 'eth0'), /macvlan mode passthru/);
    await assert.rejects(lab.joined(networks, ['through']), {
      message: 'failed to create the macvlan port: invalid argument',
    });
    assert.equal(networks.get('through').endpoints.length, 1);
    await networks.close(two.id);
    await networks.remove('through');
  });

  test('two networks on one parent, and one beside a bridge: routes and names of both', async () => {
    await networks.create(onLan('lan'));
    const subnet = { subnet: '10.98.0.0/24' };
    await networks.create(
      lab.network('second', { driver: 'macvlan', options: { parent: 'lan0' }, ipam: ipam(subnet) }),
    );
    await networks.create(lab.network('front'));
    const one = await lab.joined(networks, [{ network: 'front', names: ['one'] }]);
    await networks.connect(one.id, { network: 'lan', names: ['one'] }, { ports: [] });
    await networks.connect(one.id, { network: 'second', names: ['one'] }, { ports: [] });
    assert.deepEqual(
      networks.get('second').endpoints.map(({ interface: name }) => name),
      ['eth2'],
    );
    assert.match(inside(one.path, 'route'), /default via 172\..* dev eth0/, 'front comes first by its name');
    assert.ok(ping(one.path, lab.lanAddress));
    const rest = await networks.disconnect(one.id, 'front');
    assert.deepEqual(
      rest.map(({ network }) => network),
      ['lan', 'second'],
    );
    assert.match(inside(one.path, 'route'), /default via 10\.99\.0\.2 dev eth1/);
    await networks.disconnect(one.id, 'lan');
    assert.doesNotMatch(inside(one.path, '-o', 'link'), /eth1/);
    await networks.close(one.id);
    for (const name of ['lan', 'second', 'front']) await networks.remove(name);
  });

  test('a parent that is gone is told, and nothing is left of the attempt', async () => {
    run('ip', 'link', 'add', 'gone0', 'type', 'veth', 'peer', 'name', 'gone1');
    await networks.create(lab.network('lost', { driver: 'macvlan', options: { parent: 'gone0' } }));
    run('ip', 'link', 'del', 'gone0');
    await assert.rejects(lab.joined(networks, ['lost']), {
      message: 'the requested parent interface gone0 was not found on the Docker host',
    });
    assert.deepEqual(networks.get('lost').endpoints, []);
    await networks.remove('lost');
  });

  test('IPv6 on the LAN; internal leads nowhere', async () => {
    const subnet = { subnet: 'fd99::/64', gateway: 'fd99::2', auxiliaryAddresses: { host: 'fd99::1' } };
    await networks.create(onLan('six', {}, { ipv4: false, ipv6: true, ipam: ipam(subnet) }));
    const one = await lab.joined(networks, [{ network: 'six', address6: 'fd99::77' }]);
    assert.ok(await until(10_000, () => ping(one.path, 'fd99::2')));
    assert.match(inside(one.path, '-6', 'route'), /default via fd99::2 dev eth0/);
    await networks.close(one.id);
    await networks.remove('six');
    await networks.create(onLan('vault', {}, { internal: true, ipam: ipam({ subnet: '10.97.0.0/24' }) }));
    const two = await lab.joined(networks, ['vault']);
    assert.equal(two.endpoint.address, '10.97.0.1', 'no address is kept for a gateway');
    assert.doesNotMatch(inside(two.path, 'route'), /default/);
    await networks.close(two.id);
    await networks.remove('vault');
  });

  test('a VLAN is made with the first network on it, is made again, and goes with the last', async (t) => {
    if (lacks(t, 'vlan')) {
      await assert.rejects(networks.create(onLan('tagged', { parent: 'lan0.20' })), {
        message: 'failed to create lan0.20 vlan link: operation not supported',
      });
      assert.throws(() => networks.get('tagged'), { kind: 'not-found' });
      return;
    }
    run('ip', '-n', lab.lan, 'link', 'add', 'link', 'eth0', 'name', 'eth0.20', 'type', 'vlan', 'id', '20');
    run('ip', '-n', lab.lan, 'address', 'add', '10.20.0.2/24', 'dev', 'eth0.20');
    run('ip', '-n', lab.lan, 'link', 'set', 'eth0.20', 'up');
    const tagged = (name: string, subnet: string) =>
      onLan(name, { parent: 'lan0.20' }, { ipam: ipam({ subnet, gateway: subnet.replace('0/24', '2') }) });
    await networks.create(tagged('one', '10.20.0.0/24'));
    await networks.create(tagged('two', '10.21.0.0/24'));
    assert.match(run('ip', '-d', 'link', 'show', 'lan0.20'), /vlan protocol 802\.1Q id 20/);
    run('ip', 'link', 'del', 'lan0.20');
    const web = await lab.joined(networks, ['one']);
    assert.ok(await until(10_000, () => ping(web.path, '10.20.0.2')));
    await networks.close(web.id);
    await networks.remove('one');
    assert.ok(links().includes('lan0.20'));
    await networks.remove('two');
    assert.ok(!links().includes('lan0.20'));
  });

  test('without a parent: a link of its own, on which containers reach each other', async (t) => {
    const nowhere = lab.network('nowhere', { driver: 'macvlan', internal: true });
    if (lacks(t, 'dummy')) {
      await assert.rejects(
        networks.create(nowhere),
        /failed to create dm-[0-9a-f]{12} dummy link: operation not supported/,
      );
      assert.throws(() => networks.get('nowhere'), { kind: 'not-found' });
      return;
    }
    const { id } = await networks.create(nowhere);
    assert.ok(links().includes(`dm-${id.slice(0, 12)}`));
    const [one, two] = [await lab.joined(networks, ['nowhere']), await lab.joined(networks, ['nowhere'])];
    assert.ok(await until(10_000, () => ping(one.path, two.endpoint.address)));
    for (const container of [one, two]) await networks.close(container.id);
    await networks.remove('nowhere');
    assert.ok(!links().includes(`dm-${id.slice(0, 12)}`));
  });

  test('ipvlan: the MAC of the parent in l2, and no gateway in l3; where the kernel has none, it says so', async (t) => {
    const on = (name: string, mode: string, flag = 'bridge') =>
      onLan(name, { ipvlan_mode: mode, ipvlan_flag: flag }, { driver: 'ipvlan' });
    if (lacks(t, 'ipvlan')) {
      await assert.rejects(networks.create(on('plain', 'l2')), /this kernel has no ipvlan: /);
      assert.throws(() => networks.get('plain'), { kind: 'not-found' });
      return;
    }
    const macOf = (text: string) => /link\/ether (\S+)/.exec(text)?.[1];
    await networks.create(on('plain', 'l2'));
    const one = await lab.joined(networks, [{ network: 'plain', names: ['one'] }]);
    assert.equal(macOf(inside(one.path, 'link', 'show', 'eth0')), macOf(run('ip', 'link', 'show', 'lan0')));
    assert.ok(await until(10_000, () => ping(one.path, lab.lanAddress)));
    assert.equal(lab.resolve(one, 'one'), `0 ${one.endpoint.address}`);
    await networks.close(one.id);
    await networks.remove('plain');
    for (const mode of ['l3', 'l3s']) {
      await networks.create(on('routed', mode, 'private'));
      const two = await lab.joined(networks, ['routed']);
      assert.match(inside(two.path, '-d', 'link', 'show', 'eth0'), new RegExp(`ipvlan {1,2}mode ${mode} private`));
      assert.match(inside(two.path, 'route'), /default dev eth0 scope link/);
      await networks.close(two.id);
      await networks.remove('routed');
    }
  });

  test('another engine in its place: endpoints stay and go with their containers; nothing is left', async () => {
    await networks.create(onLan('lan'));
    const one = await lab.joined(networks, [{ network: 'lan', names: ['one'], address: '10.99.0.160' }]);
    const dead = await lab.joined(networks, [{ network: 'lan', address: '10.99.0.161' }]);
    await networks[Symbol.asyncDispose]();
    networks = await lab.open({ auditMs: 500 });
    await networks.recover([{ containerId: one.id, sandbox: one.path, endpoints: one.endpoints }]);
    assert.ok(ping(lab.lanPath, '10.99.0.160'));
    assert.equal(
      ping(lab.lanPath, '10.99.0.161'),
      false,
      `the namespace of ${dead.id.slice(0, 6)} is swept, with its link`,
    );
    await assert.rejects(lab.joined(networks, [{ network: 'lan', address: '10.99.0.160' }]), /already in use/);
    const again = await lab.joined(networks, [{ network: 'lan', address: '10.99.0.161' }]);
    assert.equal(lab.resolve(again, 'one'), '0 10.99.0.160');
    for (const { id } of [one, again]) await networks.close(id);
    await networks.remove('lan');
    await networks[Symbol.asyncDispose]();
    await until(10_000, () => lab.leftovers().length === 0);
    assert.deepEqual(lab.leftovers(), []);
    networks = await lab.open({ auditMs: 500 });
    await networks.recover([]);
  });
});
