import type { Stats } from 'node:fs';
import { lstat, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { codeOf, EngineError } from '../../base/errors.ts';
import type { Device, DeviceRule } from '../../oci/runtime-spec.ts';
import type { HostConfig } from '../../protocol/container.ts';
import type { HostDevice, HostDevices } from './input.ts';

type DeviceRequest = Pick<
  HostConfig,
  | 'Privileged'
  | 'Devices'
  | 'BlkioWeightDevice'
  | 'BlkioDeviceReadBps'
  | 'BlkioDeviceWriteBps'
  | 'BlkioDeviceReadIOps'
  | 'BlkioDeviceWriteIOps'
>;

/** Looks up what `--device`, `--privileged` and the block device limits name. Throws `invalid` on what is no device. */
export async function resolveDevices(request: DeviceRequest, dev = '/dev'): Promise<HostDevices> {
  const devices: HostDevice[] = [];
  if (request.Privileged) devices.push(...(await tree(dev, dev, 'rwm', true)));
  for (const mapping of request.Devices) {
    const target = mapping.PathInContainer || mapping.PathOnHost;
    if (request.Privileged && target === mapping.PathOnHost) continue; // among those above
    const access = request.Privileged ? 'rwm' : mapping.CgroupPermissions || 'rwm';
    if (!validAccess(access)) throw new EngineError('invalid', `invalid device mode: ${access}`);
    devices.push(...(await named(mapping.PathOnHost, target, access)));
  }
  const limits = [
    request.BlkioWeightDevice,
    request.BlkioDeviceReadBps,
    request.BlkioDeviceWriteBps,
    request.BlkioDeviceReadIOps,
    request.BlkioDeviceWriteIOps,
  ];
  const paths = new Set(limits.flatMap((list) => (list ?? []).map(({ Path }) => Path)));
  const block: Record<string, { major: number; minor: number }> = {};
  for (const path of paths) {
    const found = await stat(path).catch(() => undefined);
    if (!found?.isBlockDevice())
      throw new EngineError('invalid', `limit the I/O of ${path}: ${found ? 'not a block device' : 'no such device'}`);
    block[path] = { major: major(found.rdev), minor: minor(found.rdev) };
  }
  return { devices, block };
}

/** A device, or every device below a directory. A path that is a link means what it points to. */
async function named(source: string, target: string, access: string): Promise<HostDevice[]> {
  const failed = (fact: string) =>
    new EngineError('invalid', `error gathering device information while adding custom device "${source}": ${fact}`);
  let found: Stats;
  try {
    found = await stat(source);
  } catch (error) {
    throw failed(codeOf(error) === 'ENOENT' ? 'no such file or directory' : (codeOf(error) ?? 'unreadable'));
  }
  const device = deviceOf(found, target, access);
  if (device) return [device];
  const below = found.isDirectory() ? await tree(source, target, access, false) : [];
  if (below.length === 0) throw failed('not a device node');
  return below;
}

/**
 * Devices below a directory; links are left out, they name what is there already. `whole` is all of /dev, of which the
 * parts that every container has of its own are skipped.
 */
async function tree(source: string, target: string, access: string, whole: boolean): Promise<HostDevice[]> {
  const found: HostDevice[] = [];
  const entries = await readdir(source, { withFileTypes: true }).catch(() => []);
  for (const entry of entries.sort((a, b) => (a.name < b.name ? -1 : 1))) {
    if (whole && ownOfContainers.has(entry.name)) continue;
    const [from, to] = [join(source, entry.name), join(target, entry.name)];
    if (entry.isDirectory()) found.push(...(await tree(from, to, access, whole)));
    else if (entry.isCharacterDevice() || entry.isBlockDevice() || (entry.isFIFO() && !whole)) {
      // Gone since it was listed: hot-plugged devices come and go.
      const now = await lstat(from).catch(() => undefined);
      const device = now && deviceOf(now, to, access);
      if (device) found.push(device);
    }
  }
  return found;
}

const ownOfContainers = new Set(['pts', 'shm', 'fd', 'mqueue', 'console', '.lxc', '.lxd-mounts', '.udev', 'ptmx']);

function deviceOf(found: Stats, path: string, access: string): HostDevice | undefined {
  const type = found.isBlockDevice() ? 'b' : found.isCharacterDevice() ? 'c' : found.isFIFO() ? 'p' : undefined;
  if (!type) return undefined;
  const number = { major: major(found.rdev), minor: minor(found.rdev) };
  return { path, type, ...number, mode: found.mode & 0o777, uid: found.uid, gid: found.gid, access };
}

/** Linux packs 12 bits of major and 20 of minor (gnu_dev_major and gnu_dev_minor of libc). */
const major = (rdev: number) => (rdev >>> 8) & 0xfff;
const minor = (rdev: number) => (rdev & 0xff) | ((rdev >>> 12) & 0xfff00);

/** `st_rdev`, taken apart. */
export const deviceNumber = (rdev: number) => ({ major: major(rdev), minor: minor(rdev) });

export const validAccess = (access: string) => /^[rwm]{1,3}$/.test(access) && new Set(access).size === access.length;

/** Nodes that are made in the container's /dev, beside those that runtimes always make. */
export const deviceNodes = (devices: readonly HostDevice[]): readonly Device[] =>
  devices.map(({ path, type, major, minor, mode, uid, gid }) => ({
    path,
    type,
    ...(type !== 'p' && { major, minor }),
    fileMode: mode,
    uid,
    gid,
  }));

/** The device cgroup: everything is denied, then null, zero and the like, `--device`, and `--device-cgroup-rule`. */
export function deviceRules(
  hostConfig: Pick<HostConfig, 'Privileged' | 'DeviceCgroupRules'>,
  devices: readonly HostDevice[],
): readonly DeviceRule[] {
  if (hostConfig.Privileged) return [{ allow: true, access: 'rwm' }];
  const nodes = devices.filter(({ type }) => type !== 'p');
  return [
    { allow: false, access: 'rwm' },
    ...always.map(([major, minor]) => ({ allow: true, type: 'c', major, minor, access: 'rwm' })),
    // Docker denies fuse by name, where a rule for all devices of major 10 would allow it before --device did.
    { allow: false, type: 'c', major: 10, minor: 229, access: 'rwm' },
    ...nodes.map(({ type, major, minor, access }) => ({ allow: true, type, major, minor, access })),
    ...(hostConfig.DeviceCgroupRules ?? []).map(parseDeviceRule),
  ];
}

/** zero, null, urandom, random, tty, console. */
const always = [
  [1, 5],
  [1, 3],
  [1, 9],
  [1, 8],
  [5, 0],
  [5, 1],
] as const;

/** `c 1:3 rwm`, with `a` for any type and `*` for any number. Throws `invalid` in Docker's words. */
export function parseDeviceRule(rule: string): DeviceRule {
  const match = /^([acb]) ([0-9]+|\*):([0-9]+|\*) ([rwm]{1,3})$/.exec(rule);
  if (!match) throw new EngineError('invalid', `invalid device cgroup rule format: '${rule}'`);
  const [, type, majorText, minorText, access] = match as unknown as [string, string, string, string, string];
  const number = (text: string) => {
    if (text === '*') return undefined;
    const value = Number(text);
    if (value > 0xffffffff) throw new EngineError('invalid', `invalid device number in cgroup rule: '${rule}'`);
    return value;
  };
  const [major, minor] = [number(majorText), number(minorText)];
  return { allow: true, type, ...(major !== undefined && { major }), ...(minor !== undefined && { minor }), access };
}
