import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { EngineError } from '../base/errors.ts';
import { EngineClient } from '../client/client.ts';
import type { Container, LogOptions } from '../containers/containers.ts';
import type { NetworkInfo } from '../networks/networks.ts';
import { digestOf } from '../oci/digest.ts';
import type { ApiVersion } from '../protocol/version.ts';
import { type FakeParts, fakeContainer, fakeExec, fakeImage, fakeServer } from './fake-engine.ts';

const folder = mkdtempSync(join(tmpdir(), 'berth-routes-'));
after(() => rmSync(folder, { recursive: true, force: true }));
let count = 0;

async function serve(parts: FakeParts, version: ApiVersion = 1051) {
  const path = join(folder, `${count++}.sock`);
  const { server, events } = fakeServer(parts);
  await server.listen(path);
  const client = new EngineClient({ socket: path, version });
  return {
    path,
    events,
    client,
    async [Symbol.asyncDispose]() {
      await client[Symbol.asyncDispose]();
      await server.close({ graceMs: 100 });
    },
  };
}

const never = '0001-01-01T00:00:00Z';
const web = fakeContainer(
  { id: '1'.repeat(64), name: 'web', created: '2026-01-03T00:00:00Z', mounts: [volume('data', '/var/data')] },
  { Image: 'busybox', Labels: { tier: 'front', app: 'x' }, ExposedPorts: { '80/tcp': {}, '81/tcp': {} } },
);
const job = fakeContainer(
  {
    id: '2'.repeat(64),
    name: 'job',
    created: '2026-01-02T00:00:00Z',
    image: digestOf('other'),
    layers: [digestOf('layer'), digestOf('more')],
    attached: [],
    state: { ...web.state, status: 'exited', exitCode: 4, finishedAt: '2026-01-02T00:00:01Z' },
  },
  { Image: 'other', Labels: { tier: 'back' }, HostConfig: { NetworkMode: 'none' } },
);
const fresh = fakeContainer(
  {
    id: '3'.repeat(64),
    name: 'fresh',
    created: '2026-01-01T00:00:00Z',
    attached: [],
    state: { ...web.state, status: 'created', pid: 0, startedAt: never },
  },
  { Image: 'busybox' },
);

function volume(Name: string, Destination: string): Container['mounts'][number] {
  return { Type: 'volume', Name, Source: '/v', Destination, Driver: 'local', Mode: 'z', RW: true, Propagation: '' };
}

const all: readonly Container[] = [fresh, web, job];
const listing: FakeParts = {
  containers: {
    list: () => all,
    get: (name) => {
      const found = all.find((container) => container.name === name);
      if (!found) throw new EngineError('not-found', `No such container: ${name}`);
      return found;
    },
    size: async () => ({ rw: 5, rootFs: 7 }),
  },
  images: {
    list: async () => [fakeImage()],
    get: async (name) => {
      if (name !== 'busybox') throw new EngineError('not-found', `No such image: ${name}`);
      return fakeImage();
    },
  },
};

