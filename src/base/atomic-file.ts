import { open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';

/**
 * Writes a file so that a reader, or a start after power loss, finds the old content or the new and never half of one:
 * a file beside it, synced, renamed over it, and the directory synced.
 */
export async function writeFileAtomic(
  path: string,
  content: string | Uint8Array,
  { mode = 0o600 } = {},
): Promise<void> {
  const beside = `${path}.${process.pid}.${Date.now().toString(36)}.tmp`;
  try {
    await using file = await open(beside, 'wx', mode);
    await file.writeFile(content);
    await file.sync();
  } catch (error) {
    await rm(beside, { force: true });
    throw error;
  }
  await rename(beside, path);
  await syncDirectory(dirname(path));
}

/** Makes the names in a directory durable: a rename is only safe from power loss once its directory is synced. */
export async function syncDirectory(path: string): Promise<void> {
  await using directory = await open(path, 'r');
  await directory.sync();
}
