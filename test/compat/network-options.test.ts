import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { onBothEngines } from '../lib/both-engines.ts';
import type { TestEngine } from '../lib/engines.ts';

const create = async (engine: TestEngine, request: object) => {
  const { status, body } = await engine.api('POST', '/networks/create', { Name: 'two', ...request });
  const { message = '' } = JSON.parse(body) as { message?: string };
  return [status, message.replace(/[0-9a-f]{64}/g, 'ID')];
};

const ipam = (...Config: object[]) => ({ IPAM: { Config } });

/** The networks and containers that a test made, whatever became of it. */
function clean(engine: TestEngine): void {
  const ids = engine.docker(['ps', '-aq']).stdout.split('\n').filter(Boolean);
  if (ids.length > 0) engine.docker(['rm', '-f', ...ids]);
  const list = (...filters: string[]) =>
    engine
      .docker(['network', 'ls', '-q', '-f', 'type=custom', ...filters])
      .stdout.split('\n')
      .filter(Boolean);
  // Those that hold a configuration are in use until the others are gone.
  for (const name of list('-f', 'driver=bridge')) engine.docker(['network', 'rm', name]);
  for (const name of list()) engine.docker(['network', 'rm', name]);
}

onBothEngines('networks that hold a configuration', {}, ({ same: declare }) => {
  const same: typeof declare = (name, check) =>
    declare(name, async (engine) => {
      try {
        await check(engine);
      } finally {
        clean(engine);
      }
    });

  const shown = (engine: TestEngine, name: string) => {
    const { Id, Created, ...rest } = JSON.parse(engine.must('network', 'inspect', name))[0];
    assert.match(Id, /^[0-9a-f]{64}$/);
    assert.match(Created, /Z$/);
    return rest;
  };

  same('a network is made of the configuration, which is shown and kept while there is one', async (engine) => {
    const flags = ['--subnet', '10.91.0.0/24', '--ip-range', '10.91.0.128/25', '--label', 'a=b'];
    const mtu = ['--opt', 'com.docker.network.driver.mtu=1400'];
    engine.must('network', 'create', '--config-only', ...flags, ...mtu, 'held');
    engine.must('network', 'create', '--config-only', 'empty');
    engine.must('network', 'create', '--config-from', 'held', 'made');
    const common = {
      Scope: 'local',
      EnableIPv4: true,
      EnableIPv6: false,
      Internal: false,
      Attachable: false,
      Ingress: false,
      Containers: {},
      Options: { 'com.docker.network.driver.mtu': '1400' },
      Labels: { a: 'b' },
    };
    const Config = [{ Subnet: '10.91.0.0/24', IPRange: '10.91.0.128/25' }];
    assert.deepEqual(shown(engine, 'held'), {
      ...common,
      Name: 'held',
      Driver: 'null',
      IPAM: { Driver: 'default', Options: {}, Config },
      ConfigFrom: { Network: '' },
      ConfigOnly: true,
    });
    assert.equal(shown(engine, 'empty').IPAM.Config, null);
    const made = shown(engine, 'made');
    assert.deepEqual([made.Driver, made.ConfigFrom, made.ConfigOnly], ['bridge', { Network: 'held' }, false]);
    assert.deepEqual([made.IPAM.Config, made.Options, made.Labels], [Config, common.Options, common.Labels]);
    const names = (...filters: string[]) =>
      engine.must('network', 'ls', '--format', '{{.Name}}', ...filters.flatMap((one) => ['-f', one])).split('\n');
    assert.deepEqual(names('driver=null').toSorted(), ['empty', 'held', 'none']);
    assert.deepEqual(names('type=custom').toSorted(), ['empty', 'held', 'made']);
    const address = engine.must('run', '--rm', '--network', 'made', 'bb:1', 'ip', '-o', 'address', 'show', 'eth0');
    assert.match(address, /inet 10\.91\.0\.\d+\/24/);

    const remove = async (name: string) => {
      const { status, body } = await engine.api('DELETE', `/networks/${name}`);
      return [status, body === '' ? '' : (JSON.parse(body) as { message: string }).message];
    };
    assert.deepEqual(await remove('held'), [
      403,
      'error while removing network: configuration network "held" is in use',
    ]);
    engine.must('network', 'prune', '-f');
    assert.deepEqual(names('type=custom').toSorted(), ['empty', 'held'], 'a configuration is not pruned');
    assert.deepEqual(await remove('held'), [204, '']);
    assert.deepEqual(await remove('empty'), [204, '']);
  });

  same('no container is ever in one', (engine) => {
    engine.must('network', 'create', '--config-only', 'held');
    engine.must('run', '-d', '--name', 'one', 'bb:1', 'sleep', '1000');
    const refused = (...args: string[]) => {
      const { status, stderr } = engine.docker(args);
      return [
        status,
        stderr
          .split('\n\nRun')[0]!
          .trim()
          .replace(/^.*Error response from daemon: /, ''),
      ];
    };
    const only = 'cannot create endpoint on configuration-only network';
    assert.deepEqual(refused('run', '--rm', '--network', 'held', 'bb:1', 'true'), [
      125,
      `failed to set up container networking: ${only}`,
    ]);
    assert.deepEqual(refused('network', 'connect', 'held', 'one'), [1, only]);
    engine.must('create', '--network', 'held', 'bb:1', 'true');
  });

  same('what cannot be one, or be made of one, is refused in the same words', async (engine) => {
    engine.must('network', 'create', '--config-only', '--subnet', '10.92.0.0/24', 'held');
    const only = (more: object) => create(engine, { ConfigOnly: true, ...more });
    const from = (more: object) => create(engine, { ConfigFrom: { Network: 'held' }, ...more });
    const operator =
      'configuration network can only contain network specific fields. Network operator fields like [ ingress | internal | attachable | scope ] are not supported.';
    const specified =
      'user specified configurations are not supported if the network depends on a configuration network';
    assert.deepEqual(
      [
        await only({ Internal: true }),
        await only({ Attachable: true }),
        await only({ Ingress: true }),
        await only({ Scope: 'swarm' }),
        await only({ ConfigFrom: { Network: 'held' } }),
        await only({ Name: 'held' }),
        await only({ Name: 'bridge' }),
        await only(ipam({ Subnet: '10.93.0.9/24' })),
        await from({ ConfigFrom: { Network: 'nosuch' } }),
        await from({ ConfigFrom: { Network: 'bridge' } }),
        await from(ipam({ Subnet: '10.93.0.0/24' })),
        await from({ Labels: { a: 'b' } }),
        await from({ EnableIPv6: true }),
        await from({ EnableIPv4: false }),
        await from({ Options: { a: 'b' } }),
        await from({ Name: 'three' }),
        await from({ Name: 'four' }),
      ],
      [
        [403, operator],
        [403, operator],
        [403, operator],
        [403, operator],
        [403, 'a configuration network cannot depend on another configuration network'],
        [409, 'network with name held already exists'],
        [403, 'operation is not permitted on predefined bridge network '],
        [400, 'invalid network config:\ninvalid subnet 10.93.0.9/24: it should be 10.93.0.0/24'],
        [404, 'configuration network "nosuch" does not exist'],
        [404, 'configuration network "bridge" does not exist'],
        [403, specified],
        [403, specified],
        [403, specified],
        [403, specified],
        [403, 'network driver options are not supported if the network depends on a configuration network'],
        [201, ''],
        [403, 'invalid pool request: Pool overlaps with other one on this address space'],
      ],
    );
  });
});

