import { lstat, readdir } from 'node:fs/promises';
import { codeOf } from './errors.ts';

/**
 * Counts what is on a disk below folders, as du does: blocks that are in use, and a file with several names once, also
 * where they lie below different folders. What goes while it is counted does not count.
 */
export class DiskUsage {
  readonly #linked = new Set<string>();
  bytes = 0;
  inodes = 0;

  /** All below the folder, without the folder itself; one that is not there has nothing. */
  async add(folder: string): Promise<void> {
    await this.#walk(Buffer.from(folder).toString('latin1'));
  }

  /** Names may be in any encoding: as latin1 every byte stays what it is. */
  async #walk(folder: string): Promise<void> {
    const names = await readdir(Buffer.from(folder, 'latin1'), 'buffer').catch(absent);
    for (const name of names ?? []) {
      const path = Buffer.concat([Buffer.from(`${folder}/`, 'latin1'), name]);
      const stat = await lstat(path).catch(absent);
      if (!stat) continue;
      if (stat.nlink > 1 && !stat.isDirectory()) {
        const key = `${stat.dev} ${stat.ino}`;
        if (this.#linked.has(key)) continue;
        this.#linked.add(key);
      }
      this.bytes += stat.blocks * 512;
      this.inodes++;
      if (stat.isDirectory()) await this.#walk(path.toString('latin1'));
    }
  }
}

function absent(error: unknown): undefined {
  // A container may delete while it is counted, or nest deeper than a path can name.
  if (!['ENOENT', 'ENOTDIR', 'ENAMETOOLONG'].includes(codeOf(error) ?? '')) throw error;
  return undefined;
}
