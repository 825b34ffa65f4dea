import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { deviceNodes, deviceRules, parseDeviceRule, resolveDevices } from './devices.ts';
import { sampleHostConfig } from './sample.ts';

const mapping = (PathOnHost: string, PathInContainer = '', CgroupPermissions = 'rwm') => ({
  PathOnHost,
  PathInContainer,
  CgroupPermissions,
});
const resolve = (...Devices: ReturnType<typeof mapping>[]) => resolveDevices({ ...sampleHostConfig, Devices });

describe('resolveDevices', () => {
  let directory: string;
  before(() => {
    directory = mkdtempSync(join(tmpdir(), 'devices-'));
    mkdirSync(join(directory, 'sub'));
    execFileSync('mkfifo', [join(directory, 'sub/pipe'), join(directory, 'b')]);
    writeFileSync(join(directory, 'plain'), '');
    symlinkSync('/dev/null', join(directory, 'link'));
  });
  after(() => rmSync(directory, { recursive: true }));

  it('takes a device as it is on the host', async () => {
    const { devices } = await resolve(mapping('/dev/null', '/dev/mine', 'r'));
    assert.deepEqual(
      { ...devices[0], mode: 0, uid: 0, gid: 0 },
      { path: '/dev/mine', type: 'c', major: 1, minor: 3, mode: 0, uid: 0, gid: 0, access: 'r' },
    );
    assert.deepEqual((await resolve(mapping('/dev/null'))).devices[0]?.path, '/dev/null');
    assert.deepEqual((await resolve(mapping(join(directory, 'link'), '/x'))).devices[0]?.minor, 3);
  });

  it('takes every device below a directory, without links and files', async () => {
    const { devices } = await resolve(mapping(directory, '/dev/d'));
    assert.deepEqual(
      devices.map(({ path, type }) => [path, type]),
      [
        ['/dev/d/b', 'p'],
        ['/dev/d/sub/pipe', 'p'],
      ],
    );
  });

  it("refuses in Docker's words what is no device", async () => {
    const error = (path: string, fact: string) => ({
      kind: 'invalid',
      message: `error gathering device information while adding custom device "${path}": ${fact}`,
    });
    await assert.rejects(resolve(mapping('/dev/nope')), error('/dev/nope', 'no such file or directory'));
    const plain = join(directory, 'plain');
    await assert.rejects(resolve(mapping(plain)), error(plain, 'not a device node'));
    await assert.rejects(resolve(mapping('/dev/null', '', 'x')), { message: 'invalid device mode: x' });
  });

  it('takes all of /dev but the parts of its own for a privileged container', async () => {
    mkdirSync(join(directory, 'pts'));
    execFileSync('mkfifo', [join(directory, 'pts/0')]);
    const { devices } = await resolveDevices({ ...sampleHostConfig, Privileged: true }, directory);
    assert.deepEqual(devices, []);
    const real = await resolveDevices({ ...sampleHostConfig, Privileged: true });
    const paths = real.devices.map(({ path }) => path);
    assert.ok(paths.includes('/dev/null') && !paths.some((path) => path.startsWith('/dev/pts/')));
  });

  it('refuses an I/O limit on what is no block device', async () => {
    const limit = (Path: string) => resolveDevices({ ...sampleHostConfig, BlkioDeviceReadBps: [{ Path, Rate: 5 }] });
    await assert.rejects(limit('/dev/null'), { message: 'limit the I/O of /dev/null: not a block device' });
    await assert.rejects(limit('/dev/nope'), { message: 'limit the I/O of /dev/nope: no such device' });
  });
});

describe('deviceRules', () => {
  const device = {
    path: '/dev/x',
    type: 'c' as const,
    major: 10,
    minor: 229,
    mode: 0o600,
    uid: 0,
    gid: 44,
    access: 'rw',
  };

  it('S20 denies all, then allows what every container has, then what was asked for', () => {
    const rules = deviceRules({ Privileged: false, DeviceCgroupRules: ['b 8:* rm'] }, [device]);
    assert.deepEqual(rules[0], { allow: false, access: 'rwm' });
    assert.deepEqual(rules.slice(-2), [
      { allow: true, type: 'c', major: 10, minor: 229, access: 'rw' },
      { allow: true, type: 'b', major: 8, access: 'rm' },
    ]);
    assert.equal(rules.filter(({ allow, type }) => allow && type === undefined).length, 0);
  });

  it('keeps owner and mode of a device', () => {
    assert.deepEqual(deviceNodes([device]), [
      { path: '/dev/x', type: 'c', major: 10, minor: 229, fileMode: 0o600, uid: 0, gid: 44 },
    ]);
    assert.equal('major' in deviceNodes([{ ...device, type: 'p' }])[0]!, false);
  });

  it('reads rules', () => {
    assert.deepEqual(parseDeviceRule('a *:* rwm'), { allow: true, type: 'a', access: 'rwm' });
    assert.deepEqual(parseDeviceRule('c 1:3 r'), { allow: true, type: 'c', major: 1, minor: 3, access: 'r' });
    for (const rule of ['x', 'c 1 r', 'd 1:3 r', 'c 1:3 x', 'c 1:3', ' c 1:3 r', 'c -1:3 r'])
      assert.throws(() => parseDeviceRule(rule), {
        kind: 'invalid',
        message: `invalid device cgroup rule format: '${rule}'`,
      });
    assert.throws(() => parseDeviceRule('c 99999999999:3 r'), { kind: 'invalid' });
  });
});
