import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Database } from './database.ts';

/** What every Database must do. */
export function conformsAsDatabase(name: string, open: () => Promise<Database>): void {
  test(`${name} gives back what was written, by kind`, async () => {
    await using database = await open();
    await database.write([
      { kind: 'a', key: '1', value: { text: 'x', list: [1, null] } },
      { kind: 'b', key: '1', value: 'other' },
    ]);
    assert.deepEqual([...(await database.load('a'))], [['1', { text: 'x', list: [1, null] }]]);
    assert.deepEqual([...(await database.load('b'))], [['1', 'other']]);
    assert.deepEqual([...(await database.load('none'))], []);
  });

  test(`${name} keeps the order of writes, durable or not`, async () => {
    await using database = await open();
    const writes = Array.from({ length: 100 }, (_, n) =>
      database.write([{ kind: 'a', key: 'k', value: n }], { durable: n % 3 === 0 }),
    );
    await Promise.all(writes);
    assert.equal((await database.load('a')).get('k'), 99);
  });

  test(`${name} removes a record whose value is undefined, and removing what is not there is no error`, async () => {
    await using database = await open();
    await database.write([{ kind: 'a', key: 'k', value: 1 }]);
    await database.write([
      { kind: 'a', key: 'k', value: undefined },
      { kind: 'a', key: 'never', value: undefined },
    ]);
    assert.equal((await database.load('a')).size, 0);
  });
}
