import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { createLog } from '../../base/log.ts';
import { buildSpec } from '../spec/build.ts';
import { sampleInput } from '../spec/sample.ts';
import { parseQualifiedName, readCdiDocument } from './document.ts';
import { injectDevices } from './inject.ts';
import { CdiRegistry } from './registry.ts';
import { checkDeviceRequests, devicesAsked } from './requests.ts';

const document = (edits: object, more: object = {}) => ({
  cdiVersion: '0.6.0',
  kind: 'vendor.com/thing',
  devices: [{ name: 'one', containerEdits: edits }],
  ...more,
});
const editsOf = (edits: object) => readCdiDocument(document(edits), 'f').devices[0]!.edits;
const spec = buildSpec(sampleInput());
const zero = { type: 'c', major: 1, minor: 5, fileMode: 0o666 };

test('a qualified name has a vendor, a class and a name', () => {
  assert.deepEqual(parseQualifiedName('vendor.com/thing=one:2'), { kind: 'vendor.com/thing', name: 'one:2' });
  for (const wrong of [
    '',
    '/dev/null',
    'vendor.com/thing',
    'vendor.com=x',
    '/thing=x',
    'v.c/t=',
    'v.c/t=-x',
    'v.c/t=x\n',
  ])
    assert.equal(parseQualifiedName(wrong), undefined, wrong);
});

test('a file that is wrong or asks for what there is not is refused with its place', () => {
  const refused: readonly (readonly [unknown, RegExp])[] = [
    [[], /f: it is a list, expected an object/],
    [document({}, { cdiVersion: '9.0.0' }), /cdiVersion 9.0.0 is not known/],
    [document({}, { kind: 'thing' }), /kind "thing" is not vendor\/class/],
    [document({}, { devices: [] }), /it has no devices/],
    [document({}, { devices: [{ name: 'a' }, { name: 'a' }] }), /the device a is there twice/],
    [document({}, { devices: [{ name: '../x' }] }), /is no name of a device/],
    [document({ intelRdt: { closID: 'x' } }), /devices\[0\] containerEdits: intelRdt is not supported/],
    [document({ netDevices: [] }), /netDevices is not supported/],
    [document({ env: ['NAME'] }), /env: NAME/],
    [document({ deviceNodes: [{ path: 'dev/x' }] }), /deviceNodes\[0\]: path is not an absolute path/],
    [document({ deviceNodes: [{ path: '/dev/x', type: 'z' }] }), /type z/],
    [document({ deviceNodes: [{ path: '/dev/x', permissions: 'q' }] }), /permissions q/],
    [document({ mounts: [{ hostPath: '/a' }] }), /containerPath: it is missing/],
    [document({ hooks: [{ hookName: 'nosuch', path: '/x' }] }), /no hook is called "nosuch"/],
    [document({ additionalGids: [-1] }), /additionalGids\[0\]/],
  ];
  for (const [value, message] of refused) assert.throws(() => readCdiDocument(value, 'f'), message);
});

test('nodes, mounts, variables, groups and hooks go into the spec', () => {
  const edits = editsOf({
    env: ['PATH=/vendor', 'NEW=1'],
    deviceNodes: [
      { path: '/dev/mine', hostPath: '/dev/zero', permissions: 'r' },
      { path: '/dev/own', type: 'b', major: 7, minor: 1, fileMode: 0o100600, uid: 5 },
    ],
    mounts: [
      { hostPath: '/h/deep', containerPath: '/c/deep', options: ['ro'] },
      { hostPath: '/h', containerPath: '/c', options: ['bind', 'rslave'] },
    ],
    hooks: [{ hookName: 'poststop', path: '/bin/true', args: ['true'], timeout: 3 }],
    additionalGids: [44, 0],
  });
  const done = injectDevices(spec, [edits, edits], (path) => (path === '/dev/zero' ? zero : undefined));
  assert.deepEqual(done.process.env, ['PATH=/vendor', 'NEW=1']);
  assert.deepEqual(done.process.user.additionalGids, [0, 44]);
  assert.deepEqual(done.linux.devices?.slice(0, 2), [
    { path: '/dev/mine', ...zero },
    { path: '/dev/own', type: 'b', major: 7, minor: 1, fileMode: 0o600, uid: 5 },
  ]);
  assert.deepEqual(done.linux.resources?.devices?.at(-2), { allow: true, type: 'c', major: 1, minor: 5, access: 'r' });
  assert.deepEqual(
    done.mounts.slice(-2).map(({ destination, options }) => [destination, options]),
    [
      ['/c/deep', ['rbind', 'ro', 'rprivate']],
      ['/c/deep', ['rbind', 'ro', 'rprivate']],
    ],
  );
  assert.deepEqual(done.mounts.at(-4)?.options, ['bind', 'rslave']);
  assert.equal(done.hooks?.poststop?.length, 2);
  assert.deepEqual(done.hooks?.poststop?.[0], { path: '/bin/true', args: ['true'], timeout: 3 });
  assert.equal(injectDevices(spec, []), spec);
});

