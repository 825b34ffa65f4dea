import assert from 'node:assert/strict';
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
