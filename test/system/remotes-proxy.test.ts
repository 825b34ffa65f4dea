import assert from 'node:assert/strict';
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { after, test } from 'node:test';
import { EngineError } from '../../src/base/errors.ts';
import { createLog, silentLog } from '../../src/base/log.ts';
import { parseReference } from '../../src/oci/reference.ts';
import { readManifest } from '../../src/oci/validate.ts';
import { FakeRegistry } from '../../src/remotes/fake-registry.ts';
import { HttpRegistry } from '../../src/remotes/http-registry.ts';
import { noProxies } from '../../src/remotes/proxies.ts';
import type { Credentials, RegistryConfig } from '../../src/remotes/registry.ts';
import { startForwardProxy } from '../lib/forward-proxy.ts';
import { makeImage, type TestImage } from '../lib/images.ts';
import { makeServerCertificate, startRegistry } from '../lib/registry.ts';

const scratch = mkdtempSync(join(tmpdir(), 'remotes-proxy-'));
after(() => rmSync(scratch, { recursive: true }));
const user = { username: 'ann', password: 'correct horse battery' };

/** Resolves no name but that of the proxy: what is reached was reached by the proxy. */
function client(config: Partial<RegistryConfig>, log = silentLog) {
  return new HttpRegistry({
    config: { insecure: [], mirrors: {}, certificates: '/nonexistent', ...config },
    log,
    timing: { backoff: 2, attempts: 2 },
    lookup: (name, options, done) => {
      if (name !== 'proxy.test') done(Object.assign(new Error(name), { code: 'ENOTFOUND' }), []);
      else if (options.all) done(null, [{ address: '127.0.0.1', family: 4 }]);
      else done(null, '127.0.0.1', 4);
    },
  });
}

async function pulls(remote: HttpRegistry, name: string, image: TestImage, credentials?: Credentials) {
  const reference = parseReference(name);
  const options = credentials ? { credentials } : {};
  const top = await remote.resolve(reference, options);
  assert.equal(top.descriptor.digest, image.descriptor.digest);
  const { config, layers } = readManifest(top.bytes, top.descriptor.mediaType);
  for (const descriptor of [config, ...layers]) {
    const { stream } = await remote.openBlob(reference, descriptor, 0, options);
    assert.deepEqual(await buffer(stream), image.blobs.get(descriptor.digest));
  }
}

const small = () => makeImage({ layers: [[{ name: 'a', content: 'first' }], [{ name: 'b', content: 'second' }]] });
const fails = (words: RegExp) => (error: unknown) => {
  assert.ok(error instanceof EngineError, String(error));
  assert.match(error.message, words);
  assert.equal(error.kind, 'unavailable');
  assert.doesNotMatch(`${error.message} ${error.hint} ${error.stack}`, /hunter2/);
  return true;
};

/** A folder of authorities for this host. */
function trusting(host: string, authority: string): string {
  const folder = mkdtempSync(join(scratch, 'certs.d-'));
  mkdirSync(join(folder, host));
  copyFileSync(authority, join(folder, host, 'ca.crt'));
  return folder;
}

test('a registry with TLS and a password behind a proxy with a password: each gets its own and no other', async () => {
  const tls = makeServerCertificate(mkdtempSync(join(scratch, 'tls-')), ['registry.test', '127.0.0.1']);
  await using registry = await startRegistry({ tls, user });
  await using proxy = await startForwardProxy({ user: 'bob:hunter2@' });
  const image = small();
  await registry.push(image, 'app:1');
  const host = `registry.test:${registry.port}`;
  const lines: string[] = [];
  using remote = client(
    {
      certificates: trusting(host, tls.authority),
      proxies: { ...noProxies, https: `http://bob:hunter2%40@proxy.test:${proxy.port}` },
    },
    createLog({ level: 'debug', format: 'text', write: (line) => void lines.push(line) }),
  );
  await pulls(remote, `${host}/app:1`, image, user);
  assert.deepEqual(await remote.login(host, user), { identityToken: '' });
  assert.ok(proxy.seen.length > 0);
  for (const { line, authorization } of proxy.seen) {
    assert.equal(line, `CONNECT ${host}`);
    assert.equal(authorization, undefined, 'the proxy never sees who signs in at the registry');
  }
  assert.doesNotMatch(lines.join(''), /hunter2/);
  // The certificate is still the registry's own.
  using stranger = client({ proxies: { ...noProxies, https: `http://bob:hunter2%40@proxy.test:${proxy.port}` } });
  await assert.rejects(
    stranger.resolve(parseReference(`${host}/app:1`), {}),
    fails(/x509: certificate signed by unknown authority$/),
  );
});

test('a proxy that is itself spoken to over TLS is verified, and leads to registries with and without TLS', async () => {
  const tls = makeServerCertificate(mkdtempSync(join(scratch, 'tls-')), ['registry.test', 'proxy.test', '127.0.0.1']);
  const files = { cert: readFileSync(tls.certificate), key: readFileSync(tls.key) };
  await using proxy = await startForwardProxy({ tls: files });
  await using secure = await startRegistry({ tls });
  await using plain = await startRegistry();
  const image = small();
  const url = `https://proxy.test:${proxy.port}`;
  const proxies = { http: url, https: url, none: '' };
  const certificates = trusting(`proxy.test:${proxy.port}`, tls.authority);
  using remote = client({ certificates, proxies, insecure: ['registry.test'] });
  for (const registry of [secure, plain]) {
    await registry.push(image, 'app:1');
    await pulls(remote, `registry.test:${registry.port}/app:1`, image);
  }
  assert.ok(proxy.seen.some(({ line }) => line.startsWith(`GET http://registry.test:${plain.port}/v2/app/`)));
  using stranger = client({ proxies, insecure: ['registry.test'] });
  await assert.rejects(
    stranger.resolve(parseReference(`registry.test:${secure.port}/app:1`), {}),
    fails(/proxyconnect tcp: tls: failed to verify certificate: x509: certificate signed by unknown authority$/),
  );
});

