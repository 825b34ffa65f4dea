import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EngineError, type ErrorKind } from '../base/errors.ts';
import { silentLog } from '../base/log.ts';
import { digestOf } from '../oci/digest.ts';
import { mediaTypes } from '../oci/manifest.ts';
import { parseReference } from '../oci/reference.ts';
import { FakeRegistry, refuse } from './fake-registry.ts';
import { HttpRegistry } from './http-registry.ts';
import type { RegistryConfig } from './registry.ts';

const quick = { connect: 1000, stall: 200, backoff: 2, longestWait: 40, attempts: 5 };

function client(config: Partial<RegistryConfig> = {}, log = silentLog) {
  return new HttpRegistry({
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
