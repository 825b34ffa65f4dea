import assert from 'node:assert/strict';
import { copyFileSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { after, test } from 'node:test';
import { EngineError } from '../base/errors.ts';
import { conformsAsDatabase } from './conformance.ts';
import { MemoryDatabase } from './memory-database.ts';
import { migrations } from './schema.ts';
import { SqliteDatabase } from './sqlite-database.ts';

const root = mkdtempSync(join(tmpdir(), 'berth-state-'));
after(() => rmSync(root, { recursive: true, force: true }));
let count = 0;
const fresh = () => join(root, `${++count}`, 'engine.db');

conformsAsDatabase('MemoryDatabase', async () => new MemoryDatabase());
conformsAsDatabase('SqliteDatabase', () => SqliteDatabase.open({ path: fresh() }));

async function refusal(path: string): Promise<EngineError> {
  const error = await SqliteDatabase.open({ path }).then(
    async (database) => {
      await database[Symbol.asyncDispose]();
      return undefined;
    },
    (thrown: unknown) => thrown,
  );
  assert.ok(error instanceof EngineError, 'it must be refused');
  assert.ok(error.message.includes(path), error.message);
  return error;
}

test('records are there after the database was closed and opened', async () => {
  const path = fresh();
  {
    await using database = await SqliteDatabase.open({ path });
    void database.write([{ kind: 'a', key: 'k', value: 'v' }], { durable: false });
  }
  await using again = await SqliteDatabase.open({ path });
  assert.equal((await again.load('a')).get('k'), 'v');
});

test('what was acknowledged without a sync is in the log file, where a killed process leaves it', async () => {
  const path = fresh();
  await using database = await SqliteDatabase.open({ path });
  await database.write([{ kind: 'a', key: 'k', value: 'v' }], { durable: false });
  // What kill -9 leaves: the files as the page cache has them, without a close.
  const copy = join(root, `copy-${count}.db`);
  for (const suffix of ['', '-wal']) copyFileSync(path + suffix, copy + suffix);
  await using after = await SqliteDatabase.open({ path: copy });
  assert.equal((await after.load('a')).get('k'), 'v');
});

test('R09 a file that is not a database is refused as corrupt and left as it is', async () => {
  for (const content of ['half a thing', '\0'.repeat(8192), 'SQLite format 3\0garbage'.padEnd(4096, 'x')]) {
    const path = join(root, `bad-${++count}.db`);
    writeFileSync(path, content);
    const error = await refusal(path);
    assert.equal(error.kind, 'corrupt');
    assert.equal(readFileSync(path, 'latin1'), content);
  }
});

test('R09 a database of another program is refused and left as it is', async () => {
  const path = join(root, `other-${++count}.db`);
  const other = new DatabaseSync(path);
  other.exec('CREATE TABLE mine (x)');
  other.close();
  const before = readFileSync(path);
  assert.equal((await refusal(path)).kind, 'corrupt');
  assert.deepEqual(readFileSync(path), before);
});

test('R17 a database of a newer version is refused as unsupported', async () => {
  const path = fresh();
  await (await SqliteDatabase.open({ path }))[Symbol.asyncDispose]();
  const newer = new DatabaseSync(path);
  newer.exec(`PRAGMA user_version = ${migrations.length + 1}`);
  newer.close();
  const error = await refusal(path);
  assert.equal(error.kind, 'unsupported');
  assert.match(error.message, /newer version/);
});

test('R08 a damaged page is refused as corrupt', async () => {
  const path = fresh();
  {
    await using database = await SqliteDatabase.open({ path });
    const value = 'x'.repeat(3000);
    await database.write(Array.from({ length: 200 }, (_, n) => ({ kind: 'a', key: `${n}`, value })));
  }
  assert.equal(existsSync(`${path}-wal`), false);
  const bytes = readFileSync(path);
  bytes.fill(0xa5, 3 * 4096, 40 * 4096);
  writeFileSync(path, bytes);
  assert.equal((await refusal(path)).kind, 'corrupt');
});

test('R09 a path that is a directory is refused as unavailable', async () => {
  assert.equal((await refusal(root)).kind, 'unavailable');
});

test('writing to a closed database is refused, and closing twice is no error', async () => {
  const database = await SqliteDatabase.open({ path: fresh() });
  await database[Symbol.asyncDispose]();
  await database[Symbol.asyncDispose]();
  await assert.rejects(database.write([]), { kind: 'unavailable' });
});
