import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { EngineError } from '../base/errors.ts';
import { EngineClient } from '../client/client.ts';
import type { Image, ImportOptions, Progress, PruneOptions, PushOptions } from '../images/images.ts';
import { digestOf } from '../oci/digest.ts';
import { mediaTypes } from '../oci/manifest.ts';
import type { ApiVersion } from '../protocol/version.ts';
import { type FakeParts, fakeContainer, fakeImage, fakeServer } from './fake-engine.ts';

const folder = mkdtempSync(join(tmpdir(), 'berth-image-routes-'));
after(() => rmSync(folder, { recursive: true, force: true }));
let count = 0;

async function serve(parts: FakeParts, version: ApiVersion = 1051) {
  const path = join(folder, `${count++}.sock`);
  const { server } = fakeServer(parts);
  await server.listen(path);
  const client = new EngineClient({ socket: path, version });
  return {
    client,
    async [Symbol.asyncDispose]() {
      await client[Symbol.asyncDispose]();
      await server.close({ graceMs: 100 });
    },
  };
}

async function* progress(...lines: Progress[]): AsyncGenerator<Progress, void, void> {
  yield* lines;
}

const refused = (status: number, message: RegExp | string) => (error: { status?: number; message: string }) => {
  assert.equal(error.status, status, error.message);
  if (typeof message === 'string') assert.equal(error.message, message);
  else assert.match(error.message, message);
  return true;
};

test('save: names by either path, the platform as JSON; errors before the first byte are a status', async () => {
  const asked: unknown[] = [];
  await using engine = await serve({
    images: {
      async save(names, { platform }) {
        asked.push([names, platform?.architecture]);
        if (names.includes('nosuch')) throw new EngineError('not-found', 'No such image: nosuch:latest');
        return (async function* () {
          yield Buffer.from('the ');
          yield Buffer.from('archive');
        })();
      },
    },
  });
  const read = async (path: string) => {
    const { headers, body } = await engine.client.request('GET', path);
    return [headers.get('content-type'), Buffer.concat(await Array.fromAsync(body)).toString()];
  };
  assert.deepEqual(await read('/images/get?names=a&names=b/c:1'), ['application/x-tar', 'the archive']);
  assert.deepEqual(
    await read(
      `/images/localhost:5000/a/b/get?platform=${encodeURIComponent('{"os":"linux","architecture":"arm64"}')}`,
    ),
    ['application/x-tar', 'the archive'],
  );
  await assert.rejects(
    engine.client.json('GET', '/images/get?names=nosuch'),
    refused(404, 'No such image: nosuch:latest'),
  );
  await assert.rejects(
    engine.client.json('GET', '/images/get?names=a&platform=x'),
    refused(400, /cannot parse platform/),
  );
  assert.deepEqual(asked, [
    [['a', 'b/c:1'], undefined],
    [['localhost:5000/a/b'], 'arm64'],
    [['nosuch'], undefined],
  ]);
});

test('a save that fails in the middle ends without its end', async () => {
  await using engine = await serve({
    images: {
      save: async () =>
        (async function* () {
          yield Buffer.from('half');
          throw new EngineError('corrupt', 'content is damaged');
        })(),
    },
  });
  const { body } = await engine.client.request('GET', '/images/a/get');
  await assert.rejects(Array.fromAsync(body), /closed the connection/);
});

