import { existsSync, mkdirSync, rmdirSync } from 'node:fs';
import { join } from 'node:path';
import { codeOf } from '../base/errors.ts';
import { MountCalls, mountFlags } from '../sys/mount.ts';
import type { Room } from './room.ts';

const { MS_NOSUID, MS_NODEV, MS_NOEXEC } = mountFlags;

/** Where the /dev/shm of a container with --ipc=shareable is on the host, for those that join its IPC namespace. */
export function sharedMemory(room: Room, id: string): string {
  return join(room.bundle(id), 'shm');
}

export function mountSharedMemory(
  room: Room,
  id: string,
  { size, label, owner }: { size: number; label: string; owner: { readonly uid: number; readonly gid: number } },
): string {
  const target = sharedMemory(room, id);
  mkdirSync(target);
  const flags = MS_NOSUID | MS_NODEV | MS_NOEXEC;
  // A label of SELinux has commas of its own.
  const context = label === '' ? '' : `,context="${label}"`;
  new MountCalls().mount({
    source: 'shm',
    target,
    type: 'tmpfs',
    flags,
    data: `mode=1777,uid=${owner.uid},gid=${owner.gid},size=${size}${context}`,
  });
  return target;
}

/** Who joined keeps its own mount of it. Not mounted is no error. */
export function unmountSharedMemory(room: Room, id: string): void {
  const target = sharedMemory(room, id);
  if (!existsSync(target)) return;
  try {
    new MountCalls().unmount(target, { detach: true });
  } catch (error) {
    if (codeOf(error) !== 'EINVAL') throw error;
  }
  rmdirSync(target);
}
