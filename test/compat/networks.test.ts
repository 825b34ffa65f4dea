import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { onBothEngines } from '../lib/both-engines.ts';
import { newerDocker, type TestEngine } from '../lib/engines.ts';

/** Runs in the namespace that the engine lives in: what the engine's host sees. */
function host(engine: TestEngine, script: string): string {
  const args = [`--net=/run/netns/${engine.netns}`, 'timeout', '5', 'sh', '-c', script];
  return spawnSync('nsenter', args, { encoding: 'utf8', timeout: 10_000 }).stdout.trim();
}

async function eventually(look: () => string, wanted: string | RegExp): Promise<void> {
  const until = Date.now() + 10_000;
  const right = (got: string) => (typeof wanted === 'string' ? got === wanted : wanted.test(got));
  let got = look();
  while (!right(got) && Date.now() < until) {
    await sleep(100);
    got = look();
  }
  assert.ok(right(got), `${got} is not ${wanted}`);
}

const serve = (said: string, port = 80) => ['bb:1', 'nc', '-ll', '-p', `${port}`, '-e', 'echo', said];
const sleeper = ['bb:1', 'sleep', '1000'];
const exec = (engine: TestEngine, name: string, script: string) =>
  engine.docker(['exec', name, 'timeout', '4', 'sh', '-c', script]).stdout.trim();
const get = (address: string) => `nc -w 2 ${address} </dev/null 2>/dev/null`;
const body = async (engine: TestEngine, path: string, content: unknown) => {
  const { status, body: text } = await engine.api('POST', path, content);
  const { message } = text === '' ? { message: '' } : (JSON.parse(text) as { message?: string });
  return [status, (message ?? '').replace(/[0-9a-f]{64}/g, 'ID')];
};
const inspect = (engine: TestEngine, name: string, format: string) => engine.must('inspect', '-f', format, name);
/** The networks that a test made, whatever became of it. */
const clean = (engine: TestEngine) => {
  const ids = engine.docker(['ps', '-aq']).stdout.split('\n').filter(Boolean);
  if (ids.length > 0) engine.docker(['rm', '-f', ...ids]);
  const names = engine.docker(['network', 'ls', '-q', '-f', 'type=custom']).stdout.split('\n').filter(Boolean);
  if (names.length > 0) engine.docker(['network', 'rm', ...names]);
};

