import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, readdirSync, rmdirSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { EngineError } from '../../src/base/errors.ts';
import { silentLog } from '../../src/base/log.ts';
import { FileContentStore } from '../../src/content/file-store.ts';
import { digestOf } from '../../src/oci/digest.ts';

/** A file system of its own, so that it can be full. */
function small(options: string) {
  const path = mkdtempSync(join(tmpdir(), 'content-full-'));
  execFileSync('mount', ['-t', 'tmpfs', '-o', options, 'tmpfs', path]);
  return {
    path,
    [Symbol.dispose]() {
      execFileSync('umount', [path]);
      rmdirSync(path);
    },
  };
}

const unavailable = (words: RegExp) => (error: unknown) => {
  assert.ok(error instanceof EngineError);
  assert.equal(error.kind, 'unavailable');
  assert.match(error.message, words);
  assert.ok(error.hint);
  return true;
};

test('R05 a disk that fills up in mid-transfer: the error names path and bytes, the partial is given up, and the next attempt works', async () => {
  using disk = small('size=4m');
  const store = new FileContentStore({ root: join(disk.path, 'content'), log: silentLog });
  const content = randomBytes(3 * 1024 * 1024);
  const digest = digestOf(content);
  {
    await using ingest = await store.ingest(digest, content.length);
    writeFileSync(join(disk.path, 'other'), Buffer.alloc(2 * 1024 * 1024));
    const transfer = async () => {
      for (let from = 0; from < content.length; from += 65_536)
        await ingest.write(content.subarray(from, from + 65_536));
      await ingest.commit();
    };
    await assert.rejects(
      transfer(),
      unavailable(new RegExp(`ingest/sha256-${digest.slice(7)} \\(3145728 bytes\\): no space left`)),
    );
  }
  assert.deepEqual(readdirSync(join(disk.path, 'content', 'ingest')), []);
  writeFileSync(join(disk.path, 'other'), '');
  assert.equal(await store.put(content), digest);
});

test('R05 a blob that cannot fit is refused before a byte is asked for', async () => {
  using disk = small('size=1m');
  const store = new FileContentStore({ root: disk.path, log: silentLog });
  const digest = digestOf('never sent');
  await assert.rejects(store.ingest(digest, 50_000_000), unavailable(/50000000 bytes.*bytes are free/));
  assert.deepEqual(readdirSync(join(disk.path, 'ingest')), []);
  assert.deepEqual(await store.put(Buffer.from('still works')), digestOf('still works'));
});

test('R06 no inodes left is said as that, not as a full disk', async () => {
  using disk = small('size=4m,nr_inodes=6');
  const store = new FileContentStore({ root: disk.path, log: silentLog });
  const fill = async () => {
    for (let count = 0; count < 10; count++) await store.put(Buffer.from(`blob ${count}`));
  };
  await assert.rejects(fill(), unavailable(/no inodes left/));
  const [first] = await store.digests();
  await store.remove(first!);
  assert.equal(await store.put(Buffer.from('room again')), digestOf('room again'));
});
