import {
  chmodSync,
  chownSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readlinkSync,
  renameSync,
  rmSync,
  symlinkSync,
} from 'node:fs';
import { rmdir, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { DiskUsage } from '../base/disk-usage.ts';
import { codeOf, EngineError } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import { type Digest, parseDigest } from '../oci/digest.ts';
import type { DiskLimits } from '../quotas/disk-limits.ts';
import { syncFileSystem } from '../sys/sync.ts';
import { explainWrite } from './disk-full.ts';
import { removeTree } from './remove-tree.ts';
import type { SnapshotUsage } from './snapshotter.ts';

/** How a layer's root directory looks, for the writable one that covers it. */
export interface RootAttributes {
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
}

/** Digests in one chain link: a symbolic link's target has at most 4095 bytes. */
const perLink = 28;

/** A link like those of the chain, whose target is the limit in bytes. */
const limitName = 'limit';

/**
 * Writable snapshots: `containers/<key>/{upper,work}` and the chain of layers below it. One whose limit is a file system in a
 * file has the two in that, which is mounted at `limited/<key>` while it is needed.
 *
 * The chain is kept in the targets of symbolic links, `chain.0` last: a link is journaled together with its name, so it
 * is whole or absent after power loss, where a file would need an fsync of milliseconds at every run. A snapshot without
 * `chain.0` was never finished. That it is durable in time is the matter of the container's record: a snapshot that no
 * record names is removed after a start, and a record is written only once the snapshot is here.
 */
export class WritableStore {
  readonly #root: string;
  readonly #log: Log;
  readonly #chains = new Map<string, readonly Digest[]>();
  readonly #limits: DiskLimits;
  /** Half made, with their limits: nobody else's name. */
  readonly #making = new Set<string>();
  /** Those with a limit. */
  readonly #limited = new Set<string>();
  readonly #deleting = new Set<Promise<void>>();
  /** Those of `#deleting` that are mounted still under the key. */
  readonly #leaving = new Map<string, Promise<void>>();
  #trashed = 0;

  constructor({ root, log, limits }: { root: string; log: Log; limits: DiskLimits }) {
    this.#root = root;
    this.#log = log;
    this.#limits = limits;
    for (const key of readdirSync(join(root, 'containers'))) {
      const chain = readChain(this.directory(key));
      if (!chain) continue;
      this.#chains.set(key, chain);
      if (lstatSync(join(this.directory(key), limitName), { throwIfNoEntry: false })) this.#limited.add(key);
    }
  }

  directory(key: string): string {
    return join(this.#root, 'containers', key);
  }

  keys(): readonly string[] {
    return [...this.#chains.keys()];
  }

  /** Throws `not-found`. */
  chain(key: string): readonly Digest[] {
    const chain = this.#chains.get(key);
    if (!chain) throw new EngineError('not-found', `snapshot ${key} does not exist`);
    return chain;
  }

  uses(diffId: Digest): boolean {
    for (const chain of this.#chains.values()) if (chain.includes(diffId)) return true;
    return false;
  }

  /** Where its `upper` and `work` are: there when this returns. */
  async place(key: string): Promise<string> {
    const place = this.placeName(key);
    if (this.#isMounted(key)) await this.#mount(key);
    return place;
  }

  /** Where they are whenever they are there. */
  placeName(key: string): string {
    return this.#isMounted(key) ? this.#mountPoint(key) : this.directory(key);
  }

  /** `limit` in bytes; 0 is none. Throws `invalid` where it cannot be held, with nothing changed. */
  async prepare(key: string, chain: readonly Digest[], root: RootAttributes, limit: number): Promise<void> {
    if (!/^[\w][\w.-]{0,127}$/.test(key))
      throw new EngineError('invalid', `invalid snapshot key ${JSON.stringify(key)}`);
    if (this.#chains.has(key) || this.#making.has(key))
      throw new EngineError('conflict', `snapshot ${key} exists already`);
    if (limit > 0) this.#limits.check(this.#root, limit, 'limit the size of a container');
    const directory = this.directory(key);
    this.#making.add(key);
    try {
      try {
        mkdirSync(directory, { mode: 0o700 });
      } catch (error) {
        if (codeOf(error) !== 'EEXIST') throw error;
        // Left by a prepare that a crash cut short.
        await this.#discard(key);
        mkdirSync(directory, { mode: 0o700 });
      }
      if (limit > 0) await this.#limit(key, limit);
      const place = this.placeName(key);
      const upper = join(place, 'upper');
      mkdirSync(upper);
      // The umask is the engine's, the mode the image's.
      chmodSync(upper, root.mode);
      if (root.uid !== 0 || root.gid !== 0) chownSync(upper, root.uid, root.gid);
      mkdirSync(join(place, 'work'), { mode: 0o700 });
      if (place !== directory) await syncFileSystem(place);
      writeChain(directory, chain);
    } catch (error) {
      const explained = explainWrite(error, directory);
      await this.#discard(key);
      throw explained;
    } finally {
      this.#making.delete(key);
    }
    this.#chains.set(key, chain);
  }

  /** Gone at once under its name; its files go in the background. */
  remove(key: string): void {
    if (!this.#chains.delete(key)) return;
    this.#toTrash(key);
  }

  async usage(key: string): Promise<SnapshotUsage> {
    this.chain(key);
    const usage = new DiskUsage();
    await usage.add(join(await this.place(key), 'upper'));
    return { bytes: usage.bytes, inodes: usage.inodes };
  }

  /** Removes what a crash left half made, and empties the trash. */
  async recover(): Promise<void> {
    this.#limits.sweep(this.#root);
    for (const key of readdirSync(join(this.#root, 'limited')))
      if (!this.#chains.has(key)) await this.#unmount(key, { detach: true });
    for (const key of readdirSync(join(this.#root, 'containers'))) if (!this.#chains.has(key)) this.#toTrash(key);
    for (const name of readdirSync(join(this.#root, 'trash')))
      this.#delete(join(this.#root, 'trash', name), name.replace(/(\.\d+){2}$/, ''));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#deleting);
    // What runs on one holds it by its own mount. The next engine finds the device that it is on.
    for (const key of readdirSync(join(this.#root, 'limited')))
      await this.#unmount(key, { detach: false }).catch((error: unknown) =>
        this.#log.warn('the file system of a snapshot is in use', { key, error }),
      );
  }

  #mountPoint(key: string): string {
    return join(this.#root, 'limited', key);
  }

  #isMounted(key: string): boolean {
    return this.#limited.has(key) && this.#limits.hasImage(this.directory(key));
  }

  async #mount(key: string): Promise<void> {
    const place = this.#mountPoint(key);
    mkdirSync(place, { recursive: true, mode: 0o700 });
    await this.#limits.mount(this.directory(key), place);
  }

  async #unmount(key: string, how: { readonly detach: boolean }): Promise<void> {
    const place = this.#mountPoint(key);
    await this.#limits.unmount(place, how);
    await rmdir(place).catch(absent);
  }

  async #limit(key: string, limit: number): Promise<void> {
    const directory = this.directory(key);
    await this.#leaving.get(key);
    this.#limited.add(key);
    await this.#limits.limit(directory, limit);
    symlinkSync(String(limit), join(directory, limitName));
    if (this.#isMounted(key)) await this.#mount(key);
  }

  /** Of one that was never finished: it goes before somebody else takes its name. */
  async #discard(key: string): Promise<void> {
    this.#limited.delete(key);
    await this.#unmount(key, { detach: true });
    this.#limits.release(this.directory(key));
    rmSync(this.directory(key), { recursive: true, force: true });
  }

  #toTrash(key: string): void {
    const limited = this.#limited.delete(key) || !this.#chains.has(key);
    const trashed = join(this.#root, 'trash', `${key}.${process.pid}.${this.#trashed++}`);
    try {
      renameSync(this.directory(key), trashed);
    } catch (error) {
      if (codeOf(error) === 'ENOENT') return;
      throw error;
    }
    this.#delete(trashed, limited ? key : undefined);
  }

  /** `limitedAs`: what has, or may have, a limit. */
  #delete(path: string, limitedAs: string | undefined): void {
    const freed = limitedAs === undefined ? Promise.resolve() : this.#free(path, limitedAs);
    const deleting = freed
      .then(() => removeUnwritten(path))
      .then((gone) => (gone ? undefined : removeTree(path)))
      .catch((error: unknown) => this.#log.error('a removed snapshot could not be deleted', { path, error }))
      .finally(() => this.#deleting.delete(deleting));
    this.#deleting.add(deleting);
  }

  /** Takes the limit from what was removed. */
  async #free(path: string, key: string): Promise<void> {
    this.#limits.release(path);
    if (!this.#limits.hasImage(path)) return;
    const leaving = this.#unmount(key, { detach: true });
    const settled = leaving
      .catch(() => {})
      .finally(() => this.#leaving.get(key) === settled && this.#leaving.delete(key));
    this.#leaving.set(key, settled);
    await leaving;
  }
}

/** A snapshot that nothing was written to, in five calls where a walk takes fourteen. False: something is left of it. */
async function removeUnwritten(directory: string): Promise<boolean> {
  try {
    // First what fails when the container wrote something.
    await rmdir(join(directory, 'upper'));
    await rmdir(join(directory, 'work', 'work')).catch(absent);
    await rmdir(join(directory, 'work'));
    await unlink(join(directory, 'chain.0'));
    await rmdir(directory);
    return true;
  } catch {
    return false;
  }
}

function absent(error: unknown): undefined {
  // A container may delete while it is counted, or nest deeper than a path can name.
  if (!['ENOENT', 'ENOTDIR', 'ENAMETOOLONG'].includes(codeOf(error) ?? '')) throw error;
  return undefined;
}

function writeChain(directory: string, chain: readonly Digest[]): void {
  const links = Math.max(1, Math.ceil(chain.length / perLink));
  for (let i = links - 1; i >= 0; i--) {
    const part = chain.slice(i * perLink, (i + 1) * perLink);
    symlinkSync([String(links), ...part].join(' '), join(directory, `chain.${i}`));
  }
}

function readChain(directory: string): readonly Digest[] | undefined {
  try {
    const [count, ...chain] = readlinkSync(join(directory, 'chain.0')).split(' ');
    for (let i = 1; i < Number(count); i++) {
      chain.push(
        ...readlinkSync(join(directory, `chain.${i}`))
          .split(' ')
          .slice(1),
      );
    }
    return chain.map(parseDigest);
  } catch {
    return undefined;
  }
}
