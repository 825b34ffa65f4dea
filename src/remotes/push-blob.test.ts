import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Readable } from 'node:stream';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { EngineError } from '../base/errors.ts';
import { silentLog } from '../base/log.ts';
import { digestOf } from '../oci/digest.ts';
import { mediaTypes } from '../oci/manifest.ts';
import { FakeRegistry, refuse } from './fake-registry.ts';
import { HttpRegistry } from './http-registry.ts';
import type { PushedBlob } from './registry.ts';
import type { Timing } from './transport.ts';

function client(timing: Partial<Timing> = {}) {
  return new HttpRegistry({
    config: { insecure: [], mirrors: {}, certificates: '/nonexistent' },
    log: silentLog,
    timing: { backoff: 5, ...timing },
  });
}

/** Notes from where it was read. */
function blobOf(bytes: Buffer, elsewhere: readonly string[] = []): PushedBlob & { readonly opened: number[] } {
  const opened: number[] = [];
  return {
    descriptor: { mediaType: mediaTypes.ociLayerGzip, digest: digestOf(bytes), size: bytes.length },
    open: (offset) => {
      opened.push(offset);
      const pieces: Buffer[] = [];
      for (let at = offset; at < bytes.length; at += 100_000) pieces.push(bytes.subarray(at, at + 100_000));
      return Readable.from(pieces);
    },
    elsewhere,
    opened,
  };
}

const failsAs = (kind: string, words: RegExp) => (error: unknown) => {
  assert.ok(error instanceof EngineError, String(error));
  assert.equal(error.kind, kind, error.message);
  assert.match(error.message, words);
  return true;
};

test('a blob is sent once: asked for, sent with one PUT, and there the next time', async () => {
  await using registry = await FakeRegistry.start();
  using remote = client();
  const bytes = randomBytes(700_000);
  const blob = blobOf(bytes);
  const progress: number[] = [];
  const push = () => remote.pushBlob(registry.reference('a/b'), blob, { onProgress: (sent) => progress.push(sent) });
  assert.deepEqual(await push(), { kind: 'sent' });
  assert.deepEqual(registry.blob(blob.descriptor.digest), bytes);
  assert.equal(progress.at(-1), bytes.length);
  assert.deepEqual(
    registry.seen.map(({ method }) => method),
    ['HEAD', 'POST', 'PUT'],
  );
  assert.deepEqual(await push(), { kind: 'there' });
  assert.deepEqual(blob.opened, [0]);
});

test('an empty blob can be sent too', async () => {
  await using registry = await FakeRegistry.start();
  using remote = client();
  const blob = blobOf(Buffer.alloc(0));
  assert.deepEqual(await remote.pushBlob(registry.reference('a'), blob, {}), { kind: 'sent' });
  assert.equal(registry.blob(blob.descriptor.digest)?.length, 0);
});

test('what another repository has is mounted; where that is refused it is sent', async () => {
  await using registry = await FakeRegistry.start();
  using remote = client();
  const bytes = Buffer.from('in another repository');
  registry.behave = (request, response) => {
    if (request.method !== 'HEAD') return false;
    response.writeHead(404).end();
    return true;
  };
  registry.putBlob(bytes);
  const blob = blobOf(bytes, ['other/repo']);
  assert.deepEqual(await remote.pushBlob(registry.reference('a'), blob, {}), { kind: 'mounted', from: 'other/repo' });
  assert.deepEqual(blob.opened, []);
  assert.match(
    registry.asked('mount=')[0]!.url,
    /^\/v2\/a\/blobs\/uploads\/\?mount=sha256%3A[0-9a-f]{64}&from=other%2Frepo$/,
  );

  registry.behave = (request, response) => {
    if (request.url!.includes('mount=')) refuse(response, 403, 'DENIED', 'not yours');
    else if (request.method === 'HEAD') response.writeHead(404).end();
    else return false;
    return true;
  };
  assert.deepEqual(await remote.pushBlob(registry.reference('a'), blob, {}), { kind: 'sent' });
});

test('R21 a cut in the middle of an upload: it goes on where the registry says', async () => {
  await using registry = await FakeRegistry.start();
  using remote = client();
  const bytes = randomBytes(3_000_000);
  const blob = blobOf(bytes);
  let cut = false;
  registry.behave = async (request) => {
    if (request.method !== 'PUT' || cut) return false;
    cut = true;
    const { socket } = request;
    const taken: Buffer[] = [];
    let length = 0;
    for await (const chunk of request as AsyncIterable<Buffer>) {
      taken.push(chunk);
      length += chunk.length;
      if (length >= 1_000_000) break;
    }
    registry.uploads.set('u0', Buffer.concat(taken));
    socket.destroy();
    return true;
  };
  assert.deepEqual(await remote.pushBlob(registry.reference('a'), blob, {}), { kind: 'sent' });
  assert.deepEqual(registry.blob(blob.descriptor.digest), bytes);
  assert.equal(blob.opened.length, 2);
  assert.ok(blob.opened[1]! >= 1_000_000, `went on from ${blob.opened[1]}`);
  assert.deepEqual(
    registry.seen.map(({ method }) => method),
    ['HEAD', 'POST', 'PUT', 'HEAD', 'GET', 'PATCH', 'PUT'],
  );
});

