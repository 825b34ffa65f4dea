import { lstat, readdir } from 'node:fs/promises';
import { codeOf } from './errors.ts';

/**
 * Counts what is on a disk below folders, as du does: blocks that are in use, and a file with several names once, also
 * where they lie below different folders. What goes while it is counted does not count.
 */
export class DiskUsage {
  readonly #linked = new Set<string>();
  readonly #device: number | undefined;
  bytes = 0;
  inodes = 0;

  /** With a device (`st_dev`) other file systems that are mounted on the way are left out, as by `du -x`. */
  constructor({ device }: { readonly device?: number } = {}) {
    this.#device = device;
  }

  /** All below the folder, without the folder itself; one that is not there has nothing. */
  async add(folder: string): Promise<void> {
    await this.#walk(Buffer.from(folder).toString('latin1'));
  }

  /** The file or folder itself and all below it. What it added, in bytes. */
  async addWhole(path: string): Promise<number> {
    const before = this.bytes;
    await this.#entry(Buffer.from(path).toString('latin1'));
    return this.bytes - before;
  }

  /** The folder without what is in it. What it added, in bytes. */
  async addAlone(folder: string): Promise<number> {
    const stat = await lstat(folder).catch(absent);
    if (!stat || (this.#device !== undefined && stat.dev !== this.#device)) return 0;
    this.bytes += stat.blocks * 512;
    this.inodes++;
    return stat.blocks * 512;
  }

  /** Names may be in any encoding: as latin1 every byte stays what it is. */
  async #walk(folder: string): Promise<void> {
    const names = await readdir(Buffer.from(folder, 'latin1'), 'buffer').catch(absent);
    for (const name of names ?? []) {
      await this.#entry(`${folder}/${name.toString('latin1')}`);
    }
  }

  async #entry(path: string): Promise<void> {
    const stat = await lstat(Buffer.from(path, 'latin1')).catch(absent);
    if (!stat || (this.#device !== undefined && stat.dev !== this.#device)) return;
    if (stat.nlink > 1 && !stat.isDirectory()) {
      const key = `${stat.dev} ${stat.ino}`;
      if (this.#linked.has(key)) return;
      this.#linked.add(key);
    }
    this.bytes += stat.blocks * 512;
    this.inodes++;
    if (stat.isDirectory()) await this.#walk(path);
  }
}

function absent(error: unknown): undefined {
  // A container may delete while it is counted, or nest deeper than a path can name.
  if (!['ENOENT', 'ENOTDIR', 'ENAMETOOLONG'].includes(codeOf(error) ?? '')) throw error;
  return undefined;
}
