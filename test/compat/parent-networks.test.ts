import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { onBothEngines } from '../lib/both-engines.ts';
import type { TestEngine } from '../lib/engines.ts';

/** Runs in the namespace that the engine lives in: what the engine's host sees. */
function host(engine: TestEngine, script: string): string {
  const args = [`--net=/run/netns/${engine.netns}`, 'timeout', '10', 'sh', '-c', script];
  return spawnSync('nsenter', args, { encoding: 'utf8', timeout: 20_000 }).stdout.trim();
}

const exec = (engine: TestEngine, name: string, script: string) =>
  engine.docker(['exec', name, 'timeout', '10', 'sh', '-c', script]).stdout.trim();
const sleeper = ['bb:1', 'sleep', '1000'];

const create = async (engine: TestEngine, options: object, more: object = {}) => {
  const request = { Name: 'two', Driver: 'macvlan', Options: options, ...more };
  const { status, body } = await engine.api('POST', '/networks/create', request);
  const { message = '' } = JSON.parse(body) as { message?: string };
  return [status, message.replace(/[0-9a-f]{64}/g, 'ID').replace(/\b(d[im])-[0-9a-f]{12}\b/g, '$1-ID')];
};

onBothEngines('networks on a link of the host', {}, ({ same: declare }) => {
  /** With a link `par0` whose other end has an address of the LAN, in a namespace of its own. */
  const same: typeof declare = (name, check) =>
    declare(name, async (engine) => {
      const lan = `${engine.netns}-lan`;
      const ip = (...args: string[]) => spawnSync('ip', args, { encoding: 'utf8' });
      ip('netns', 'add', lan);
      for (const [link, peer] of [
        ['par0', 'lan0'],
        ['par1', 'lan1'],
      ] as const) {
        ip('-n', engine.netns, 'link', 'add', link, 'type', 'veth', 'peer', 'name', peer, 'netns', lan);
        ip('-n', engine.netns, 'link', 'set', link, 'up');
        ip('-n', lan, 'link', 'set', peer, 'up');
      }
      ip('-n', lan, 'address', 'add', '10.81.0.1/24', 'dev', 'lan0');
      try {
        await check(engine);
      } finally {
        const ids = engine.docker(['ps', '-aq']).stdout.split('\n').filter(Boolean);
        if (ids.length > 0) engine.docker(['rm', '-f', ...ids]);
        const names = engine.docker(['network', 'ls', '-q', '-f', 'type=custom']).stdout.split('\n').filter(Boolean);
        if (names.length > 0) engine.docker(['network', 'rm', ...names]);
        for (const link of ['par0', 'par1']) ip('-n', engine.netns, 'link', 'del', link);
        ip('netns', 'del', lan);
      }
    });

  const flags = ['-d', 'macvlan', '-o', 'parent=par0', '--subnet', '10.81.0.0/24'];

  same('macvlan: created, shown, joined, with names, and gone', (engine) => {
    const reserved = ['--gateway', '10.81.0.1', '--aux-address', 'router=10.81.0.2'];
    engine.must('network', 'create', ...flags, ...reserved, 'lan');
    const { Id, Created, ...rest } = JSON.parse(engine.must('network', 'inspect', 'lan'))[0];
    assert.match(`${Id} ${Created}`, /^[0-9a-f]{64} \d{4}-/);
    assert.deepEqual(rest, {
      Name: 'lan',
      Scope: 'local',
      Driver: 'macvlan',
      EnableIPv4: true,
      EnableIPv6: false,
      IPAM: {
        Driver: 'default',
        Options: {},
        Config: [{ Subnet: '10.81.0.0/24', Gateway: '10.81.0.1', AuxiliaryAddresses: { router: '10.81.0.2' } }],
      },
      Internal: false,
      Attachable: false,
      Ingress: false,
      ConfigFrom: { Network: '' },
      ConfigOnly: false,
      Containers: {},
      Options: { parent: 'par0' },
      Labels: {},
    });
    assert.equal(engine.must('network', 'ls', '--format', '{{.Name}} {{.Scope}}', '-f', 'driver=macvlan'), 'lan local');
    const mac = '02:42:ac:11:00:77';
    engine.must('run', '-d', '--name', 'web', '--network', 'lan', '--ip', '10.81.0.9', '-p', '8080:80', ...sleeper);
    engine.must('run', '-d', '--name', 'app', '--network', 'lan', '--mac-address', mac, ...sleeper);
    assert.match(exec(engine, 'web', 'ip -4 -o address show eth0'), /inet 10\.81\.0\.9\/24/);
    assert.match(exec(engine, 'web', 'ip route'), /^default via 10\.81\.0\.1 dev eth0/);
    assert.match(exec(engine, 'app', 'ip link show eth0'), new RegExp(`link/ether ${mac}`));
    for (const [from, to] of [
      ['web', '10.81.0.1'],
      ['app', 'web'],
      ['web', 'app.lan'],
    ] as const)
      assert.match(exec(engine, from, `ping -c 1 -W 5 ${to}`), / 0% packet loss/, `${from} to ${to}`);
    const settings = JSON.parse(engine.must('inspect', '-f', '{{json .NetworkSettings}}', 'web'));
    const { IPAMConfig, Gateway, IPAddress, IPPrefixLen, Links } = settings.Networks.lan;
    assert.deepEqual(
      { Ports: settings.Ports, IPAMConfig, Gateway, IPAddress, IPPrefixLen, Links },
      {
        // The host is not on the way: it can publish nothing.
        Ports: {},
        IPAMConfig: { IPv4Address: '10.81.0.9' },
        Gateway: '10.81.0.1',
        IPAddress: '10.81.0.9',
        IPPrefixLen: 24,
        Links: null,
      },
    );
    assert.equal(engine.must('port', 'web'), '');
    const members = JSON.parse(engine.must('network', 'inspect', '-f', '{{json .Containers}}', 'lan'));
    assert.deepEqual(
      Object.values(members as Record<string, { Name: string; IPv4Address: string }>)
        .map(({ Name, IPv4Address }) => `${Name} ${IPv4Address}`)
        .toSorted(),
      ['app 10.81.0.3/24', 'web 10.81.0.9/24'],
    );
    const taken = engine.docker(['run', '--rm', '--network', 'lan', '--ip', '10.81.0.2', 'bb:1', 'true']);
    assert.equal(taken.status, 125);
    assert.match(taken.stderr, /failed to set up container networking: Address already in use/);
    engine.must('restart', '-t', '0', 'web');
    assert.match(exec(engine, 'web', 'ip -4 -o address show eth0'), /inet 10\.81\.0\.9\/24/);
    assert.match(exec(engine, 'web', 'ping -c 1 -W 5 app'), / 0% packet loss/);
    assert.match(engine.docker(['network', 'rm', 'lan']).stderr, /network lan has active endpoints \(name:"/);
    engine.must('rm', '-f', 'web', 'app');
    engine.must('network', 'rm', 'lan');
    assert.match(host(engine, 'ip link show par0'), /par0/, 'the parent stays');
  });

  same('connected beside a bridge and disconnected, the default route follows', (engine) => {
    engine.must('network', 'create', ...flags, '--gateway', '10.81.0.1', 'lan');
    engine.must('network', 'create', '--subnet', '10.82.0.0/24', 'back');
    engine.must('run', '-d', '--name', 'app', '--network', 'lan', ...sleeper);
    engine.must('network', 'connect', 'back', 'app');
    assert.match(exec(engine, 'app', 'ip route'), /^default via 10\.82\.0\.1 dev eth1/);
    engine.must('network', 'disconnect', 'lan', 'app');
    assert.doesNotMatch(exec(engine, 'app', 'ip address'), /10\.81\./);
    engine.must('network', 'connect', 'lan', 'app');
    assert.match(exec(engine, 'app', 'ping -c 1 -W 5 10.81.0.1'), / 0% packet loss/);
    engine.must('network', 'disconnect', 'back', 'app');
    assert.match(exec(engine, 'app', 'ip route'), /^default via 10\.81\.0\.1 dev eth0/);
  });

  same('internal: no gateway; several subnets: the next one when the first is full', async (engine) => {
    engine.must('network', 'create', '-d', 'macvlan', '-o', 'parent=par0', '--internal', 'vault');
    assert.equal(engine.must('network', 'inspect', '-f', '{{(index .IPAM.Config 0).Gateway}}', 'vault'), '');
    assert.doesNotMatch(engine.must('run', '--rm', '--network', 'vault', 'bb:1', 'ip', 'route'), /default/);
    // Not by the CLI, which gives the subnets in the order of a map of Go's.
    const two = { IPAM: { Config: [{ Subnet: '10.83.0.0/30' }, { Subnet: '10.84.0.0/24' }] } };
    assert.deepEqual((await create(engine, { parent: 'par0' }, two))[0], 201);
    for (const name of ['one', 'next']) engine.must('run', '-d', '--name', name, '--network', 'two', ...sleeper);
    assert.match(exec(engine, 'one', 'ip route'), /default via 10\.83\.0\.1/);
    assert.match(
      exec(engine, 'next', 'ip -4 address show eth0; ip route'),
      /10\.84\.0\.2\/24[^]*default via 10\.84\.0\.1/,
    );
    engine.must('run', '-d', '--name', 'fixed', '--network', 'two', '--ip', '10.84.0.77', ...sleeper);
    assert.match(exec(engine, 'fixed', 'ip -4 address show eth0'), /10\.84\.0\.77\/24/);
  });

  same('wrong parents and modes are refused in the same words, and nothing of them is there', async (engine) => {
    const on = (more: object) => create(engine, { parent: 'par0', ...more });
    const ipvlan = (more: object) => create(engine, { parent: 'par0', ...more }, { Driver: 'ipvlan' });
    assert.deepEqual(
      [
        await on({ parent: 'nosuch' }),
        await on({ parent: 'nosuch.20' }),
        await on({ parent: 'par0.5000' }),
        await on({ parent: 'par0.x' }),
        await on({ parent: 'par0.1.2' }),
        await on({ parent: 'lo' }),
        await on({ macvlan_mode: 'bogus' }),
        await on({ macvlan_mode: 'BRIDGE' }),
        await ipvlan({ ipvlan_mode: 'bogus' }),
        await ipvlan({ ipvlan_flag: 'bogus' }),
        await ipvlan({ parent: 'lo' }),
        await ipvlan({ parent: 'nosuch' }),
      ],
      [
        [500, 'invalid subinterface vlan name nosuch, example formatting is eth0.10'],
        [500, '-o parent interface was not found on the host: nosuch'],
        [500, 'vlan id must be between 1-4094, received: 5000'],
        [500, 'unable to parse a valid vlan id from: x (ex. eth0.10 for vlan 10)'],
        [500, 'required interface name format is: name.vlan_id, ex. eth0.10 for vlan 10, instead received par0.1.2'],
        [500, 'loopback interface is not a valid macvlan parent link'],
        [500, "requested macvlan mode 'bogus' is not valid, 'bridge' mode is the macvlan driver default"],
        [500, "requested macvlan mode 'BRIDGE' is not valid, 'bridge' mode is the macvlan driver default"],
        [500, "requested ipvlan mode 'bogus' is not valid, 'l2' mode is the ipvlan driver default"],
        [500, "requested ipvlan flag 'bogus' is not valid, 'bridge' is the ipvlan driver default"],
        [500, 'loopback interface is not a valid ipvlan parent link'],
        [500, 'invalid subinterface vlan name nosuch, example formatting is eth0.10'],
      ],
    );
    assert.equal(engine.must('network', 'ls', '-q', '-f', 'type=custom'), '');
  });

  same('one parent: shared, but not in passthru; its subnet is given to no other', async (engine) => {
    engine.must('network', 'create', ...flags, 'lan');
    const named = (Name: string, more: object, wide: object = {}) =>
      create(engine, { parent: 'par0', ...more }, { Name, ...wide });
    const inUse = 'cannot use mode passthru, macvlan network ID is already using parent interface par1';
    assert.deepEqual(
      [
        await named('shared', { macvlan_mode: 'private' }),
        await named('same', {}, { IPAM: { Config: [{ Subnet: '10.81.0.0/25' }] } }),
        await named('through', { parent: 'par1', macvlan_mode: 'passthru' }),
        await named('late', { parent: 'par1' }),
        await named('twice', { parent: 'par1', macvlan_mode: 'passthru' }),
      ],
      [
        [201, ''],
        [403, 'invalid pool request: Pool overlaps with other one on this address space'],
        [201, ''],
        [500, 'macvlan network ID is already using parent interface par1 in mode passthru'],
        [500, inUse],
      ],
    );
    engine.must('run', '-d', '--name', 'first', '--network', 'through', ...sleeper);
    const second = engine.docker(['run', '--rm', '--network', 'through', 'bb:1', 'true']);
    assert.equal(second.status, 125);
    assert.match(
      second.stderr,
      /failed to set up container networking: failed to create the macvlan port: invalid argument/,
    );
    host(engine, 'ip link del par1');
    const lost = engine.docker(['run', '--rm', '--network', 'through', 'bb:1', 'true']);
    assert.match(lost.stderr, /the requested parent interface par1 was not found on the Docker host/);
  });
});