test('R21 an upload that the registry has forgotten begins anew', async () => {
  await using registry = await FakeRegistry.start();
  using remote = client();
  const bytes = randomBytes(500_000);
  let times = 0;
  registry.behave = (request, response) => {
    if (request.method !== 'PUT' || times++ > 0) return false;
    registry.uploads.clear();
    request.resume();
    refuse(response, 404, 'BLOB_UPLOAD_UNKNOWN', 'blob upload unknown to registry');
    return true;
  };
  const blob = blobOf(bytes);
  assert.deepEqual(await remote.pushBlob(registry.reference('a'), blob, {}), { kind: 'sent' });
  assert.deepEqual(blob.opened, [0, 0]);
});

test('R21 the answer was lost and the blob is there: it is not sent again', async () => {
  await using registry = await FakeRegistry.start();
  using remote = client();
  const bytes = randomBytes(300_000);
  const blob = blobOf(bytes);
  registry.behave = async (request) => {
    if (request.method !== 'PUT') return false;
    const { socket } = request;
    await Array.fromAsync(request as AsyncIterable<Buffer>);
    registry.putBlob(bytes);
    socket.destroy();
    return true;
  };
  assert.deepEqual(await remote.pushBlob(registry.reference('a'), blob, {}), { kind: 'sent' });
  assert.deepEqual(blob.opened, [0]);
});

test('R21 a registry that fails again and again is given up, with its own words', async () => {
  await using registry = await FakeRegistry.start();
  using remote = client({ attempts: 3 });
  let puts = 0;
  registry.behave = (request, response) => {
    if (request.method !== 'PUT') return false;
    puts++;
    request.resume();
    refuse(response, 503, 'UNAVAILABLE', 'the disk is full');
    return true;
  };
  await assert.rejects(
    remote.pushBlob(registry.reference('a'), blobOf(randomBytes(10_000)), {}),
    failsAs('unavailable', /^unavailable: the disk is full$/),
  );
  assert.equal(puts, 3);
});

test('R21 a registry that takes no more bytes is given up after the patience that is set', async () => {
  await using registry = await FakeRegistry.start();
  using remote = client({ stall: 200, attempts: 1 });
  // Paused: the kernel's buffers fill, and nothing more goes.
  registry.behave = (request) => {
    if (request.method !== 'PUT') return false;
    request.pause();
    return true;
  };
  await assert.rejects(
    remote.pushBlob(registry.reference('a'), blobOf(randomBytes(30_000_000)), {}),
    failsAs('unavailable', /i\/o timeout/),
  );
});

test('a refusal is told as the registry says it, before all was sent too', async () => {
  await using registry = await FakeRegistry.start();
  using remote = client();
  registry.behave = (request, response) => {
    if (request.method !== 'PUT') return false;
    refuse(response, 413, 'SIZE_INVALID', 'too large for this registry', { connection: 'close' });
    return true;
  };
  await assert.rejects(
    remote.pushBlob(registry.reference('a'), blobOf(randomBytes(20_000_000)), {}),
    failsAs('invalid', /^size invalid: too large for this registry$/),
  );
  registry.behave = (request, response) => {
    if (request.method !== 'POST') return false;
    refuse(response, 403, 'DENIED', 'requested access to the resource is denied');
    return true;
  };
  await assert.rejects(
    remote.pushBlob(registry.reference('a'), blobOf(Buffer.from('x')), {}),
    failsAs('forbidden', /^denied: requested access to the resource is denied$/),
  );
});

test('who stops it stops it at once, and is told so', async () => {
  await using registry = await FakeRegistry.start();
  using remote = client();
  const stop = new AbortController();
  registry.behave = (request) => {
    if (request.method !== 'PUT') return false;
    request.once('data', () => stop.abort());
    return true;
  };
  await assert.rejects(
    remote.pushBlob(registry.reference('a'), blobOf(randomBytes(5_000_000)), { signal: stop.signal }),
    failsAs('canceled', /context canceled/),
  );
});

test('what cannot be read here is no fault of the registry, and is not tried again', async () => {
  await using registry = await FakeRegistry.start();
  using remote = client();
  const blob = blobOf(randomBytes(100));
  let opened = 0;
  const damaged = async function* () {
    yield Buffer.alloc(10);
    throw new EngineError('corrupt', 'content is damaged');
  };
  const broken = {
    ...blob,
    open: () => {
      opened++;
      return Readable.from(damaged());
    },
  };
  await assert.rejects(
    remote.pushBlob(registry.reference('a'), broken, {}),
    failsAs('corrupt', /^content is damaged$/),
  );
  assert.equal(opened, 1);
});