test('push: one tag, the tag of the name, all tags; credentials and platform; bad tags are refused', async () => {
  const asked: [string, PushOptions][] = [];
  await using engine = await serve({
    images: {
      push(name, options) {
        asked.push([name, options]);
        return progress({ status: 'The push refers to repository [a]' });
      },
    },
  });
  const auth = Buffer.from('{"username":"ann","password":"p"}').toString('base64url');
  const push = (path: string, headers = {}) => Array.fromAsync(engine.client.stream('POST', path, { headers }));
  await push('/images/localhost:5000/a/b/push?tag=1', { 'X-Registry-Auth': auth });
  await push('/images/a/push', { 'X-Registry-Auth': 'e30=' });
  await push('/images/a:2/push?platform=linux/arm64');
  assert.deepEqual(
    asked.map(([name, { allTags, credentials, platform }]) => [name, allTags, credentials, platform?.architecture]),
    [
      ['localhost:5000/a/b:1', false, { username: 'ann', password: 'p' }, undefined],
      ['a', true, undefined, undefined],
      ['a:2', false, undefined, 'arm64'],
    ],
  );
  await assert.rejects(push('/images/a/push?tag=-x'), refused(400, 'invalid tag format'));
  await assert.rejects(push('/images/Upper/push?tag=1'), refused(400, /must be lowercase/));
  await assert.rejects(push('/images/a/push?tag=1', { 'X-Registry-Auth': '!!' }), refused(400, /X-Registry-Auth/));
});

test('import: from the body or the web, name, changes, message and platform', async () => {
  const asked: [string, ImportOptions][] = [];
  await using engine = await serve({
    images: {
      async *import(archive, options) {
        const from = archive instanceof URL ? archive.href : Buffer.concat(await Array.fromAsync(archive)).toString();
        asked.push([from, options]);
        yield { status: 'sha256:1' };
      },
    },
  });
  const create = (query: string, body?: Uint8Array) =>
    Array.fromAsync(
      engine.client.stream('POST', `/images/create?${query}`, { ...(body && { body, contentType: 'text/plain' }) }),
    );
  assert.deepEqual(
    await create(
      'fromSrc=-&repo=a&tag=1&message=m&changes=CMD+x&changes=USER+y&platform=linux/arm64',
      Buffer.from('tar'),
    ),
    [{ status: 'sha256:1' }],
  );
  await create('fromSrc=-');
  await create('fromSrc=https://host/x.tar&repo=a');
  await create('fromSrc=host/x.tar');
  assert.deepEqual(
    asked.map(([from, { name, message, changes, platform }]) => [from, name, message, changes, platform?.architecture]),
    [
      ['tar', 'docker.io/library/a:1', 'm', ['CMD x', 'USER y'], 'arm64'],
      ['', '', 'Imported from -', [], undefined],
      ['https://host/x.tar', 'a', 'Imported from https://host/x.tar', [], undefined],
      ['http://host/x.tar', '', 'Imported from host/x.tar', [], undefined],
    ],
  );
  await assert.rejects(create(`fromSrc=-&repo=a@${digestOf('x')}`), refused(400, 'cannot import digest reference'));
  await assert.rejects(create('fromSrc=-&repo=Upper'), refused(400, /must be lowercase/));
  await assert.rejects(create('fromSrc=http://[&repo=a'), refused(400, /is no URL/));
});

test('prune: dangling unless told otherwise, labels and age; what went, or null', async () => {
  const asked: PruneOptions[] = [];
  let gone = { untagged: ['a:1'], deleted: [digestOf('a')], bytes: 7 };
  await using engine = await serve({
    images: {
      async prune(options) {
        asked.push(options);
        return gone;
      },
    },
  });
  const prune = (filters?: object) =>
    engine.client.json('POST', '/images/prune', { query: filters ? { filters: JSON.stringify(filters) } : {} });
  assert.deepEqual(await prune(), {
    ImagesDeleted: [{ Untagged: 'a:1' }, { Deleted: digestOf('a') }],
    SpaceReclaimed: 7,
  });
  gone = { untagged: [], deleted: [], bytes: 0 };
  assert.deepEqual(await prune({ dangling: { false: true }, label: ['tier=base'], until: ['2026-01-02'] }), {
    ImagesDeleted: null,
    SpaceReclaimed: 0,
  });
  assert.deepEqual(
    asked.map(({ all }) => all),
    [false, true],
  );
  const { matches } = asked[1]!;
  assert.equal(matches(fakeImage()), true);
  assert.equal(matches(fakeImage({ created: '2026-01-03T00:00:00Z' })), false);
  assert.equal(matches(fakeImage({ config: { ...fakeImage().config, config: {} } })), false);
  await assert.rejects(prune({ nope: ['x'] }), refused(400, "invalid filter 'nope'"));
  await assert.rejects(prune({ dangling: ['maybe'] }), refused(400, "invalid filter 'dangling=[maybe]'"));
  await assert.rejects(prune({ until: ['soon'] }), refused(400, "invalid filter 'until=soon'"));
});

