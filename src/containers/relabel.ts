import { constants, realpathSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import { codeOf, EngineError, messageOf } from '../base/errors.ts';
import { DirectoryCalls } from '../sys/dirfd.ts';
import { openat2, resolve } from '../sys/openat2.ts';
import type { ContainerRecord } from './record.ts';

/** What a machine needs under its own label: relabelled for a container, it would no longer start. */
const refused = new Set(
  [
    '/ /bin /boot /dev /etc /etc/passwd /etc/pki /etc/shadow /home /lib /lib64 /media /opt /proc /root',
    '/run /sbin /srv /sys /system /tmp /usr /var /var/lib /var/log',
  ]
    .join(' ')
    .split(' '),
);

const attribute = 'security.selinux';
const directoryFlags = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW;
/** Between them other requests have their turn. */
const batch = 256;

/** What the container is to have of SELinux: `z` mounts and volumes shared with others, `Z` mounts for itself, its own files. */
export async function relabelMounts({ own, files, mountLabel }: ContainerRecord): Promise<void> {
  if (mountLabel === '') return;
  const shared = sharedLabel(mountLabel);
  for (const { point, relabel: how } of own.mounts) {
    if (how === undefined || point.Type === 'tmpfs') continue;
    try {
      await relabel(realpathSync(point.Source), how === 'Z' ? mountLabel : shared);
    } catch (cause) {
      throw new EngineError('invalid', `error setting label on mount source '${point.Source}': ${messageOf(cause)}`, {
        cause,
        ...(cause instanceof EngineError && cause.hint ? { hint: cause.hint } : {}),
      });
    }
  }
  for (const file of [files.hosts, files.hostname, files.resolvConf]) await relabel(file, shared);
}

/** Without the categories that keep containers apart. */
export function sharedLabel(label: string): string {
  const [user = '', role = '', type = ''] = label.split(':');
  return `${user}:${role}:${type}:s0`;
}

/**
 * Labels a path and all below it. No symbolic link is followed, also none that is put there meanwhile: each name is acted on
 * in an open directory. What has gone in between, and file systems without labels, are passed over.
 */
export async function relabel(path: string, label: string): Promise<void> {
  if (refused.has(path))
    throw new EngineError('invalid', `SELinux relabeling of ${path} is not allowed`, {
      hint: 'mount a directory below it, or use --security-opt label=disable instead of :z and :Z',
    });
  const calls = new DirectoryCalls();
  const value = Buffer.from(label);
  let done = 0;

  const one = (directory: number, name: string): void => {
    try {
      // Setting what is there already would write to every inode at each start.
      if (calls.getXattr(directory, name, attribute)?.toString('latin1').replace(/\0$/, '') === label) return;
      calls.setXattr(directory, name, attribute, value);
    } catch (error) {
      if (!['ENOENT', 'EOPNOTSUPP', 'ENOTSUP'].includes(codeOf(error) ?? '')) throw error;
    }
  };
  const below = async (directory: number, name: string): Promise<void> => {
    let opened: number;
    try {
      opened = calls.open(directory, name, directoryFlags);
    } catch (error) {
      if (['ENOTDIR', 'ELOOP', 'ENOENT'].includes(codeOf(error) ?? '')) return;
      throw error;
    }
    try {
      for (const entry of await readdir(`/proc/self/fd/${opened}`, { encoding: 'latin1', withFileTypes: true })) {
        one(opened, entry.name);
        if (++done % batch === 0) await new Promise(setImmediate);
        if (!entry.isFile() && !entry.isSymbolicLink()) await below(opened, entry.name);
      }
    } finally {
      calls.close(opened);
    }
  };

  const parent = openat2(0, dirname(path), { flags: constants.O_DIRECTORY, resolve: resolve.noSymlinks });
  try {
    const name = Buffer.from(basename(path)).toString('latin1');
    one(parent, name);
    await below(parent, name);
  } finally {
    calls.close(parent);
  }
}