test('who is not root in the container gets the nodes that belong to nobody; a device that is not there is named', () => {
  const edits = editsOf({ deviceNodes: [{ path: '/dev/zero' }] });
  const asUser = { ...spec, process: { ...spec.process, user: { uid: 7, gid: 8 } } };
  const { uid, gid } = injectDevices(asUser, [edits], () => zero).linux.devices![0]!;
  assert.deepEqual([uid, gid], [7, 8]);
  assert.throws(() => injectDevices(spec, [edits], () => undefined), {
    kind: 'invalid',
    message: 'CDI device injection failed: /dev/zero is not a device of this machine',
  });
});

test('JSON and YAML are read at each question; later directories win, doubles of one directory count for nothing', async () => {
  const base = mkdtempSync(join(tmpdir(), 'berth-cdi-'));
  try {
    const lines: string[] = [];
    const log = createLog({ level: 'info', format: 'text', write: (line) => void lines.push(line) });
    const directories = ['a', 'b', 'nosuch'].map((name) => join(base, name));
    const registry = new CdiRegistry({ directories, log });
    assert.deepEqual(await registry.list(), []);
    for (const name of ['a', 'b']) mkdirSync(join(base, name));
    const write = (path: string, value: object) => writeFileSync(join(base, path), JSON.stringify(value));
    write('a/x.json', document({ env: ['FROM=a'] }, { containerEdits: { env: ['ALL=1'] } }));
    writeFileSync(
      join(base, 'a/y.yaml'),
      'cdiVersion: 0.6.0\nkind: o.org/net\ndevices:\n  - name: n\n    containerEdits: {env: [Y=1]}\n',
    );
    writeFileSync(join(base, 'a/bomb.yml'), 'a: &a [1]\nb: [*a, *a]\n');
    writeFileSync(join(base, 'a/readme.txt'), 'not read');
    assert.deepEqual(await registry.list(), ['o.org/net=n', 'vendor.com/thing=one']);
    const env = async (...names: string[]) => (await registry.editsFor(names)).flatMap((edits) => edits.env);
    assert.deepEqual(await env('vendor.com/thing=one', 'o.org/net=n', 'vendor.com/thing=one'), [
      'ALL=1',
      'FROM=a',
      'Y=1',
    ]);
    assert.deepEqual(
      lines.filter((line) => line.includes('bomb.yml')).length,
      1,
      'told once, however often it is read',
    );
    write('b/x.json', document({ env: ['FROM=b'] }));
    assert.deepEqual(await env('vendor.com/thing=one'), ['FROM=b']);
    write('b/z.json', document({ env: ['FROM=z'] }));
    assert.deepEqual(await registry.list(), ['o.org/net=n']);
    await assert.rejects(registry.editsFor(['vendor.com/thing=one', 'o.org/net=n', 'x.y/z=1']), {
      message: 'CDI device injection failed: unresolvable CDI devices vendor.com/thing=one, x.y/z=1',
    });
  } finally {
    rmSync(base, { recursive: true });
  }
});

test('requests for graphics processors become devices of the first vendor that is there', () => {
  const known = ['amd.com/gpu=0', ...['10', '2', 'GPU-x', 'all'].map((name) => `nvidia.com/gpu=${name}`)];
  const gpu = { Capabilities: [['gpu']] };
  assert.deepEqual(devicesAsked([{ Driver: 'cdi', DeviceIDs: ['a.b/c=d'] }], []), ['a.b/c=d']);
  assert.deepEqual(devicesAsked([{ ...gpu, Count: -1 }], known), ['nvidia.com/gpu=all']);
  assert.deepEqual(devicesAsked([{ ...gpu, Count: 1 }], known), ['nvidia.com/gpu=2']);
  assert.deepEqual(devicesAsked([{ ...gpu, DeviceIDs: ['GPU-x'] }], known), ['nvidia.com/gpu=GPU-x']);
  assert.deepEqual(devicesAsked([{ ...gpu, Driver: 'amd', Count: -1 }], known), ['amd.com/gpu=0']);
  assert.throws(() => devicesAsked([{ ...gpu, Count: 3 }], known), /3 devices of nvidia.com\/gpu .* there are 2/);
  assert.throws(() => devicesAsked([{ ...gpu, Count: 1 }], []), {
    message: 'could not select device driver "" with capabilities: [[gpu]]',
  });
  checkDeviceRequests([
    { ...gpu, Count: 1 },
    { Driver: 'nvidia', Count: -1, Capabilities: [['gpu', 'utility']] },
  ]);
  assert.throws(() => checkDeviceRequests([{ ...gpu, Count: 1, DeviceIDs: ['0'] }]), /cannot set both/);
});
