import assert from 'node:assert/strict';
import { test } from 'node:test';
import { commandOf, mergeConfig } from './config.ts';
import { request } from './fakes.ts';
import { checkLogConfig, logTarget } from './log-config.ts';
import { extraHost, hostsFile, mergeResolver, resolvConf } from './network-files.ts';
import { portRequests } from './ports.ts';
import { parsePs } from './top.ts';

const image = {
  Entrypoint: ['/entry'],
  Cmd: ['a', 'b'],
  Env: ['PATH=/bin', 'X=image'],
  Labels: { from: 'image' },
  User: 'app',
};
const merge = (config: Parameters<typeof request>[0]) => mergeConfig(request(config).config, image);

test('entrypoint and command: the user over the image, an entrypoint hides the command, [""] takes it away', () => {
  assert.deepEqual(commandOf(merge({})), ['/entry', 'a', 'b']);
  assert.deepEqual(commandOf(merge({ Cmd: ['c'] })), ['/entry', 'c']);
  assert.deepEqual(commandOf(merge({ Entrypoint: ['/own'] })), ['/own']);
  assert.deepEqual(commandOf(merge({ Entrypoint: ['/own'], Cmd: ['c'] })), ['/own', 'c']);
  assert.deepEqual(commandOf(merge({ Entrypoint: [''], Cmd: ['c'] })), ['c']);
  assert.deepEqual(commandOf(merge({ Entrypoint: [] })), ['a', 'b'], 'an empty list is no nil');
  assert.throws(() => merge({ Entrypoint: [''] }), { kind: 'invalid', message: 'no command specified' });
  assert.throws(() => mergeConfig(request().config, {}), { message: 'no command specified' });
});

test('environment, labels and the rest: the user over the image, one by one', () => {
  const merged = merge({ Env: ['X=own', 'Y=1', 'PATH'], Labels: { own: '1' } });
  assert.deepEqual(merged.Env, ['X=own', 'Y=1', 'PATH']);
  assert.deepEqual(merge({ Env: ['Y=1'] }).Env, ['Y=1', 'PATH=/bin', 'X=image']);
  assert.deepEqual(merged.Labels, { from: 'image', own: '1' });
  assert.equal(merged.User, 'app');
  assert.equal(merge({ User: 'me' }).User, 'me');
  const health = mergeConfig(request({ Healthcheck: { Interval: 5, Test: [] } }).config, {
    ...image,
    Healthcheck: { Test: ['CMD', 'x'], Interval: 1, Retries: 2 },
  }).Healthcheck;
  assert.deepEqual(health, { Test: ['CMD', 'x'], Interval: 5, Retries: 2 });
});

test('ports: bound, ranges, and with -P the other exposed ones', () => {
  const { config, hostConfig } = request(
    { ExposedPorts: { '80/tcp': {}, '53/udp': {}, '7000-7001/tcp': {} } },
    {
      PublishAllPorts: true,
      PortBindings: {
        '80': [{ HostIp: '127.0.0.1', HostPort: '8000-8010' }],
        '53/udp': null,
        '9/SCTP': [{ HostIp: '', HostPort: '' }],
      },
    },
  );
  assert.deepEqual(
    portRequests(config, hostConfig).map(
      ({ port, protocol, hostAddress, first, last }) => `${hostAddress}:${first}-${last}:${port}/${protocol}`,
    ),
    ['127.0.0.1:8000-8010:80/tcp', ':0-0:9/sctp', ':0-0:53/udp', ':0-0:7000/tcp', ':0-0:7001/tcp'],
  );
});

test('hosts: loopback, added ones, then its own with the domain', () => {
  const own = { addresses: ['172.17.0.2', 'fd00::2'], hostname: 'web', domainname: 'example.org' };
  const text = hostsFile({
    extraHosts: ['db:10.0.0.1', 'gw:host-gateway', 'six:[fd00::1]'],
    hostGateway: '172.17.0.1',
    own,
  });
  assert.deepEqual(text.split('\n').slice(0, 1), ['127.0.0.1\tlocalhost']);
  assert.deepEqual(text.split('\n').slice(-6), [
    '10.0.0.1\tdb',
    '172.17.0.1\tgw',
    'fd00::1\tsix',
    '172.17.0.2\tweb.example.org web',
    'fd00::2\tweb.example.org web',
    '',
  ]);
  for (const bad of ['x', ':1.2.3.4', 'x:y', 'a b:1.2.3.4', 'x:1.2.3.4\n6.6.6.6 evil'])
    assert.throws(() => extraHost(bad, ''), { kind: 'invalid' });
});

test('resolv.conf: --dns over the host, "." is no search domain, a line break cannot come in', () => {
  const host = { servers: ['192.0.2.1'], search: ['example.org'], options: ['ndots:1'] };
  const none = { Dns: [], DnsSearch: [], DnsOptions: [] };
  assert.deepEqual(resolvConf(mergeResolver(host, none)).split('\n').slice(1, -1), [
    'nameserver 192.0.2.1',
    'search example.org',
    'options ndots:1',
  ]);
  assert.deepEqual(
    resolvConf(mergeResolver(host, { ...none, Dns: ['9.9.9.9'], DnsSearch: ['.'] }))
      .split('\n')
      .slice(1, -1),
    ['nameserver 9.9.9.9', 'options ndots:1'],
  );
  assert.throws(() => resolvConf({ ...host, servers: ['1.1.1.1\nsearch evil'] }), { kind: 'invalid' });
});

test('log options: sizes, files, and what is no option', () => {
  const target = (options: Record<string, string>) =>
    logTarget({ Type: 'json-file', Config: options }, { 'max-size': '1m', 'max-file': '3' }, '/l');
  assert.deepEqual(target({}), { path: '/l', maxSize: 1024 * 1024, maxFiles: 3 });
  assert.deepEqual(target({ 'max-size': '10k', 'max-file': '1' }), { path: '/l', maxSize: 10_240, maxFiles: 1 });
  assert.equal(target({ 'max-size': '-1' })?.maxSize, 0);
  assert.equal(logTarget({ Type: 'none', Config: {} }, {}, '/l'), undefined);
  for (const bad of [{ 'max-size': 'x' }, { 'max-file': '0' }, { nope: '1' }, { mode: 'x' }] as Record<
    string,
    string
  >[])
    assert.throws(() => checkLogConfig({ Type: 'json-file', Config: bad }), { kind: 'invalid' });
});

test('ps: only the container, the last column whole, and the PID column is needed', () => {
  const output = 'UID   PID  PPID CMD\nroot    1     0 init\nroot   42     1 sh -c  sleep 5\n';
  assert.deepEqual(parsePs(output, new Set([42])), {
    Titles: ['UID', 'PID', 'PPID', 'CMD'],
    Processes: [['root', '42', '1', 'sh -c sleep 5']],
  });
  assert.throws(() => parsePs('CMD\nx\n', new Set([1])), { message: "Couldn't find PID field in ps output" });
});
