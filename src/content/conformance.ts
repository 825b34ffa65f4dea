import assert from 'node:assert/strict';
import { buffer } from 'node:stream/consumers';
import { test } from 'node:test';
import { EngineError } from '../base/errors.ts';
import { DigestMismatch, digestOf } from '../oci/digest.ts';
import type { ContentStore } from './store.ts';

/** What every content store must do. `make` gives an empty one. */
export function conformsAsContentStore(name: string, make: () => ContentStore | Promise<ContentStore>): void {
  const content = Buffer.from('what a blob holds, from its first byte to its last');
  const digest = digestOf(content);
  const kind = (expected: string) => (error: unknown) => error instanceof EngineError && error.kind === expected;
  const check = (behaviour: string, run: (store: ContentStore) => Promise<void>) =>
    test(`${name}: ${behaviour}`, async () => run(await make()));

  check('a blob that was written is read whole, in ranges, and listed', async (store) => {
    assert.equal(await store.put(content), digest);
    assert.equal(await store.has(digest), true);
    assert.equal(await store.size(digest), content.length);
    assert.deepEqual(await store.read(digest), content);
    assert.deepEqual(await buffer(store.open(digest)), content);
    assert.deepEqual(await buffer(store.open(digest, { start: 5, end: 9 })), content.subarray(5, 9));
    assert.deepEqual(await buffer(store.open(digest, { start: 5 })), content.subarray(5));
    assert.deepEqual(await buffer(store.open(digest, { start: 5, end: 5 })), Buffer.alloc(0));
    assert.deepEqual(await store.digests(), [digest]);
  });

  check('a blob that is not here is not found', async (store) => {
    assert.equal(await store.has(digest), false);
    assert.equal(await store.size(digest), undefined);
    await assert.rejects(store.read(digest), kind('not-found'));
    assert.throws(() => store.open(digest), kind('not-found'));
    assert.throws(() => store.path(digest), kind('not-found'));
    assert.deepEqual(await store.digests(), []);
  });

  check('S34 a blob larger than the limit is not read at once', async (store) => {
    await store.put(content);
    await assert.rejects(store.read(digest, content.length - 1), kind('invalid'));
    assert.deepEqual(await store.read(digest, content.length), content);
  });

  check('a blob is not here before commit, and is after it', async (store) => {
    await using ingest = await store.ingest(digest, content.length);
    assert.equal(ingest.offset, 0);
    await ingest.write(content.subarray(0, 10));
    await ingest.write(content.subarray(10));
    assert.equal(ingest.offset, content.length);
    assert.equal(await store.has(digest), false);
    assert.deepEqual(await store.digests(), []);
    await ingest.commit();
    assert.deepEqual(await store.read(digest), content);
  });

  check('a caller may reuse its buffer after a write', async (store) => {
    await using ingest = await store.ingest(digest, content.length);
    const reused = Buffer.alloc(1);
    for (const byte of content) {
      reused[0] = byte;
      await ingest.write(reused);
    }
    await ingest.commit();
    assert.deepEqual(await store.read(digest), content);
  });

  check('an empty blob can be stored', async (store) => {
    const empty = digestOf('');
    await using ingest = await store.ingest(empty, 0);
    await ingest.commit();
    assert.deepEqual(await store.read(empty), Buffer.alloc(0));
  });

  check('the size may be unknown', async (store) => {
    await using ingest = await store.ingest(digest, -1);
    await ingest.write(content);
    await ingest.commit();
    assert.equal(await store.size(digest), content.length);
  });

  check('S34 other bytes than the digest names are refused and not kept', async (store) => {
    {
      await using ingest = await store.ingest(digest, content.length);
      await ingest.write(Buffer.alloc(content.length));
      await assert.rejects(ingest.commit(), DigestMismatch);
    }
    assert.equal(await store.has(digest), false);
    await using again = await store.ingest(digest, content.length);
    assert.equal(again.offset, 0);
  });

  check('S34 more bytes than expected are refused when they come, fewer at the commit', async (store) => {
    {
      await using ingest = await store.ingest(digest, 4);
      await ingest.write(content.subarray(0, 4));
      await assert.rejects(ingest.write(content.subarray(4, 5)), kind('corrupt'));
    }
    {
      await using ingest = await store.ingest(digest, content.length);
      assert.equal(ingest.offset, 0);
      await ingest.write(content.subarray(1));
      await assert.rejects(ingest.commit(), kind('corrupt'));
    }
    assert.equal(await store.has(digest), false);
  });

  check('R21 the bytes of a broken transfer are there for the next attempt', async (store) => {
    {
      await using broken = await store.ingest(digest, content.length);
      await broken.write(content.subarray(0, 20));
    }
    assert.equal(await store.has(digest), false);
    await using ingest = await store.ingest(digest, content.length);
    assert.equal(ingest.offset, 20);
    await ingest.write(content.subarray(20));
    await ingest.commit();
    assert.deepEqual(await store.read(digest), content);
  });

  check('a transfer that starts over, and one that was discarded, keep nothing of what came before', async (store) => {
    {
      await using ingest = await store.ingest(digest, content.length);
      await ingest.write(Buffer.alloc(20));
      await ingest.restart();
      assert.equal(ingest.offset, 0);
      await ingest.write(content);
      await ingest.discard();
    }
    await using ingest = await store.ingest(digest, content.length);
    assert.equal(ingest.offset, 0);
    await ingest.write(Buffer.alloc(20));
    await ingest.restart();
    await ingest.write(content);
    await ingest.commit();
    assert.deepEqual(await store.read(digest), content);
  });

  check('a second writer waits for the first and then finds the blob', async (store) => {
    const order: string[] = [];
    const first = await store.ingest(digest, content.length);
    const second = store.ingest(digest, content.length).then(async (ingest) => {
      order.push(`second at ${ingest.offset}`);
      await ingest.commit();
      await ingest[Symbol.asyncDispose]();
    });
    await new Promise((resolve) => setTimeout(resolve, 5));
    await first.write(content);
    order.push('first commits');
    await first.commit();
    await first[Symbol.asyncDispose]();
    await second;
    assert.deepEqual(order, ['first commits', `second at ${content.length}`]);
  });

  check(
    'a second writer goes on where the first gave up, and a third that was canceled is not waited for',
    async (store) => {
      const first = await store.ingest(digest, content.length);
      const canceler = new AbortController();
      const canceled = store.ingest(digest, content.length, { signal: canceler.signal });
      const last = store.ingest(digest, content.length);
      canceler.abort();
      await assert.rejects(canceled, kind('canceled'));
      await first.write(content.subarray(0, 7));
      await first[Symbol.asyncDispose]();
      await using ingest = await last;
      assert.equal(ingest.offset, 7);
    },
  );

  check('removing is final, and removing what is not here is nothing', async (store) => {
    await store.put(content);
    await store.remove(digest);
    await store.remove(digest);
    assert.equal(await store.has(digest), false);
    assert.equal(await store.put(content), digest);
    assert.equal(await store.has(digest), true);
  });
}
