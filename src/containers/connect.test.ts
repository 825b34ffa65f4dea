import assert from 'node:assert/strict';
import { appendFileSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { EngineError } from '../base/errors.ts';
import { fakeEngine, request } from './fakes.ts';
import type { ContainerRecord } from './record.ts';

async function prepared(mode = 'lan') {
  const engine = await fakeEngine();
  engine.networks.more.set('lan', 'id-lan').set('other', 'id-other');
  const { id } = await engine.containers.create('web', request({}, { NetworkMode: mode }), undefined);
  const record = async () => (await engine.database.load('container')).get(id) as ContainerRecord;
  return { ...engine, id, record, [Symbol.asyncDispose]: () => engine[Symbol.asyncDispose]() };
}

test('before a start the network is a record; a second time changes nothing', async () => {
  await using engine = await prepared();
  const { containers } = engine;
  await containers.connect('web', 'id-other', { Aliases: ['www'] });
  await containers.connect('web', 'other', { Aliases: ['late'] });
  assert.deepEqual(containers.get('web').endpoints, { lan: {}, other: { Aliases: ['www'] } });
  assert.deepEqual((await engine.record()).endpoints, { lan: {}, other: { Aliases: ['www'] } }, 'durable');
  await containers.start('web');
  const { joins } = engine.networks.open_.get(engine.id)!;
  assert.deepEqual(
    joins.map(({ network, names }) => [network, names]),
    [
      ['lan', ['web', engine.id.slice(0, 12)]],
      ['other', ['web', 'www', engine.id.slice(0, 12)]],
    ],
  );
});

test('while it runs the interface comes first, then the record and the files', async () => {
  await using engine = await prepared('bridge');
  const { containers, networks } = engine;
  await containers.start('web');
  const { resolvConf, hosts } = containers.get('web').files;
  assert.doesNotMatch(readFileSync(resolvConf, 'utf8'), /127\.0\.0\.11/);
  await containers.connect('web', 'lan', { Aliases: ['www'], MacAddress: '02:00:00:00:00:01', GwPriority: 2 });
  assert.deepEqual(networks.asked, [
    {
      join: {
        network: 'lan',
        mac: '02:00:00:00:00:01',
        interface: undefined,
        address: undefined,
        address6: undefined,
        priority: 2,
        names: ['web', 'www', engine.id.slice(0, 12)],
      },
      ports: 0,
    },
  ]);
  assert.match(readFileSync(resolvConf, 'utf8'), /^nameserver 127\.0\.0\.11\noptions ndots:0$/m);
  assert.match(readFileSync(hosts, 'utf8'), /^10\.9\.0\.3\t/m);
  appendFileSync(hosts, '192.0.2.7\tmine\n');
  appendFileSync(resolvConf, 'options rotate\n');
  const saved = await engine.record();
  assert.deepEqual(saved.attached, containers.get('web').attached);
  assert.equal(saved.endpoints['lan']?.NetworkID, 'id-lan');

  await containers.rename('web', 'site');
  assert.deepEqual(containers.get('site').attached.at(-1)?.names, ['site', 'www', engine.id.slice(0, 12)]);

  await containers.disconnect('site', 'lan', { force: false });
  assert.deepEqual(Object.keys(containers.get('site').endpoints), ['bridge']);
  assert.doesNotMatch(readFileSync(hosts, 'utf8'), /10\.9\.0\.3/);
  assert.match(readFileSync(hosts, 'utf8'), /^192\.0\.2\.7\tmine$/m, 'what the container wrote stays');
  assert.match(readFileSync(resolvConf, 'utf8'), /127\.0\.0\.11\n.*\noptions rotate\n$/);
  assert.equal((await engine.record()).attached.length, 1);
});

test('what the networks refuse changes no record', async () => {
  await using engine = await prepared();
  const { containers, networks } = engine;
  await containers.start('web');
  const before = containers.get('web');
  networks.fail = new EngineError('forbidden', 'Address already in use');
  await assert.rejects(containers.connect('web', 'other', {}), { message: 'Address already in use' });
  await assert.rejects(containers.disconnect('web', 'lan', { force: false }), { kind: 'forbidden' });
  assert.equal(containers.get('web'), before);
  networks.fail = undefined;
});

test('what shares a network, or has none, is in no other', async () => {
  await using engine = await prepared('host');
  const { containers } = engine;
  await assert.rejects(containers.connect('web', 'lan', {}), {
    kind: 'invalid',
    message: /^container sharing network/,
  });
  await containers.create('alone', request({}, { NetworkMode: 'none' }), undefined);
  await assert.rejects(containers.connect('alone', 'lan', {}), { kind: 'invalid', message: /private \(none\) mode/ });
  await containers.create('plain', request(), undefined);
  await assert.rejects(
    containers
      .connect('plain', 'bridge', { Aliases: ['x'] })
      .then(() => containers.disconnect('plain', 'lan', { force: false })),
    {
      kind: 'internal',
      message: /is not connected to the network lan/,
    },
  );
  await assert.rejects(containers.connect('plain', 'nosuch', {}), { kind: 'not-found' });
  await assert.rejects(containers.disconnect('nosuch', 'lan', { force: true }), {
    message: 'endpoint nosuch not found',
  });
});

test('a network that was made again is not taken for the one that it ran in', async () => {
  await using engine = await prepared();
  const { containers, networks, runtime, id } = engine;
  await containers.start('web');
  runtime.tasks.get(id)!.end(0);
  await containers.wait('web', 'not-running').result;
  networks.more.set('lan', 'id-new');
  await assert.rejects(containers.start('web'), {
    kind: 'not-found',
    message: 'failed to set up container networking: network id-lan not found',
  });
  await containers.disconnect('web', 'lan', { force: false });
  await containers.connect('web', 'lan', {});
  await containers.start('web');
});
