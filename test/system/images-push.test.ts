/** Pushes to Debian's docker-registry, checked by skopeo: what arrives is what was here, by every way of signing in. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { copyFileSync, mkdirSync, readFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { connect, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { test } from 'node:test';
import { promisify } from 'node:util';
import type { EngineError } from '../../src/base/errors.ts';
import { all } from '../../src/images/fake-images.ts';
import { hexOf } from '../../src/oci/digest.ts';
import { busyboxImage, layoutTar, makeImage, multiPlatformImage, type TestImage } from '../lib/images.ts';
import { makeServerCertificate, startRegistry, startTokenServer } from '../lib/registry.ts';
import { openImages, type RealImages, tempDir } from './images-fixture.ts';

const run = promisify(execFile);
const user = { username: 'ann', password: 'correct horse battery' };
const one = { allTags: false };

async function load(engine: RealImages, image: TestImage, name: string): Promise<void> {
  await all(engine.images.load(Readable.from([layoutTar(image, name)]), { quiet: true }));
}

/** Every blob of the image, taken from the registry by skopeo, and the digest that the tag has there. */
async function assertArrived(image: TestImage, name: string, dir: string, ...options: string[]): Promise<void> {
  const to = join(dir, `copy-${randomBytes(4).toString('hex')}`);
  const copy = ['--insecure-policy', 'copy', '--quiet', '--all', '--preserve-digests', '--src-tls-verify=false'];
  await run('skopeo', [...copy, ...options, `docker://${name}`, `oci:${to}:x`]);
  for (const [digest, bytes] of image.blobs)
    assert.deepEqual(readFileSync(join(to, 'blobs/sha256', hexOf(digest))), bytes, digest);
  const index = JSON.parse(readFileSync(join(to, 'index.json'), 'utf8')) as { manifests: { digest: string }[] };
  assert.equal(index.manifests[0]!.digest, image.descriptor.digest);
}

test('a plain registry: gzip, zstd and plain layers, an index with every platform; again nothing is sent', async () => {
  await using dir = await tempDir();
  await using registry = await startRegistry();
  await using engine = await openImages(dir.path);
  for (const [tag, image] of Object.entries({
    gzip: busyboxImage({ extraLayers: 3 }),
    zstd: busyboxImage({ compression: 'zstd' }),
    plain: busyboxImage({ compression: 'none' }),
    docker: busyboxImage({ docker: true }),
    many: multiPlatformImage(),
  })) {
    const name = `${registry.host}/a/b:${tag}`;
    await load(engine, image, name);
    await all(engine.images.push(name, one));
    await assertArrived(image, name, dir.path);
    const again = await all(engine.images.push(name, one));
    assert.ok(again.some(({ status }) => status === 'Layer already exists'));
    assert.ok(again.every(({ status }) => status !== 'Pushing' && status !== 'Pushed'));
  }
});

test('blobs of another repository of the registry are mounted', async () => {
  await using dir = await tempDir();
  await using registry = await startRegistry();
  await using engine = await openImages(dir.path);
  const image = busyboxImage({ extraLayers: 2 });
  await registry.push(image, 'first:1');
  await all(engine.images.pull(`${registry.host}/first:1`, {}));
  await engine.images.tag(`${registry.host}/first:1`, `${registry.host}/second/deep:1`);
  const lines = await all(engine.images.push(`${registry.host}/second/deep:1`, one));
  assert.equal(lines.filter(({ status }) => status === 'Mounted from first').length, 3);
  await assertArrived(image, `${registry.host}/second/deep:1`, dir.path);
});

test('a registry that asks for a password: none, a wrong one, the right one', async () => {
  await using dir = await tempDir();
  await using registry = await startRegistry({ user });
  await using engine = await openImages(dir.path);
  const name = `${registry.host}/private/app:1`;
  const image = busyboxImage();
  await load(engine, image, name);
  const push = (credentials?: { username: string; password: string }) =>
    all(engine.images.push(name, { ...one, ...(credentials ? { credentials } : {}) }));
  await assert.rejects(push(), /no basic auth credentials/);
  await assert.rejects(push({ ...user, password: 'wrong secret' }), (error: EngineError) => {
    assert.equal(error.kind, 'unauthorized');
    assert.doesNotMatch(error.message, /wrong secret/);
    return true;
  });
  await push(user);
  await assertArrived(image, name, dir.path, '--src-creds', `${user.username}:${user.password}`);
});

test('a registry behind TLS with an authority of its own, and one that nobody knows', async () => {
  await using dir = await tempDir();
  const tls = makeServerCertificate(dir.path, ['127.0.0.1']);
  await using registry = await startRegistry({ tls });
  await using engine = await openImages(dir.path);
  mkdirSync(join(dir.path, 'certs.d', registry.host), { recursive: true });
  copyFileSync(tls.authority, join(dir.path, 'certs.d', registry.host, 'ca.crt'));
  const image = busyboxImage();
  await load(engine, image, `${registry.host}/app:1`);
  await all(engine.images.push(`${registry.host}/app:1`, one));
  await assertArrived(image, `${registry.host}/app:1`, dir.path);
});

