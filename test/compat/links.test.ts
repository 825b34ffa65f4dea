import assert from 'node:assert/strict';
import { onBothEngines } from '../lib/both-engines.ts';
import type { TestEngine } from '../lib/engines.ts';

const sleeper = ['bb:1', 'sleep', '1000'];
const addressOf = (engine: TestEngine, name: string) =>
  engine.must('inspect', '-f', '{{.NetworkSettings.Networks.bridge.IPAddress}}', name);
/** In order: Docker has none. */
const linksOf = (engine: TestEngine, name: string) => {
  const links: string[] | null = JSON.parse(engine.must('inspect', '-f', '{{json .HostConfig.Links}}', name));
  return links && links.sort();
};
/** The lines of /etc/hosts that are not of loopback and multicast. */
const hostsOf = (engine: TestEngine, name: string) =>
  engine
    .must('exec', name, 'cat', '/etc/hosts')
    .split('\n')
    .filter((line) => /^[\d.]+\t/.test(line) && !line.startsWith('127.'));
/** The variables that begin so. */
const envOf = (engine: TestEngine, name: string, prefix: string) =>
  engine
    .must('exec', name, 'env')
    .split('\n')
    .filter((line) => line.startsWith(prefix))
    .sort();
async function namesOf(engine: TestEngine): Promise<readonly string[]> {
  const { body } = await engine.api('GET', '/containers/json?all=1');
  return (JSON.parse(body) as { Names: string[] }[]).map(({ Names }) => Names.sort().join(',')).sort();
}
const refusal = async (engine: TestEngine, method: string, path: string, body?: unknown) => {
  const { status, body: text } = await engine.api(method, path, body);
  const { message } = text === '' ? { message: '' } : (JSON.parse(text) as { message?: string });
  // A second line says what to try.
  return [status, (message ?? '').split('\n')[0]!.replace(/[0-9a-f]{64}/g, 'ID')];
};

