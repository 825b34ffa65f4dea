import { readFileSync } from 'node:fs';
import { type MountCalls, type MountInfo, mountFlags, parseMountInfo } from '../sys/mount.ts';

export function currentMounts(): MountInfo[] {
  return parseMountInfo(readFileSync('/proc/self/mountinfo', 'utf8'));
}

/**
 * Makes a directory a mount point of its own that takes no part in propagation, so that what is mounted below it appears
 * in no other mount namespace, where it would outlive us. Doing it twice is doing it once.
 */
export function makePrivate(calls: MountCalls, root: string): void {
  const there = currentMounts().find((mount) => mount.target === root);
  if (!there) calls.mount({ source: root, target: root, flags: mountFlags.MS_BIND });
  if (!there || there.propagation.length > 0) {
    calls.mount({ source: 'none', target: root, flags: mountFlags.MS_PRIVATE });
  }
}

/** Undoes it, unless something is mounted below still. */
export function undoPrivate(calls: MountCalls, root: string): void {
  const mounts = currentMounts();
  if (!mounts.some((mount) => mount.target === root)) return;
  if (mounts.some((mount) => mount.target.startsWith(`${root}/`))) return;
  calls.unmount(root, { detach: true });
}
