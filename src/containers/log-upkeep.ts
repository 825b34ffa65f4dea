import { readdirSync, renameSync, statfsSync, statSync, unlinkSync } from 'node:fs';
import { open, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { codeOf, messageOf } from '../base/errors.ts';
import type { Task } from '../runtime/runtime.ts';
import { isPacked } from './log-config.ts';
import { packLog } from './log-pack.ts';
import type { ContainerRecord } from './record.ts';
import type { Room } from './room.ts';

/** Milliseconds between two looks for files to pack, and between two counts of everything. */
const packEvery = 5_000;
const countEvery = 60_000;
const largestCap = 20 * 1024 ** 3;

interface Rotated {
  readonly path: string;
  readonly inode: bigint;
  readonly bytes: number;
  /** Of the last change, milliseconds since 1970. */
  readonly changed: number;
  readonly container: ContainerRecord;
}

/**
 * What is done with logs behind everybody's back: rotated files are packed, and when all logs together take more than the
 * cap, the oldest rotated files go. Never the file that is written.
 *
 * A crash leaves half a `<log>.packed`, which the next look writes anew; and a file in both forms, of which the plain one is
 * read until it is packed again.
 */
export class LogUpkeep {
  readonly #room: Room;
  #timer: NodeJS.Timeout | undefined;
  #counted = Number.NEGATIVE_INFINITY;
  #working: Promise<void> | undefined;
  /** Their monitors are of an engine that packed nothing. */
  readonly #older = new WeakSet<Task>();

  constructor(room: Room) {
    this.#room = room;
  }

  begin(): void {
    this.#timer = setInterval(() => {
      this.#working ??= this.#look().finally(() => {
        this.#working = undefined;
      });
    }, packEvery);
    this.#timer.unref();
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.#working;
  }

  async #look(): Promise<void> {
    try {
      await this.pack();
      const now = performance.now();
      if (now - this.#counted < countEvery) return;
      this.#counted = now;
      await this.#room.removedLogs.purge();
      await this.limit();
    } catch (error) {
      this.#room.deps.log.error('logs could not be looked after, trying again', { error: messageOf(error) });
    }
  }

  /** Packs what was rotated away since the last time, one file after the other. */
  async pack(): Promise<void> {
    const { log: defaults } = this.#room.deps.config;
    for (const container of this.#room.store.list()) {
      const { hostConfig, files } = container;
      if (!isPacked(hostConfig.LogConfig, defaults.options)) continue;
      const there = (path: string) => statSync(path, { throwIfNoEntry: false }) !== undefined;
      // Mostly there is nothing: two calls for each container.
      for (let number = 1; !this.#room.closed; number++) {
        const path = `${files.log}.${number}`;
        if (!there(path)) {
          if (!there(`${path}.gz`)) break;
        } else if (!(await this.#packOne(container, path))) break;
      }
    }
  }

  async #packOne(container: ContainerRecord, path: string): Promise<boolean> {
    const live = this.#room.live.get(container.id);
    if (live && this.#older.has(live.task)) return false;
    const packed = `${container.files.log}.packed`;
    let inode: bigint;
    try {
      await using from = await open(path, 'r');
      const stat = await from.stat({ bigint: true });
      inode = stat.ino;
      await using to = await open(packed, 'w', 0o640);
      await packLog(from, to, { inode, changed: stat.mtimeNs });
      await to.sync();
    } catch (error) {
      await rm(packed, { force: true });
      // Rotated on meanwhile: it is found at its new place.
      if (codeOf(error) === 'ENOENT') return false;
      throw error;
    }
    const done = await this.#replace(container, inode, 'packed');
    if (done) return true;
    await rm(packed, { force: true });
    if (done === undefined && live && this.#room.live.get(container.id) === live) this.#older.add(live.task);
    return false;
  }

  /** With a process only its monitor knows which number the file has; without one nobody else moves it. */
  #replace(container: ContainerRecord, inode: bigint, how: 'packed' | 'drop'): Promise<boolean | undefined> {
    const { id, files } = container;
    const live = this.#room.live.get(id);
    if (live) return live.task.replaceLogFile(inode, how);
    return this.#room.queue.run(id, async () => {
      if (this.#room.held.has(id)) return undefined;
      const found = rotatedOf(container).find((file) => file.inode === inode);
      if (!found) return false;
      if (how === 'packed') renameSync(`${files.log}.packed`, `${found.path}.gz`);
      unlinkSync(found.path);
      return true;
    });
  }

  /** Bytes that all logs may take together. */
  get cap(): number {
    const { config, root } = this.#room.deps;
    if (config.logCap > 0) return config.logCap;
    const { blocks, bsize } = statfsSync(root);
    return Math.min(largestCap, Math.floor((blocks * bsize) / 10));
  }

  /** Removes logs of removed containers, then the oldest rotated files, until all together fit under the cap. Returns the bytes that were freed. */
  async limit(): Promise<number> {
    let bytes = 0;
    const rotated: Rotated[] = [];
    for (const container of this.#room.store.list()) {
      if (container.files.log === '') continue;
      bytes += statSync(container.files.log, { throwIfNoEntry: false })?.size ?? 0;
      const files = rotatedOf(container);
      rotated.push(...files);
      for (const file of files) bytes += file.bytes;
      // Hundreds of them must not hold up a request.
      await new Promise(setImmediate);
    }
    const { cap } = this;
    let freed = 0;
    const removed = this.#room.removedLogs.sizes();
    bytes += removed.reduce((sum, one) => sum + one.bytes, 0);
    for (const { id, bytes: size } of removed) {
      if (bytes - freed <= cap) break;
      await this.#room.removedLogs.drop(id);
      freed += size;
    }
    for (const { container, inode, bytes: size } of rotated.sort((a, b) => a.changed - b.changed)) {
      if (bytes - freed <= cap) break;
      if (await this.#replace(container, inode, 'drop')) freed += size;
    }
    if (freed > 0) this.#room.deps.log.warn('the oldest logs were removed: all of them took too much', { freed, cap });
    return freed;
  }
}

/** What the log's rotation left, with what a crash left of the packing. */
function rotatedOf(container: ContainerRecord): Rotated[] {
  const directory = dirname(container.files.log);
  const name = container.files.log.slice(directory.length + 1);
  let entries: string[];
  try {
    entries = readdirSync(directory);
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return [];
    throw error;
  }
  return entries.flatMap((entry) => {
    if (!entry.startsWith(`${name}.`) || !/^\d+(\.gz)?$/.test(entry.slice(name.length + 1))) return [];
    const path = join(directory, entry);
    const stat = statSync(path, { bigint: true, throwIfNoEntry: false });
    if (!stat) return [];
    const { ino: inode, size, mtimeMs } = stat;
    return { path, inode, bytes: Number(size), changed: Number(mtimeMs), container };
  });
}
