import {
  closeSync,
  existsSync,
  fstatSync,
  mkdirSync,
  readdirSync,
  rmdirSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { codeOf, EngineError } from '../base/errors.ts';
import { MountCalls, mountFlags } from '../sys/mount.ts';
import { openInside } from './inside.ts';
import type { Room } from './room.ts';

const directory = (room: Room, id: string) => join(room.bundle(id), 'subpaths');

/**
 * Mounts a part of a volume in the bundle, for the runtime to mount from there: by its path alone whoever else has the
 * volume could put a link into the place of what was looked at. Throws `invalid` in Docker's words.
 */
export function mountSubpath(
  room: Room,
  id: string,
  { root, path }: { readonly root: string; readonly path: string },
): string {
  const fd = openInside(root, path);
  if (fd === undefined) {
    const full = join(root, path);
    throw new EngineError('invalid', `cannot access path ${full}: lstat ${full}: no such file or directory`);
  }
  try {
    const target = newMountPoint(room, id, fstatSync(fd).isDirectory());
    const { MS_BIND, MS_REC } = mountFlags;
    new MountCalls().mount({ source: `/proc/self/fd/${fd}`, target, flags: MS_BIND | MS_REC });
    return target;
  } finally {
    closeSync(fd);
  }
}

/** Where something is mounted for the runtime to mount from there, until the container runs. */
export function newMountPoint(room: Room, id: string, isDirectory: boolean): string {
  mkdirSync(directory(room, id), { recursive: true, mode: 0o711 });
  const target = join(directory(room, id), String(readdirSync(directory(room, id)).length));
  if (isDirectory) mkdirSync(target);
  else writeFileSync(target, '');
  return target;
}

/** Never deletes what is mounted: what cannot be unmounted makes the removal fail. */
export function unmountSubpaths(room: Room, id: string): void {
  const parts = directory(room, id);
  if (!existsSync(parts)) return;
  const entries = readdirSync(parts, { withFileTypes: true });
  for (const { name } of entries)
    try {
      new MountCalls().unmount(join(parts, name), { detach: true });
    } catch (error) {
      if (codeOf(error) !== 'EINVAL') throw error;
    }
  // Once all are unmounted: one may have had another in it.
  for (const entry of entries) {
    const target = join(parts, entry.name);
    if (entry.isDirectory()) rmdirSync(target);
    else unlinkSync(target);
  }
  rmdirSync(parts);
}
