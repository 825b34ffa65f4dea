import assert from 'node:assert/strict';
import { test } from 'node:test';
import { boundIn, boundOnHost, mostFiles, mostSockets, portsToHold } from './held-ports.ts';
import type { PublishedPort } from './networks.ts';

const range = (count: number, hostAddress: string, protocol: 'tcp' | 'udp' = 'tcp'): PublishedPort[] =>
  Array.from({ length: count }, (_, at) => ({ port: 1 + at, protocol, hostAddress, hostPort: 20_000 + at }));

test('few ports have a socket each, of many one for each address and those that somebody has', () => {
  const few = [...range(mostSockets, '0.0.0.0'), ...range(mostSockets, '::')];
  assert.deepEqual(
    portsToHold(few, () => false),
    few,
  );
  const many = [...range(mostSockets, '0.0.0.0'), ...range(mostSockets, '127.0.0.2', 'udp'), ...range(3, '::1')];
  const isBound = ({ hostPort }: PublishedPort) => hostPort === 20_001;
  assert.deepEqual(
    portsToHold(many, isBound).map(({ hostAddress, hostPort }) => `${hostAddress} ${hostPort}`),
    ['0.0.0.0 20000', '0.0.0.0 20001', '127.0.0.2 20000', '127.0.0.2 20001', '::1 20000', '::1 20001', '::1 20002'],
  );
});

test('what has a port is read of the tables: of TCP what listens, of UDP all', () => {
  const table = [
    '  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode',
    '   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1',
    '   1: 0100007F:1F91 0100007F:1F90 01 00000000:00000000 00:00000000 00000000     0        0 4712 1',
    '   2: 00000000000000000000000000000000:4E20 00000000000000000000000000000000:0000 0A 0:0 00:0 0 0 0 4713 1',
    '',
  ].join('\n');
  assert.deepEqual(boundIn(table, 'tcp'), [8080, 20_000]);
  assert.deepEqual(boundIn(table, 'udp'), [8080, 8081, 20_000]);
  assert.deepEqual(boundIn('', 'tcp'), []);
});

test('this host has tables and a limit', () => {
  assert.equal(typeof boundOnHost()({ port: 1, protocol: 'tcp', hostAddress: '0.0.0.0', hostPort: 1 }), 'boolean');
  assert.ok(mostFiles() > 0);
});
