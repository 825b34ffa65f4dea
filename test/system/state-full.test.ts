import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmdirSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { SqliteDatabase } from '../../src/state/sqlite-database.ts';

test('R05 a full disk refuses writes clearly, loses nothing, and works again when there is space', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'berth-state-'));
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=2m', 'berth-test', directory]);
  try {
    const path = join(directory, 'engine.db');
    const ballast = join(directory, 'ballast');
    await using database = await SqliteDatabase.open({ path });
    await database.write([{ kind: 'a', key: 'before', value: 1 }]);
    const { bavail, bsize } = statfsSync(directory);
    writeFileSync(ballast, Buffer.alloc(bavail * bsize - 16_384));
    const value = 'x'.repeat(100_000);
    await assert.rejects(database.write([{ kind: 'a', key: 'large', value }]), (error: Error & { kind: string }) => {
      assert.equal(error.kind, 'unavailable');
      assert.ok(error.message.includes(path), error.message);
      return true;
    });
    assert.deepEqual([...(await database.load('a')).keys()], ['before']);
    rmSync(ballast);
    await database.write([{ kind: 'a', key: 'large', value }]);
    assert.deepEqual([...(await database.load('a')).keys()], ['before', 'large']);
  } finally {
    execFileSync('umount', ['-l', directory]);
    rmdirSync(directory);
  }
});