test('a registry without TLS behind a proxy is asked by its whole URL, and is not told who asks the proxy', async () => {
  await using registry = await FakeRegistry.start();
  await using proxy = await startForwardProxy({ user: 'bob:hunter2' });
  const { layer } = registry.putImage('app', '1', Buffer.from('a layer'));
  const host = `registry.test:${registry.port}`;
  const at = `bob:hunter2@proxy.test:${proxy.port}`;
  using remote = client({ insecure: [host], proxies: { http: `http://${at}`, https: at, none: '' } });
  const reference = parseReference(`${host}/app:1`);
  await remote.resolve(reference, {});
  const { stream } = await remote.openBlob(reference, layer, 2, {});
  assert.equal((await buffer(stream)).toString(), 'layer');
  assert.equal(registry.seen.length, 2);
  for (const { headers } of registry.seen) {
    assert.equal(headers.host, host);
    assert.equal(headers['proxy-authorization'], undefined);
  }
  assert.ok(proxy.seen.some(({ line }) => line === `GET http://${host}/v2/app/manifests/1`));
});

test('noProxy and this machine go past the proxy', async () => {
  await using registry = await FakeRegistry.start();
  await using proxy = await startForwardProxy();
  registry.putImage('app', '1', Buffer.from('a layer'));
  const at = `http://proxy.test:${proxy.port}`;
  using remote = client({ proxies: { http: at, https: at, none: '' } });
  await remote.resolve(registry.reference('app:1'), {});
  using past = client({ insecure: ['proxy.test'], proxies: { http: at, https: at, none: '.other.test,proxy.test' } });
  await past.resolve(parseReference(`proxy.test:${registry.port}/app:1`), {});
  assert.equal(registry.seen.length, 2);
  assert.deepEqual(proxy.seen, []);
});

test('a proxy that is not there, refuses or wants a password is named, and its password is not', async () => {
  const reference = parseReference('registry.test/app:1');
  const asks = async (https: string) => {
    using remote = client({ proxies: { ...noProxies, https } });
    return await remote.resolve(reference, {});
  };
  await assert.rejects(
    asks('http://bob:hunter2@127.0.0.1:1'),
    fails(
      /^Get "https:\/\/registry\.test\/v2\/": proxyconnect tcp: dial tcp 127\.0\.0\.1:1: connect: connection refused$/,
    ),
  );
  await assert.rejects(
    asks('http://bob:hunter2@gone.test:3128'),
    fails(/proxyconnect tcp: dial tcp: lookup gone\.test: no such host$/),
  );
  await assert.rejects(
    asks('socks5://bob:hunter2@proxy.test'),
    fails(/the proxy for https is not one that can be used$/),
  );
  await using strict = await startForwardProxy({ user: 'bob:other' });
  await assert.rejects(
    asks(`http://bob:hunter2@proxy.test:${strict.port}`),
    fails(/^Get "https:\/\/registry\.test\/v2\/": Proxy Authentication Required$/),
  );
  await using broken = await startForwardProxy({ answers: 502 });
  await assert.rejects(asks(`proxy.test:${broken.port}`), fails(/": Bad Gateway$/));
  assert.equal(broken.seen.length, 2, 'tried again');
  using plain = client({
    insecure: ['registry.test'],
    proxies: { ...noProxies, http: `bob:hunter2@proxy.test:${strict.port}` },
  });
  await assert.rejects(plain.resolve(reference, {}), fails(/Proxy Authentication Required$/));
});

test('S32 S33 a proxy on this machine does not make a registry one of this machine, and a redirect leaves credentials behind', async () => {
  await using registry = await FakeRegistry.start();
  await using other = await FakeRegistry.start();
  await using proxy = await startForwardProxy();
  const blob = other.putBlob(Buffer.from('a layer'));
  const at = `http://127.0.0.1:${proxy.port}`;
  using remote = client({ insecure: ['registry.test', 'other.test'], proxies: { http: at, https: at, none: '' } });
  let location = `http://127.0.0.1:${other.port}`;
  registry.behave = (request, response) => {
    response.writeHead(307, { location: location + request.url }).end();
    return true;
  };
  const reference = parseReference(`registry.test:${registry.port}/app:1`);
  const options = { credentials: { registryToken: 'canary' } };
  await assert.rejects(
    remote.openBlob(reference, blob, 0, options),
    (error) => error instanceof EngineError && error.kind === 'forbidden',
  );
  assert.equal(other.seen.length, 0);
  location = `http://bob:hunter2@other.test:${other.port}`;
  const { stream } = await remote.openBlob(reference, blob, 0, options);
  assert.equal((await buffer(stream)).toString(), 'a layer');
  assert.equal(registry.seen.at(-1)!.headers.authorization, 'Bearer canary');
  assert.equal(other.seen[0]!.headers.authorization, undefined);
});
