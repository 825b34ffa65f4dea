import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { after, before, describe, test } from 'node:test';
import type { HostNetworks } from '../../src/networks/host-networks.ts';
import { type Container, Lab, newId, port, run, until } from './networks-lab.ts';

describe('networks of a host', () => {
  let lab: Lab;
  let networks: HostNetworks;
  let web: Container;

  before(async () => {
    lab = new Lab();
    networks = await lab.open({ auditMs: 500 });
    await networks.recover([]);
    web = await lab.container(networks, [
      port(80, 8080),
      port(80, 8081, { hostAddress: '127.0.0.1' }),
      port(80, 8082, { hostAddress: '::1' }),
      port(80, 8083, { hostAddress: lab.hostAddress }),
      port(53, 5353, { protocol: 'udp' }),
    ]);
    await lab.serve(web, 80, 53);
  });

  after(async () => {
    await networks.close(web.id).catch(() => {});
    await networks[Symbol.asyncDispose]();
    await lab[Symbol.asyncDispose]();
  });

  test('a container reaches the bridge, another container and the LAN, which sees the host', async () => {
    const other = await lab.container(networks);
    run('nsenter', `--net=${other.path}`, 'ping', '-c1', '-W1', web.endpoint.gateway);
    assert.equal(lab.ask(other.path, web.endpoint.address, 80), `from ${other.endpoint.address}\nping`);

    await lab.serve({ ...other, path: lab.lanPath }, 7000);
    assert.equal(lab.ask(other.path, lab.lanAddress, 7000), `from ${lab.hostAddress}\nping`);
    await networks.close(other.id);
  });

  test('a published port is reached from the LAN with its own address, and from the host', () => {
    assert.equal(lab.ask(lab.lanPath, lab.hostAddress, 8080), `from ${lab.lanAddress}\nping`);
    assert.equal(lab.ask(lab.lanPath, lab.hostAddress, 8083), `from ${lab.lanAddress}\nping`);
    assert.match(lab.ask('', lab.hostAddress, 8080), /ping$/);
    assert.equal(lab.ask('', '127.0.0.1', 8080), `from ${web.endpoint.gateway}\nping`);
    assert.equal(lab.ask('', '127.0.0.1', 8083), '', 'published on another address');
  });

  test('[::] and [::1] reach the container through the helper, with half close', () => {
    assert.match(lab.ask('', '::1', 8080), /ping$/);
    assert.match(lab.ask(lab.lanPath, 'fd99::1', 8080), /ping$/);
    assert.match(lab.ask('', '::1', 8082), /ping$/);
    assert.match(lab.ask('', '::1', 5353, { udp: true }), /ping by ::1$/);
  });

  test('UDP is published, and the answer comes from where the question went', () => {
    assert.equal(
      lab.ask(lab.lanPath, lab.hostAddress, 5353, { udp: true }),
      `from ${lab.lanAddress}\nping by ${lab.hostAddress}`,
    );
    assert.match(lab.ask('', '127.0.0.1', 5353, { udp: true }), /ping by 127.0.0.1$/);
  });

  test('a client that goes on sending UDP gets to the container that is there now', async () => {
    const ask = () => lab.ask(lab.lanPath, lab.hostAddress, 6353, { udp: true, bind: '4444' });
    assert.equal(ask(), '', 'nobody is there');
    for (let generation = 0; generation < 2; generation++) {
      const dns = await lab.container(networks, [port(53, 6353, { protocol: 'udp' })]);
      const server = await lab.serve(dns, 53);
      assert.match(ask(), new RegExp(`^from ${lab.lanAddress}\\nping`), `container ${generation}`);
      await networks.close(dns.id);
      server.kill('SIGKILL');
    }
  });

  test('hairpin: a container reaches another one and itself through the host and its published port', async () => {
    const other = await lab.container(networks);
    for (const from of [other, web]) {
      assert.match(lab.ask(from.path, lab.hostAddress, 8080), /ping$/);
      assert.match(lab.ask(from.path, web.endpoint.gateway, 8080), /ping$/);
      assert.match(lab.ask(from.path, lab.hostAddress, 5353, { udp: true }), /ping/);
    }
    await networks.close(other.id);
  });

  const refusesTheLan = () => {
    // An attacker's route to loopback, and packets for it that no sane machine would send.
    assert.equal(lab.ask(lab.lanPath, lab.hostAddress, 8081), '');
    assert.equal(lab.ask(lab.lanPath, 'fd99::1', 8082), '');
    assert.equal(lab.ask(lab.lanPath, web.endpoint.address, 80), '', 'directly, by a route to the subnet');
    assert.equal(lab.ask(lab.lanPath, web.endpoint.address, 53, { udp: true }), '');
    assert.equal(lab.ask(lab.lanPath, web.endpoint.gateway, 8080), '', 'the bridge by its own address');
    assert.match(lab.ask('', '127.0.0.1', 8081), /ping$/);
    assert.match(lab.ask('', '::1', 8082), /ping$/);
    assert.match(lab.ask(lab.lanPath, lab.hostAddress, 8080), /ping$/);
  };

  test('S39: loopback-published and unpublished ports are not reached from the LAN', refusesTheLan);

  test('S39: 127.0.0.1 of the host is not reached by a route of the attacker', () => {
    run('ip', '-n', lab.lan, 'route', 'add', '127.0.0.1', 'via', lab.hostAddress, 'table', '77');
    run('ip', '-n', lab.lan, 'rule', 'add', 'to', '127.0.0.1', 'table', '77', 'pref', '1');
    run('ip', '-n', lab.lan, 'rule', 'del', 'pref', '0');
    run('ip', '-n', lab.lan, 'rule', 'add', 'table', 'local', 'pref', '2');
    run('ip', 'netns', 'exec', lab.lan, 'sysctl', '-qw', 'net.ipv4.conf.all.route_localnet=1');
    // The host itself is made as weak as another program could have made it.
    run('sysctl', '-qw', 'net.ipv4.conf.lan0.route_localnet=1');
    assert.equal(lab.ask(lab.lanPath, '127.0.0.1', 8081), '');
    run('sysctl', '-qw', 'net.ipv4.conf.lan0.route_localnet=0');
  });

  test('R20, S39: flushed and deleted rules are there again within 5 s, no more and no less', async () => {
    const rules = () => run('nft', 'list', 'table', 'inet', 'berth');
    const before = rules();
    for (const damage of [
      'flush ruleset',
      'delete table inet berth',
      'flush chain inet berth direct',
      'flush map inet berth published',
    ]) {
      await until(1_200, () => false);
      run('nft', damage);
      // With the rules gone the helper still answers for the port.
      assert.match(lab.ask('', '127.0.0.1', 8080), /ping$/);
      const healed = await until(5_000, () => rulesOrNothing(rules) === before);
      assert.ok(healed, `after ${damage}:\n${rulesOrNothing(rules)}`);
      refusesTheLan();
    }
  });

  test('a bridge that somebody deleted is made again, with its ports', async () => {
    run('ip', 'link', 'delete', 'berth0');
    // Opening one meanwhile makes the bridge, and must not hide from the audit that the others have lost it.
    const other = await lab.container(networks, [], newId());
    const healed = await until(5_000, () => lab.ask(other.path, web.endpoint.address, 80).endsWith('ping'));
    assert.match(lab.ask(lab.lanPath, lab.hostAddress, 8080), /ping$/);
    await networks.close(other.id);
    assert.ok(healed);
  });

  test('a port that is taken is refused with the words of Docker and who has it; nothing is left of the attempt', async () => {
    const taken = lab.container(networks, [port(80, 8080)]);
    await assert.rejects(taken, {
      kind: 'conflict',
      message: `Bind for 0.0.0.0:8080 failed: port is already allocated (by container ${web.id.slice(0, 12)})`,
    });
    await using server = createServer().listen(9090, '127.0.0.1');
    await once(server, 'listening');
    const before = networks.get('bridge').endpoints.length;
    await assert.rejects(lab.container(networks, [port(81, 9191), port(80, 9090)]), {
      kind: 'conflict',
      message: new RegExp(
        `^failed to bind host port for 0.0.0.0:9090:[\\d.]+:80/tcp: address already in use \\(by node \\(pid ${process.pid}\\)\\)$`,
      ),
    });
    assert.equal(networks.get('bridge').endpoints.length, before);
    const next = await lab.container(networks, [port(80, 9090, { last: 9092 }), port(81, 9191), port(82, 0)]);
    assert.deepEqual(
      next.endpoint.ports
        .filter(({ hostAddress }) => hostAddress === '0.0.0.0')
        .map(({ hostPort }) => hostPort)
        .slice(0, 2),
      [9091, 9191],
    );
    await networks.close(next.id);
  });

  test('a published port cannot be taken by another process (S42)', async () => {
    for (const host of ['0.0.0.0', '127.0.0.1', '::']) {
      const server = createServer().listen({ port: 8080, host, ipv6Only: true });
      const [error] = await once(server, 'error');
      assert.equal(error.code, 'EADDRINUSE');
    }
  });

  test('SCTP is translated', async () => {
    const { id } = await lab.container(networks, [port(3868, 3868, { protocol: 'sctp' })]);
    assert.match(run('nft', 'list', 'map', 'inet', 'berth', 'published'), /sctp \. 3868 : [\d.]+ \. 3868/);
    await networks.close(id);
  });

  test('none is loopback only; sysctls and a MAC of the caller are set', async () => {
    const none = newId();
    const { sandbox, endpoints } = await networks.open(none, { joins: [], ports: [] });
    assert.deepEqual(endpoints, []);
    assert.match(
      run('nsenter', `--net=${sandbox.path}`, 'ip', '-br', 'address'),
      /^lo +UNKNOWN +127.0.0.1\/8 ::1\/128 *\n$/,
    );
    await networks.close(none);

    const id = newId();
    const opened = await networks.open(id, {
      joins: [{ network: 'bridge', mac: '02:00:00:00:00:99' }],
      ports: [],
      sysctls: { 'net.ipv4.ip_unprivileged_port_start': '0' },
    });
    const inside = (...args: string[]) => run('nsenter', `--net=${opened.sandbox.path}`, ...args);
    assert.match(inside('ip', 'link', 'show', 'eth0'), /02:00:00:00:00:99/);
    assert.equal(inside('sysctl', '-n', 'net.ipv4.ip_unprivileged_port_start'), '0\n');
    assert.doesNotMatch(inside('ip', 'address', 'show', 'eth0'), /inet6/);
    await networks.close(id);
  });

  test('two engines with bridges of their own leave each other alone', async () => {
    const other = await lab.open({ bridgeName: 'berth.x', table: 'berth-berth.x', auditMs: 300 }, 'other');
    await other.recover([]);
    const theirs = await lab.container(other, [port(80, 8585), port(80, 8586, { hostAddress: '127.0.0.1' })]);
    const server = await lab.serve(theirs, 80);
    assert.notEqual(other.get('bridge').subnets[0]?.subnet, networks.get('bridge').subnets[0]?.subnet);
    const both = () => {
      assert.match(lab.ask(lab.lanPath, lab.hostAddress, 8585), /ping$/);
      assert.match(lab.ask('', '127.0.0.1', 8586), /ping$/);
      assert.match(lab.ask(lab.lanPath, lab.hostAddress, 8080), /ping$/);
      assert.match(lab.ask(web.path, lab.hostAddress, 8585), /ping$/);
      assert.equal(lab.ask(web.path, theirs.endpoint.address, 80), '', 'bridge to bridge');
    };
    both();
    // Neither takes the other's rules for damage: once both have seen them, nothing is written any more.
    await until(1_500, () => false);
    const before = lab.lines.filter((line) => line.includes('written anew')).length;
    await until(1_500, () => false);
    assert.equal(lab.lines.filter((line) => line.includes('written anew')).length, before);
    both();

    await other.close(theirs.id);
    server.kill('SIGKILL');
    await other[Symbol.asyncDispose]();
    assert.equal(run('ip', '-o', 'link').includes('berth.x'), false);
    assert.match(lab.ask(lab.lanPath, lab.hostAddress, 8080), /ping$/);
  });

  test('fifty at once get different addresses and all go again', async () => {
    const all = await Promise.all(Array.from({ length: 50 }, () => lab.container(networks, [port(80, 0)])));
    assert.equal(new Set(all.map(({ endpoint }) => endpoint.address)).size, 50);
    assert.equal(new Set(all.map(({ endpoint }) => endpoint.ports[0]?.hostPort)).size, 50);
    await Promise.all(all.map(({ id }) => networks.close(id)));
    assert.equal(networks.get('bridge').endpoints.length, 1);
  });

  test('after the last container has gone and the engine has ended nothing is left', async () => {
    await networks.close(web.id);
    await networks.close(web.id);
    await networks[Symbol.asyncDispose]();
    await lab.stopProcesses();
    await until(5_000, () => lab.leftovers().length === 0);
    assert.deepEqual(lab.leftovers(), []);
    networks = await lab.open();
  });
});

function rulesOrNothing(rules: () => string): string {
  try {
    return rules();
  } catch {
    return '';
  }
}