test('search: the term, the limit and the filters; what the registry said in Docker’s form', async () => {
  const asked: unknown[] = [];
  await using engine = await serve({
    registry: {
      async search(term, limit) {
        asked.push([term, limit]);
        const one = { description: 'd', automated: false };
        return [
          { ...one, name: 'web', stars: 9, official: true },
          { ...one, name: 'ann/web', stars: 2, official: false },
        ];
      },
    },
  });
  const search = (query: object) =>
    engine.client.json<{ name: string }[]>('GET', '/images/search', { query: query as Record<string, string> });
  assert.deepEqual((await search({ term: 'web' }))[0], {
    ...{ star_count: 9, is_official: true, name: 'web', is_automated: false, description: 'd' },
  });
  const names = async (filters: object, limit = '0') =>
    (await search({ term: 'web', limit, filters: JSON.stringify(filters) })).map(({ name }) => name);
  assert.deepEqual(await names({ stars: { 3: true } }, '100'), ['web']);
  assert.deepEqual(await names({ 'is-official': ['false'] }), ['ann/web']);
  assert.deepEqual(await names({ 'is-automated': ['true'] }), []);
  assert.deepEqual(
    asked.map((one) => (one as [string, number])[1]),
    [25, 100, 25, 25],
  );
  await assert.rejects(search({ term: 'x', limit: '101' }), refused(400, 'limit 101 is outside the range of [1, 100]'));
  await assert.rejects(search({ term: 'x', limit: 'abc' }), refused(400, /invalid limit specified/));
});

test('what a registry has: of an index its platforms, of a manifest its config’s', async () => {
  const config = Buffer.from(
    JSON.stringify({ os: 'linux', architecture: 'arm64', rootfs: { type: 'layers', diff_ids: [] } }),
  );
  const described = { mediaType: mediaTypes.ociConfig, digest: digestOf(config), size: config.length };
  const manifest = { schemaVersion: 2, mediaType: mediaTypes.ociManifest, config: described, layers: [] };
  const bytes = Buffer.from(JSON.stringify(manifest));
  const descriptor = { mediaType: mediaTypes.ociManifest, digest: digestOf(bytes), size: bytes.length };
  const { Readable } = await import('node:stream');
  await using engine = await serve({
    registry: {
      resolve: async () => ({ descriptor, bytes }),
      openBlob: async () => ({ stream: Readable.from([config]), from: 0 }),
    },
  });
  assert.deepEqual(await engine.client.json('GET', '/distribution/a/b:1/json'), {
    Descriptor: descriptor,
    Platforms: [{ os: 'linux', architecture: 'arm64' }],
  });
  await assert.rejects(engine.client.json('GET', '/distribution/Upper/json'), refused(400, /must be lowercase/));
});