test('a registry with a token server: the right to push is asked for; without a password it is refused', async () => {
  await using dir = await tempDir();
  await using tokens = await startTokenServer(user);
  await using registry = await startRegistry({ tokens });
  await using engine = await openImages(dir.path);
  const name = `${registry.host}/team/app:1`;
  const image = busyboxImage({ extraLayers: 2 });
  await load(engine, image, name);
  await assert.rejects(all(engine.images.push(name, one)), (error: EngineError) => {
    assert.equal(error.kind, 'unauthorized');
    assert.match(error.message, /unauthorized: authentication required/);
    return true;
  });
  await assert.rejects(
    all(engine.images.push(name, { ...one, credentials: { ...user, password: 'wrong' } })),
    /unauthorized: incorrect username or password/,
  );
  await all(engine.images.push(name, { ...one, credentials: user }));
  assert.ok(tokens.seen.some(({ form }) => form.getAll('scope').includes('repository:team/app:pull,push')));
  await assertArrived(image, name, dir.path, '--src-creds', `${user.username}:${user.password}`);
});

test('tokens that live for a second are got anew', async () => {
  await using dir = await tempDir();
  await using tokens = await startTokenServer(user);
  tokens.life = 1;
  await using registry = await startRegistry({ tokens });
  await using engine = await openImages(dir.path);
  for (const tag of ['1', '2']) {
    const image = makeImage({ layers: [[{ name: tag, content: randomBytes(3_000_000) }]] });
    await load(engine, image, `${registry.host}/app:${tag}`);
    await new Promise((resolve) => setTimeout(resolve, 1100));
    await all(engine.images.push(`${registry.host}/app:${tag}`, { ...one, credentials: user }));
  }
});

/** In front of a registry: cuts the connection that has brought so many bytes, as often as told. */
async function cuttingProxy(port: number, after: number, times: number) {
  const state = { left: times, sent: 0 };
  const open = new Set<Socket>();
  const server = createServer((client) => {
    const upstream = connect(port, '127.0.0.1');
    let here = 0;
    for (const socket of [client, upstream]) {
      open.add(socket);
      socket.on('error', () => {});
      socket.on('close', () => {
        open.delete(socket);
        client.destroy();
        upstream.destroy();
      });
    }
    upstream.pipe(client);
    client.on('data', (chunk: Buffer) => {
      here += chunk.length;
      state.sent += chunk.length;
      const room = upstream.write(chunk);
      if (here > after && state.left > 0) {
        state.left--;
        // What was passed on arrives, then the connection ends.
        client.pause();
        setTimeout(() => client.destroy(), 50);
      } else if (!room) {
        client.pause();
        upstream.once('drain', () => client.resume());
      }
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    host: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    state,
    async [Symbol.asyncDispose]() {
      for (const socket of open) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

// docker-registry takes nothing more of an upload that was cut (its state no longer fits): it begins anew. Where the
// registry can go on, src/remotes/push-blob.test.ts has it.
test('R21 an upload that is cut twice arrives whole', async () => {
  await using dir = await tempDir();
  await using registry = await startRegistry();
  await using proxy = await cuttingProxy(registry.port, 6_000_000, 2);
  await using engine = await openImages(dir.path);
  const size = 20_000_000;
  const image = makeImage({ compression: 'none', layers: [[{ name: 'big', content: randomBytes(size) }]] });
  const name = `${proxy.host}/app:1`;
  await load(engine, image, name);
  await all(engine.images.push(name, one));
  assert.equal(proxy.state.left, 0);
  assert.ok(proxy.state.sent < size * 2, `${proxy.state.sent} bytes for ${size}`);
  await assertArrived(image, `${registry.host}/app:1`, dir.path);
});

test('R21 a registry that goes down in the middle: the push fails, and works when it is back', async () => {
  await using dir = await tempDir();
  await using registry = await startRegistry();
  await using engine = await openImages(dir.path);
  let down = true;
  await using proxy = await cuttingProxy(registry.port, 1_000_000, 1);
  const image = makeImage({ compression: 'none', layers: [[{ name: 'big', content: randomBytes(5_000_000) }]] });
  const name = `${proxy.host}/app:1`;
  await load(engine, image, name);
  proxy.state.left = Number.POSITIVE_INFINITY;
  await assert.rejects(all(engine.images.push(name, one)), (error: EngineError) => {
    down = false;
    assert.equal(error.kind, 'unavailable');
    return true;
  });
  assert.equal(down, false);
  assert.equal((await engine.images.get(name)).id, image.descriptor.digest);
  proxy.state.left = 0;
  await all(engine.images.push(name, one));
  await assertArrived(image, `${registry.host}/app:1`, dir.path);
});

test('who stops listening stops the push, and what is here stays', async () => {
  await using dir = await tempDir();
  await using registry = await startRegistry();
  await using engine = await openImages(dir.path);
  const image = makeImage({ compression: 'none', layers: [[{ name: 'big', content: randomBytes(30_000_000) }]] });
  const name = `${registry.host}/app:1`;
  await load(engine, image, name);
  for await (const { status } of engine.images.push(name, one)) if (status === 'Pushing') break;
  await assert.rejects(run('skopeo', ['inspect', '--tls-verify=false', `docker://${name}`]));
  await all(engine.images.push(name, one));
  await assertArrived(image, name, dir.path);
});