test('every filter of docker ps', async () => {
  await using engine = await serve(listing);
  const ask = async (filters: object, query: object = { all: true }) =>
    (
      await engine.client.json<{ Names: string[] }[]>('GET', '/containers/json', {
        query: { ...query, filters: JSON.stringify(filters) },
      })
    ).map(({ Names }) => Names[0]!.slice(1));
  const cases: readonly [object, string[], object?][] = [
    [{}, ['web'], {}],
    [{}, ['web', 'job', 'fresh']],
    [{}, ['web', 'job'], { limit: 2 }],
    [{ id: ['^2'] }, ['job']],
    [{ name: ['^/web$'] }, ['web']],
    [{ name: { jo: true, fresh: true } }, ['job', 'fresh']],
    [{ label: ['tier'] }, ['web', 'job']],
    [{ label: ['tier=front', 'app'] }, ['web']],
    [{ 'label!': ['tier'] }, ['fresh']],
    [{ status: ['exited'] }, ['job'], {}],
    [{ status: ['created', 'running'] }, ['web', 'fresh'], {}],
    [{ exited: ['4'] }, ['job']],
    [{ exited: ['0'] }, []],
    [{ ancestor: ['busybox'] }, ['web', 'job', 'fresh']],
    [{ ancestor: ['nosuch'] }, []],
    [{ before: ['web'] }, ['job', 'fresh']],
    [{ since: ['fresh'] }, ['web', 'job']],
    [{ volume: ['data'] }, ['web']],
    [{ volume: ['/var/data'] }, ['web']],
    [{ network: ['none'] }, ['job']],
    [{ network: ['bbbb'] }, ['web']],
    [{ publish: ['8080'] }, ['web']],
    [{ publish: ['8000-8100/tcp'] }, ['web']],
    [{ publish: ['80'] }, []],
    [{ expose: ['81/tcp'] }, ['web']],
    [{ expose: ['81/udp'] }, []],
    [{ health: ['none'] }, ['web', 'job', 'fresh']],
    [{ health: ['healthy'] }, []],
    [{ 'is-task': ['false'] }, ['web', 'job', 'fresh']],
    [{ isolation: ['default'] }, ['web', 'job', 'fresh']],
    [{ label: ['tier'], status: ['exited'] }, ['job']],
  ];
  for (const [filters, names, query] of cases)
    assert.deepEqual(await ask(filters, query), names, JSON.stringify(filters));
  for (const bad of [
    { nosuch: ['a'] },
    { status: ['x'] },
    { exited: ['x'] },
    { health: ['x'] },
    { publish: ['x'] },
    { 'is-task': ['x'] },
  ])
    await assert.rejects(ask(bad), { status: 400, message: /^invalid filter '/ }, JSON.stringify(bad));
  await assert.rejects(ask({ before: ['nosuch'] }), { status: 404 });
});

test('a list item names its image by identifier once the name stands for another, and has sizes when asked', async () => {
  await using engine = await serve(listing);
  const items = await engine.client.json<Record<string, unknown>[]>('GET', '/containers/json', {
    query: { all: true, size: true },
  });
  assert.deepEqual(
    items.map(({ Image, SizeRw, SizeRootFs }) => [Image, SizeRw, SizeRootFs]),
    [
      ['busybox', 5, 7],
      [digestOf('other'), 5, 7],
      ['busybox', 5, 7],
    ],
  );
  const [first] = items;
  assert.equal(first!['Command'], "sh -c 'echo hello world'");
  assert.deepEqual(first!['Ports'], [
    { IP: '0.0.0.0', PrivatePort: 80, PublicPort: 8080, Type: 'tcp' },
    { IP: '::', PrivatePort: 80, PublicPort: 8080, Type: 'tcp' },
    { PrivatePort: 81, Type: 'tcp' },
  ]);
});

test('inspect tells ports and addresses where clients look for them', async () => {
  await using engine = await serve(listing);
  const { NetworkSettings, State, Name } = await engine.client.json<{
    Name: string;
    State: Record<string, unknown>;
    NetworkSettings: { Ports: unknown; IPAddress: string; Networks: Record<string, Record<string, unknown>> };
  }>('GET', '/containers/web/json');
  assert.equal(Name, '/web');
  assert.deepEqual([State['Status'], State['Running'], State['Pid']], ['running', true, 42]);
  assert.equal(NetworkSettings.IPAddress, '172.17.0.2');
  assert.equal(NetworkSettings.Networks['bridge']!['IPAddress'], '172.17.0.2');
  assert.deepEqual(NetworkSettings.Ports, {
    '80/tcp': [
      { HostIp: '0.0.0.0', HostPort: '8080' },
      { HostIp: '::', HostPort: '8080' },
    ],
    '81/tcp': null,
  });
});

test('the shape of an answer follows the version that was asked for', async () => {
  const shape = async (version: ApiVersion) => {
    await using engine = await serve(listing, version);
    const container = await engine.client.json<Record<string, unknown>>('GET', '/containers/web/json');
    const image = await engine.client.json<{ Config: object }>('GET', '/images/busybox/json');
    return [
      'ImageManifestDescriptor' in container,
      'KernelMemory' in (container['HostConfig'] as object),
      'VirtualSize' in image,
      'ContainerConfig' in image,
      'Hostname' in image.Config,
      'Descriptor' in image,
    ];
  };
  assert.deepEqual(await shape(1051), [true, false, false, false, false, true]);
  assert.deepEqual(await shape(1044), [false, false, false, true, true, false]);
  assert.deepEqual(await shape(1041), [false, true, true, true, true, false]);
});

test('logs carry their options to the room and end with the client', async () => {
  const seen: LogOptions[] = [];
  let ended = false;
  await using engine = await serve({
    containers: {
      get: () => web,
      async *logs(_name, options) {
        seen.push(options);
        try {
          yield Buffer.from('line');
          if (options.follow)
            await new Promise<void>((resolve) => options.signal.addEventListener('abort', () => resolve()));
        } finally {
          ended = true;
        }
      },
    },
  });
  const query = { stdout: true, since: '1.5', until: '2026-01-01T00:00:00Z', tail: 10, timestamps: true, details: '1' };
  const { body, headers } = await engine.client.request('GET', '/containers/web/logs', { query });
  assert.equal(headers.get('content-type'), 'application/vnd.docker.multiplexed-stream');
  let text = '';
  for await (const chunk of body) text += chunk.toString();
  assert.equal(text, 'line');
  const { signal: _signal, ...options } = seen[0]!;
  assert.deepEqual(options, {
    follow: false,
    stdout: true,
    stderr: false,
    since: 1_500_000_000n,
    until: 1_767_225_600_000_000_000n,
    timestamps: true,
    details: true,
    tail: 10,
  });
  ended = false;
  const following = await engine.client.request('GET', '/containers/web/logs', {
    query: { stdout: true, follow: true, tail: 'all' },
  });
  await following.body.next();
  await following.body.return();
  for (let i = 0; i < 200 && !ended; i++) await new Promise((resolve) => setTimeout(resolve, 5));
  assert.ok(ended);
  assert.equal(seen[1]!.tail, undefined);
  await assert.rejects(engine.client.json('GET', '/containers/web/logs'), {
    status: 400,
    message: 'Bad parameters: you must choose at least one stream',
  });
});

test('images are listed by filter', async () => {
  const named = fakeImage();
  const dangling = fakeImage({ id: digestOf('d'), names: [], repoDigests: [], created: '2026-02-01T00:00:00Z' });
  const other = fakeImage({
    id: digestOf('o'),
    names: ['localhost:5000/team/web:1.2', 'localhost:5000/team/web:2.0'],
    repoDigests: [],
    created: '2026-03-01T00:00:00Z',
    config: { ...named.config, config: {} },
  });
  await using engine = await serve({
    images: { list: async () => [named, dangling, other], get: async () => dangling },
    containers: { list: () => all },
  });
  const ask = async (filters: object) =>
    (
      await engine.client.json<{ Id: string; RepoTags: string[]; Containers: number }[]>('GET', '/images/json', {
        query: { filters: JSON.stringify(filters) },
      })
    ).map(({ RepoTags }) => RepoTags);
  const web12 = 'localhost:5000/team/web:1.2';
  const web20 = 'localhost:5000/team/web:2.0';
  assert.deepEqual(await ask({}), [[web12, web20], [], ['busybox:latest']]);
  assert.deepEqual(await ask({ dangling: ['true'] }), [[]]);
  assert.deepEqual(await ask({ dangling: { false: true } }), [[web12, web20], ['busybox:latest']]);
  assert.deepEqual(await ask({ label: ['tier=base'] }), [[], ['busybox:latest']]);
  assert.deepEqual(await ask({ reference: ['busy*'] }), [['busybox:latest']]);
  assert.deepEqual(await ask({ reference: ['localhost:5000/*/web:1.*'] }), [[web12]]);
  assert.deepEqual(await ask({ reference: ['*'] }), [['busybox:latest']]);
  assert.deepEqual(await ask({ before: ['x'] }), [['busybox:latest']]);
  assert.deepEqual(await ask({ since: ['x'] }), [[web12, web20]]);
  assert.deepEqual(await ask({ until: ['2026-02-15T00:00:00Z'] }), [[], ['busybox:latest']]);
  await assert.rejects(ask({ dangling: ['maybe'] }), { status: 400, message: `invalid filter 'dangling=[maybe]'` });
});

test('a pull is asked for by name, tag or digest, with platform and credentials', async () => {
  const asked: unknown[] = [];
  await using engine = await serve({
    images: {
      async *pull(name, { signal: _signal, ...options }) {
        asked.push([name, options]);
        yield { status: 'done' };
      },
    },
  });
  const auth = Buffer.from('{"username":"me","password":"secret"}').toString('base64url');
  const pull = (query: Record<string, string>, headers = {}) =>
    engine.client.json('POST', '/images/create', { query, headers });
  await pull(
    { fromImage: 'docker.io/library/busybox', tag: 'musl', platform: 'linux/arm64' },
    { 'X-Registry-Auth': auth },
  );
  await pull({ fromImage: 'a/b', tag: digestOf('x') }, { 'X-Registry-Auth': 'e30=' });
  await pull({ fromImage: 'a/b:1' });
  await pull({ fromImage: 'a/b' });
  assert.deepEqual(asked, [
    [
      'docker.io/library/busybox:musl',
      {
        platform: { os: 'linux', architecture: 'arm64', variant: 'v8' },
        credentials: { username: 'me', password: 'secret' },
      },
    ],
    [`docker.io/a/b@${digestOf('x')}`, {}],
    ['a/b:1', {}],
    ['a/b', { allTags: true }],
  ]);
  for (const bad of [
    { fromImage: 'UPPER', tag: 'x' },
    { fromImage: 'a', tag: '..' },
    { fromImage: '', tag: 'x' },
    { fromImage: 'a', tag: 'b', platform: '///' },
  ])
    await assert.rejects(pull(bad as Record<string, string>), { status: 400 }, JSON.stringify(bad));
});

test('volumes are made, listed, inspected and removed', async () => {
  const made = {
    name: 'data',
    driver: 'local',
    mountpoint: '/v/data',
    created: '2026-01-01T00:00:00Z',
    labels: {},
    options: {},
    anonymous: false,
  } as const;
  const removed: string[] = [];
  await using engine = await serve({
    containers: { list: () => [web] },
    volumes: {
      list: () => [made, { ...made, name: 'free', labels: { a: 'b' } }],
      get: () => made,
      create: async ({ name, labels = {} }) => ({ ...made, name, labels }),
      remove: async (name) => {
        removed.push(name);
        throw new EngineError('not-found', `get ${name}: no such volume`);
      },
    },
  });
  const { client } = engine;
  const names = async (filters: object) =>
    (
      await client.json<{ Volumes: { Name: string }[] }>('GET', '/volumes', {
        query: { filters: JSON.stringify(filters) },
      })
    ).Volumes.map(({ Name }) => Name);
  assert.deepEqual(await names({}), ['data', 'free']);
  assert.deepEqual(await names({ dangling: ['true'] }), ['free']);
  assert.deepEqual(await names({ dangling: ['false'] }), ['data']);
  assert.deepEqual(await names({ label: ['a=b'] }), ['free']);
  const created = await client.json<{ Name: string; Labels: unknown }>('POST', '/volumes/create', {
    json: { name: 'new', labels: { a: 'b' } },
  });
  assert.deepEqual([created.Name, created.Labels], ['new', { a: 'b' }]);
  await assert.rejects(client.json('POST', '/volumes/create', { json: { Name: '../x' } }), { status: 400 });
  await assert.rejects(client.json('POST', '/volumes/create', { json: { Name: 'x', Driver: 'nfs' } }), { status: 404 });
  await assert.rejects(client.json('DELETE', '/volumes/gone'), { status: 404, message: 'get gone: no such volume' });
  await client.json('DELETE', '/volumes/gone', { query: { force: true } });
  assert.deepEqual(removed, ['gone', 'gone']);
});

test('networks are listed without their members and inspected with them', async () => {
  const bridge = {
    id: 'b'.repeat(64),
    name: 'bridge',
    driver: 'bridge',
    created: '2026-01-01T00:00:00Z',
    subnets: [{ subnet: '172.17.0.0/16', gateway: '172.17.0.1' }],
    ipamOptions: undefined,
    internal: false,
    attachable: false,
    ipv4: true,
    ipv6: false,
    labels: {},
    options: {},
    endpoints: [web.attached[0]!],
  };
  await using engine = await serve({
    containers: { list: () => [web] },
    networks: { list: () => [bridge, { ...bridge, name: 'none', driver: 'null' }], get: () => bridge },
  });
  const list = await engine.client.json<{ Name: string; Containers: object }[]>('GET', '/networks', {
    query: { filters: '{"driver":["bridge"]}' },
  });
  assert.deepEqual(
    list.map(({ Name, Containers }) => [Name, Containers]),
    [['bridge', {}]],
  );
  const one = await engine.client.json<{ Containers: Record<string, unknown>; IPAM: { Config: unknown } }>(
    'GET',
    '/networks/bridge',
  );
  assert.deepEqual(one.IPAM.Config, [{ Subnet: '172.17.0.0/16', Gateway: '172.17.0.1' }]);
  assert.deepEqual(one.Containers, {
    [web.id]: {
      Name: 'web',
      EndpointID: 'e'.repeat(64),
      MacAddress: '02:42:ac:11:00:02',
      IPv4Address: '172.17.0.2/16',
      IPv6Address: '',
    },
  });
});

test('a network is created, connected and pruned from checked words', async () => {
  const asked: unknown[] = [];
  const note = async (...args: unknown[]) => void asked.push(args);
  await using engine = await serve({
    containers: { connect: note, disconnect: note },
    networks: {
      create: async (request) => {
        asked.push(request);
        return { id: 'n'.repeat(64) } as NetworkInfo;
      },
      remove: note,
      prune: async (chosen) => {
        const network = (created: string, labels: Record<string, string>) => ({ created, labels }) as NetworkInfo;
        return [chosen(network('2026-01-01T00:00:00Z', { a: 'b' })), chosen(network('2026-01-01T00:00:00Z', {}))].map(
          String,
        );
      },
    },
  });
  const call = (path: string, body?: unknown, query = {}) =>
    engine.client.json<unknown>('POST', path, { ...(body !== undefined && { json: body }), query });
  const config = { Subnet: '10.1.0.0/24', IPRange: '', Gateway: '10.1.0.9', AuxiliaryAddresses: { a: '10.1.0.3' } };
  assert.deepEqual(
    await call('/networks/create', { Name: 'lan', Driver: 'bridge', EnableIPv6: null, IPAM: { Config: [config] } }),
    { Id: 'n'.repeat(64), Warning: '' },
  );
  await engine.client.json('DELETE', '/networks/lan');
  await call('/networks/create', { Name: 'held', ConfigOnly: true });
  await call('/networks/create', { Name: 'made', ConfigOnly: false, ConfigFrom: { Network: 'held' } });
  const [held, made] = asked.splice(2) as { name: string; configOnly?: boolean; configFrom?: string }[];
  assert.deepEqual([held?.name, held?.configOnly, held?.configFrom], ['held', true, undefined]);
  assert.deepEqual([made?.name, made?.configOnly, made?.configFrom], ['made', undefined, 'held']);
  await call('/networks/lan/connect', { Container: 'web', EndpointConfig: { Aliases: ['www'] } });
  await call('/networks/lan/disconnect', { Container: 'web', Force: true });
  assert.deepEqual(asked, [
    {
      name: 'lan',
      driver: 'bridge',
      internal: false,
      attachable: false,
      ipv4: true,
      ipv6: false,
      labels: {},
      options: {},
      ipam: {
        driver: '',
        options: undefined,
        configs: [{ subnet: '10.1.0.0/24', gateway: '10.1.0.9', auxiliaryAddresses: { a: '10.1.0.3' } }],
      },
    },
    ['lan'],
    ['web', 'lan', { Aliases: ['www'] }],
    ['web', 'lan', { force: true }],
  ]);
  const prune = (filters: object) => call('/networks/prune', undefined, { filters: JSON.stringify(filters) });
  assert.deepEqual(await prune({ label: ['a'] }), { NetworksDeleted: ['true', 'false'] });
  assert.deepEqual(await prune({ until: ['2025-01-01T00:00:00Z'] }), { NetworksDeleted: ['false', 'false'] });
  for (const [path, body, message] of [
    ['/networks/create', { Name: 'x', ConfigOnly: true, Ingress: true }, /can only contain network specific fields/],
    ['/networks/create', { Name: 'x', IPAM: { Config: [5] } }, /cannot unmarshal number/],
    ['/networks/lan/connect', { Container: '' }, /invalid name or ID supplied/],
    ['/networks/lan/connect', { Container: 'web', EndpointConfig: { Aliases: 'www' } }, /cannot unmarshal string/],
  ] as const)
    await assert.rejects(call(path, body), { message });
  await assert.rejects(prune({ until: ['1h', '2h'] }), { message: /more than one until filter/ });
});

test('exec is created from checked words and inspected', async () => {
  const asked: unknown[] = [];
  await using engine = await serve({
    containers: {
      execCreate: async (_name, request) => {
        asked.push(request);
        return 'e'.repeat(64);
      },
      execInspect: (id) => ({
        id,
        containerId: web.id,
        request: fakeExec,
        user: '1000',
        running: false,
        exitCode: 127,
        pid: 9,
      }),
      execStart: async () => undefined,
    },
  });
  const { client } = engine;
  assert.deepEqual(await client.json('POST', '/containers/web/exec', { json: { cmd: ['ls'], tty: true, Env: null } }), {
    Id: 'e'.repeat(64),
  });
  assert.deepEqual(asked, [
    { ...fakeExec, Cmd: ['ls'], Tty: true, AttachStdin: false, AttachStdout: false, AttachStderr: false },
  ]);
  await assert.rejects(client.json('POST', '/containers/web/exec', { json: {} }), {
    status: 400,
    message: 'No exec command specified',
  });
  await assert.rejects(client.json('POST', '/containers/web/exec', { json: { Cmd: ['a\0'] } }), { status: 400 });
  assert.equal(await client.json('POST', `/exec/${'e'.repeat(64)}/start`, { json: { Detach: true } }), undefined);
  const state = await client.json<Record<string, unknown>>('GET', '/exec/abc/json');
  assert.equal(state['ExitCode'], 127);
  assert.deepEqual(state['ProcessConfig'], {
    tty: false,
    entrypoint: 'sh',
    arguments: ['-c', 'true'],
    privileged: false,
    user: '1000',
  });
});
