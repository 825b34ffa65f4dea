import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PortRefused } from './network-helper.ts';
import type { PortRequest, PublishedPort } from './networks.ts';
import { inodesOf } from './port-owner.ts';
import { Ports, type PortsDeps } from './ports.ts';

const request = (first: number, more: Partial<PortRequest> = {}): PortRequest => ({
  port: 80,
  protocol: 'tcp',
  hostAddress: '',
  first,
  last: first,
  ...more,
});

/** A host on which `busy` ports are others'. */
function host(busy: readonly number[] = [], ipv6 = true) {
  const held: PublishedPort[][] = [];
  const deps: PortsDeps = {
    ephemeral: () => ({ first: 40_000, last: 40_003 }),
    ipv6: () => ipv6,
    hold: async (ports) => {
      const port = ports.find(({ hostPort }) => busy.includes(hostPort));
      if (port) throw new PortRefused('EADDRINUSE', 'bind EADDRINUSE', port);
      held.push([...ports]);
    },
    ownerOf: () => 'nginx (pid 312)',
  };
  return { deps, held };
}

const numbers = (ports: readonly PublishedPort[]) =>
  ports.map(({ hostAddress, hostPort }) => `${hostAddress} ${hostPort}`);

test('all addresses is both families with the same number, or IPv4 alone where there is no IPv6', async () => {
  const ports = new Ports();
  assert.deepEqual(numbers(await ports.publish('a', '172.29.0.2', [request(8080)], host().deps)), [
    '0.0.0.0 8080',
    ':: 8080',
  ]);
  assert.deepEqual(numbers(await ports.publish('b', '172.29.0.3', [request(8081)], host([], false).deps)), [
    '0.0.0.0 8081',
  ]);
});

test('a port of another container is refused in the words of Docker, on any address that meets it', async () => {
  const ports = new Ports();
  const { deps } = host();
  await ports.publish('f'.repeat(64), '172.29.0.2', [request(8080, { hostAddress: '127.0.0.1' })], deps);
  await assert.rejects(ports.publish('b', '172.29.0.3', [request(8080)], deps), {
    kind: 'conflict',
    message: 'Bind for 0.0.0.0:8080 failed: port is already allocated (by container ffffffffffff)',
  });
  const beside = [
    request(8080, { hostAddress: '127.0.0.2' }),
    request(8080, { hostAddress: '::1' }),
    request(8080, { protocol: 'udp' }),
  ];
  assert.equal((await ports.publish('b', '172.29.0.3', beside, deps)).length, 4);
});

test('what fails takes nothing: neither the ports before it nor the ones of the host', async () => {
  const ports = new Ports();
  await assert.rejects(ports.publish('a', '172.29.0.2', [request(7000), request(9090)], host([9090]).deps), {
    kind: 'conflict',
    message: 'failed to bind host port for 0.0.0.0:9090:172.29.0.2:80/tcp: address already in use (by nginx (pid 312))',
  });
  await assert.rejects(
    ports.publish('a', '172.29.0.2', [request(7000), request(7000)], host().deps),
    /already allocated/,
  );
  assert.deepEqual(numbers(await ports.publish('b', '172.29.0.3', [request(7000)], host([], false).deps)), [
    '0.0.0.0 7000',
  ]);
});

test('a range gives its first free port, whether a container or a process has the others', async () => {
  const ports = new Ports();
  const { deps, held } = host([8001], false);
  await ports.publish('a', '172.29.0.2', [request(8000)], deps);
  const published = await ports.publish('b', '172.29.0.3', [request(8000, { last: 8002 }), request(7000)], deps);
  assert.deepEqual(numbers(published), ['0.0.0.0 8002', '0.0.0.0 7000']);
  assert.equal(held.length, 2, 'all ports of a container are held at once');
  await assert.rejects(ports.publish('c', '172.29.0.4', [request(8000, { last: 8002 })], deps), { kind: 'conflict' });
});

test('a port that nobody chose comes from the range of the kernel, each next one, round and round', async () => {
  const ports = new Ports();
  const { deps } = host([40_002], false);
  const next = async (id: string) => numbers(await ports.publish(id, '172.29.0.2', [request(0)], deps))[0];
  assert.deepEqual(
    [await next('a'), await next('b'), await next('c')],
    ['0.0.0.0 40000', '0.0.0.0 40001', '0.0.0.0 40003'],
  );
  await assert.rejects(next('d'), { kind: 'conflict' });
  ports.release('b', [{ port: 80, protocol: 'tcp', hostAddress: '0.0.0.0', hostPort: 40_001 }]);
  assert.equal(await next('e'), '0.0.0.0 40001');
});

test('an address that the host has not is said to be that', async () => {
  const deps = {
    ...host().deps,
    hold: async ([port]: readonly PublishedPort[]) => {
      if (port) throw new PortRefused('EADDRNOTAVAIL', 'bind EADDRNOTAVAIL', port);
    },
  };
  await assert.rejects(new Ports().publish('a', '172.29.0.2', [request(0, { hostAddress: 'fd00::9' })], deps), {
    message: 'failed to bind host port for [fd00::9]:40000:172.29.0.2:80/tcp: cannot assign requested address',
  });
});

test('ports and addresses that cannot be are refused', async () => {
  const wrong: Partial<PortRequest>[] = [
    { port: 0 },
    { port: 65_536 },
    { first: -1 },
    { first: 70_000, last: 70_000 },
    { first: 1.5 },
    { hostAddress: 'localhost' },
  ];
  for (const more of wrong)
    await assert.rejects(new Ports().publish('a', '172.29.0.2', [request(80, more)], host().deps), { kind: 'invalid' });
});

test('sockets of a port are found in the tables of /proc/net', () => {
  const table = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0000000000000000 100 0 0 10 0
   1: 0100007F:1F90 0100007F:C001 01 00000000:00000000 00:00000000 00000000     0        0 4712 1 0000000000000000 100 0 0 10 0
   2: 00000000:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4713 1 0000000000000000 100 0 0 10 0
`;
  assert.deepEqual(inodesOf(table, 'tcp', 8080), ['4711']);
  assert.deepEqual(inodesOf(table, 'tcp', 81), []);
});
