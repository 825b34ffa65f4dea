import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { test } from 'node:test';
import { EngineError } from '../base/errors.ts';
import { silentLog } from '../base/log.ts';
import { MemoryContentStore } from '../content/memory-store.ts';
import { digestOf } from '../oci/digest.ts';
import { mediaTypes } from '../oci/manifest.ts';
import { FakeRegistry } from './fake-registry.ts';
import { fetchBlob } from './fetch-blob.ts';
import { HttpRegistry } from './http-registry.ts';

const timing = { connect: 1000, stall: 100, backoff: 2, longestWait: 20, attempts: 5 };
const content = randomBytes(600_000);
const chunk = 65_536;

async function setUp() {
  const registry = await FakeRegistry.start();
  const config = { insecure: [], mirrors: {}, certificates: '/nonexistent' };
  const remote = new HttpRegistry({ config, log: silentLog, timing });
  const blob = registry.putBlob(content);
  const store = new MemoryContentStore();
  let sent = 0;
  /** Sends what is asked for, but not all of it: up to `most` bytes of the blob. */
  const sendUpTo = (
    request: IncomingMessage,
    response: ServerResponse,
    most: number,
    end: (response: ServerResponse) => void,
  ) => {
    const from = Number(/=(\d+)-/.exec(request.headers.range ?? '')?.[1] ?? 0);
    response.writeHead(from > 0 ? 206 : 200, {
      'content-length': content.length - from,
      ...(from > 0 ? { 'content-range': `bytes ${from}-${content.length - 1}/${content.length}` } : {}),
    });
    const part = content.subarray(from, Math.max(from, most));
    sent += part.length;
    response.write(part, () => setTimeout(() => end(response), 10));
  };
  return {
    registry,
    blob,
    store,
    remote,
    sendUpTo,
    sent: () => sent,
    fetch: (signal?: AbortSignal, onProgress?: (bytes: number) => void) =>
      fetchBlob(remote, store, registry.reference('app'), blob, { timing, signal, onProgress }),
    async [Symbol.asyncDispose]() {
      remote[Symbol.dispose]();
      await registry[Symbol.asyncDispose]();
    },
  };
}

const cut = (response: ServerResponse) => response.socket?.destroy();
const fails = (kind: string) => (error: unknown) => error instanceof EngineError && error.kind === kind;

test('a blob arrives, with progress from nothing to all, and is not asked for again', async () => {
  await using it = await setUp();
  const progress: number[] = [];
  await it.fetch(undefined, (bytes) => progress.push(bytes));
  assert.deepEqual(await it.store.read(it.blob.digest), content);
  assert.equal(progress[0], 0);
  assert.equal(progress.at(-1), content.length);
  await it.fetch();
  assert.equal(it.registry.asked('/blobs/').length, 1);
});

for (const [how, end] of [
  ['reset', cut],
  ['stall', () => {}],
] as const)
  test(`R21 a ${how} at 99 % goes on from there: less than a chunk is sent twice`, async () => {
    await using it = await setUp();
    const most = Math.floor(content.length * 0.99);
    let cuts = 0;
    it.registry.behave = (request, response) => {
      if (cuts++ > 0) return false;
      it.sendUpTo(request, response, most, end);
      return true;
    };
    await it.fetch();
    assert.deepEqual(await it.store.read(it.blob.digest), content);
    const [, second] = it.registry.asked('/blobs/');
    const from = Number(/=(\d+)-/.exec(second!.headers.range!)![1]);
    assert.ok(from <= most && most - from < chunk, `resumed from ${from} of ${most}`);
  });

test('R21 cuts again and again are survived as long as each attempt brings something', async () => {
  await using it = await setUp();
  let most = 0;
  it.registry.behave = (request, response) => {
    most += 60_000;
    it.sendUpTo(request, response, most, most < content.length ? cut : (whole) => whole.end());
    return true;
  };
  await it.fetch();
  assert.deepEqual(await it.store.read(it.blob.digest), content);
  assert.ok(it.registry.asked('/blobs/').length > 5);
  assert.ok(it.sent() < content.length + chunk * 10);
});

test('R21 five attempts that bring nothing are enough, and what came waits for the next transfer', async () => {
  await using it = await setUp();
  it.registry.behave = (request, response) => {
    it.sendUpTo(request, response, 200_000, cut);
    return true;
  };
  await assert.rejects(it.fetch(), fails('unavailable'));
  assert.ok(it.registry.asked('/blobs/').length <= 8);
  it.registry.behave = () => false;
  await it.fetch();
  const last = it.registry.asked('/blobs/').at(-1)!;
  assert.match(last.headers.range ?? '', /^bytes=\d{6}-$/);
  assert.deepEqual(await it.store.read(it.blob.digest), content);
});

test('R21 a registry that ignores ranges is read from the start again', async () => {
  await using it = await setUp();
  let cuts = 0;
  it.registry.behave = (request, response) => {
    delete request.headers.range;
    if (cuts++ > 0) return false;
    it.sendUpTo(request, response, 300_000, cut);
    return true;
  };
  await it.fetch();
  assert.deepEqual(await it.store.read(it.blob.digest), content);
});

test('S34 wrong bytes of the right size are fetched once more and then refused; a wrong length at once', async () => {
  await using it = await setUp();
  it.registry.behave = (_, response) => {
    response.end(Buffer.alloc(content.length));
    return true;
  };
  await assert.rejects(it.fetch(), { kind: 'corrupt', message: /digest mismatch/ });
  assert.equal(it.registry.asked('/blobs/').length, 2);
  it.registry.behave = (_, response) => {
    response.writeHead(200, { 'content-length': content.length + 1 }).end(Buffer.alloc(content.length + 1));
    return true;
  };
  await assert.rejects(it.fetch(), fails('corrupt'));
  assert.deepEqual(await it.store.digests(), []);
});

test('S34 more bytes than announced, without a length, are cut off and refused', async () => {
  await using it = await setUp();
  it.registry.behave = (_, response) => {
    response.write(content);
    response.end('and more');
    return true;
  };
  await assert.rejects(it.fetch(), fails('corrupt'));
});

test('R08 damaged bytes of an earlier run cost one more transfer, not the blob', async () => {
  await using it = await setUp();
  {
    await using earlier = await it.store.ingest(it.blob.digest, content.length);
    await earlier.write(Buffer.alloc(100_000));
  }
  await it.fetch();
  assert.deepEqual(await it.store.read(it.blob.digest), content);
});

test('an empty blob needs no request', async () => {
  await using it = await setUp();
  const empty = { mediaType: mediaTypes.ociLayer, digest: digestOf(''), size: 0 };
  await fetchBlob(it.remote, it.store, it.registry.reference('app'), empty);
  assert.equal(await it.store.size(empty.digest), 0);
  assert.equal(it.registry.seen.length, 0);
});

test('a canceled transfer ends at once and keeps what came', async () => {
  await using it = await setUp();
  it.registry.behave = (request, response) => {
    it.sendUpTo(request, response, 200_000, () => {});
    return true;
  };
  const canceler = new AbortController();
  await assert.rejects(
    it.fetch(canceler.signal, (bytes) => bytes > 0 && canceler.abort()),
    fails('canceled'),
  );
  await using next = await it.store.ingest(it.blob.digest, content.length);
  assert.ok(next.offset > 0);
});
