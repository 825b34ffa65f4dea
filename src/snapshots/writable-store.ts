import { chmodSync, chownSync, mkdirSync, readdirSync, readlinkSync, renameSync, rmSync, symlinkSync } from 'node:fs';
import { rmdir, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { DiskUsage } from '../base/disk-usage.ts';
import { codeOf, EngineError } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import { type Digest, parseDigest } from '../oci/digest.ts';
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

/**
 * Writable snapshots: `containers/<key>/{upper,work}` and the chain of layers below it.
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
  readonly #deleting = new Set<Promise<void>>();
  #trashed = 0;

  constructor({ root, log }: { root: string; log: Log }) {
    this.#root = root;
    this.#log = log;
    for (const key of readdirSync(join(root, 'containers'))) {
      const chain = readChain(this.directory(key));
      if (chain) this.#chains.set(key, chain);
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

  prepare(key: string, chain: readonly Digest[], root: RootAttributes): void {
    if (!/^[\w][\w.-]{0,127}$/.test(key))
      throw new EngineError('invalid', `invalid snapshot key ${JSON.stringify(key)}`);
    if (this.#chains.has(key)) throw new EngineError('conflict', `snapshot ${key} exists already`);
    const directory = this.directory(key);
    try {
      mkdirSync(directory, { mode: 0o700 });
    } catch (error) {
      if (codeOf(error) !== 'EEXIST') throw explainWrite(error, directory);
      // Left by a prepare that a crash cut short.
      rmSync(directory, { recursive: true, force: true });
      mkdirSync(directory, { mode: 0o700 });
    }
    try {
      const upper = join(directory, 'upper');
      mkdirSync(upper);
      // The umask is the engine's, the mode the image's.
      chmodSync(upper, root.mode);
      if (root.uid !== 0 || root.gid !== 0) chownSync(upper, root.uid, root.gid);
      mkdirSync(join(directory, 'work'), { mode: 0o700 });
      writeChain(directory, chain);
    } catch (error) {
      const explained = explainWrite(error, directory);
      rmSync(directory, { recursive: true, force: true });
      throw explained;
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
    await usage.add(join(this.directory(key), 'upper'));
    return { bytes: usage.bytes, inodes: usage.inodes };
  }

  /** Removes what a crash left half made, and empties the trash. */
  recover(): void {
    for (const key of readdirSync(join(this.#root, 'containers'))) if (!this.#chains.has(key)) this.#toTrash(key);
    for (const name of readdirSync(join(this.#root, 'trash'))) this.#delete(join(this.#root, 'trash', name));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#deleting);
  }

  #toTrash(key: string): void {
    const trashed = join(this.#root, 'trash', `${key}.${process.pid}.${this.#trashed++}`);
    try {
      renameSync(this.directory(key), trashed);
    } catch (error) {
      if (codeOf(error) === 'ENOENT') return;
      throw error;
    }
    this.#delete(trashed);
  }

  #delete(path: string): void {
    const deleting = removeUnwritten(path)
      .then((gone) => (gone ? undefined : removeTree(path)))
      .catch((error: unknown) => this.#log.error('a removed snapshot could not be deleted', { path, error }))
      .finally(() => this.#deleting.delete(deleting));
    this.#deleting.add(deleting);
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