onBothEngines('links on the default bridge', {}, ({ same, berthOnly }) => {
  same('the alias is a name, the ports and the environment are variables', (engine) => {
    const exposed = ['80', '53/udp', '7000-7002'].flatMap((port) => ['--expose', port]);
    const env = ['FOO=bar', 'EMPTY=', 'PATH=/bin', 'A=b=c'].flatMap((entry) => ['-e', entry]);
    engine.must('run', '-d', '--name', 'db', '-h', 'dbhost', ...exposed, ...env, ...sleeper);
    engine.must('run', '-d', '--name', 'me', '--link', 'db:my-db', '-e', 'MY_DB_ENV_FOO=own', ...sleeper);
    const address = addressOf(engine, 'db');
    assert.deepEqual(hostsOf(engine, 'me'), [
      `${address}\tmy-db dbhost db`,
      `${addressOf(engine, 'me')}\t${engine.must('exec', 'me', 'hostname')}`,
    ]);
    const port = (number: number, protocol = 'tcp') => {
      const name = `MY_DB_PORT_${number}_${protocol.toUpperCase()}`;
      return [
        `${name}=${protocol}://${address}:${number}`,
        `${name}_ADDR=${address}`,
        `${name}_PORT=${number}`,
        `${name}_PROTO=${protocol}`,
      ];
    };
    assert.deepEqual(
      envOf(engine, 'me', 'MY_DB_'),
      [
        `MY_DB_PORT=tcp://${address}:80`,
        ...[80, 7000, 7001, 7002].flatMap((number) => port(number)),
        ...port(53, 'udp'),
        `MY_DB_PORT_7000_TCP_START=tcp://${address}:7000`,
        'MY_DB_PORT_7000_TCP_PORT_START=7000',
        `MY_DB_PORT_7000_TCP_END=tcp://${address}:7002`,
        'MY_DB_PORT_7000_TCP_PORT_END=7002',
        'MY_DB_NAME=/me/my-db',
        'MY_DB_ENV_FOO=own',
        'MY_DB_ENV_EMPTY=',
        'MY_DB_ENV_A=b=c',
      ].sort(),
    );
    // Its process was started with the same.
    const first = engine.must('exec', 'me', 'sh', '-c', 'tr "\\0" "\\n" </proc/1/environ').split('\n');
    assert.ok(first.includes(`MY_DB_PORT=tcp://${address}:80`));
  });

  same('names of the other, in lists and inspect, follow both names', async (engine) => {
    engine.must('run', '-d', '--name', 'db', ...sleeper);
    engine.must('run', '-d', '--name', 'me', '--link', 'db:x', '--link', 'db', ...sleeper);
    assert.deepEqual(linksOf(engine, 'me'), ['/db:/me/db', '/db:/me/x']);
    assert.deepEqual(await namesOf(engine), ['/db,/me/db,/me/x', '/me']);
    assert.equal(
      engine.must('ps', '--no-trunc', '--filter', 'name=^db$', '--format', '{{.Names}}').split(',').sort().join(),
      'db,me/db,me/x',
    );
    assert.equal(engine.must('ps', '--filter', 'name=^db$', '--format', '{{.Names}}'), 'db');
    assert.equal(engine.must('inspect', '-f', '{{.Name}}', 'me/x'), '/db');
    engine.must('rename', 'db', 'data');
    engine.must('rename', 'me', 'you');
    assert.deepEqual(await namesOf(engine), ['/data,/you/db,/you/x', '/you']);
    assert.deepEqual(linksOf(engine, 'you'), ['/data:/you/db', '/data:/you/x']);
    assert.notEqual(engine.docker(['inspect', 'me/x']).status, 0);
    engine.must('rm', '-f', 'you');
    assert.deepEqual(await namesOf(engine), ['/data']);
  });

  same('the other comes back with another address: the name leads there', (engine) => {
    engine.must('run', '-d', '--name', 'db', ...sleeper);
    engine.must('run', '-d', '--name', 'me', '--link', 'db:x', ...sleeper);
    const before = addressOf(engine, 'db');
    engine.must('exec', 'me', 'sh', '-c', 'echo "192.0.2.7 mine" >>/etc/hosts');
    engine.must('stop', '-t', '0', 'db');
    // One of these gets the address that it had, whichever is given next.
    for (const name of ['one', 'two', 'three']) engine.must('run', '-d', '--name', name, ...sleeper);
    engine.must('start', 'db');
    const after = addressOf(engine, 'db');
    assert.notEqual(after, before);
    const hosts = engine.must('exec', 'me', 'cat', '/etc/hosts');
    assert.match(hosts, new RegExp(`^${after.replaceAll('.', '\\.')}\tx \\S+ db$`, 'm'));
    assert.ok(!hosts.includes(`${before}\t`));
    assert.match(hosts, /^192\.0\.2\.7 mine$/m);
    assert.equal(envOf(engine, 'me', 'X_NAME')[0], 'X_NAME=/me/x');
    engine.must('restart', '-t', '0', 'me');
    assert.match(engine.must('exec', 'me', 'cat', '/etc/hosts'), new RegExp(`^${after}\tx \\S+ db$`, 'm'));
  });

  same('rm --link takes the link away, and nothing else', async (engine) => {
    engine.must('run', '-d', '--name', 'db', ...sleeper);
    engine.must('run', '-d', '--name', 'me', '--link', 'db:x', ...sleeper);
    for (const wrong of ['me/y', 'nothere', 'nothere/x'])
      assert.match(engine.docker(['rm', '--link', wrong]).stderr, new RegExp(`No such container: ${wrong}`));
    assert.match(
      engine.docker(['rm', '--link', 'me']).stderr,
      /Conflict, cannot remove the default link name of the container/,
    );
    assert.equal(engine.must('rm', '--link', 'me/x'), 'me/x');
    assert.equal(linksOf(engine, 'me'), null);
    assert.deepEqual(await namesOf(engine), ['/db', '/me']);
    assert.equal(hostsOf(engine, 'me').length, 1);
    assert.match(engine.docker(['rm', '--link', 'me/x']).stderr, /No such container: me\/x/);
    engine.must('restart', '-t', '0', 'me');
    assert.equal(hostsOf(engine, 'me').length, 1);
  });

  same('refusals at create and at start', async (engine) => {
    engine.must('create', '--name', 'stopped', ...sleeper);
    engine.must('run', '-d', '--name', 'hosted', '--net', 'host', ...sleeper);
    engine.must('run', '-d', '--name', 'alone', '--net', 'none', ...sleeper);
    const create = (HostConfig: unknown) =>
      refusal(engine, 'POST', '/containers/create?name=me', { Image: 'bb:1', Cmd: ['true'], HostConfig });
    assert.deepEqual(await create({ Links: ['nothere:x'] }), [
      400,
      'could not get container for nothere: No such container: nothere',
    ]);
    const useless = (what: string) => [
      400,
      `conflicting options: ${what} can't be used with links. This would result in undefined behavior`,
    ];
    assert.deepEqual(await create({ Links: ['hosted:x'] }), useless('host type networking'));
    assert.deepEqual(await create({ Links: ['stopped:x'], NetworkMode: 'host' }), useless('host type networking'));
    const shared = { Links: ['stopped:x'], NetworkMode: 'container:alone' };
    assert.deepEqual(await create(shared), useless('container type network'));
    engine.must('create', '--name', 'me', '--link', 'stopped:x', ...sleeper);
    const started = await refusal(engine, 'POST', '/containers/me/start');
    assert.equal(started[1], 'Cannot link to a non running container: /stopped AS /me/x');
    assert.equal(
      engine.must('inspect', '-f', '{{.State.Status}} {{.State.ExitCode}} {{.State.Error}}', 'me'),
      'created 128 Cannot link to a non running container: /stopped AS /me/x',
    );
    engine.must('start', 'stopped');
    engine.must('start', 'me');
    engine.must('create', '--name', 'other', '--link', 'alone:x', ...sleeper);
    const other = await refusal(engine, 'POST', '/containers/other/start');
    assert.equal(other[1], 'container ID not attached to default bridge network');
  });

  same('one that is gone stays in inspect, and holds up the next start', (engine) => {
    engine.must('run', '-d', '--name', 'db', ...sleeper);
    engine.must('run', '-d', '--name', 'me', '--link', 'db:x', ...sleeper);
    engine.must('rm', '-f', 'db');
    assert.deepEqual(linksOf(engine, 'me'), ['/db:/me/x']);
    engine.must('run', '-d', '--name', 'db', ...sleeper);
    assert.match(
      engine.docker(['restart', '-t', '0', 'me']).stderr,
      /Cannot link to a non running container: \/db AS \/me\/x/,
    );
  });

  same("in a network of one's own a link is a name of that container's alone, without variables", (engine) => {
    engine.must('network', 'create', 'lan');
    try {
      engine.must('run', '-d', '--name', 'db', '--net', 'lan', '--expose', '80', ...sleeper);
      engine.must('run', '-d', '--name', 'me', '--net', 'lan', '--link', 'db:x', ...sleeper);
      engine.must('run', '-d', '--name', 'third', '--net', 'lan', ...sleeper);
      const address = engine.must('inspect', '-f', '{{.NetworkSettings.Networks.lan.IPAddress}}', 'db');
      const asked = (name: string) => engine.docker(['exec', name, 'nslookup', 'x']).stdout.includes(address);
      assert.ok(asked('me'));
      assert.ok(!asked('third'));
      assert.deepEqual(envOf(engine, 'me', 'X_'), []);
      assert.equal(linksOf(engine, 'me'), null);
    } finally {
      engine.docker(['rm', '-f', 'db', 'me', 'third']);
      engine.docker(['network', 'rm', 'lan']);
    }
  });

  berthOnly('exec goes on while the other does not run, and rm --link leaves the other links alone', (engine) => {
    engine.must('run', '-d', '--name', 'db', ...sleeper);
    engine.must('run', '-d', '--name', 'me', '--link', 'db:x', '--link', 'db:y', ...sleeper);
    engine.must('rm', '--link', 'me/x');
    const [first = ''] = hostsOf(engine, 'me');
    assert.match(first, /\ty \S+ db$/);
    engine.must('stop', '-t', '0', 'db');
    assert.deepEqual(envOf(engine, 'me', 'Y_'), []);
    assert.equal(hostsOf(engine, 'me')[0], first);
  });
});
