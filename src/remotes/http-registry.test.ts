import assert from 'node:assert/strict';
import { buffer } from 'node:stream/consumers';
import { test } from 'node:test';
import { inspect } from 'node:util';
import { EngineError, type ErrorKind } from '../base/errors.ts';
import { createLog, silentLog } from '../base/log.ts';
import { digestOf } from '../oci/digest.ts';
import { mediaTypes } from '../oci/manifest.ts';
import { parseReference } from '../oci/reference.ts';
import { guardFor } from './addresses.ts';
import { FakeRegistry, refuse } from './fake-registry.ts';
import { HttpRegistry } from './http-registry.ts';
import type { RegistryConfig } from './registry.ts';

const quick = { connect: 1000, stall: 200, backoff: 2, longestWait: 40, attempts: 5 };

/** Names lead to `address`. */
function client(config: Partial<RegistryConfig> = {}, log = silentLog, address = '169.254.169.254') {
  return new HttpRegistry({
    lookup: (_, options, done) => (options.all ? done(null, [{ address, family: 4 }]) : done(null, address, 4)),
    config: { insecure: [], mirrors: {}, certificates: '/nonexistent', ...config },
    log,
    timing: quick,
  });
}

function fails(kind: ErrorKind, words: RegExp | string) {
  return (error: unknown) => {
    assert.ok(error instanceof EngineError, String(error));
    if (typeof words === 'string') assert.equal(error.message, words);
    else assert.match(error.message, words);
    assert.equal(error.kind, kind);
    return true;
  };
}

const layer = Buffer.from('bytes of a layer');

test('resolve gives the manifest with its own bytes, its media type and its digest', async () => {
  await using registry = await FakeRegistry.start();
  using remote = client();
  const { manifest } = registry.putImage('team/app', '1.0', layer);
  const found = await remote.resolve(registry.reference('team/app:1.0'), {});
  assert.deepEqual(found.descriptor, manifest);
  assert.equal(digestOf(found.bytes), manifest.digest);
  const [request] = registry.asked('/manifests/');
  for (const type of [mediaTypes.ociIndex, mediaTypes.ociManifest, mediaTypes.dockerIndex, mediaTypes.dockerManifest])
    assert.ok(request!.headers.accept!.includes(type));
});

test('the tag is latest where none is given, and a digest wins over a tag', async () => {
  await using registry = await FakeRegistry.start();
  using remote = client();
  const { manifest } = registry.putImage('app', 'latest', layer);
  await remote.resolve(registry.reference('app'), {});
  await remote.resolve(registry.reference(`app:nope@${manifest.digest}`), {});
  assert.deepEqual(
    registry.asked('/manifests/').map(({ url }) => url),
    ['/v2/app/manifests/latest', `/v2/app/manifests/${manifest.digest}`],
  );
});

test('a manifest that is not there is not found, in the words that Docker has', async () => {
  await using registry = await FakeRegistry.start();
  using remote = client();
  await assert.rejects(
    remote.resolve(registry.reference('app:gone'), {}),
    fails('not-found', `manifest for ${registry.host}/app:gone not found: manifest unknown: manifest unknown`),
  );
});

test('an image that nobody may see is not found, in the words that Docker has', async () => {
  await using registry = await FakeRegistry.start();
  using remote = client();
  registry.behave = (_, response) => {
    refuse(response, 403, 'DENIED', 'requested access to the resource is denied');
    return true;
  };
  await assert.rejects(
    remote.resolve(registry.reference('app'), {}),
    fails(
      'not-found',
      `pull access denied for ${registry.host}/app, repository does not exist or may require 'docker login': denied: requested access to the resource is denied`,
    ),
  );
});

test('a registry that is down is named with what the connection said', async () => {
  const registry = await FakeRegistry.start();
  const { host } = registry;
  await registry[Symbol.asyncDispose]();
  using remote = client();
  await assert.rejects(
    remote.resolve(parseReference(`${host}/app`), {}),
    fails('unavailable', `Get "http://${host}/v2/": dial tcp ${host}: connect: connection refused`),
  );
});

