import assert from 'node:assert/strict';
import { copyFileSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import type { LookupFunction } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { EngineError } from '../../src/base/errors.ts';
import { silentLog } from '../../src/base/log.ts';
import { FileContentStore } from '../../src/content/file-store.ts';
import { parseReference } from '../../src/oci/reference.ts';
import { readIndex, readManifest } from '../../src/oci/validate.ts';
import { fetchBlob } from '../../src/remotes/fetch-blob.ts';
import { HttpRegistry } from '../../src/remotes/http-registry.ts';
import type { Credentials, RegistryConfig } from '../../src/remotes/registry.ts';
import { busyboxImage, makeImage, multiPlatformImage, type TestImage } from '../lib/images.ts';
import { makeServerCertificate, offlineToken, startRegistry, startTokenServer } from '../lib/registry.ts';

const scratch = mkdtempSync(join(tmpdir(), 'remotes-'));
after(() => rmSync(scratch, { recursive: true }));

const user = { username: 'ann', password: 'correct horse battery' };

function client(config: Partial<RegistryConfig> = {}, lookup?: LookupFunction) {
  return new HttpRegistry({
    config: { insecure: [], mirrors: {}, certificates: '/nonexistent', ...config },
    log: silentLog,
    timing: { backoff: 5 },
    ...(lookup ? { lookup } : {}),
  });
}

/** Resolves a name and fetches everything below it into a new store; compares with what was put there. */
async function pulls(remote: HttpRegistry, name: string, image: TestImage, credentials?: Credentials) {
  const reference = parseReference(name);
  const options = credentials ? { credentials } : {};
  const store = new FileContentStore({ root: mkdtempSync(join(scratch, 'store-')), log: silentLog });
  const top = await remote.resolve(reference, options);
  assert.equal(top.descriptor.digest, image.descriptor.digest);
  const manifests = top.descriptor.mediaType.includes('index')
    ? await Promise.all(
        readIndex(top.bytes, top.descriptor.mediaType).manifests.map((entry) =>
          remote.fetchManifest(reference, entry, options),
        ),
      )
    : [top];
  for (const { bytes } of [top, ...manifests]) await store.put(bytes);
  const wanted = manifests.flatMap(({ bytes, descriptor }) => {
    const { config, layers } = readManifest(bytes, descriptor.mediaType);
    return [config, ...layers];
  });
  await Promise.all(wanted.map((descriptor) => fetchBlob(remote, store, reference, descriptor, options)));
  assert.deepEqual([...(await store.digests())].sort(), [...image.blobs.keys()].sort());
}

const small = () => makeImage({ layers: [[{ name: 'a', content: 'first' }], [{ name: 'b', content: 'second' }]] });
const failsAs = (kind: string, words: RegExp) => (error: unknown) => {
  assert.ok(error instanceof EngineError, String(error));
  assert.match(error.message, words);
  assert.equal(error.kind, kind);
  return true;
};

test('a plain registry on loopback: image of several layers, index of several platforms, tags in pages', async () => {
  await using registry = await startRegistry();
  using remote = client();
  const busybox = busyboxImage({ extraLayers: 3 });
  await registry.push(busybox, 'library/busybox:1');
  await pulls(remote, `${registry.host}/library/busybox:1`, busybox);
  const index = multiPlatformImage();
  await registry.push(index, 'library/busybox:multi');
  await pulls(remote, `${registry.host}/library/busybox:multi`, index);
  assert.deepEqual([...(await remote.tags(parseReference(`${registry.host}/library/busybox`), {}))].sort(), [
    '1',
    'multi',
  ]);
  await assert.rejects(
    remote.resolve(parseReference(`${registry.host}/library/busybox:2`), {}),
    failsAs('not-found', /^manifest for \S+\/library\/busybox:2 not found: manifest unknown: manifest unknown$/),
  );
  await assert.rejects(
    remote.tags(parseReference(`${registry.host}/gone`), {}),
    failsAs('not-found', /^repository \S+\/gone not found: name unknown: repository name not known to registry$/),
  );
  assert.deepEqual(await remote.login(registry.host, user), { identityToken: '' });
});

test('basic authentication: the right password pulls and signs in, none and a wrong one are told apart', async () => {
  await using registry = await startRegistry({ user });
  using remote = client();
  const image = small();
  await registry.push(image, 'app:1');
  const name = `${registry.host}/app:1`;
  await pulls(remote, name, image, user);
  assert.deepEqual(await remote.login(registry.host, user), { identityToken: '' });
  await assert.rejects(remote.resolve(parseReference(name), {}), failsAs('unauthorized', /no basic auth credentials$/));
  const wrong = { ...user, password: 'wrong-secret' };
  for (const attempt of [
    () => remote.resolve(parseReference(name), { credentials: wrong }),
    () => remote.login(registry.host, wrong),
  ])
    await assert.rejects(attempt(), (error) => {
      assert.doesNotMatch(String(error), /wrong-secret/);
      return failsAs('unauthorized', new RegExp(`^Get "http://${registry.host}/v2/": unauthorized: `))(error);
    });
});

test('S37 TLS by an authority of certs.d is verified; without it the registry is refused, not spoken to in the clear', async () => {
  const tls = makeServerCertificate(mkdtempSync(join(scratch, 'tls-')), ['registry.test', '127.0.0.1']);
  await using registry = await startRegistry({ tls });
  const image = small();
  await registry.push(image, 'app:1');
  const name = `registry.test:${registry.port}/app:1`;
  // A name that is not localhost, and yet leads here.
  const lookup: LookupFunction = (_, options, done) =>
    options.all ? done(null, [{ address: '127.0.0.1', family: 4 }]) : done(null, '127.0.0.1', 4);

  using stranger = client({}, lookup);
  await assert.rejects(
    stranger.resolve(parseReference(name), {}),
    failsAs(
      'unavailable',
      /^Get "https:\/\/registry\.test:\d+\/v2\/": tls: failed to verify certificate: x509: certificate signed by unknown authority$/,
    ),
  );
  const certificates = mkdtempSync(join(scratch, 'certs.d-'));
  mkdirSync(join(certificates, `registry.test:${registry.port}`));
  copyFileSync(tls.authority, join(certificates, `registry.test:${registry.port}`, 'ca.crt'));
  using trusting = client({ certificates }, lookup);
  await pulls(trusting, name, image);

  using careless = client({ insecure: [`registry.test:${registry.port}`] }, lookup);
  await pulls(careless, name, image);
  using local = client();
  await pulls(local, `${registry.host}/app:1`, image);
});

test('a registry that demands a client certificate gets the one of certs.d; without it, with a stranger, or half of one it is told', async () => {
  const tls = makeServerCertificate(mkdtempSync(join(scratch, 'tls-')), ['registry.test', '127.0.0.1']);
  const own = makeServerCertificate(mkdtempSync(join(scratch, 'client-')), ['client.test']);
  const strange = makeServerCertificate(mkdtempSync(join(scratch, 'client-')), ['client.test']);
  await using registry = await startRegistry({ tls, clientAuthority: own.authority });
  const host = `registry.test:${registry.port}`;
  /** certs.d with the registry's authority and this client's certificate. */
  const certsOf = (client: Partial<typeof own>) => {
    const certificates = mkdtempSync(join(scratch, 'certs.d-'));
    const folder = join(certificates, host);
    mkdirSync(folder);
    copyFileSync(tls.authority, join(folder, 'ca.crt'));
    if (client.certificate) copyFileSync(client.certificate, join(folder, 'client.cert'));
    if (client.key) copyFileSync(client.key, join(folder, 'client.key'));
    return certificates;
  };
  const lookup: LookupFunction = (_, options, done) =>
    options.all ? done(null, [{ address: '127.0.0.1', family: 4 }]) : done(null, '127.0.0.1', 4);
  const image = small();
  await registry.push(image, 'app:1', join(certsOf(own), host));
  const certificates = certsOf(own);
  using remote = client({ certificates }, lookup);
  await pulls(remote, `${host}/app:1`, image);
  assert.deepEqual(await remote.login(host, user), { identityToken: '' });
  using careless = client({ certificates, insecure: [host] }, lookup);
  await pulls(careless, `${host}/app:1`, image);

  const asks = async (certificates: string, insecure: string[] = []) => {
    using remote = client({ certificates, insecure }, lookup);
    return await remote.resolve(parseReference(`${host}/app:1`), {});
  };
  for (const insecure of [[], [host]])
    await assert.rejects(asks(certsOf({}), insecure), (error) => {
      assert.match((error as EngineError).hint ?? '', /client\.cert and client\.key/);
      return failsAs(
        'unavailable',
        /^Get "https:\/\/\S+\/v2\/": remote error: tls: (certificate required|bad certificate)$/,
      )(error);
    });
  await assert.rejects(
    asks(certsOf(strange)),
    failsAs('unavailable', /remote error: tls: (unknown certificate|bad certificate)/),
  );
  await assert.rejects(
    asks(certsOf({ certificate: own.certificate })),
    failsAs('invalid', /missing key client\.key for client certificate client\.cert/),
  );
  await assert.rejects(asks(certsOf({ key: own.key })), failsAs('invalid', /missing client certificate client\.cert/));
  await assert.rejects(
    asks(certsOf({ certificate: own.certificate, key: strange.key })),
    failsAs('invalid', /^read certificates in \S+: .*key values mismatch/),
  );
});

test('S37 a registry without TLS that is not listed as insecure is refused with what to do', async () => {
  await using registry = await startRegistry();
  const lookup: LookupFunction = (_, options, done) =>
    options.all ? done(null, [{ address: '127.0.0.1', family: 4 }]) : done(null, '127.0.0.1', 4);
  const image = small();
  await registry.push(image, 'app:1');
  const name = `registry.test:${registry.port}/app:1`;
  using remote = client({}, lookup);
  await assert.rejects(remote.resolve(parseReference(name), {}), (error) => {
    assert.match((error as EngineError).hint ?? '', /insecureRegistries/);
    return failsAs('unavailable', /http: server gave HTTP response to HTTPS client$/)(error);
  });
  for (const insecure of [['registry.test'], [`registry.test:${registry.port}`], ['127.0.0.0/8']]) {
    using listed = client({ insecure }, lookup);
    await pulls(listed, name, image);
  }
});

test('a registry behind a token server: password, identity token, nobody, wrong password', async () => {
  await using tokens = await startTokenServer(user);
  await using registry = await startRegistry({ tokens });
  using remote = client();
  const image = small();
  await registry.push(image, 'team/app:1');
  const name = `${registry.host}/team/app:1`;
  tokens.seen.length = 0;
  await pulls(remote, name, image, user);
  assert.equal(tokens.seen.length, 1, 'one token serves the manifest and all blobs');
  assert.equal(tokens.seen[0]!.form.get('scope'), 'repository:team/app:pull');

  const { identityToken } = await remote.login(registry.host, user);
  assert.equal(identityToken, offlineToken);
  await pulls(remote, name, image, { identityToken });
  assert.equal(tokens.seen.at(-1)!.method, 'POST');

  await assert.rejects(
    remote.resolve(parseReference(name), {}),
    failsAs(
      'not-found',
      /^pull access denied for \S+\/team\/app, repository does not exist or may require 'docker login': denied: requested access to the resource is denied$/,
    ),
  );
  const wrong = { ...user, password: 'wrong-secret' };
  for (const attempt of [
    () => remote.resolve(parseReference(name), { credentials: wrong }),
    () => remote.login(registry.host, wrong),
  ])
    await assert.rejects(
      attempt(),
      failsAs(
        'unauthorized',
        new RegExp(`^Get "http://${registry.host}/v2/": unauthorized: incorrect username or password$`),
      ),
    );
});