onBothEngines('how a bridge leads out', {}, ({ same: declare }) => {
  const same: typeof declare = (name, check) =>
    declare(name, async (engine) => {
      try {
        await check(engine);
      } finally {
        clean(engine);
      }
    });
  const mode = (family: string) => `com.docker.network.bridge.gateway_mode_${family}`;
  const host = (engine: TestEngine, script: string) =>
    spawnSync('nsenter', [`--net=/run/netns/${engine.netns}`, 'timeout', '10', 'sh', '-c', script], {
      encoding: 'utf8',
    }).stdout.trim();

  same('routed: a published port is that of the container', (engine) => {
    engine.must('network', 'create', '--opt', `${mode('ipv4')}=routed`, '--subnet', '10.94.0.0/24', 'plain');
    const serve = ['bb:1', 'nc', '-ll', '-p', '80', '-e', 'echo', 'hello'];
    engine.must('run', '-d', '--name', 'web', '--network', 'plain', '-p', '8080:80', ...serve);
    const ports = JSON.parse(engine.must('inspect', '-f', '{{json .NetworkSettings.Ports}}', 'web'));
    assert.deepEqual(ports, {
      '80/tcp': [
        { HostIp: '0.0.0.0', HostPort: '' },
        { HostIp: '::', HostPort: '8080' },
      ],
    });
    const ask = 'for n in 1 2 3 4 5; do nc -w 2 10.94.0.2 80 </dev/null && break; sleep 1; done';
    assert.equal(engine.must('run', '--rm', 'bb:1', 'sh', '-c', ask), 'hello', 'also from another bridge');
    assert.match(engine.must('port', 'web'), /^80\/tcp -> 0\.0\.0\.0:\n/);
  });

  same('isolated: the host is not among the containers', (engine) => {
    engine.must('network', 'create', '--internal', '--opt', `${mode('ipv4')}=isolated`, 'alone');
    const { IPAM } = JSON.parse(engine.must('network', 'inspect', 'alone'))[0];
    assert.deepEqual(Object.keys(IPAM.Config[0]), ['Subnet']);
    const first = IPAM.Config[0].Subnet.replace('.0/16', '.1');
    const shown = engine.must('run', '--rm', '--network', 'alone', 'bb:1', 'sh', '-c', 'ip -4 address; ip route');
    assert.ok(shown.includes(`inet ${first}/16`), shown);
    assert.doesNotMatch(shown, /default/);
    assert.equal(host(engine, `ip -o address | grep ' ${first}/'`), '');
  });

  same('options that are taken, shown, or refused in the same words', async (engine) => {
    const bridge = 'com.docker.network.bridge';
    const options = (given: Record<string, string>, more: object = {}) => create(engine, { Options: given, ...more });
    assert.deepEqual(
      [
        await options({ [mode('ipv4')]: 'bogus' }),
        await options({ [mode('ipv4')]: '' }),
        await options({ [mode('ipv6')]: 'bogus' }),
        await options({ [mode('ipv4')]: 'isolated' }),
        await options({ 'com.docker.network.host_ipv4': 'bogus' }),
        await options({ [`${bridge}.inhibit_ipv4`]: 'bogus' }),
        await options({
          [mode('ipv4')]: 'nat-unprotected',
          'com.docker.network.host_ipv4': '10.99.0.9',
          [`${bridge}.inhibit_ipv4`]: 'false',
          [`${bridge}.trusted_host_interfaces`]: 'eth0:eth1',
          'com.docker.network.container_iface_prefix': 'net',
        }),
      ],
      [
        [400, `failed to parse ${mode('ipv4')} value: bogus (unknown gateway mode bogus)`],
        [400, `failed to parse ${mode('ipv4')} value:  (unknown gateway mode )`],
        [400, `failed to parse ${mode('ipv6')} value: bogus (unknown gateway mode bogus)`],
        [500, "gateway mode 'isolated' can only be used for an internal network"],
        [400, 'failed to parse com.docker.network.host_ipv4 value: bogus (nil ip)'],
        [
          400,
          `failed to parse ${bridge}.inhibit_ipv4 value: bogus (strconv.ParseBool: parsing "bogus": invalid syntax)`,
        ],
        [201, ''],
      ],
    );
    assert.equal(
      engine.must('network', 'inspect', '-f', `{{index .Options "${mode('ipv4')}"}}`, 'two'),
      'nat-unprotected',
    );
    assert.match(engine.must('run', '--rm', '--network', 'two', 'bb:1', 'ip', 'link'), / net0@/);
  });
});
