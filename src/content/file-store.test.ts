import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import {
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { silentLog } from '../base/log.ts';
import { type Digest, DigestMismatch, digestOf } from '../oci/digest.ts';
import { conformsAsContentStore } from './conformance.ts';
import { FileContentStore } from './file-store.ts';

const scratch = mkdtempSync(join(tmpdir(), 'content-'));
after(() => rmSync(scratch, { recursive: true }));

function fresh() {
  const root = mkdtempSync(join(scratch, 'store-'));
  return { root, store: new FileContentStore({ root, log: silentLog }) };
}

conformsAsContentStore('FileContentStore', () => fresh().store);

test('a blob is a private file named by its digest, and nothing stays in ingest', async () => {
  const { root, store } = fresh();
  const digest = await store.put(Buffer.from('x'));
  assert.equal(store.path(digest), join(root, 'blobs', 'sha256', digest.slice(7)));
  assert.equal(statSync(store.path(digest)).mode & 0o777, 0o600);
  assert.equal(statSync(join(root, 'blobs')).mode & 0o777, 0o700);
  assert.deepEqual(readdirSync(join(root, 'ingest')), []);
});

test('a blob of many stages arrives whole in chunks of every size', async () => {
  const content = randomBytes(3 * 1024 * 1024 + 17);
  for (const size of [1500, 65_536, 1024 * 1024, 2_500_000]) {
    const { store } = fresh();
    await using ingest = await store.ingest(digestOf(content), content.length);
    for (let from = 0; from < content.length; from += size) await ingest.write(content.subarray(from, from + size));
    await ingest.commit();
    assert.ok(readFileSync(store.path(digestOf(content))).equals(content));
  }
});

test('R21 a new store on the same folder goes on with what the old one left, and verifies all of it', async () => {
  const content = randomBytes(2_500_000);
  const digest = digestOf(content);
  const { root, store } = fresh();
  const broken = await store.ingest(digest, content.length);
  await broken.write(content.subarray(0, 2_000_000));
  await broken[Symbol.asyncDispose]();

  const next = new FileContentStore({ root, log: silentLog });
  await using ingest = await next.ingest(digest, content.length);
  assert.equal(ingest.offset, 2_000_000);
  await ingest.write(content.subarray(2_000_000));
  await ingest.commit();
  assert.ok((await next.read(digest)).equals(content));
});

test('R08 what was damaged on disk between two attempts is found by the digest and dropped', async () => {
  const content = randomBytes(100_000);
  const digest = digestOf(content);
  const { root, store } = fresh();
  const broken = await store.ingest(digest, content.length);
  await broken.write(content.subarray(0, 50_000));
  await broken[Symbol.asyncDispose]();
  writeFileSync(join(root, 'ingest', digest.replace(':', '-')), Buffer.alloc(50_000));

  await using ingest = await store.ingest(digest, content.length);
  assert.equal(ingest.offset, 50_000);
  await ingest.write(content.subarray(50_000));
  await assert.rejects(ingest.commit(), DigestMismatch);
  assert.deepEqual(readdirSync(join(root, 'ingest')), []);
});

test('R08 a blob that was changed on disk is not read, and one that was cut is fetched again', async () => {
  const { store } = fresh();
  const content = Buffer.from('the right bytes');
  const digest = await store.put(content);
  writeFileSync(store.path(digest), 'the wrong bytes');
  await assert.rejects(store.read(digest), DigestMismatch);

  truncateSync(store.path(digest), 3);
  await using ingest = await store.ingest(digest, content.length);
  assert.equal(ingest.offset, 0);
  await ingest.write(content);
  await ingest.commit();
  assert.deepEqual(await store.read(digest), content);
});

test('a partial that is longer than the blob is dropped', async () => {
  const { root, store } = fresh();
  await store.put(Buffer.from('x'));
  const digest = digestOf('yy');
  writeFileSync(join(root, 'ingest', digest.replace(':', '-')), 'far too long');
  await using ingest = await store.ingest(digest, 2);
  assert.equal(ingest.offset, 0);
});

test('partials are kept for a week, then swept', async () => {
  const { root, store } = fresh();
  await store.put(Buffer.from('x'));
  const old = join(root, 'ingest', 'sha256-old');
  const recent = join(root, 'ingest', 'sha256-recent');
  writeFileSync(old, 'old');
  writeFileSync(recent, 'recent');
  const now = Date.now() / 1000;
  utimesSync(old, now, now - 8 * 24 * 3600);
  utimesSync(recent, now, now - 6 * 24 * 3600);
  await store.sweep();
  assert.deepEqual(readdirSync(join(root, 'ingest')), ['sha256-recent']);
});

test('blobs of sha512 digests are verified and stored too', async () => {
  const { store } = fresh();
  const content = Buffer.from('long digests');
  const digest = `sha512:${createHash('sha512').update(content).digest('hex')}` as Digest;
  await using ingest = await store.ingest(digest, content.length);
  await ingest.write(content);
  await ingest.commit();
  assert.deepEqual(await store.read(digest), content);
  assert.deepEqual(await store.digests(), [digest]);
});

test('names that are no digests are not listed', async () => {
  const { root, store } = fresh();
  const digest = await store.put(Buffer.from('x'));
  writeFileSync(join(root, 'blobs', 'sha256', 'README'), 'x');
  assert.deepEqual(await store.digests(), [digest]);
});
