import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Bolt, Bucket } from './bolt.ts';

const pageSize = 4096;
type Element = { readonly key: string; readonly value: Buffer; readonly bucket?: boolean };

function fnv(bytes: Buffer): bigint {
  let hash = 0xcbf29ce484222325n;
  for (const byte of bytes) hash = ((hash ^ BigInt(byte)) * 0x100000001b3n) & 0xffffffffffffffffn;
  return hash;
}

function meta(txid: bigint, root: number): Buffer {
  const page = Buffer.alloc(pageSize);
  page.writeUInt16LE(0x04, 8);
  page.writeUInt32LE(0xed0cdaed, 16);
  page.writeUInt32LE(2, 20);
  page.writeUInt32LE(pageSize, 24);
  page.writeBigUInt64LE(BigInt(root), 32);
  page.writeBigUInt64LE(txid, 64);
  page.writeBigUInt64LE(fnv(page.subarray(16, 72)), 72);
  return page;
}

/** `size` 0: as an inline bucket has it, as long as it has to be. */
function leaf(elements: readonly Element[], size = pageSize): Buffer {
  const heads = Buffer.alloc(16 + elements.length * 16);
  heads.writeUInt16LE(0x02, 8);
  heads.writeUInt16LE(elements.length, 10);
  const data: Buffer[] = [];
  let at = heads.length;
  for (const [i, { key, value, bucket }] of elements.entries()) {
    const head = 16 + i * 16;
    heads.writeUInt32LE(bucket ? 1 : 0, head);
    heads.writeUInt32LE(at - head, head + 4);
    heads.writeUInt32LE(key.length, head + 8);
    heads.writeUInt32LE(value.length, head + 12);
    data.push(Buffer.from(key), value);
    at += key.length + value.length;
  }
  const page = Buffer.concat([heads, ...data]);
  return size === 0 ? page : Buffer.concat([page, Buffer.alloc(size - page.length)]);
}

function branch(children: readonly number[]): Buffer {
  const page = Buffer.alloc(pageSize);
  page.writeUInt16LE(0x01, 8);
  page.writeUInt16LE(children.length, 10);
  for (const [i, child] of children.entries()) page.writeBigUInt64LE(BigInt(child), 16 + i * 16 + 8);
  return page;
}

function bucketAt(page: number, inline: Buffer = Buffer.alloc(0)): Buffer {
  const head = Buffer.alloc(16);
  head.writeBigUInt64LE(BigInt(page), 0);
  return Buffer.concat([head, inline]);
}

const text = (value: string) => Buffer.from(value);

function database(): Buffer[] {
  return [
    meta(3n, 9),
    meta(4n, 2),
    leaf([
      { key: 'large', value: bucketAt(3), bucket: true },
      { key: 'plain', value: text('value') },
      { key: 'small', value: bucketAt(0, leaf([{ key: 'a', value: text('1') }], 0)), bucket: true },
    ]),
    branch([4, 5]),
    leaf([{ key: 'x', value: text('first') }]),
    leaf([{ key: 'y', value: text('second') }]),
  ];
}

test('buckets of pages and those inside of an entry are read, from the head that was written last', () => {
  const { root } = new Bolt(Buffer.concat(database()), 'test.db');
  assert.equal(root.value('plain')?.toString(), 'value');
  assert.equal(root.bucket('plain'), undefined);
  assert.equal(root.below('small')?.value('a')?.toString(), '1');
  assert.equal(root.below('small', 'none'), undefined);
  const large = [...root.bucket('large')!.entries()].map(([key, value]) => [
    key,
    value instanceof Bucket || `${value}`,
  ]);
  assert.deepEqual(large, [
    ['x', 'first'],
    ['y', 'second'],
  ]);
});

test('a head that is half written is passed over for the other', () => {
  const pages = database();
  pages[0] = meta(3n, 2);
  pages[1]!.fill(0, 60, 80);
  assert.equal(new Bolt(Buffer.concat(pages), 'test.db').root.value('plain')?.toString(), 'value');
});

test('what is damaged says so, and nothing is read for ever', () => {
  const damaged = (change: (pages: Buffer[]) => void, why: RegExp) => {
    const pages = database();
    change(pages);
    const file = Buffer.concat(pages);
    const all = (bucket: Bucket): void => {
      for (const [, entry] of bucket.entries()) if (entry instanceof Bucket) all(entry);
    };
    assert.throws(() => all(new Bolt(file, 'test.db').root), why);
  };
  damaged((pages) => pages.splice(0, 6, Buffer.from('nothing')), /test\.db is damaged: neither of its two heads/);
  damaged((pages) => pages.splice(4, 2), /page 4 is behind its end/);
  damaged((pages) => pages.splice(3, 1, branch([3])), /in a circle|more than 1000000 entries/);
  damaged((pages) => pages[2]!.writeUInt16LE(60_000, 10), /more than fits/);
  damaged((pages) => pages[2]!.writeUInt32LE(0xffff_fff0, 16 + 12), /beyond its page/);
  damaged((pages) => pages[2]!.writeUInt16LE(0x40, 8), /unknown kind 64/);
});
