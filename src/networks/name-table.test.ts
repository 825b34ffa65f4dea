import assert from 'node:assert/strict';
import { test } from 'node:test';
import { encodeName, parseQuestion } from './dns-packet.ts';
import type { NamesRecord } from './helper-protocol.ts';
import { NameTable } from './name-table.ts';

const record = (owner: string, networks: Record<string, [names: string[], addresses: string[]]>): NamesRecord => ({
  owner,
  servers: [],
  networks: Object.entries(networks).map(([name, [names, addresses]]) => ({
    id: `id-${name}`,
    name,
    names,
    addresses,
  })),
});

function ask(table: NameTable, owner: string, name: string, type = 1): string[] | undefined {
  const query = Buffer.concat([
    Buffer.from([0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0]),
    encodeName(name)!,
    Buffer.from([0, type, 0, 1]),
  ]);
  return table
    .answer(owner, parseQuestion(query)!)
    ?.map((bytes) => bytes.toString('hex'))
    .sort();
}

test('a container finds those of its own networks, by every name, and nobody else', () => {
  const table = new NameTable();
  table.set(
    record('a', {
      front: [
        ['web', 'WWW'],
        ['10.0.0.2', 'fd00::2'],
      ],
    }),
  );
  table.set(record('b', { front: [['db'], ['10.0.0.3']], back: [['db'], ['10.1.0.3']] }));
  table.set(record('c', { back: [['job'], ['10.1.0.4']] }));
  assert.deepEqual(ask(table, 'b', 'web'), ['0a000002']);
  assert.deepEqual(ask(table, 'b', 'www.FRONT'), ['0a000002']);
  assert.deepEqual(ask(table, 'b', 'web', 28), ['fd000000000000000000000000000002']);
  assert.deepEqual(ask(table, 'a', 'db', 28), [], 'known, without such an address');
  assert.deepEqual(ask(table, 'a', 'db', 16), []);
  assert.equal(ask(table, 'a', 'job'), undefined);
  assert.equal(ask(table, 'c', 'web'), undefined);
  assert.deepEqual(ask(table, 'b', 'db'), ['0a000003', '0a010003'], 'by both networks');
  assert.deepEqual(ask(table, 'b', 'db.back'), ['0a010003']);
  assert.equal(ask(table, 'nobody', 'web'), undefined);
  assert.deepEqual(ask(table, 'a', '2.0.0.10.in-addr.arpa', 12), [encodeName('web.front')!.toString('hex')]);
  assert.equal(ask(table, 'a', '4.0.1.10.in-addr.arpa', 12), undefined, 'of a network that it is not in');
});

test('a link is a name that only one container knows, and goes before what others are called', () => {
  const table = new NameTable();
  const [web] = record('a', { lan: [['web'], ['10.0.0.2']] }).networks;
  table.set({ owner: 'a', servers: [], networks: [{ ...web!, links: { database: 'DB', web: 'db' } }] });
  table.set(record('b', { lan: [['db'], ['10.0.0.3']] }));
  assert.deepEqual(ask(table, 'a', 'database'), ['0a000003']);
  assert.deepEqual(ask(table, 'a', 'web'), ['0a000003']);
  assert.equal(ask(table, 'a', 'constructor'), undefined);
  assert.equal(ask(table, 'b', 'database'), undefined);
});

test('a name of several is all of them, in another order now and then; what is told again takes the place of the former', () => {
  const table = new NameTable();
  for (let number = 0; number < 5; number++)
    table.set(record(`w${number}`, { lan: [['worker'], [`10.0.0.${number}`]] }));
  assert.equal(ask(table, 'w0', 'worker')?.length, 5);
  const firsts = new Set<string>();
  const query = Buffer.concat([
    Buffer.from([0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0]),
    encodeName('worker')!,
    Buffer.from([0, 1, 0, 1]),
  ]);
  for (let round = 0; round < 200; round++) firsts.add(table.answer('w0', parseQuestion(query)!)![0]!.toString('hex'));
  assert.equal(firsts.size, 5);
  table.set(record('w1', { lan: [['other'], ['10.0.0.1']] }));
  table.delete('w2');
  table.delete('w2');
  assert.deepEqual(ask(table, 'w0', 'worker'), ['0a000000', '0a000003', '0a000004']);
  for (let number = 0; number < 5; number++) table.delete(`w${number}`);
  assert.equal(ask(table, 'w0', 'worker'), undefined);
});