test('S34 a manifest with other bytes than its digest names is corrupt, by header, by reference and by descriptor', async () => {
  await using registry = await FakeRegistry.start();
  using remote = client();
  const { manifest } = registry.putImage('app', 'latest', layer);
  registry.behave = (request, response) => {
    if (!request.url!.includes('/manifests/')) return false;
    response.writeHead(200, { 'content-type': manifest.mediaType, 'docker-content-digest': manifest.digest });
    response.end(JSON.stringify({ schemaVersion: 2, config: manifest, layers: [] }));
    return true;
  };
  const reference = registry.reference('app');
  await assert.rejects(remote.resolve(reference, {}), fails('corrupt', /expected sha256:.*, got sha256:/));
  await assert.rejects(remote.resolve(registry.reference(`app@${manifest.digest}`), {}), fails('corrupt', /expected/));
  await assert.rejects(remote.fetchManifest(reference, manifest, {}), fails('corrupt', /expected/));
});

test('S34 a manifest of another media type or size than announced, or above 4 MiB, is corrupt', async () => {
  await using registry = await FakeRegistry.start();
  using remote = client();
  const { manifest } = registry.putImage('app', 'latest', layer);
  const reference = registry.reference('app');
  const docker = { ...manifest, mediaType: mediaTypes.dockerManifest };
  await assert.rejects(remote.fetchManifest(reference, docker, {}), fails('corrupt', /expected media type/));
  await assert.rejects(
    remote.fetchManifest(reference, { ...manifest, size: manifest.size + 1 }, {}),
    fails('corrupt', /expected \d+ bytes/),
  );
  registry.putManifest(
    'app',
    'lies',
    { schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests: [] },
    mediaTypes.ociManifest,
  );
  await assert.rejects(remote.resolve(registry.reference('app:lies'), {}), fails('corrupt', /calls itself/));
  registry.putManifest('app', 'big', Buffer.alloc(4 * 1024 * 1024 + 1, 0x20), mediaTypes.ociManifest);
  await assert.rejects(remote.resolve(registry.reference('app:big'), {}), fails('corrupt', /larger than 4194304/));
});

test('a manifest of schema 1 is refused by name', async () => {
  await using registry = await FakeRegistry.start();
  using remote = client();
  registry.putManifest('app', 'old', { schemaVersion: 1 }, 'application/vnd.docker.distribution.manifest.v1+prettyjws');
  await assert.rejects(remote.resolve(registry.reference('app:old'), {}), fails('unsupported', /schema 1/));
});

test('R21 errors 500 and 429 and cut connections are tried again, Retry-After is honoured and capped', async () => {
  await using registry = await FakeRegistry.start();
  using remote = client();
  registry.putImage('app', 'latest', layer);
  const plan = ['500', '429', 'cut'];
  registry.behave = (request, response) => {
    const now = request.url!.includes('/manifests/') ? plan.shift() : undefined;
    if (now === undefined) return false;
    if (now === 'cut') response.socket!.destroy();
    else refuse(response, Number(now), 'TOOMANYREQUESTS', 'slow down', now === '429' ? { 'retry-after': '3600' } : {});
    return true;
  };
  await remote.resolve(registry.reference('app'), {});
  assert.deepEqual(plan, []);
  registry.behave = (_, response) => {
    refuse(response, 503, 'UNAVAILABLE', 'busy');
    return true;
  };
  registry.seen.length = 0;
  await assert.rejects(remote.resolve(registry.reference('app'), {}), fails('unavailable', /unavailable: busy/));
  assert.equal(registry.seen.length, quick.attempts);
});