test('S32 an upload that leads to another host is sent there without credentials', async () => {
  await using registry = await FakeRegistry.start();
  using remote = client();
  const seen: { authorization: string | undefined; length: number }[] = [];
  const storage = createServer((request, response) => {
    void (async () => {
      let length = 0;
      for await (const chunk of request) length += (chunk as Buffer).length;
      seen.push({ authorization: request.headers.authorization, length });
      response.writeHead(201, { 'content-length': 0 }).end();
    })();
  });
  await new Promise<void>((resolve) => storage.listen(0, '127.0.0.1', resolve));
  const { port } = storage.address() as AddressInfo;
  try {
    registry.behave = (request, response) => {
      if (request.headers.authorization === undefined) {
        refuse(response, 401, 'UNAUTHORIZED', 'authentication required', { 'www-authenticate': 'Basic realm="x"' });
        return true;
      }
      if (request.method !== 'POST') return false;
      response.writeHead(202, { location: `http://127.0.0.1:${port}/elsewhere?signed=1`, 'content-length': 0 }).end();
      return true;
    };
    const credentials = { username: 'ann', password: 'secret' };
    const blob = blobOf(randomBytes(2000));
    assert.deepEqual(await remote.pushBlob(registry.reference('a'), blob, { credentials }), { kind: 'sent' });
    assert.deepEqual(seen, [{ authorization: undefined, length: 2000 }]);
  } finally {
    storage.closeAllConnections();
    storage.close();
  }
});

test('S33 an upload that leads to the metadata service of the cloud is refused', async () => {
  await using registry = await FakeRegistry.start();
  using remote = client();
  registry.behave = (request, response) => {
    if (request.method !== 'POST') return false;
    response.writeHead(202, { location: 'https://169.254.169.254/latest', 'content-length': 0 }).end();
    return true;
  };
  await assert.rejects(
    remote.pushBlob(registry.reference('a'), blobOf(Buffer.from('x')), {}),
    failsAs('forbidden', /169\.254\.169\.254.*refused/),
  );
});

test('a token is asked for with the right to push, and to read where a blob is mounted from', async () => {
  await using registry = await FakeRegistry.start();
  using remote = client();
  const scopes: string[][] = [];
  registry.behave = (request, response) => {
    const url = new URL(request.url!, 'http://x');
    if (url.pathname === '/token') {
      scopes.push(url.searchParams.getAll('scope'));
      response.end(JSON.stringify({ token: `t${scopes.length}` }));
      return true;
    }
    if (request.headers.authorization) return false;
    const realm = `http://${registry.host}/token`;
    refuse(response, 401, 'UNAUTHORIZED', 'authentication required', {
      'www-authenticate': `Bearer realm="${realm}",service="s"`,
    });
    return true;
  };
  const blob = blobOf(Buffer.from('content'), ['other']);
  const credentials = { username: 'ann', password: 'secret' };
  await remote.pushBlob(registry.reference('a'), blob, { credentials });
  assert.deepEqual(scopes, [['repository:a:pull,push'], ['repository:a:pull,push', 'repository:other:pull']]);
});

test('a token that ends in the middle is replaced, and the body is sent again', async () => {
  await using registry = await FakeRegistry.start();
  using remote = client();
  let tokens = 0;
  registry.behave = async (request, response) => {
    if (request.url!.startsWith('/token')) {
      response.end(JSON.stringify({ token: `t${++tokens}` }));
      return true;
    }
    const good = request.headers.authorization === `Bearer t${request.method === 'PUT' ? 2 : 1}`;
    if (good || (request.method === 'POST' && tokens > 0)) return false;
    request.resume();
    await sleep(20);
    refuse(response, 401, 'UNAUTHORIZED', 'authentication required', {
      'www-authenticate': `Bearer realm="http://${registry.host}/token"`,
    });
    return true;
  };
  const bytes = randomBytes(400_000);
  const blob = blobOf(bytes);
  assert.deepEqual(await remote.pushBlob(registry.reference('a'), blob, {}), { kind: 'sent' });
  assert.deepEqual(blob.opened, [0, 0]);
  assert.deepEqual(registry.blob(blob.descriptor.digest), bytes);
});

test('a manifest goes under its tag with its media type, and must be what the registry says it got', async () => {
  await using registry = await FakeRegistry.start();
  using remote = client();
  const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2 }));
  const descriptor = { mediaType: mediaTypes.ociManifest, digest: digestOf(bytes), size: bytes.length };
  await remote.pushManifest(registry.reference('a/b:1'), { descriptor, bytes }, {});
  assert.deepEqual(registry.manifest('a/b', '1'), bytes);
  await remote.pushManifest(registry.reference('a/b'), { descriptor, bytes }, {});
  assert.equal(registry.seen.at(-1)!.url, `/v2/a/b/manifests/${descriptor.digest}`);
  registry.behave = (_, response) => {
    response.writeHead(201, { 'docker-content-digest': digestOf('other'), 'content-length': 0 }).end();
    return true;
  };
  await assert.rejects(
    remote.pushManifest(registry.reference('a/b:2'), { descriptor, bytes }, {}),
    failsAs('corrupt', /it changes what it is given/),
  );
});
