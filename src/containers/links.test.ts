import assert from 'node:assert/strict';
import { appendFileSync, readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import { EngineError } from '../base/errors.ts';
import { fakeEngine, request } from './fakes.ts';
import { linkEnv, parseLink } from './links.ts';
import { withLinks, withoutLink } from './network-files.ts';
import type { ContainerRecord } from './record.ts';
import { ContainerStore } from './store.ts';

const linked = (...Links: string[]) => request({}, { NetworkMode: 'bridge', Links });
const refusal = (kind: string, message: RegExp) => (error: unknown) =>
  error instanceof EngineError && error.kind === kind && message.test(error.message);

test('a link is name:alias, a name alone, or what inspect says', () => {
  assert.deepEqual(parseLink('db'), { name: 'db', alias: 'db' });
  assert.deepEqual(parseLink('db:x'), { name: 'db', alias: 'x' });
  assert.deepEqual(parseLink('db:/x'), { name: 'db', alias: 'x' });
  assert.deepEqual(parseLink('/db:/me/x'), { name: 'db', alias: 'x' });
  assert.throws(() => parseLink(''), refusal('invalid', /^empty string specified for links$/));
  for (const bad of ['a:b:c', 'db:', 'db:x y', 'db:x\ny', 'db:x/y'])
    assert.throws(() => parseLink(bad), refusal('invalid', /^bad format for links: /), bad);
});

test('variables: TCP before UDP, runs of three ports, the others environment without its PATH', () => {
  const store = new ContainerStore();
  const other = {
    id: 'other',
    name: 'db',
    state: {},
    config: {
      Env: ['PATH=/bin', 'HOME=/', 'A=b=c', 'EMPTY='],
      ExposedPorts: Object.fromEntries(
        ['53/udp', '7002/tcp', '80/tcp', '7000/tcp', '7001/tcp'].map((key) => [key, {}]),
      ),
    },
    hostConfig: { PortBindings: { '9/tcp': [] } },
    attached: [{ network: 'bridge', address: '172.17.0.2' }],
  } as unknown as ContainerRecord;
  store.set(other);
  const me = { name: 'me', links: [{ id: 'other', name: 'db', alias: 'my-db' }] } as unknown as ContainerRecord;
  const lines = linkEnv(store, me);
  const port = (number: number, protocol = 'tcp') => {
    const name = `MY_DB_PORT_${number}_${protocol.toUpperCase()}`;
    return [
      `${name}=${protocol}://172.17.0.2:${number}`,
      `${name}_ADDR=172.17.0.2`,
      `${name}_PORT=${number}`,
      `${name}_PROTO=${protocol}`,
    ];
  };
  assert.deepEqual(lines, [
    'MY_DB_PORT=tcp://172.17.0.2:9',
    ...[9, 80, 7000, 7001, 7002].flatMap((number) => port(number)),
    ...port(53, 'udp'),
    'MY_DB_PORT_7000_TCP_START=tcp://172.17.0.2:7000',
    'MY_DB_PORT_7000_TCP_PORT_START=7000',
    'MY_DB_PORT_7000_TCP_END=tcp://172.17.0.2:7002',
    'MY_DB_PORT_7000_TCP_PORT_END=7002',
    'MY_DB_NAME=/me/my-db',
    'MY_DB_ENV_A=b=c',
    'MY_DB_ENV_EMPTY=',
  ]);
});

describe('/etc/hosts', () => {
  const hosts = '127.0.0.1\tlocalhost\n172.17.0.2\tdb other\n192.0.2.1\tmine\n';

  test('a link has its new address where it stood, a new one comes last', () => {
    assert.equal(
      withLinks(hosts, ['172.17.0.9\tdb renamed', '172.17.0.4\tcache']),
      '127.0.0.1\tlocalhost\n172.17.0.9\tdb renamed\n192.0.2.1\tmine\n172.17.0.4\tcache\n',
    );
    assert.equal(withLinks(hosts, []), hosts, 'the other does not run: its line stays');
  });

  test('an alias that is called like loopback does not take it away', () => {
    const both = withLinks(hosts, ['172.17.0.9\tlocalhost']);
    assert.equal(both, `${hosts}172.17.0.9\tlocalhost\n`);
    assert.equal(withoutLink(both, 'localhost'), hosts);
  });
});

test('from create to rm --link: names, files and what inspect says follow', async () => {
  await using engine = await fakeEngine();
  const { containers } = engine;
  const other = await containers.create('db', request({}, { NetworkMode: 'bridge' }), undefined);
  await containers.create('me', linked('db:x', 'db', 'db:x'), undefined);
  assert.deepEqual(containers.get('me').links, [
    { id: other.id, name: 'db', alias: 'db' },
    { id: other.id, name: 'db', alias: 'x' },
  ]);
  assert.deepEqual(containers.namesOf(containers.get('db')), ['db', 'me/db', 'me/x']);
  assert.equal(containers.get('/me/x').id, other.id);
  await assert.rejects(
    containers.start('me'),
    refusal('conflict', /^Cannot link to a non running container: \/db AS \/me\/db$/),
  );
  await containers.start('db');
  await containers.start('me');
  const { hosts } = containers.get('me').files;
  assert.match(readFileSync(hosts, 'utf8'), /^[\d.]+\tx \S+ db$/m);
  appendFileSync(hosts, '192.0.2.7\tmine\n');

  await containers.rename('db', 'data');
  assert.deepEqual(
    containers.get('me').links?.map(({ name }) => name),
    ['data', 'data'],
  );
  assert.deepEqual(containers.namesOf(containers.get('data')), ['data', 'me/db', 'me/x']);
  await containers.rename('me', 'you');
  assert.deepEqual(containers.namesOf(containers.get('data')), ['data', 'you/db', 'you/x']);

  const plain = { force: false, volumes: false };
  await assert.rejects(containers.remove('you', { ...plain, link: true }), refusal('conflict', /default link name/));
  await assert.rejects(
    containers.remove('you/no', { ...plain, link: true }),
    refusal('not-found', /No such container: you\/no/),
  );
  await containers.remove('you/x', { ...plain, link: true });
  assert.deepEqual(containers.namesOf(containers.get('data')), ['data', 'you/db']);
  assert.doesNotMatch(readFileSync(hosts, 'utf8'), /\tx /);
  assert.match(readFileSync(hosts, 'utf8'), /\tdb [^\n]*\n(.*\n)*192\.0\.2\.7\tmine\n/);
  const record = (await engine.database.load('container')).get(containers.get('you').id) as ContainerRecord;
  assert.deepEqual(record.links, [{ id: other.id, name: 'data', alias: 'db' }], 'durable');
});

test("what cannot be linked is refused at create, in Docker's words", async () => {
  await using engine = await fakeEngine();
  const { containers } = engine;
  await containers.create('hosted', request({}, { NetworkMode: 'host' }), undefined);
  await containers.create('db', request({}, { NetworkMode: 'bridge' }), undefined);
  const rejects = (asked: ReturnType<typeof request>, message: RegExp) =>
    assert.rejects(containers.create('me', asked, undefined), refusal('invalid', message));
  await rejects(linked('none:x'), /^could not get container for none: No such container: none$/);
  await rejects(linked('hosted:x'), /^conflicting options: host type networking can't be used with links/);
  await rejects(request({}, { NetworkMode: 'host', Links: ['db'] }), /^conflicting options: host type networking/);
  await rejects(
    request({}, { NetworkMode: 'container:db', Links: ['db'] }),
    /^conflicting options: container type network can't be used with links/,
  );
});