test('R21 a registry that accepts and says nothing ends in an error, and a canceled request at once', async () => {
  await using registry = await FakeRegistry.start();
  using remote = client();
  registry.behave = () => true;
  await assert.rejects(remote.resolve(registry.reference('app'), {}), fails('unavailable', /i\/o timeout/));
  const canceler = new AbortController();
  const pending = remote.resolve(registry.reference('app'), { signal: canceler.signal });
  setTimeout(() => canceler.abort(), 10);
  await assert.rejects(pending, fails('canceled', 'context canceled'));
});

test('S32 redirect loops end after ten, and Authorization does not follow to another port', async () => {
  await using registry = await FakeRegistry.start();
  await using other = await FakeRegistry.start();
  using remote = client();
  const { layer: blob } = registry.putImage('app', 'latest', layer);
  other.putBlob(layer);
  registry.behave = (request, response) => {
    if (request.headers.authorization === undefined) {
      refuse(response, 401, 'UNAUTHORIZED', 'authentication required', { 'www-authenticate': 'Basic realm="x"' });
      return true;
    }
    if (!request.url!.includes('/blobs/')) return false;
    response.writeHead(307, { location: `http://evil:user@${other.host}/v2/app/blobs/${blob.digest}` }).end();
    return true;
  };
  const credentials = { username: 'ann', password: 'secret' };
  const { stream } = await remote.openBlob(registry.reference('app'), blob, 0, { credentials });
  assert.deepEqual(await buffer(stream), layer);
  assert.equal(other.seen.length, 1);
  assert.equal(other.seen[0]!.headers.authorization, undefined);

  registry.behave = (request, response) => {
    response.writeHead(302, { location: request.url! }).end();
    return true;
  };
  registry.seen.length = 0;
  await assert.rejects(remote.resolve(registry.reference('app'), {}), fails('forbidden', /stopped after 10 redirects/));
  assert.equal(registry.seen.length, 11);
});

test('S33 a registry elsewhere may not send its client to this machine or to metadata addresses, by name or number', () => {
  const guard = guardFor('93.184.216.34');
  for (const address of [
    '127.0.0.1',
    '0.0.0.0',
    '::1',
    '::',
    '169.254.169.254',
    'fe80::1',
    '::ffff:127.0.0.1',
    '::ffff:a9fe:a9fe',
    '64:ff9b::7f00:1',
    'fd00:ec2::254',
    '100.100.100.200',
  ])
    assert.equal(guard.allows(address), false, address);
  for (const address of ['10.1.2.3', '93.184.216.34', '2606:2800::1'])
    assert.equal(guard.allows(address), true, address);
  assert.equal(guardFor('127.0.0.1').allows('127.0.0.2'), true);
  assert.equal(guardFor('127.0.0.1').allows('169.254.169.254'), false);
  assert.equal(guardFor('169.254.1.1').allows('169.254.169.254'), false);
});

test('S33 a redirect to the metadata service is refused before a connection is made', async () => {
  await using registry = await FakeRegistry.start();
  using remote = client();
  for (const location of [
    'http://169.254.169.254/latest/meta-data',
    'http://metadata.test/x',
    'ftp://127.0.0.1/x',
    'file:///etc/passwd',
  ]) {
    registry.behave = (_, response) => {
      response.writeHead(302, { location }).end();
      return true;
    };
    await assert.rejects(
      remote.resolve(registry.reference('app'), {}),
      fails('forbidden', /only this machine can reach|no web address/),
    );
  }
});

test('S32 credentials do not go to a token server without TLS that is not listed as insecure', async () => {
  await using registry = await FakeRegistry.start();
  using remote = client({}, silentLog, '127.0.0.1');
  await using attacker = await FakeRegistry.start();
  registry.behave = (_, response) => {
    const header = `Bearer realm="http://attacker.test:${attacker.port}/token",service="x"`;
    refuse(response, 401, 'UNAUTHORIZED', 'authentication required', { 'www-authenticate': header });
    return true;
  };
  const credentials = { username: 'ann', password: 'secret' };
  await assert.rejects(
    remote.resolve(registry.reference('app'), { credentials }),
    fails('forbidden', /sign in at http:\/\/attacker\.test:\d+\/token, without TLS; refused/),
  );
  assert.equal(attacker.seen.length, 0);
});

