import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { HostNetworks } from '../../src/networks/host-networks.ts';
import { type Container, Lab, port, run, until } from './networks-lab.ts';

const ipam = (...subnets: string[]) => ({
  driver: 'default',
  options: undefined,
  configs: subnets.map((subnet) => ({ subnet })),
});

describe("networks of one's own", () => {
  let lab: Lab;
  let networks: HostNetworks;
  let web: Container;
  let db: Container;
  let asked: () => readonly string[];

  before(async () => {
    lab = new Lab();
    const resolvConf = join(lab.root, 'resolv.conf');
    writeFileSync(resolvConf, `nameserver ${lab.hostAddress}\n`);
    asked = await lab.nameServer(lab.hostAddress, 'example.org=192.0.2.80');
    networks = await lab.open({ auditMs: 500, resolvConf });
    await networks.recover([]);
    await networks.create(lab.network('front'));
    await networks.create(lab.network('back', { ipam: ipam('10.66.0.0/24') }));
    web = await lab.joined(networks, [{ network: 'front', names: ['web', 'www'] }], { ports: [port(80, 8080)] });
    db = await lab.joined(networks, [{ network: 'back', address: '10.66.0.77', names: ['db'] }]);
    await lab.serve(web, 80);
    await lab.serve(db, 80);
  });

  after(async () => {
    for (const { id } of [web, db]) await networks.close(id).catch(() => {});
    await networks[Symbol.asyncDispose]();
    await lab[Symbol.asyncDispose]();
  });

  const bridgeOf = (name: string) => `bn-${networks.get(name).id.slice(0, 12)}`;

  test('each has a bridge of its own, a subnet that nothing else has, and the address that was asked for', () => {
    const [front, back] = [networks.get('front'), networks.get('back')];
    assert.match(
      run('ip', '-br', 'address', 'show', bridgeOf('front')),
      new RegExp(` ${front.subnets[0]!.gateway}/16`),
    );
    assert.match(run('ip', '-br', 'address', 'show', bridgeOf('back')), / 10\.66\.0\.1\/24/);
    assert.notEqual(front.subnets[0]!.subnet, networks.get('bridge').subnets[0]!.subnet);
    assert.deepEqual(back.subnets, [{ subnet: '10.66.0.0/24' }]);
    assert.equal(db.endpoint.address, '10.66.0.77');
    assert.deepEqual(
      back.endpoints.map(({ names }) => names),
      [['db']],
    );
  });

  test('containers of different bridges do not reach each other, but what the other publishes on the host', async () => {
    const other = await lab.joined(networks, ['front']);
    const standard = await lab.container(networks);
    assert.match(lab.ask(other.path, web.endpoint.address, 80), /ping$/, 'on the same bridge');
    for (const from of [db, standard]) {
      assert.equal(lab.ask(from.path, web.endpoint.address, 80), '', 'directly');
      assert.match(lab.ask(from.path, lab.hostAddress, 8080), /ping$/, 'by the host');
      assert.match(lab.ask(from.path, from.endpoint.gateway, 8080), /ping$/, 'by its gateway');
    }
    await lab.serve({ ...web, path: '/proc/self/ns/net' }, 7300);
    const gateway = networks.get('bridge').subnets[0]!.gateway!;
    assert.match(lab.ask(db.path, gateway, 7300), /ping$/, 'host-gateway');
    assert.equal(lab.ask(web.path, db.endpoint.address, 80), '');
    assert.equal(lab.ask(lab.lanPath, db.endpoint.address, 80), '', 'from the LAN');
    assert.match(lab.ask('', db.endpoint.address, 80), /ping$/, 'the host reaches its containers');
    assert.equal(lab.ask(lab.lanPath, lab.hostAddress, 8080), `from ${lab.lanAddress}\nping`);
    await networks.close(other.id);
    await networks.close(standard.id);
  });

  test('names are answered by the table, and the rest by the servers of the host, by UDP and TCP', async () => {
    const other = await lab.joined(networks, [{ network: 'front', names: ['other'] }]);
    for (const transport of ['udp', 'tcp']) {
      assert.equal(lab.resolve(other, 'web', 'A', transport), `0 ${web.endpoint.address}`);
      assert.equal(lab.resolve(other, 'WWW.front', 'A', transport), `0 ${web.endpoint.address}`);
      assert.equal(lab.resolve(other, 'web', 'AAAA', transport), '0');
      assert.equal(lab.resolve(other, 'example.org', 'A', transport), '0 192.0.2.80');
    }
    assert.equal(lab.resolve(other, 'other'), `0 ${other.endpoint.address}`);
    const reverse = `${web.endpoint.address.split('.').reverse().join('.')}.in-addr.arpa`;
    assert.equal(lab.resolve(other, reverse, 'PTR'), '0 web.front');
    assert.equal(lab.resolve(other, 'db'), '3', 'of another network: somebody outside is asked');
    assert.ok(await until(5_000, () => asked().includes('db')));
    assert.ok(!asked().includes('web'), 'nobody outside learns what containers are called');
    await networks.close(other.id);
    await until(5_000, () => lab.resolve(web, 'other') === '3');
    assert.equal(lab.resolve(web, 'other'), '3', 'who has gone has no name');
  });

  test('a name that several have is each of them', async () => {
    const many = [];
    for (let count = 0; count < 3; count++)
      many.push(await lab.joined(networks, [{ network: 'front', names: [`w${count}`, 'worker'] }]));
    const all = many.map(({ endpoint }) => endpoint.address).sort();
    assert.equal(lab.resolve(web, 'worker'), `0 ${all.join(' ')}`);
    for (const { id } of many) await networks.close(id);
  });

  test('S41: what strangers send changes nothing for those who ask, and the helper stays small', async () => {
    const pid = /helper (\d+)/.exec(lab.leftovers().join(' '))?.[1];
    const resident = () => Number(/^Rss: +(\d+)/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))?.[1]);
    const before = resident();
    assert.equal(lab.resolve(db, 'flood'), 'done');
    assert.equal(lab.resolve(web, 'web'), `0 ${web.endpoint.address}`);
    assert.equal(lab.resolve(db, 'db'), '0 10.66.0.77');
    assert.equal(lab.resolve(db, 'example.org', 'A', 'tcp'), '0 192.0.2.80');
    assert.ok(resident() < before + 40_000, `${before} kB, then ${resident()} kB`);
    assert.match(readFileSync(join(lab.root, 'run/network.log'), 'utf8'), /^$/);
  });

  test('fifty at once in two networks have names, and all of them go again', async () => {
    const before = readdirSync(`/proc/${process.pid}/fd`).length;
    const names = Array.from({ length: 50 }, (_, number) => `many${number}`);
    const all = await Promise.all(
      names.map((name) =>
        lab.joined(
          networks,
          ['front', 'back'].map((network) => ({ network, names: [name] })),
        ),
      ),
    );
    assert.equal(new Set(all.map(({ endpoint }) => endpoint.address)).size, 50);
    for (const [at, name] of [names[0]!, names[49]!].entries()) {
      const [front, back] = all[at * 49]!.endpoints.map(({ address }) => address);
      assert.equal(lab.resolve(all[7]!, name), `0 ${[front, back].sort().join(' ')}`);
      assert.equal(lab.resolve(web, name), `0 ${front}`);
    }
    await Promise.all(all.map(({ id }) => networks.close(id)));
    assert.equal(lab.resolve(web, 'many7'), '3');
    assert.ok(readdirSync(`/proc/${process.pid}/fd`).length <= before + 5, 'no descriptor is left');
    assert.deepEqual([networks.get('front').endpoints.length, networks.get('back').endpoints.length], [1, 1]);
  });

  test('a new name is known and the former forgotten', async () => {
    await networks.rename(db.id, () => ['database']);
    const client = await lab.joined(networks, ['back']);
    assert.equal(lab.resolve(client, 'database'), '0 10.66.0.77');
    assert.equal(lab.resolve(client, 'db'), '3');
    await networks.rename(db.id, () => ['db']);
    await networks.close(client.id);
  });

  test('connected to another network while it runs: interface, route, names and ports follow', async () => {
    const lone = await lab.joined(networks, [{ network: 'back', names: ['lone'] }], { ports: [port(80, 8090)] });
    await lab.serve(lone, 80);
    const inside = (...args: string[]) => run('nsenter', `--net=${lone.path}`, ...args);
    assert.match(lab.ask(lab.lanPath, lab.hostAddress, 8090), /ping$/);
    const more = await networks.connect(
      lone.id,
      { network: 'front', names: ['lone', 'alias'], priority: 7 },
      { ports: [] },
    );
    assert.deepEqual(
      more.map((endpoint) => [endpoint.network, endpoint.interface, endpoint.ports.length]),
      [
        ['back', 'eth0', 0],
        ['front', 'eth1', 2],
      ],
    );
    assert.match(inside('ip', 'route'), new RegExp(`default via ${more[1]!.gateway} dev eth1`));
    assert.match(lab.ask(lab.lanPath, lab.hostAddress, 8090), /ping$/, 'the port goes where the route goes');
    assert.match(lab.ask('', '::1', 8090), /ping$/);
    assert.equal(lab.resolve(web, 'alias'), `0 ${more[1]!.address}`);
    assert.equal(lab.resolve(lone, 'web'), `0 ${web.endpoint.address}`);
    assert.equal(lab.resolve(lone, 'db'), '0 10.66.0.77');
    await assert.rejects(networks.connect(lone.id, { network: 'front', names: ['lone'] }, { ports: [] }), {
      kind: 'forbidden',
      message: 'endpoint with name lone already exists in network front',
    });
    await assert.rejects(networks.remove('front'), /network front has active endpoints \(.*name:"lone" id:"/);

    const rest = await networks.disconnect(lone.id, 'front');
    assert.deepEqual(
      rest.map((endpoint) => [endpoint.network, endpoint.ports.length]),
      [['back', 2]],
    );
    assert.match(inside('ip', 'route'), /default via 10\.66\.0\.1 dev eth0/);
    assert.doesNotMatch(inside('ip', '-br', 'link'), /eth1/);
    assert.match(lab.ask(lab.lanPath, lab.hostAddress, 8090), /ping$/);
    assert.equal(lab.resolve(web, 'alias'), '3');
    assert.equal(lab.resolve(lone, 'web'), '3');

    assert.deepEqual(await networks.disconnect(lone.id, 'back'), []);
    assert.equal(lab.ask(lab.lanPath, lab.hostAddress, 8090), '');
    await assert.rejects(networks.disconnect(lone.id, 'back'), { kind: 'internal' });
    await networks.close(lone.id);
    assert.equal(networks.get('back').endpoints.length, 1);
  });

  test('an address that somebody has is refused, and nothing is left of the attempt', async () => {
    const veths = () => run('ip', '-o', 'link').match(/bth[0-9a-f]{12}/g)?.length;
    const before = veths();
    const attempt = (address: string) => lab.joined(networks, [{ network: 'back', address }]);
    for (const address of ['10.66.0.77', '10.66.0.1', '10.66.0.0', '10.66.0.255'])
      await assert.rejects(attempt(address), { kind: 'forbidden', message: 'Address already in use' }, address);
    await assert.rejects(attempt('10.67.0.1'), { kind: 'invalid', message: /no configured subnet or ip-range/ });
    await assert.rejects(lab.joined(networks, [{ network: 'front', address: '172.31.0.9' }]), { kind: 'invalid' });
    await assert.rejects(lab.joined(networks, ['back', { network: 'front' }], { ports: [port(80, 8080)] }), {
      kind: 'conflict',
    });
    await until(5_000, () => veths() === before);
    assert.equal(veths(), before);
    assert.equal(networks.get('back').endpoints.length, 1);
  });

  test('S40: an internal network reaches itself and its gateway, and asks nobody for names', async () => {
    await networks.create(lab.network('vault', { internal: true }));
    const [one, two] = [
      await lab.joined(networks, [{ network: 'vault', names: ['one'] }], { ports: [port(80, 8095)] }),
      await lab.joined(networks, [{ network: 'vault', names: ['two'] }]),
    ];
    await lab.serve(one, 80);
    assert.equal(one.endpoint.gateway, '');
    assert.deepEqual(one.endpoint.ports, [], 'nothing is published');
    const inside = (...args: string[]) => run('nsenter', `--net=${two.path}`, ...args);
    assert.doesNotMatch(inside('ip', 'route'), /default/);
    assert.match(lab.ask(two.path, one.endpoint.address, 80), /ping$/);
    assert.equal(lab.resolve(two, 'one'), `0 ${one.endpoint.address}`);
    const before = asked().length;
    assert.equal(lab.resolve(two, 'secret.example.org'), '2');
    assert.equal(lab.resolve(two, 'secret.example.org', 'A', 'tcp'), '2');
    assert.equal(asked().length, before, 'not a packet');

    // Somebody inside makes a route to the gateway: it leads nowhere.
    const gateway = networks.get('vault').subnets[0]!.gateway!;
    inside('ip', 'route', 'add', 'default', 'via', gateway);
    for (const [address, at] of [
      [lab.lanAddress, 7000],
      [lab.hostAddress, 8080],
      [web.endpoint.address, 80],
      [gateway, 8080],
    ] as const)
      assert.equal(lab.ask(two.path, address, at), '', `${address}:${at}`);
    assert.equal(lab.ask(web.path, one.endpoint.address, 80), '');
    assert.equal(lab.ask(lab.lanPath, one.endpoint.address, 80), '');

    const both = await networks.connect(one.id, { network: 'back' }, { ports: [port(80, 8095)] });
    assert.equal(both.find(({ network }) => network === 'back')?.ports.length, 2, 'with a way out they are');
    assert.match(lab.ask(lab.lanPath, lab.hostAddress, 8095), /ping$/);
    assert.equal(lab.resolve(one, 'example.org'), '0 192.0.2.80');
    await networks.close(one.id);
    await networks.close(two.id);
    await networks.remove('vault');
  });

  test('enable_icc=false: its containers reach the world and not each other, also not by the gateway', async () => {
    await networks.create(
      lab.network('shy', { options: { 'com.docker.network.bridge.enable_icc': 'false' }, ipam: ipam('10.68.0.0/24') }),
    );
    const one = await lab.joined(networks, ['shy'], { ports: [port(80, 8096)] });
    const two = await lab.joined(networks, ['shy']);
    await lab.serve(one, 80);
    assert.equal(lab.ask(two.path, one.endpoint.address, 80), '');
    run('nsenter', `--net=${two.path}`, 'ip', 'route', 'add', one.endpoint.address, 'via', '10.68.0.1');
    assert.equal(lab.ask(two.path, one.endpoint.address, 80), '');
    assert.match(lab.ask(two.path, lab.hostAddress, 8096), /ping$/, 'what is published is for everybody');
    assert.match(lab.ask('', one.endpoint.address, 80), /ping$/);

    // Where the rules do not see what passes a bridge, its ports are kept apart.
    const before = ['ip', 'ip6'].map((family) => `/proc/sys/net/bridge/bridge-nf-call-${family}tables`);
    for (const path of before) if (existsSync(path)) writeFileSync(path, '0');
    const isolated = () => run('bridge', '-d', 'link').split('isolated on').length - 1;
    await until(5_000, () => isolated() === 2);
    assert.equal(isolated(), 2);
    assert.equal(lab.ask(two.path, one.endpoint.address, 80), '');
    assert.match(lab.ask(two.path, lab.hostAddress, 8096), /ping$/);
    for (const path of before) if (existsSync(path)) writeFileSync(path, '1');
    for (const { id } of [one, two]) await networks.close(id);
    await networks.remove('shy');
  });

  test('without masquerading the LAN sees the container, whose connections go on and which it cannot reach', async () => {
    const options = {
      'com.docker.network.bridge.enable_ip_masquerade': 'false',
      'com.docker.network.bridge.name': 'mine0',
      'com.docker.network.bridge.host_binding_ipv4': '127.0.0.1',
      'com.docker.network.driver.mtu': '1400',
    };
    await networks.create(lab.network('plain', { options, ipam: ipam('172.20.5.0/24') }));
    const one = await lab.joined(networks, ['plain'], { ports: [port(80, 8097)] });
    await lab.serve(one, 80);
    await lab.serve({ ...one, path: lab.lanPath }, 7100);
    assert.equal(lab.ask(one.path, lab.lanAddress, 7100), `from ${one.endpoint.address}\nping`);
    assert.equal(lab.ask(lab.lanPath, one.endpoint.address, 80), '');
    assert.match(run('nsenter', `--net=${one.path}`, 'ip', 'link', 'show', 'eth0'), /mtu 1400/);
    assert.match(run('ip', '-br', 'link'), /^mine0 /m);
    assert.equal(lab.ask(lab.lanPath, lab.hostAddress, 8097), '');
    assert.match(lab.ask('', '127.0.0.1', 8097), /ping$/);
    await networks.close(one.id);
    await networks.remove('plain');
    assert.doesNotMatch(run('ip', '-br', 'link'), /^mine0 /m);
  });

  test('a bridge that somebody made is used and left', async () => {
    run('ip', 'link', 'add', 'theirs0', 'type', 'bridge');
    const named = (bridge: string) => ({ options: { 'com.docker.network.bridge.name': bridge } });
    await networks.create(lab.network('theirs', { ...named('theirs0'), ipam: ipam('10.69.0.0/24') }));
    const one = await lab.joined(networks, ['theirs']);
    run('nsenter', `--net=${one.path}`, 'ping', '-c1', '-W1', '10.69.0.1');
    await networks.close(one.id);
    await networks.remove('theirs');
    assert.match(run('ip', '-br', 'link'), /^theirs0 /m);
    run('ip', 'link', 'del', 'theirs0');
    await assert.rejects(networks.create(lab.network('wrong', named('lan0'))), /lan0 is there and is not a bridge/);
    assert.throws(() => networks.get('wrong'), { kind: 'not-found' });
    assert.match(run('ip', '-br', 'address', 'show', 'lan0'), new RegExp(`${lab.hostAddress}/24 fd99::1/64`));
  });

  test('IPv6: addresses, names, the world by masquerading, closed to others, with IPv4 and alone', async () => {
    await networks.create(lab.network('dual', { ipv6: true }));
    const one = await lab.joined(networks, [{ network: 'dual', names: ['one'] }], { ports: [port(80, 8098)] });
    const two = await lab.joined(networks, [{ network: 'dual', names: ['two'] }]);
    await lab.serve(one, 80);
    const { address } = one.endpoint.ipv6!;
    assert.match(address, /^fd[0-9a-f:]+::2$/);
    assert.match(lab.ask(two.path, address, 80), /ping$/);
    const six = lab.resolve(two, 'one', 'AAAA');
    assert.match(six, /^0 fd[0-9a-f]{26}0002$/);
    assert.equal(lab.resolve(two, 'one'), `0 ${one.endpoint.address}`);
    await lab.serve({ ...one, path: lab.lanPath }, 7200);
    assert.equal(lab.ask(two.path, 'fd99::2', 7200), 'from fd99::1\nping');
    run('ip', '-n', lab.lan, 'route', 'add', 'fc00::/7', 'via', 'fd99::1');
    assert.equal(lab.ask(lab.lanPath, address, 80), '', 'S39 for IPv6');
    assert.match(lab.ask(lab.lanPath, 'fd99::1', 8098), /ping$/);
    const others = await lab.joined(networks, ['front']);
    assert.match(readFileSync(`/proc/self/net/if_inet6`, 'utf8'), /lo/);
    assert.doesNotMatch(
      run('nsenter', `--net=${others.path}`, 'ip', 'address', 'show', 'eth0'),
      /inet6/,
      'CVE-2024-32473',
    );

    await networks.create(lab.network('six', { ipv4: false, ipv6: true, ipam: ipam('fd66::/64') }));
    const alone = await lab.joined(networks, [{ network: 'six', address6: 'fd66::77', names: ['alone'] }]);
    assert.deepEqual([alone.endpoint.address, alone.endpoint.ipv6?.address], ['', 'fd66::77']);
    assert.equal(lab.ask(two.path, 'fd66::77', 80), '', 'between bridges');
    assert.equal(lab.resolve(alone, 'alone'), '0');
    for (const { id } of [one, two, others, alone]) await networks.close(id);
    await networks.remove('dual');
    await networks.remove('six');
  });

  test('R20: flushed rules and a deleted bridge are there again, with every network', async () => {
    run('nft', 'flush', 'ruleset');
    await until(5_000, () => run('nft', 'list', 'tables').includes('inet berth'));
    await until(5_000, () => lab.ask(db.path, web.endpoint.address, 80) === '');
    assert.equal(lab.ask(db.path, web.endpoint.address, 80), '');
    run('ip', 'link', 'del', bridgeOf('back'));
    const other = await until(5_000, () => lab.joined(networks, ['back']));
    await until(5_000, () => /ping$/.test(lab.ask(other.path, '10.66.0.77', 80)));
    assert.match(lab.ask(other.path, '10.66.0.77', 80), /ping$/);
    await networks.close(other.id);
  });

  test('the helper is started again when it was killed, with the sockets of every container', async () => {
    const pid = Number(/helper (\d+)/.exec(lab.leftovers().join(' '))?.[1]);
    process.kill(pid, 'SIGKILL');
    const another = () => lab.leftovers().some((what) => what.startsWith('helper') && what !== `helper ${pid}`);
    assert.ok(await until(10_000, another));
    // To ask is to wait here, and with this its engine: it needs moments to tell it all.
    const answers = async (asking: Container, name: string, answer: string) =>
      until(30_000, async () => {
        await sleep(1_000);
        return lab.resolve(asking, name) === answer;
      });
    assert.ok(await answers(web, 'web', `0 ${web.endpoint.address}`));
    assert.ok(await answers(db, 'db', '0 10.66.0.77'));
  });

  test('removed when nobody is in it: bridge, rules and the address range are free', async () => {
    await networks.create(lab.network('gone', { ipam: ipam('10.70.0.0/24') }));
    const bridge = bridgeOf('gone');
    await networks.remove('gone');
    assert.doesNotMatch(run('ip', '-br', 'link'), new RegExp(`^${bridge}`, 'm'));
    assert.ok(!run('nft', 'list', 'ruleset').includes('10.70.0.0'));
    await networks.create(lab.network('gone', { ipam: ipam('10.70.0.0/24') }));
    await networks.create(lab.network('gone2', { labels: { keep: '' } }));
    assert.deepEqual(await networks.prune(({ labels }) => !('keep' in labels)), ['gone']);
    await networks.remove('gone2');
    await assert.rejects(networks.remove('gone2'), { kind: 'not-found' });
    await assert.rejects(networks.remove('bridge'), { kind: 'forbidden' });
  });

  test('the engine away and another in its place: names and ports go on; nothing is left in the end', async () => {
    await networks[Symbol.asyncDispose]();
    assert.equal(lab.resolve(web, 'web'), `0 ${web.endpoint.address}`);
    assert.equal(lab.resolve(web, 'example.org'), '0 192.0.2.80');
    networks = await lab.open({ auditMs: 500, resolvConf: join(lab.root, 'resolv.conf') });
    await networks.recover(
      [web, db].map(({ id, path, endpoint }) => ({ containerId: id, sandbox: path, endpoints: [endpoint] })),
    );
    assert.equal(lab.resolve(web, 'web'), `0 ${web.endpoint.address}`);
    await assert.rejects(lab.joined(networks, [{ network: 'back', address: '10.66.0.77' }]), { kind: 'forbidden' });
    const late = await lab.joined(networks, [{ network: 'front', names: ['late'] }]);
    assert.equal(lab.resolve(web, 'late'), `0 ${late.endpoint.address}`);
    for (const { id } of [late, web, db]) await networks.close(id);
    await lab.stopProcesses();
    await networks[Symbol.asyncDispose]();
    await until(5_000, () => lab.leftovers().length === 2);
    const bridges = [bridgeOf('front'), bridgeOf('back')];
    assert.deepEqual(lab.leftovers().sort(), bridges.toSorted(), 'the networks are there, and nobody in them');
    assert.deepEqual(readdirSync(join(lab.root, 'run/netns')), []);

    // As after a reboot: the records are all there is.
    for (const bridge of bridges) run('ip', 'link', 'del', bridge);
    rmSync(join(lab.root, 'run'), { recursive: true });
    networks = await lab.open({ auditMs: 500 });
    await networks.recover([]);
    await until(5_000, () => run('ip', '-br', 'link').includes(bridgeOf('back')));
    assert.match(run('ip', '-br', 'address', 'show', bridgeOf('back')), / 10\.66\.0\.1\/24/);
    const again = await lab.joined(networks, [{ network: 'back', names: ['again'] }]);
    assert.equal(lab.resolve(again, 'again'), `0 ${again.endpoint.address}`);
    await networks.close(again.id);
    await networks.prune(() => true);
    await networks[Symbol.asyncDispose]();
    await until(5_000, () => lab.leftovers().length === 0);
    assert.deepEqual(lab.leftovers(), []);
  });
});
