import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { openLogFile } from './log-files.ts';
import { packLog } from './log-pack.ts';

const base = mkdtempSync(join(tmpdir(), 'berth-pack-'));
after(() => rmSync(base, { recursive: true, force: true }));

async function pack(name: string, content: Buffer): Promise<string> {
  const path = join(base, name);
  writeFileSync(path, content);
  await using from = await open(path, 'r');
  await using to = await open(`${path}.gz`, 'w');
  await packLog(from, to, { inode: 7n, changed: 8n });
  return `${path}.gz`;
}

test('a packed log is a gzip file, and any part of it can be read', async () => {
  const content = Buffer.from(Array.from({ length: 300_000 }, (_, n) => `line ${n}\n`).join(''));
  assert.ok(content.length > 3 * 1024 * 1024);
  const path = await pack('x.log.1', content);
  assert.deepEqual(gunzipSync(readFileSync(path)), content);
  assert.ok(statSync(path).size < content.length / 3);
  await using file = (await openLogFile(path))!;
  assert.equal(file.size, content.length);
  assert.deepEqual(file.source, { inode: 7n, changed: 8n });
  const into = Buffer.alloc(5000);
  for (const at of [0, 1, 1024 * 1024 - 3, 1024 * 1024, 2_500_000, content.length - 10]) {
    const length = await file.read(into, at);
    assert.ok(length > 0);
    assert.deepEqual(into.subarray(0, length), content.subarray(at, at + length), `at ${at}`);
  }
  assert.equal(await file.read(into, content.length), 0);
});

test('an empty log is packed too; half a file is told from a whole one', async () => {
  const path = await pack('empty', Buffer.alloc(0));
  assert.deepEqual(gunzipSync(readFileSync(path)), Buffer.alloc(0));
  await using file = (await openLogFile(path))!;
  assert.equal(file.size, 0);
  const whole = readFileSync(await pack('cut', Buffer.from('some text\n'.repeat(100))));
  writeFileSync(join(base, 'half.gz'), whole.subarray(0, whole.length - 12));
  await assert.rejects(openLogFile(join(base, 'half.gz')));
});
