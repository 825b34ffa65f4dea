import { rmdirSync, rmSync } from 'node:fs';
import { codeOf } from '../base/errors.ts';
import type { Room } from './room.ts';

/**
 * Removes what a start made below the run directory, and never what is mounted there: as long as the root is a mount
 * point its rmdir fails with EBUSY, and nothing below was touched. A walk would delete the container's own files.
 */
export function removeBundle(room: Room, id: string): void {
  try {
    rmdirSync(room.rootfs(id));
  } catch (error) {
    if (codeOf(error) !== 'ENOENT') throw error;
  }
  rmSync(room.bundle(id), { recursive: true, force: true });
}
