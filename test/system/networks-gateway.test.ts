import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { after, afterEach, before, describe, test } from 'node:test';
import type { HostNetworks } from '../../src/networks/host-networks.ts';
import type { PortRequest } from '../../src/networks/networks.ts';
import { Lab, port, run, until } from './networks-lab.ts';

const mode = (family: string) => `com.docker.network.bridge.gateway_mode_${family}`;

describe('the host between its containers and the LAN', () => {
  let lab: Lab;
  let networks: HostNetworks;

  before(async () => {
    lab = new Lab();
    networks = await lab.open({ auditMs: 500 });
    await networks.recover([]);
    // As an attacker, or a router of the LAN, would have them.
    for (const route of ['10.60.0.0/16', '10.77.0.0/16'])
      run('ip', '-n', lab.lan, 'route', 'add', route, 'via', lab.hostAddress);
    run('ip', '-n', lab.lan, 'route', 'add', 'fd60::/16', 'via', 'fd99::1');
    await lab.serve({ id: '', path: lab.lanPath } as never, 8000);
  });

  afterEach(async () => {
    for (const { containerId } of networks.list().flatMap(({ endpoints }) => endpoints))
      await networks.close(containerId);
    await networks.prune(() => true);
  });

  after(async () => {
    await networks[Symbol.asyncDispose]();
    await lab[Symbol.asyncDispose]();
  });

  const ipam = (...subnets: string[]) => ({
    driver: '',
    options: undefined,
    configs: subnets.map((subnet) => ({ subnet })),
  });
  const make = (
    options: Record<string, string>,
    { internal = false, name = 'front', subnets = ['10.60.0.0/24'] } = {},
  ) => {
    const ipv6 = subnets.some((subnet) => subnet.includes(':'));
    return networks.create(lab.network(name, { options, internal, ipv6, ipam: ipam(...subnets) }));
  };
  const web = async (ports: readonly PortRequest[] = [], name = 'front') => {
    const container = await lab.joined(networks, [name], { ports });
    await lab.serve(container, 80, 81);
    return container;
  };
  const fromLan = (address: string, number: number) => lab.ask(lab.lanPath, address, number);
  const ping = (path: string, address: string) =>
    spawnSync('nsenter', [`--net=${path}`, 'ping', '-c', '1', '-W', '2', address]).status === 0;
  const bridgeOf = (name: string) => `bn-${networks.get(name).id.slice(0, 12)}`;

  test('nat: what is not published is not reached; nat-unprotected: all is, but not from other bridges', async () => {
    await make({});
    await make({ [mode('ipv4')]: 'nat-unprotected' }, { name: 'open', subnets: ['10.60.1.0/24'] });
    const [closed, open] = [await web(), await web([], 'open')];
    assert.equal(fromLan(closed.endpoint.address, 80), '');
    assert.match(fromLan(open.endpoint.address, 80), /^from 10\.99\.0\.2\n/);
    assert.equal(lab.ask(closed.path, open.endpoint.address, 80), '');
    assert.match(lab.ask(open.path, lab.lanAddress, 8000), /^from 10\.99\.0\.1\n/, 'with the address of the host');
    // A table that is written anew has it too.
    run('nft', 'flush', 'ruleset');
    assert.ok(await until(20_000, () => run('nft', 'list', 'tables').includes('berth')));
    assert.match(fromLan(open.endpoint.address, 80), /ping$/);
    assert.equal(fromLan(closed.endpoint.address, 80), '');
  });

  test('routed: published ports are reached by the own address of the container, which it keeps', async () => {
    await make({ [mode('ipv4')]: 'routed' });
    await make({}, { name: 'other', subnets: ['10.60.2.0/24'] });
    const one = await web([port(80, 8080)]);
    const other = await lab.joined(networks, ['other']);
    const { address, ports } = one.endpoint;
    assert.deepEqual(
      ports.map(({ hostAddress, hostPort }) => `${hostAddress} ${hostPort}`),
      ['0.0.0.0 0', ':: 8080'],
    );
    assert.match(fromLan(address, 80), /^from 10\.99\.0\.2\n/);
    assert.match(lab.ask(other.path, address, 80), /ping$/, 'also from other bridges');
    assert.equal(fromLan(address, 81), '', 'not published');
    assert.ok(ping(lab.lanPath, address));
    assert.equal(fromLan(lab.hostAddress, 8080), '', 'no port of the host is taken');
    assert.match(lab.ask(one.path, lab.lanAddress, 8000), new RegExp(`^from ${address.replaceAll('.', '\\.')}\n`));
    await networks.close(one.id);
    const two = await lab.joined(networks, ['front']);
    await lab.serve(two, 80);
    assert.equal(fromLan(two.endpoint.address, 80), '');
  });

  test('routed with IPv6', async () => {
    await make({ [mode('ipv6')]: 'routed' }, { subnets: ['10.60.0.0/24', 'fd60::/64'] });
    const one = await web([port(80, 8080)]);
    const six = one.endpoint.ipv6?.address ?? '';
    assert.deepEqual(
      one.endpoint.ports.map(({ hostAddress, hostPort }) => `${hostAddress} ${hostPort}`),
      [':: 0', '0.0.0.0 8080'],
    );
    assert.match(fromLan(six, 80), /^from fd99::2\n/);
    assert.equal(fromLan(six, 81), '');
    assert.match(fromLan(lab.hostAddress, 8080), /ping$/, 'IPv4 is translated as ever');
  });

  test('another engine in its place: what was opened stays open, and closes with its container', async () => {
    await make({ [mode('ipv4')]: 'routed' });
    const one = await web([port(80, 8080)]);
    await networks[Symbol.asyncDispose]();
    networks = await lab.open({ auditMs: 500 });
    await networks.recover([{ containerId: one.id, sandbox: one.path, endpoints: one.endpoints }]);
    assert.match(fromLan(one.endpoint.address, 80), /ping$/);
    run('nft', 'flush', 'ruleset');
    assert.ok(await until(20_000, () => run('nft', 'list', 'tables').includes('berth')));
    assert.match(fromLan(one.endpoint.address, 80), /ping$/);
    assert.equal(fromLan(one.endpoint.address, 81), '');
    await networks.close(one.id);
    assert.doesNotMatch(run('nft', 'list', 'set', 'inet', 'berth', 'opened'), /elements/);
  });

  test('isolated: containers have each other, and the host has no address among them', async () => {
    const isolated = { [mode('ipv4')]: 'isolated', [mode('ipv6')]: 'isolated' };
    await make(isolated, { internal: true, subnets: ['10.60.0.0/24', 'fd60::/64'] });
    const [one, two] = [await web(), await lab.joined(networks, ['front'])];
    assert.deepEqual([one.endpoint.address, one.endpoint.gateway], ['10.60.0.1', ''], 'none is kept for a gateway');
    assert.match(lab.ask(two.path, one.endpoint.address, 80), /ping$/);
    assert.doesNotMatch(run('ip', '-o', 'address', 'show', bridgeOf('front')), /inet/);
    assert.equal(lab.ask('', one.endpoint.address, 80), '');
    assert.doesNotMatch(run('nsenter', `--net=${one.path}`, 'ip', 'route'), /default/);
    await assert.rejects(make(isolated, { name: 'wrong', subnets: ['10.60.9.0/24'] }), {
      message: "gateway mode 'isolated' can only be used for an internal network",
    });
  });

  test('host_ipv4 and host_ipv6: what leaves has these addresses of the host', async () => {
    run('ip', 'address', 'add', '10.99.0.9/24', 'dev', 'lan0');
    run('ip', 'address', 'add', 'fd99::9/64', 'dev', 'lan0', 'nodad');
    const options = { 'com.docker.network.host_ipv4': '10.99.0.9', 'com.docker.network.host_ipv6': 'fd99::9' };
    await make(options, { subnets: ['10.60.0.0/24', 'fd60::/64'] });
    const one = await web([port(80, 8080)]);
    assert.match(lab.ask(one.path, lab.lanAddress, 8000), /^from 10\.99\.0\.9\n/);
    assert.match(lab.ask(one.path, 'fd99::2', 8000), /^from fd99::9\n/);
    assert.match(fromLan(lab.hostAddress, 8080), /ping$/);
    run('ip', 'address', 'del', '10.99.0.9/24', 'dev', 'lan0');
    run('ip', 'address', 'del', 'fd99::9/64', 'dev', 'lan0');
  });

  test('trusted_host_interfaces: from there all is reached; inhibit_ipv4: the gateway is another machine', async () => {
    await make({ 'com.docker.network.bridge.trusted_host_interfaces': 'lan0:eth7' });
    const one = await web();
    assert.match(fromLan(one.endpoint.address, 80), /ping$/);
    await make({ 'com.docker.network.bridge.inhibit_ipv4': 'true' }, { name: 'bare', subnets: ['10.60.3.0/24'] });
    const two = await lab.joined(networks, ['bare']);
    assert.doesNotMatch(run('ip', '-o', 'address', 'show', bridgeOf('bare')), /inet /);
    assert.match(run('nsenter', `--net=${two.path}`, 'ip', 'route'), /default via 10\.60\.3\.1/);
    assert.equal(two.endpoint.address, '10.60.3.2');
  });

  test('S44: the host takes no advice from containers on its routes', async () => {
    await make({}, { subnets: ['10.60.0.0/24', 'fd60::/64'] });
    const one = await lab.joined(networks, ['front']);
    const accepts = (name: string) => readFileSync(`/proc/sys/net/ipv6/conf/${name}/accept_ra`, 'utf8').trim();
    // Forwarding hosts read 0 and 1 alike; 2 would be what this host's own links have.
    assert.deepEqual(
      [accepts(bridgeOf('front')), accepts(`bth${one.endpoint.id.slice(0, 12)}`), accepts('berth0')],
      ['0', '0', '0'],
    );
  });

  test('S44: a container has no address but its own, to the LAN and to the host; one that the host routes to it is its own', async () => {
    await make({}, { subnets: ['10.60.0.0/24', 'fd60::/64'] });
    const one = await lab.joined(networks, ['front']);
    const forged = { ipv4: '10.77.7.7', ipv6: 'fd77::7' };
    const inside = (...args: string[]) => run('nsenter', `--net=${one.path}`, 'ip', ...args);
    inside('address', 'add', `${forged.ipv4}/32`, 'dev', 'eth0');
    inside('-6', 'address', 'add', `${forged.ipv6}/128`, 'dev', 'eth0', 'nodad');
    // What arrives with these addresses, counted behind all of our rules.
    const count = (path: string) => {
      const list = run('nsenter', `--net=${path}`, 'nft', 'list', 'table', 'inet', 'seen');
      return [...list.matchAll(/packets (\d+)/g)].map(([, packets]) => Number(packets));
    };
    const watched = [lab.lanPath, '/proc/self/ns/net'];
    for (const path of watched)
      run(
        'nsenter',
        `--net=${path}`,
        'nft',
        `table inet seen { chain input { type filter hook input priority 100; ip saddr ${forged.ipv4} counter; ip6 saddr ${forged.ipv6} counter; }; }`,
      );
    const send = (four: string, six: string) => {
      for (const [from, to] of [
        [forged.ipv4, four],
        [forged.ipv6, six],
      ] as const)
        spawnSync('nsenter', [`--net=${one.path}`, 'ping', '-c', '2', '-W', '1', '-I', from, to]);
    };
    send(lab.lanAddress, 'fd99::2');
    send(lab.hostAddress, 'fd99::1');
    assert.deepEqual(watched.map(count), [
      [0, 0],
      [0, 0],
    ]);
    // A container that routes for others: the host says so, and then it is no forgery.
    run('ip', 'route', 'add', `${forged.ipv4}/32`, 'via', one.endpoint.address);
    run('ip', '-6', 'route', 'add', `${forged.ipv6}/128`, 'via', one.endpoint.ipv6?.address ?? '');
    send(lab.lanAddress, 'fd99::2');
    send(lab.hostAddress, 'fd99::1');
    for (const path of watched) for (const packets of count(path)) assert.ok(packets > 0, path);
    run('nft', 'delete', 'table', 'inet', 'seen');
  });
});