test('R21 a token that ends in the middle is renewed once', async () => {
  await using registry = await FakeRegistry.start();
  using remote = client();
  const { layer: blob } = registry.putImage('app', 'latest', layer);
  let issued = 0;
  let good = 0;
  registry.behave = (request, response) => {
    if (request.url!.startsWith('/token')) {
      good = ++issued;
      response.end(JSON.stringify({ token: `token-${issued}`, expires_in: 300 }));
      return true;
    }
    if (request.headers.authorization === `Bearer token-${good}` && good > 0) return false;
    const header = `Bearer realm="http://${registry.host}/token",service="x",scope="repository:app:pull"`;
    refuse(response, 401, 'UNAUTHORIZED', 'authentication required', { 'www-authenticate': header });
    return true;
  };
  const reference = registry.reference('app');
  await remote.resolve(reference, {});
  assert.equal(issued, 1);
  good = -1;
  const { stream } = await remote.openBlob(reference, blob, 0, {});
  assert.deepEqual(await buffer(stream), layer);
  assert.equal(issued, 2);
});

test('S29 a secret that a server repeats does not come back in the error or the log', async () => {
  await using registry = await FakeRegistry.start();
  const lines: string[] = [];
  using remote = client({}, createLog({ level: 'debug', format: 'text', write: (line) => lines.push(line) }));
  registry.behave = (request, response) => {
    const said = Buffer.from((request.headers.authorization ?? '').slice(6), 'base64').toString();
    refuse(response, 401, 'UNAUTHORIZED', `no entry for ${said}`, { 'www-authenticate': 'Basic realm="x"' });
    return true;
  };
  const credentials = { username: 'ann', password: 'canary-secret' };
  for (const attempt of [
    () => remote.resolve(registry.reference('app'), { credentials }),
    () => remote.login(registry.host, credentials),
  ])
    await assert.rejects(attempt(), (error) => {
      assert.doesNotMatch(inspect(error), /canary-secret/);
      return fails('unauthorized', /unauthorized/)(error);
    });
  assert.doesNotMatch(lines.join(''), /canary-secret/);
});

test('mirrors are asked first and without credentials; when they fail the registry itself answers', async () => {
  await using mirror = await FakeRegistry.start();
  await using registry = await FakeRegistry.start();
  using remote = client({ mirrors: { [registry.host]: [`http://${mirror.host}`] } });
  const { manifest } = registry.putImage('app', 'latest', layer);
  const credentials = { registryToken: 'canary' };
  assert.deepEqual((await remote.resolve(registry.reference('app'), { credentials })).descriptor, manifest);
  assert.equal(mirror.seen.length, 1);
  assert.equal(mirror.seen[0]!.headers.authorization, undefined);
  assert.equal(registry.seen.at(-1)!.headers.authorization, 'Bearer canary');

  mirror.putImage('app', 'latest', layer);
  registry.seen.length = 0;
  assert.deepEqual((await remote.resolve(registry.reference('app'), {})).descriptor, manifest);
  assert.equal(registry.seen.length, 0);
});

test('tags come from all pages, and a link to another host is not followed there', async () => {
  await using registry = await FakeRegistry.start();
  await using other = await FakeRegistry.start();
  using remote = client();
  registry.behave = (request, response) => {
    const second = request.url!.includes('last=b');
    const link = `<http://${other.host}/v2/app/tags/list?n=1000&last=b>; rel="next"`;
    response.writeHead(200, second ? {} : { link });
    response.end(JSON.stringify({ name: 'app', tags: second ? ['c'] : ['a', 'b'] }));
    return true;
  };
  assert.deepEqual(await remote.tags(registry.reference('app'), {}), ['a', 'b', 'c']);
  assert.equal(other.seen.length, 0);
});
