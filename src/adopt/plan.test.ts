import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Digest, digestOf } from '../oci/digest.ts';
import { readCreateRequest } from '../protocol/create-request.ts';
import { maxVersion } from '../protocol/version.ts';
import { kinds, type Observed, type ObservedContainer, type ObservedImage, type ObservedNetwork } from './observed.ts';
import { type Have, plan } from './plan.ts';
import { planText } from './plan-text.ts';

const all = new Set(kinds);
const nothing: Observed = { from: '/docker', images: [], volumes: [], networks: [], containers: [], faults: [] };
const empty: Have = {
  images: new Map(),
  imageNames: new Map(),
  layers: new Set(),
  volumes: new Set(),
  networks: [{ id: 'b'.repeat(64), name: 'bridge', subnets: ['172.17.0.0/16'] }],
  containers: [],
  links: ['lo'],
  adopted: new Set(),
  alive: new Map(),
  copiesOfLayers: 1,
  free: 10_000_000,
};

function image(name: string, layers: Readonly<Record<string, number>>): ObservedImage {
  return {
    id: digestOf(name),
    names: [`docker.io/library/${name}:1`],
    losesDigest: false,
    layers: Object.entries(layers).map(([layer, bytes]) => ({
      ...{ diffId: digestOf(layer), bytes, tree: layer, tarSplit: layer },
    })),
  };
}

function network(name: string, subnet: string, driver = 'bridge'): ObservedNetwork {
  const id = digestOf(name).slice('sha256:'.length);
  return {
    id,
    link: `br-${name}`,
    request: {
      ...{ name, driver, internal: false, attachable: false, ipv4: true, ipv6: false, labels: {}, options: {} },
      ipam: { driver: 'default', options: undefined, configs: [{ subnet }] },
    },
  };
}

function container(name: string, body: object, changes: Partial<ObservedContainer> = {}): ObservedContainer {
  return {
    id: digestOf(name).slice('sha256:'.length),
    name,
    created: `2026-01-01T00:00:0${name.length}Z`,
    image: digestOf('web'),
    request: readCreateRequest({ Image: 'web:1', ...body }, maxVersion),
    volumes: {},
    logDriver: 'json-file',
    state: { started: true, exitCode: 0, error: '', oomKilled: false, startedAt: '', finishedAt: '' },
    restartCount: 0,
    stoppedByUser: false,
    wasRunning: false,
    upper: name,
    bytes: 1000,
    logs: [],
    ...changes,
  };
}

const text = (observed: Partial<Observed>, have: Partial<Have> = {}) =>
  planText(plan({ ...nothing, ...observed }, { ...empty, ...have }, all));

test('a plan names what is taken and its size, a layer of two images once', () => {
  const volume = {
    name: 'data',
    created: '',
    labels: {},
    options: {},
    anonymous: false,
    data: 'volumes/data/_data',
    bytes: 3000,
  };
  const nfs = { ...volume, name: 'nfs', options: { type: 'nfs', device: ':/srv', o: 'addr=h' }, data: '', bytes: 0 };
  const web = container(
    'web',
    { HostConfig: { NetworkMode: 'front' }, NetworkingConfig: { EndpointsConfig: { front: {} } } },
    { volumes: { '/data': 'data' }, wasRunning: true },
  );
  assert.equal(
    text({
      images: [image('web', { base: 1000, top: 500 }), { ...image('db', { base: 1000 }), losesDigest: true }],
      volumes: [volume, nfs],
      networks: [network('front', '10.1.0.0/24')],
      containers: [web],
    }),
    `Docker at /docker: 2 images, 2 volumes, 1 network, 1 container to take, 5.5kB; 10MB are free

images
  take   web:1  1.5kB
  take   db:1
           without the digest that it was pulled by

volumes
  take   data   3kB
  take   nfs
           its data stays at :/srv

networks
  take   front

containers
  take   web    1kB
           it is stopped until somebody starts it
`,
  );
});

test('what is here already is not taken again', () => {
  const web = image('web', { base: 1000 });
  const observed = { images: [web], networks: [network('front', '10.1.0.0/24')], containers: [container('web', {})] };
  const [front] = observed.networks;
  assert.equal(
    text(observed, {
      images: new Map([[web.id, digestOf('here')]]),
      imageNames: new Map([[web.names[0]!, digestOf('here')]]),
      networks: [{ id: front!.id, name: 'front', subnets: ['10.1.0.0/24'] }],
      containers: [observed.containers[0]!],
    }),
    `Docker at /docker: nothing to take

images
  here   web:1

networks
  here   front

containers
  here   web
`,
  );
});