test('manifests and shared sizes are told where they are asked for, in versions that have them', async () => {
  const image: Image = fakeImage();
  const platform = { os: 'linux', architecture: 's390x' };
  const listed = { kind: 'image' as const, platform, attests: undefined, content: 0, unpacked: 0, total: 0 };
  const parts: FakeParts = {
    containers: { list: () => [fakeContainer()] },
    images: {
      list: async () => [image],
      get: async () => image,
      usage: async () => ({ bytes: 10, shared: new Map([[image.id, 3]]) }),
      manifests: () => [
        { ...listed, descriptor: { ...image.manifest, digest: digestOf('other') }, available: false },
        {
          ...listed,
          descriptor: { ...image.manifest, digest: digestOf('manifest') },
          available: true,
          content: 1,
          unpacked: 2,
          total: 3,
        },
        {
          ...listed,
          descriptor: image.manifest,
          kind: 'attestation',
          platform: undefined,
          attests: digestOf('other'),
          available: true,
        },
      ],
    },
  };
  await using engine = await serve(parts);
  const [plain] = await engine.client.json<Record<string, unknown>[]>('GET', '/images/json');
  assert.deepEqual([plain!.SharedSize, plain!.Manifests], [-1, undefined]);
  const [shared] = await engine.client.json<Record<string, unknown>[]>('GET', '/images/json?shared-size=1&manifests=1');
  assert.equal(shared!.SharedSize, 3);
  const { Manifests } = await engine.client.json<{ Manifests: Record<string, unknown>[] }>(
    'GET',
    '/images/a/json?manifests=1',
  );
  assert.deepEqual(Manifests, shared!.Manifests);
  assert.deepEqual(
    Manifests.map(({ Available, Kind, Size, ImageData, AttestationData }) => ({
      Available,
      Kind,
      Size,
      ImageData,
      AttestationData,
    })),
    [
      {
        ...{ Available: false, Kind: 'image', Size: { Content: 0, Total: 0 }, AttestationData: undefined },
        ImageData: { Platform: { architecture: 's390x', os: 'linux' }, Size: { Unpacked: 0 }, Containers: null },
      },
      {
        ...{ Available: true, Kind: 'image', Size: { Content: 1, Total: 3 }, AttestationData: undefined },
        ImageData: {
          Platform: { architecture: 's390x', os: 'linux' },
          Size: { Unpacked: 2 },
          Containers: [fakeContainer().id],
        },
      },
      {
        ...{ Available: true, Kind: 'attestation', Size: { Content: 0, Total: 0 }, ImageData: undefined },
        AttestationData: { For: digestOf('other') },
      },
    ],
  );
  await using older = await serve(parts, 1046);
  const [old] = await older.client.json<Record<string, unknown>[]>('GET', '/images/json?manifests=1');
  assert.equal(old!.Manifests, undefined);
});

test('system df: each part where it is asked for, and what is not is null', async () => {
  const image = fakeImage();
  await using engine = await serve({
    containers: { list: () => [fakeContainer()], size: async () => ({ rw: 5, rootFs: 50 }) },
    images: { list: async () => [image], usage: async () => ({ bytes: 100, shared: new Map([[image.id, 30]]) }) },
    volumes: {
      list: () => [
        {
          name: 'v',
          driver: 'local',
          mountpoint: '/v',
          created: '2026-01-01T00:00:00Z',
          labels: {},
          options: {},
          anonymous: false,
        },
      ],
      usage: async () => 7,
    },
  });
  type Usage = {
    LayersSize: number;
    Images: { SharedSize: number; Containers: number }[] | null;
    Containers: { SizeRw: number; SizeRootFs: number }[] | null;
    Volumes: { UsageData: object }[] | null;
    BuildCache: [] | null;
  };
  const all = await engine.client.json<Usage>('GET', '/system/df');
  assert.equal(all.LayersSize, 100);
  assert.deepEqual([all.Images![0]!.SharedSize, all.Images![0]!.Containers], [30, 1]);
  assert.deepEqual([all.Containers![0]!.SizeRw, all.Containers![0]!.SizeRootFs], [5, 50]);
  assert.deepEqual(all.Volumes![0]!.UsageData, { RefCount: 0, Size: 7 });
  assert.deepEqual(all.BuildCache, []);
  const some = await engine.client.json<Usage>('GET', '/system/df?type=volume&type=build-cache');
  assert.deepEqual([some.LayersSize, some.Images, some.Containers, some.BuildCache], [0, null, null, []]);
  await assert.rejects(engine.client.json('GET', '/system/df?type=bogus'), refused(400, 'unknown object type: bogus'));
});