onBothEngines("networks of one's own", {}, ({ same: declare }) => {
  const same: typeof declare = (name, check) =>
    declare(name, async (engine) => {
      try {
        await check(engine);
      } finally {
        clean(engine);
      }
    });

  same('create, ls, inspect, rm: what was asked for is there, and what was not is chosen', async (engine) => {
    const flags = ['--subnet', '10.50.0.0/24', '--ip-range', '10.50.0.128/25', '--gateway', '10.50.0.200'];
    const more = [
      '--aux-address',
      'router=10.50.0.129',
      '--label',
      'a=b',
      '--opt',
      'com.docker.network.driver.mtu=1400',
    ];
    engine.must('network', 'create', '--attachable', ...flags, ...more, 'full');
    engine.must('network', 'create', '--internal', 'vault');
    const one = JSON.parse(engine.must('network', 'inspect', 'full'))[0];
    const { Id, Created, ...rest } = one;
    assert.match(Id, /^[0-9a-f]{64}$/);
    assert.match(Created, /^\d{4}-.*Z$/);
    assert.deepEqual(rest, {
      Name: 'full',
      Scope: 'local',
      Driver: 'bridge',
      EnableIPv4: true,
      EnableIPv6: false,
      IPAM: {
        Driver: 'default',
        Options: {},
        Config: [
          {
            Subnet: '10.50.0.0/24',
            IPRange: '10.50.0.128/25',
            Gateway: '10.50.0.200',
            AuxiliaryAddresses: { router: '10.50.0.129' },
          },
        ],
      },
      Internal: false,
      Attachable: true,
      Ingress: false,
      ConfigFrom: { Network: '' },
      ConfigOnly: false,
      Containers: {},
      Options: { 'com.docker.network.driver.mtu': '1400' },
      Labels: { a: 'b' },
    });
    assert.match(engine.must('network', 'inspect', '-f', '{{(index .IPAM.Config 0).Subnet}}', 'vault'), /\/\d+$/);
    const names = (...filters: string[]) =>
      engine.must('network', 'ls', '--format', '{{.Name}}', ...filters.flatMap((one) => ['-f', one])).split('\n');
    assert.deepEqual(names().sort(), ['bridge', 'full', 'host', 'none', 'vault']);
    assert.deepEqual(names('label=a=b'), ['full']);
    assert.deepEqual(names('type=custom', 'dangling=true').sort(), ['full', 'vault']);
    assert.deepEqual(names(`id=${Id.slice(0, 20)}`), ['full']);
    assert.deepEqual(names('driver=bridge', 'name=va'), ['vault']);
    const container = engine.must('run', '-d', '--network', 'full', ...sleeper);
    assert.match(exec(engine, container, 'ip -4 -o address show eth0'), /inet 10\.50\.0\.128\/24/);
    assert.match(exec(engine, container, 'ip link show eth0'), /mtu 1400/);
    engine.must('rm', '-f', container);
    assert.equal(engine.must('network', 'rm', 'full', 'vault'), 'full\nvault');
    assert.deepEqual(names().sort(), ['bridge', 'host', 'none']);
  });

  same('what cannot be created is refused in the same words, and nothing of it is there', async (engine) => {
    engine.must('network', 'create', '--subnet', '10.51.0.0/24', 'one');
    const create = (more: object) => body(engine, '/networks/create', { Name: 'two', ...more });
    const ipam = (...Config: object[]) => ({ IPAM: { Config } });
    const answers = [
      await create({ Name: 'one' }),
      await create({ Name: 'bridge' }),
      await create({ Name: 'default' }),
      await create({ Name: '' }),
      await create({ Name: 7 }),
      await create({ Driver: 'nosuch' }),
      await create({ Driver: 'host' }),
      await create({ Driver: 'overlay' }),
      await create({ IPAM: { Driver: 'nosuch' } }),
      await create({ EnableIPv4: false }),
      await create(ipam({ Subnet: 'x' })),
      await create(ipam({ Subnet: '10.52.0.9/24' })),
      await create(ipam({ Subnet: '10.52.0.0/24', Gateway: '10.53.0.1' })),
      await create(ipam({ Subnet: '10.52.0.0/24', IPRange: '10.53.0.0/25' })),
      await create(ipam({ Subnet: '10.51.0.0/16' })),
      await create(ipam({ Subnet: '10.52.0.0/24' }, { Subnet: '10.54.0.0/24' })),
      await create(ipam({ Gateway: '10.52.0.1' })),
      await create({ Options: { 'com.docker.network.bridge.enable_icc': 'maybe' } }),
      await create({ Options: { 'com.docker.network.driver.mtu': 'abc' } }),
      await create({ Options: { 'com.docker.network.bridge.host_binding_ipv4': 'zzz' } }),
      await create({ Scope: 'swarm' }),
      await create({ Ingress: true }),
    ];
    assert.deepEqual(answers, [
      [409, 'network with name one already exists'],
      [403, 'operation is not permitted on predefined bridge network '],
      [403, 'operation is not permitted on predefined default network '],
      [400, 'invalid name: name is empty'],
      [400, 'invalid JSON: json: cannot unmarshal number into Go struct field CreateRequest.Name of type string'],
      [404, 'plugin "nosuch" not found'],
      [403, 'only one instance of "host" network is allowed'],
      [
        403,
        'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this node to swarm and try again.',
      ],
      [404, 'plugin "nosuch" not found'],
      [400, 'IPv4 or IPv6 must be enabled'],
      [400, 'invalid network config:\ninvalid subnet x: invalid CIDR block notation'],
      [400, 'invalid network config:\ninvalid subnet 10.52.0.9/24: it should be 10.52.0.0/24'],
      [
        400,
        "invalid network config:\ninvalid gateway 10.53.0.1: parent subnet 10.52.0.0/24 doesn't contain this address",
      ],
      [
        400,
        "invalid network config:\ninvalid ip-range 10.53.0.0/25: parent subnet 10.52.0.0/24 doesn't contain ip-range",
      ],
      [403, 'invalid pool request: Pool overlaps with other one on this address space'],
      [403, "bridge driver doesn't support multiple subnets"],
      [400, 'invalid network config:\ninvalid subnet : invalid CIDR block notation'],
      [
        400,
        'failed to parse com.docker.network.bridge.enable_icc value: maybe (strconv.ParseBool: parsing "maybe": invalid syntax)',
      ],
      [400, 'failed to parse com.docker.network.driver.mtu value: abc (strconv.Atoi: parsing "abc": invalid syntax)'],
      [400, 'failed to parse com.docker.network.bridge.host_binding_ipv4 value: zzz (nil ip)'],
      [403, 'cannot create a swarm scoped network when swarm is not active'],
      [403, 'Ingress network can only be global scope network'],
    ]);
    assert.equal(engine.must('network', 'ls', '-q', '-f', 'type=custom').split('\n').length, 1);
  });

  same(
    'containers find each other by name, alias, short id and host name; what has gone has no name',
    async (engine) => {
      engine.must('network', 'create', 'lan');
      const flags = ['--network', 'lan', '--network-alias', 'www', '--network-alias', 'front', '-h', 'inside'];
      const id = engine.must('run', '-d', '--name', 'web', ...flags, ...serve('hello'));
      engine.must('run', '-d', '--name', 'client', '--network', 'lan', ...sleeper);
      engine.must('run', '-d', '--name', 'other', ...sleeper);
      for (const name of ['web', 'www', 'FRONT', 'inside', 'web.lan', id.slice(0, 12)])
        await eventually(() => exec(engine, 'client', get(`${name} 80`)), 'hello');
      const format = '{{json .NetworkSettings.Networks.lan.DNSNames}}';
      assert.deepEqual(JSON.parse(inspect(engine, 'web', format)), ['web', 'www', 'front', id.slice(0, 12), 'inside']);
      const address = inspect(engine, 'web', '{{.NetworkSettings.Networks.lan.IPAddress}}');
      assert.match(exec(engine, 'client', `nslookup ${address}`), /name = web\.lan/);
      const resolv = exec(engine, 'client', 'cat /etc/resolv.conf');
      assert.match(resolv, /^nameserver 127\.0\.0\.11$/m);
      assert.match(resolv, /^options ndots:0$/m);
      assert.doesNotMatch(exec(engine, 'other', 'cat /etc/resolv.conf'), /127\.0\.0\.11/);
      assert.equal(exec(engine, 'other', get('web 80')), '', 'the default bridge has no names');
      assert.match(exec(engine, 'web', 'cat /etc/hosts'), new RegExp(`^${address}\tinside$`, 'm'));

      engine.must('rename', 'web', 'site');
      await eventually(() => exec(engine, 'client', get('site 80')), 'hello');
      assert.equal(exec(engine, 'client', get('web 80')), '');
      engine.must('rm', '-f', 'site');
      assert.equal(exec(engine, 'client', get('www 80')), '');
    },
  );

  same(
    'what clients ask in passing: scope, verbose, who is not in a network, volumes of a swarm, order of checks',
    async (engine) => {
      engine.must('network', 'create', 'asked');
      engine.must('create', '--name', 'still', 'bb:1', 'true');
      engine.must('run', '-d', '--name', 'runs', 'bb:1', 'sleep', '60');
      const ask = async (method: string, path: string, body?: unknown) => {
        const answer = await engine.api(method, `/v1.51${path}`, body);
        const { message = '' } = JSON.parse(answer.body || '{}') as { message?: string };
        return [answer.status, message.replace(/[0-9a-f]{64}/, 'ID')];
      };
      const filters = encodeURIComponent(JSON.stringify({ scope: ['zzz'] }));
      assert.equal((await engine.api('GET', `/v1.51/networks?filters=${filters}`)).body.trim(), '[]');
      const noSwarm =
        'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this node to swarm and try again.';
      const upper = 'invalid reference format: repository name (library/AA) must be lowercase';
      assert.deepEqual(
        [
          await ask('GET', '/networks/asked?scope=zzz'),
          await ask('GET', '/networks/asked?scope=local'),
          await ask('GET', '/networks/asked?verbose=zzz'),
          await ask('POST', '/networks/asked/disconnect', { Container: 'still' }),
          await ask('POST', '/networks/asked/disconnect', { Container: 'runs' }),
          await ask('POST', '/volumes/create', { Name: 'v', ClusterVolumeSpec: {} }),
          await ask('GET', '/containers/nope/logs'),
          await ask('POST', '/commit?container=nope&repo=AA'),
          await ask('POST', '/commit?container=still&repo=ok&tag=$$'),
        ],
        [
          [404, 'network asked not found'],
          [200, ''],
          [400, 'invalid value for verbose: zzz: strconv.ParseBool: parsing "zzz": invalid syntax'],
          [500, 'container ID is not connected to the network asked'],
          [500, 'container ID is not connected to network asked'],
          [503, noSwarm],
          [400, 'Bad parameters: you must choose at least one stream'],
          [400, upper],
          [400, 'invalid tag format'],
        ],
      );
      const pushed = await engine.api('POST', '/v1.51/images/nope/push?tag=1');
      assert.match(pushed.body, /^{"status":"The push refers to repository \[docker\.io\/library\/nope\]"}/);
      engine.must('rm', '-f', 'still', 'runs');
      engine.must('network', 'rm', 'asked');
    },
  );

  same('--link is a name that only this container knows', async (engine) => {
    engine.must('network', 'create', 'lan');
    engine.must('run', '-d', '--name', 'db', '--network', 'lan', ...serve('rows', 5432));
    engine.must('run', '-d', '--name', 'app', '--network', 'lan', '--link', 'db:store', ...sleeper);
    engine.must('run', '-d', '--name', 'late', ...sleeper);
    engine.must('network', 'connect', '--link', 'db:data', 'lan', 'late');
    await eventually(() => exec(engine, 'app', get('store 5432')), 'rows');
    await eventually(() => exec(engine, 'late', get('data 5432')), 'rows');
    assert.equal(exec(engine, 'late', get('store 5432')), '');
    assert.deepEqual(JSON.parse(inspect(engine, 'app', '{{json .NetworkSettings.Networks.lan.Links}}')), ['db:store']);
  });

  same('an alias that several containers have is each of them', async (engine) => {
    engine.must('network', 'create', 'lan');
    for (const name of ['one', 'two', 'three'])
      engine.must('run', '-d', '--name', name, '--network', 'lan', '--network-alias', 'worker', ...sleeper);
    const found = engine
      .must('run', '--rm', '--network', 'lan', 'bb:1', 'nslookup', '-type=a', 'worker')
      .match(/^Address: .*$/gm);
    assert.equal(new Set(found).size, 3);
  });

  same('--dns, --dns-search and --dns-option stand beside the names', (engine) => {
    engine.must('network', 'create', 'lan');
    const run = (...args: string[]) =>
      engine.must('run', '--rm', '--network', 'lan', ...args, 'bb:1', 'cat', '/etc/resolv.conf');
    const text = run('--dns', '192.0.2.53', '--dns-search', 'example.org', '--dns-option', 'ndots:3');
    assert.match(text, /^nameserver 127\.0\.0\.11$/m);
    assert.match(text, /^search example\.org$/m);
    assert.match(text, /^options ndots:3$/m);
    assert.match(run('--dns-option', 'attempts:3'), /^options attempts:3 ndots:0$/m);
  });

  same("an address of one's choice is given once, and refused in the same words", (engine) => {
    engine.must('network', 'create', '--subnet', '10.55.0.0/24', 'fixed');
    engine.must('network', 'create', 'free');
    engine.must('run', '-d', '--name', 'db', '--network', 'fixed', '--ip', '10.55.0.77', ...sleeper);
    assert.equal(inspect(engine, 'db', '{{.NetworkSettings.Networks.fixed.IPAddress}}'), '10.55.0.77');
    assert.equal(inspect(engine, 'db', '{{.NetworkSettings.Networks.fixed.IPAMConfig.IPv4Address}}'), '10.55.0.77');
    const refused = (...args: string[]) => {
      const { status, stderr } = engine.docker(['run', '--rm', ...args, 'bb:1', 'true']);
      return [status, stderr.split('\n\nRun')[0]!.replace('docker: Error response from daemon: ', '')];
    };
    const settings = (network: string, fault: string) =>
      `invalid config for network ${network}: invalid endpoint settings:\n${fault}`;
    const inUse = 'failed to set up container networking: Address already in use';
    const outside = 'no configured subnet or ip-range contain the IP address';
    for (const address of ['10.55.0.77', '10.55.0.1', '10.55.0.0'])
      assert.deepEqual(refused('--network', 'fixed', '--ip', address), [125, inUse]);
    assert.deepEqual(refused('--network', 'fixed', '--ip', '10.56.0.9'), [
      125,
      settings('fixed', `${outside} 10.56.0.9`),
    ]);
    assert.deepEqual(refused('--network', 'fixed', '--ip', 'x'), [
      125,
      settings('fixed', `* invalid IPv4 address: x\n* ${outside} x`),
    ]);
    assert.deepEqual(refused('--network', 'free', '--ip', '10.55.0.9'), [
      125,
      settings(
        'free',
        'user specified IP address is supported only when connecting to networks with user configured subnets',
      ),
    ]);
    assert.deepEqual(refused('--network', 'nosuch'), [
      125,
      'failed to set up container networking: network nosuch not found',
    ]);
    assert.equal(engine.must('ps', '-aq').split('\n').length, 1);
  });

  same('connect and disconnect while it runs, and before and after', async (engine) => {
    engine.must('network', 'create', '--subnet', '10.57.0.0/24', 'front');
    engine.must('network', 'create', '--subnet', '10.58.0.0/24', 'back');
    engine.must('run', '-d', '--name', 'db', '--network', 'back', ...serve('data', 5432));
    engine.must('run', '-d', '--name', 'app', '--network', 'front', ...sleeper);
    assert.equal(exec(engine, 'app', get('db 5432')), '');
    engine.must('network', 'connect', '--ip', '10.58.0.9', '--alias', 'api', 'back', 'app');
    await eventually(() => exec(engine, 'app', get('db 5432')), 'data');
    assert.match(exec(engine, 'app', 'ip -4 -o address'), /eth0 +inet 10\.57\.0\.2.*eth1 +inet 10\.58\.0\.9/s);
    assert.match(exec(engine, 'db', 'nslookup api'), /Address: 10\.58\.0\.9/);
    assert.match(exec(engine, 'app', 'cat /etc/hosts'), /^10\.57\.0\.2\t.*\n10\.58\.0\.9\t/m);
    const networks = JSON.parse(inspect(engine, 'app', '{{json .NetworkSettings.Networks}}'));
    assert.deepEqual(Object.keys(networks).sort(), ['back', 'front']);
    assert.deepEqual(networks.back.Aliases, ['api']);
    assert.equal(networks.back.IPAMConfig.IPv4Address, '10.58.0.9');
    const members = JSON.parse(engine.must('network', 'inspect', '-f', '{{json .Containers}}', 'back'));
    assert.deepEqual(
      Object.values<{ Name: string; IPv4Address: string }>(members)
        .map(({ Name, IPv4Address }) => `${Name} ${IPv4Address}`)
        .sort(),
      ['app 10.58.0.9/24', 'db 10.58.0.2/24'],
    );
    // The first by name has the default route.
    assert.match(exec(engine, 'app', 'ip route'), /default via 10\.58\.0\.1 dev eth1/);

    engine.must('network', 'disconnect', 'front', 'app');
    assert.doesNotMatch(exec(engine, 'app', 'ip -4 -o address'), /10\.57/);
    engine.must('stop', '-t', '0', 'app');
    engine.must('network', 'connect', 'front', 'app');
    engine.must('network', 'disconnect', 'back', 'app');
    engine.must('start', 'app');
    assert.match(exec(engine, 'app', 'ip route'), /default via 10\.57\.0\.1 dev eth0/);
    assert.deepEqual(Object.keys(JSON.parse(inspect(engine, 'app', '{{json .NetworkSettings.Networks}}'))), ['front']);
  });

  same('what cannot be connected or removed is refused in the same words', async (engine) => {
    engine.must('network', 'create', '--subnet', '10.59.0.0/24', 'lan');
    engine.must('run', '-d', '--name', 'web', '--network', 'lan', ...sleeper);
    engine.must('run', '-d', '--name', 'plain', ...sleeper);
    engine.must('create', '--name', 'onhost', '--network', 'host', ...sleeper);
    engine.must('create', '--name', 'alone', '--network', 'none', ...sleeper);
    const connect = (network: string, content: object) => body(engine, `/networks/${network}/connect`, content);
    const disconnect = (network: string, content: object) => body(engine, `/networks/${network}/disconnect`, content);
    const removal = async (network: string) => {
      const { status, body: text } = await engine.api('DELETE', `/networks/${network}`);
      return [status, JSON.parse(text).message.replace(/id:"[0-9a-f]{12}"/, 'id:"ID"')];
    };
    const shared =
      'container sharing network namespace with another container or host cannot be connected to any other network';
    const none = 'container cannot be connected to multiple networks with one of the networks in private (none) mode';
    const ip = (IPv4Address: string) => ({ IPAMConfig: { IPv4Address } });
    assert.deepEqual(
      [
        await connect('lan', { Container: 'web' }),
        await connect('lan', { Container: 'nosuch' }),
        await connect('nosuch', { Container: 'web' }),
        await connect('lan', {}),
        await connect('host', { Container: 'web' }),
        await connect('none', { Container: 'web' }),
        await connect('lan', { Container: 'onhost' }),
        await connect('lan', { Container: 'alone' }),
        await connect('lan', { Container: 'plain', EndpointConfig: ip('1.2.3.4') }),
        await connect('bridge', { Container: 'web', EndpointConfig: { Aliases: ['x'] } }),
        await disconnect('lan', { Container: 'plain' }),
        await disconnect('lan', { Container: 'nosuch' }),
        await disconnect('lan', { Container: 'nosuch', Force: true }),
        await disconnect('nosuch', { Container: 'web' }),
        await removal('lan'),
        await removal('bridge'),
        await removal('nosuch'),
      ],
      [
        [403, 'endpoint with name web already exists in network lan'],
        [404, 'No such container: nosuch'],
        [404, 'network nosuch not found'],
        [400, 'invalid name or ID supplied: ""'],
        [400, 'cannot connect container to host network - container must be created in host network mode'],
        [400, none],
        [400, shared],
        [400, none],
        [400, 'invalid endpoint settings:\nno configured subnet or ip-range contain the IP address 1.2.3.4'],
        [
          400,
          'invalid endpoint settings:\nnetwork-scoped alias is supported only for containers in user defined networks',
        ],
        [500, 'container ID is not connected to network lan'],
        [404, 'No such container: nosuch'],
        [404, 'endpoint nosuch not found'],
        [404, 'network nosuch not found'],
        [403, 'error while removing network: network lan has active endpoints (name:"web" id:"ID")'],
        [403, 'bridge is a pre-defined network and cannot be removed'],
        [404, 'network nosuch not found'],
      ],
    );
    assert.match(exec(engine, 'web', 'ip -4 -o address show eth0'), /10\.59\.0\.2/);
  });

  same('several networks at create: an interface in each, and GwPriority has the route', async (engine) => {
    engine.must('network', 'create', '--subnet', '10.60.0.0/24', 'aaa');
    engine.must('network', 'create', '--subnet', '10.61.0.0/24', 'zzz');
    const create = (EndpointsConfig: object) =>
      engine.api('POST', '/v1.48/containers/create?name=multi', {
        Image: 'bb:1',
        Cmd: ['sleep', '1000'],
        HostConfig: { NetworkMode: 'zzz' },
        NetworkingConfig: { EndpointsConfig },
      });
    assert.equal((await create({ aaa: { Aliases: ['a'] }, zzz: { Aliases: ['z'], GwPriority: 3 } })).status, 201);
    engine.must('start', 'multi');
    const addresses = exec(engine, 'multi', 'ip -4 -o address').match(/eth\d +inet \S+/g);
    assert.deepEqual(addresses?.map((one) => one.replace(/^.* /, '')).sort(), ['10.60.0.2/24', '10.61.0.2/24']);
    assert.match(exec(engine, 'multi', 'ip route'), /default via 10\.61\.0\.1 /);
    engine.must('rm', '-f', 'multi');
    assert.equal((await create({ aaa: {}, zzz: {} })).status, 201);
    engine.must('start', 'multi');
    assert.match(exec(engine, 'multi', 'ip route'), /default via 10\.60\.0\.1 /);
    engine.must('rm', '-f', 'multi');
    assert.equal((await create({ zzz: {}, nosuch: {} })).status, 201);
    const { status, body: text } = await engine.api('POST', '/containers/multi/start');
    assert.deepEqual(
      [status, JSON.parse(text).message],
      [404, 'failed to set up container networking: network nosuch not found'],
    );
  });

  same('an interface has the name that was asked for', (engine) => {
    engine.must('network', 'create', 'lan');
    const option = 'driver-opt=com.docker.network.endpoint.ifname';
    engine.must('run', '-d', '--name', 'named', '--network', `name=lan,${option}=lan0`, ...sleeper);
    engine.must('network', 'connect', 'bridge', 'named');
    assert.match(exec(engine, 'named', 'ls /sys/class/net | sort | tr "\\n" " "'), /^eth[01] lan0 lo$/);
  });

  same('bridges are closed to each other; what is published is reached by all', async (engine) => {
    engine.must('network', 'create', 'red');
    engine.must('network', 'create', 'blue');
    engine.must('run', '-d', '--name', 'red1', '--network', 'red', '-p', '8070:80', ...serve('red'));
    engine.must('run', '-d', '--name', 'blue1', '--network', 'blue', ...sleeper);
    engine.must('run', '-d', '--name', 'red2', '--network', 'red', ...sleeper);
    const address = inspect(engine, 'red1', '{{.NetworkSettings.Networks.red.IPAddress}}');
    const gateway = inspect(engine, 'blue1', '{{.NetworkSettings.Networks.blue.Gateway}}');
    await eventually(() => exec(engine, 'red2', get(`${address} 80`)), 'red');
    assert.equal(exec(engine, 'blue1', get(`${address} 80`)), '');
    await eventually(() => exec(engine, 'blue1', get(`${gateway} 8070`)), 'red');
    await eventually(() => host(engine, 'busybox nc -w 2 127.0.0.1 8070 </dev/null'), 'red');
    assert.match(engine.must('port', 'red1'), /^80\/tcp -> 0\.0\.0\.0:8070/);
    engine.must('run', '-d', '--name', 'guest', '--network', 'container:red2', ...sleeper);
    await eventually(() => exec(engine, 'guest', get('red1 80')), 'red');
  });

  same('--internal has no way out and publishes nothing', async (engine) => {
    engine.must('network', 'create', '--internal', 'vault');
    engine.must('run', '-d', '--name', 'one', '--network', 'vault', '-p', '8071:80', ...serve('inside'));
    engine.must('run', '-d', '--name', 'two', '--network', 'vault', ...sleeper);
    await eventually(() => exec(engine, 'two', get('one 80')), 'inside');
    assert.doesNotMatch(exec(engine, 'two', 'ip route'), /default/);
    assert.match(exec(engine, 'two', 'nslookup example.org'), /SERVFAIL/);
    assert.equal(engine.must('port', 'one'), '');
    assert.equal(inspect(engine, 'one', '{{.NetworkSettings.Networks.vault.Gateway}}'), '');
  });

  same("IPv6: two addresses, AAAA, and a subnet of one's own", async (engine) => {
    engine.must('network', 'create', '--ipv6', 'auto');
    engine.must('network', 'create', '--ipv6', '--subnet', 'fd55::/64', '--subnet', '10.63.0.0/24', 'chosen');
    engine.must('run', '-d', '--name', 'six', '--network', 'chosen', '--ip6', 'fd55::77', ...sleeper);
    assert.equal(inspect(engine, 'six', '{{.NetworkSettings.Networks.chosen.GlobalIPv6Address}}'), 'fd55::77');
    assert.equal(inspect(engine, 'six', '{{.NetworkSettings.Networks.chosen.IPv6Gateway}}'), 'fd55::1');
    const found = engine.must('run', '--rm', '--network', 'chosen', 'bb:1', 'nslookup', 'six');
    assert.match(found, /Address: fd55::77/);
    assert.match(found, /Address: 10\.63\.0\.2/);
    const auto = engine.must('run', '--rm', '--network', 'auto', 'bb:1', 'ip', '-6', '-o', 'address', 'show', 'eth0');
    assert.match(auto, /inet6 fd[0-9a-f:]+::2\/64/);
    const plain = engine.must('run', '--rm', 'bb:1', 'ip', '-6', '-o', 'address', 'show', 'eth0');
    assert.equal(plain, '');
  });

  same("host-gateway is the host, also from a network of one's own", (engine) => {
    engine.must('network', 'create', 'lan');
    const hosts = engine.must(
      ...['run', '--rm', '--network', 'lan', '--add-host', 'host.docker.internal:host-gateway'],
      ...['bb:1', 'cat', '/etc/hosts'],
    );
    const gateway = engine.must('network', 'inspect', '-f', '{{(index .IPAM.Config 0).Gateway}}', 'bridge');
    assert.match(hosts, new RegExp(`^${gateway.replaceAll('.', '\\.')}\thost\\.docker\\.internal$`, 'm'));
  });

  same('events, and what a prune takes', async (engine) => {
    const since = (Date.now() / 1000).toFixed(3);
    engine.must('network', 'create', '--label', 'keep=no', 'used');
    engine.must('network', 'create', '--label', 'keep=no', 'unused');
    engine.must('network', 'create', 'other');
    engine.must('run', '-d', '--name', 'member', '--network', 'used', ...sleeper);
    engine.must('network', 'connect', 'other', 'member');
    engine.must('network', 'disconnect', 'other', 'member');
    const pruned = (filters: object) =>
      engine.api('POST', `/networks/prune?filters=${encodeURIComponent(JSON.stringify(filters))}`);
    assert.deepEqual(JSON.parse((await pruned({ label: ['keep=yes'] })).body), { NetworksDeleted: null });
    assert.deepEqual(JSON.parse((await pruned({ label: ['keep=no'] })).body), { NetworksDeleted: ['unused'] });
    assert.deepEqual([(await pruned({ name: ['x'] })).status, (await pruned({ until: ['x'] })).status], [400, 400]);
    engine.must('rm', '-f', 'member');
    assert.match(engine.must('network', 'prune', '-f'), /^Deleted Networks:\n(used\nother|other\nused)$/);
    await sleep(1100);
    const format = '{{.Action}} {{.Actor.Attributes.name}} {{.Actor.Attributes.type}}';
    const events = engine
      .must(
        'events',
        '--since',
        since,
        '--until',
        `${Math.floor(Date.now() / 1000)}`,
        '-f',
        'type=network',
        '--format',
        format,
      )
      .split('\n')
      .map((line) => line.replace(/<no value>/g, '').trim());
    assert.deepEqual(events.slice(0, 7), [
      'create used bridge',
      'create unused bridge',
      'create other bridge',
      'connect used bridge',
      'connect other bridge',
      'disconnect other bridge',
      'prune',
    ]);
    assert.deepEqual(events.slice(7, 10), ['destroy unused bridge', 'prune', 'disconnect used bridge']);
    assert.deepEqual(events.slice(10).sort(), ['destroy other bridge', 'destroy used bridge', 'prune']);
  });

  same('a network that was made again is not taken for the one before', (engine) => {
    engine.must('network', 'create', 'lan');
    engine.must('run', '--name', 'job', '--network', 'lan', 'bb:1', 'true');
    engine.must('network', 'rm', 'lan');
    engine.must('network', 'create', 'lan');
    const { status, stderr } = engine.docker(['start', 'job']);
    assert.equal(status, 1);
    assert.match(stderr, /failed to set up container networking: network [0-9a-f]{64} not found/);
    engine.must('network', 'disconnect', '-f', 'lan', 'job');
    engine.must('network', 'connect', 'lan', 'job');
    engine.must('start', 'job');
  });

  same('Compose: services on two networks find each other by name, and all goes again', async (engine) => {
    const newer = newerDocker();
    assert.ok(newer, 'Compose comes with the newest Docker, which the reference engine is too');
    const compose = join(newer, 'usr/bin/docker-compose');
    const directory = mkdtempSync(join(engine.dir, 'compose-'));
    mkdirSync(directory, { recursive: true });
    writeFileSync(
      join(directory, 'compose.yaml'),
      `name: shop
services:
  web:
    image: bb:1
    pull_policy: never
    command: ["nc", "-ll", "-p", "80", "-e", "sh", "-c", "nc -w 2 db 5432 </dev/null"]
    init: true
    ports: ["8072:80"]
    networks: [front, back]
    depends_on: [db]
  db:
    image: bb:1
    pull_policy: never
    command: ["nc", "-ll", "-p", "5432", "-e", "echo", "rows"]
    init: true
    networks:
      back:
        aliases: [database]
  probe:
    image: bb:1
    pull_policy: never
    command: ["sleep", "1000"]
    init: true
    networks: [front]
  worker:
    image: bb:1
    pull_policy: never
    command: ["sleep", "1000"]
    init: true
    deploy: { replicas: 2 }
    networks: [back]
networks:
  front: {}
  back:
    internal: true
    ipam:
      config: [{ subnet: 10.64.0.0/24 }]
`,
    );
    const run = (...args: string[]) => {
      const { status, stdout, stderr } = spawnSync(compose, ['-f', join(directory, 'compose.yaml'), ...args], {
        env: engine.env,
        encoding: 'utf8',
        timeout: 120_000,
      });
      assert.equal(status, 0, `compose ${args.join(' ')}: ${stderr}`);
      return stdout.trim();
    };
    try {
      run('up', '-d');
      await eventually(() => host(engine, 'busybox nc -w 3 127.0.0.1 8072 </dev/null'), 'rows');
      const inside = (service: string, script: string) => exec(engine, `shop-${service}-1`, script);
      assert.equal(inside('web', get('database 5432')), 'rows');
      assert.equal(inside('probe', get('db 5432')), '', 'not in its network');
      assert.equal(inside('probe', get('web 80')), 'rows');
      assert.equal(inside('db', 'nslookup -type=a worker').match(/^Address: 10\.64/gm)?.length, 2);
      assert.doesNotMatch(inside('db', 'ip route'), /default/);
      const labels = engine.must(
        'network',
        'inspect',
        '-f',
        '{{index .Labels "com.docker.compose.network"}}',
        'shop_back',
      );
      assert.equal(labels, 'back');
      // Nothing has changed, so nothing is made anew.
      const before = engine.must('ps', '-q', '--no-trunc').split('\n').sort();
      run('up', '-d');
      assert.deepEqual(engine.must('ps', '-q', '--no-trunc').split('\n').sort(), before);
      run('up', '-d', '--force-recreate', 'db');
      await eventually(() => host(engine, 'busybox nc -w 3 127.0.0.1 8072 </dev/null'), 'rows');
      run('restart', 'web');
      await eventually(() => host(engine, 'busybox nc -w 3 127.0.0.1 8072 </dev/null'), 'rows');
    } finally {
      run('down', '-t', '0');
      rmSync(directory, { recursive: true, force: true });
    }
    assert.equal(engine.must('network', 'ls', '-q', '-f', 'type=custom'), '');
    assert.equal(engine.must('ps', '-aq'), '');
  });
});