test('what stands in the way is named, with what to do, and what needs it is left too', () => {
  const images = [image('web', { base: 1000 })];
  const networks = [
    network('front', '172.17.3.0/24'),
    network('same', '10.2.0.0/24'),
    network('lan', '10.3.0.0/24', 'overlay'),
    network('left', '10.4.0.0/24'),
  ];
  const endpoints = { EndpointsConfig: { front: {} } };
  const web = container('web', { HostConfig: { NetworkMode: 'front' }, NetworkingConfig: endpoints });
  const side = container('side', { HostConfig: { NetworkMode: `container:${web.id}` } });
  const taken = container('taken', {});
  const logged = container('logged', { HostConfig: { LogConfig: { Type: 'local' } } }, { logDriver: 'local' });
  assert.equal(
    text(
      {
        images,
        networks,
        volumes: [{ name: 'data', created: '', labels: {}, options: {}, anonymous: false, data: 'd', bytes: 1 }],
        containers: [side, web, taken, logged, container('orphan', {}, { image: digestOf('gone') })],
        faults: [{ kind: 'images', name: 'bad:1', why: 'its config is damaged', try: 'docker save bad:1' }],
      },
      {
        imageNames: new Map([[images[0]!.names[0]!, digestOf('other')]]),
        volumes: new Set(['data']),
        networks: [...empty.networks, { id: 'c'.repeat(64), name: 'same', subnets: ['10.9.0.0/24'] }],
        containers: [{ id: 'd'.repeat(64), name: 'taken' }],
        links: ['br-left'],
      },
    ),
    `Docker at /docker: 1 image, 1 container to take, 2kB; 10MB are free

images
  take   web:1   1kB
           without the name web:1, which another image has here
  leave  bad:1   its config is damaged
           try: docker save bad:1

volumes
  leave  data    a volume of this name is here already, and it is not touched
           try: berth volume rm data, when what is in it is not needed

networks
  leave  front   its subnet 172.17.3.0/24 overlaps that of the network bridge
           try: set another bridgeSubnet in the configuration of the engine
  leave  same    a network of this name is here already
           try: docker network rm same, when nobody needs it
  leave  lan     it is of the driver overlay, which Berth does not do yet
           try: make it anew as a bridge
  leave  left    the bridge br-left that Docker made for it is still there, with the same addresses
           try: ip link delete br-left

containers
  leave  web     its network front is not taken
  leave  side    its other container web is not taken
  leave  taken   a container of this name is here already
           try: docker rename taken OTHER, and adopt again
  take   logged  1kB
           its log of the driver local stays behind
  leave  orphan  its image ${digestOf('gone').slice(0, 19)} is missing

10 left where they are
`,
  );
});

test('a container is not bound to a volume, an image or a network that only has the same name', () => {
  const web = container('web', {}, { volumes: { '/data': 'data' } });
  const have = { volumes: new Set(['data']), images: new Map<Digest, Digest>([[web.image, web.image]]) };
  assert.match(text({ containers: [web] }, have), /leave {2}web {2}its volume data is missing/);
  const only = plan({ ...nothing, containers: [web] }, { ...empty, ...have }, new Set(['containers']));
  assert.equal(only.steps[0]?.why, 'its volume data is not taken');
  const adopted = new Set(['volumes data']);
  assert.match(text({ containers: [web] }, { ...have, adopted }), /take {3}web/);
});

test('a container that still runs is left; a log driver that is not done here is told; who links to another comes after', () => {
  const journald = container('log', {}, { logDriver: 'journald' });
  const alive = container('alive', {});
  const linked = container('ln', { HostConfig: { Links: ['/alive:/ln/a'] } });
  const steps = plan(
    { ...nothing, images: [image('web', {})], containers: [linked, journald, alive] },
    { ...empty, alive: new Map([[alive.id, 7]]) },
    all,
  ).steps.filter(({ kind }) => kind === 'containers');
  assert.deepEqual(
    steps.map(({ name, action, why, changes }) => [name, action, why ?? changes.join(', ')]),
    [
      ['alive', 'leave', 'it still runs (pid 7), without its Docker'],
      ['ln', 'leave', 'its other container alive is not taken'],
      ['log', 'take', 'its log of the driver journald stays behind, it logs with the driver json-file here'],
    ],
  );
});
