import { rmdir } from 'node:fs/promises';
import { codeOf } from '../base/errors.ts';
import { removeDirectory } from '../base/remove-directory.ts';
import { unmountImages } from './image-mounts.ts';
import type { Room } from './room.ts';
import { unmountSharedMemory } from './shared-memory.ts';
import { unmountSubpaths } from './subpaths.ts';

/**
 * Removes what a start made below the run directory, and never what is mounted there: as long as the root is a mount
 * point its rmdir fails with EBUSY, and nothing below was touched. A walk would delete the container's own files.
 */
export async function removeBundle(room: Room, id: string): Promise<void> {
  // Not on this thread: where the container's own mount namespace still had it, the kernel takes milliseconds.
  await rmdir(room.rootfs(id)).catch((error: unknown) => {
    if (codeOf(error) !== 'ENOENT') throw error;
  });
  unmountSharedMemory(room, id);
  unmountSubpaths(room, id);
  await unmountImages(room, id);
  await removeDirectory(room.bundle(id));
}
