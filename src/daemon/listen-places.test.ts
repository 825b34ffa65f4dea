import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readConfig } from './config.ts';
import { listenPlaces, passedSockets } from './listen-places.ts';

const places = (hosts: readonly string[], flags: Readonly<Record<string, string>> = {}, passed = 0) =>
  listenPlaces(readConfig({ file: undefined, env: {}, flags: { hosts: JSON.stringify(hosts), ...flags } }), {
    passed,
    gid: 7,
  });

test('hosts are places, our own socket not twice', () => {
  assert.deepEqual(places(['unix:///x.sock', 'unix:///run/berth/berth.sock']), [
    { kind: 'unix', path: '/x.sock', mode: 0o660, gid: 7 },
  ]);
  assert.deepEqual(places(['tcp://[::1]:2376'], { tlsVerify: 'true', tlsCaCert: '/ca', tlsCert: '/c', tlsKey: '/k' }), [
    { kind: 'tcp', host: '::1', port: 2376, tls: { cert: '/c', key: '/k', ca: '/ca' } },
  ]);
});

test('a port without TLS is refused, as is what is no place', () => {
  assert.throws(() => places(['tcp://0.0.0.0:2375']), /a port is served with TLS only/);
  for (const host of ['npipe://x', '/x', 'unix://x', 'fd://']) assert.throws(() => places([host]), /hosts: /, host);
  assert.throws(() => places(['tcp://x'], { tls: 'true' }), /expected tcp:\/\/HOST:PORT/);
});

test("what systemd opened stands for fd://, and for Docker's socket in its place", () => {
  const fd = [{ kind: 'descriptor', fd: 3 }];
  assert.deepEqual(places(['fd://'], {}, 1), fd);
  assert.deepEqual(places(['unix:///run/docker.sock'], { asDocker: 'true', daemonJson: '' }, 1), fd);
  assert.throws(() => places(['unix:///other.sock'], {}, 1), /hosts does not name/);
  assert.equal(passedSockets({ LISTEN_PID: '5', LISTEN_FDS: '2' }, 5), 2);
  assert.equal(passedSockets({ LISTEN_PID: '6', LISTEN_FDS: '2' }, 5), 0);
});
