import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseFlow } from './conntrack.ts';
import {
  attribute,
  attributes,
  decode,
  encode,
  linkGroups,
  Netlink,
  nested,
  nl,
  parseLink,
  routeRequests,
  text,
  uint32,
} from './netlink.ts';

test('an attribute is its length, its type and its value, padded to four bytes', () => {
  assert.equal(attribute(3, Buffer.from('ab\0')).toString('hex'), '07000300616200' + '00');
  assert.equal(uint32(4, 1500).toString('hex'), '08000400dc050000');
  assert.equal(nested(18, text(1, 'veth')).toString('hex'), '10001280' + '090001007665746800000000');
});

test('requests in one buffer are numbered, aligned and ask for an answer each', () => {
  const bytes = encode([routeRequests.linkUp(7), routeRequests.addAddress(7, '172.29.0.2', 16)], 40);
  const [first, second] = [...decode(bytes)];
  assert.deepEqual(
    [first?.type, first?.sequence, second?.type, second?.sequence],
    [nl.RTM_NEWLINK, 40, nl.RTM_NEWADDR, 41],
  );
  assert.equal(first?.body.toString('hex'), '00000000' + '07000000' + '01000000' + '01000000');
  assert.equal(second?.body.toString('hex'), '02100000' + '07000000' + '08000200ac1d0002' + '08000100ac1d0002');
  assert.equal(bytes.readUInt16LE(6), nl.NLM_F_REQUEST | nl.NLM_F_ACK);
});

test('a dump asks for no answer of its own: it ends with one', () => {
  assert.equal(encode([routeRequests.links()], 1).readUInt16LE(6), nl.NLM_F_REQUEST | nl.NLM_F_DUMP);
});

test('a veth is one request: host end, master and the peer in its namespace', () => {
  const { body } = routeRequests.addVeth({
    name: 'bth0',
    master: 9,
    mtu: 1400,
    peer: { name: 'eth0', mac: '02:42:ac:1d:00:02', namespace: 31 },
  });
  const top = new Map([...attributes(body.subarray(16))].map(({ type, value }) => [type, value]));
  assert.equal(top.get(nl.IFLA_MASTER)?.readUInt32LE(), 9);
  const info = new Map(
    [...attributes(top.get(nl.IFLA_LINKINFO) ?? Buffer.alloc(0))].map(({ type, value }) => [type, value]),
  );
  assert.equal(info.get(nl.IFLA_INFO_KIND)?.toString(), 'veth\0');
  const [peer] = [...attributes(info.get(nl.IFLA_INFO_DATA) ?? Buffer.alloc(0))];
  const inner = new Map(
    [...attributes(peer?.value.subarray(16) ?? Buffer.alloc(0))].map(({ type, value }) => [type, value]),
  );
  assert.equal(inner.get(nl.IFLA_ADDRESS)?.toString('hex'), '0242ac1d0002');
  assert.equal(inner.get(nl.IFLA_NET_NS_FD)?.readUInt32LE(), 31);
});

test('a link is read back, and what is cut short is not read past its end', () => {
  const header = Buffer.alloc(16);
  header.writeInt32LE(5, 4);
  header.writeUInt32LE(1, 8);
  const body = Buffer.concat([header, text(nl.IFLA_IFNAME, 'berth0'), uint32(nl.IFLA_MASTER, 3)]);
  assert.deepEqual(parseLink(body), { index: 5, name: 'berth0', master: 3, up: true, kind: '' });
  assert.deepEqual(parseLink(body.subarray(0, body.length - 4)), {
    index: 5,
    name: 'berth0',
    master: undefined,
    up: true,
    kind: '',
  });
  assert.deepEqual([...decode(Buffer.from('ff000000', 'hex'))], []);
});

test('a flow of conntrack is read: where it went and who answers', () => {
  const address = (source: string, destination: string) =>
    nested(
      1,
      attribute(1, Buffer.from(source.split('.').map(Number))),
      attribute(2, Buffer.from(destination.split('.').map(Number))),
    );
  const protocol = (from: number, to: number) =>
    nested(
      2,
      attribute(1, Buffer.of(17)),
      attribute(2, Buffer.of(from >> 8, from & 255)),
      attribute(3, Buffer.of(to >> 8, to & 255)),
    );
  const body = Buffer.concat([
    Buffer.of(2, 0, 0, 0),
    nested(1, address('10.0.0.2', '10.0.0.1'), protocol(4000, 5353)),
    nested(2, address('172.29.0.2', '10.0.0.2'), protocol(53, 4000)),
  ]);
  const { tuple, ...flow } = parseFlow(body) ?? { tuple: Buffer.alloc(0) };
  assert.deepEqual(flow, { protocol: 17, destination: '10.0.0.1', destinationPort: 5353, answeredBy: '172.29.0.2' });
  assert.ok(tuple.length > 0);
});

test('a watch is silent where nothing changes', { skip: process.platform !== 'linux' }, () => {
  using watch = new Netlink().watch(linkGroups);
  watch.heard();
  // Others on this machine may make links at any moment: all that is certain is that it answers and does not wait.
  assert.ok(Array.isArray(watch.heard() ?? []));
});
