import { randomBytes } from 'node:crypto';
import {
  chmod,
  chown,
  lstat,
  mkdir,
  open,
  readdir,
  rename,
  rm,
  rmdir,
  stat,
  unlink,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { KeyedQueue } from '../base/async.ts';
import { DiskUsage } from '../base/disk-usage.ts';
import { codeOf, EngineError, messageOf } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import type { Events } from '../events/bus.ts';
import type { DiskLimits } from '../quotas/disk-limits.ts';
import type { Database } from '../state/database.ts';
import { copyTree, syncFileSystem } from './copy-tree.ts';
import { checkDriverOptions, isMounted, sizeOf } from './mount-options.ts';
import { treeSize } from './tree-size.ts';
import { VolumeMounts } from './volume-mounts.ts';
import type { AdoptOptions, Volume, Volumes, VolumeUsers } from './volumes.ts';

export interface LocalVolumesDeps {
  /** Absolute; each volume is a folder in it. */
  readonly root: string;
  readonly database: Database;
  readonly events: Events;
  readonly log: Log;
  readonly limits: DiskLimits;
}

interface VolumeRecord extends Volume {
  /** `moving`: the copy is complete in `_fill`, and its entries go into `_data` one by one. */
  readonly fill: 'never' | 'moving' | 'done';
}

const kind = 'volume';
/** In the folder of a volume that is adopted, until its record is written. */
const adoptingMark = '_adopting';
const anonymousLabel = 'com.docker.volume.anonymous';

/** Of a folder that gets its limit before anybody knows of the volume. */
const making = '.creating-';

/**
 * Volumes as folders: `<root>/<name>/_data`. Of those with a size the folder is limited; where that takes a file system of its own, it
 * is mounted at `_data` for as long as there is an engine. Open it with `LocalVolumes.open`.
 */
export class LocalVolumes implements Volumes, AsyncDisposable {
  readonly #deps: LocalVolumesDeps;
  readonly #volumes = new Map<string, VolumeRecord>();
  readonly #queue = new KeyedQueue();
  readonly #mounts: VolumeMounts;
  #users: VolumeUsers = { usersOf: () => [] };

  private constructor(deps: LocalVolumesDeps) {
    this.#deps = deps;
    this.#mounts = new VolumeMounts({ log: deps.log });
  }

  /** Loads the records and finishes what was half done when the engine stopped. */
  static async open(deps: LocalVolumesDeps): Promise<LocalVolumes> {
    const volumes = new LocalVolumes(deps);
    await mkdir(deps.root, { recursive: true, mode: 0o701 });
    const records = await deps.database.load(kind);
    for (const [name, value] of records) volumes.#volumes.set(name, Object.freeze(value as VolumeRecord));
    await volumes.#recover();
    return volumes;
  }

  /** Whom to ask before a volume is removed. */
  askUsers(users: VolumeUsers): void {
    this.#users = users;
  }

  list(): readonly Volume[] {
    return [...this.#volumes.values()];
  }

  get(name: string): Volume {
    return this.#get(name);
  }

  async usage(name: string): Promise<number> {
    const usage = new DiskUsage();
    await usage.add(this.#get(name).mountpoint);
    return usage.bytes;
  }

  create({
    name,
    labels = {},
    options = {},
    anonymous = name === '',
  }: {
    readonly name: string;
    readonly labels?: Readonly<Record<string, string>>;
    readonly options?: Readonly<Record<string, string>>;
    readonly anonymous?: boolean;
  }) {
    if (name !== '') checkName(name);
    const id = name || randomBytes(32).toString('hex');
    checkDriverOptions(id, options);
    const size = sizeOf(options);
    return this.#queue.run(id, async (): Promise<Volume> => {
      const existing = this.#volumes.get(id);
      if (existing) return existing;
      const { root, database, events } = this.#deps;
      const mountpoint = join(root, id, '_data');
      const volume: VolumeRecord = Object.freeze({
        name: id,
        driver: 'local',
        mountpoint,
        created: new Date().toISOString(),
        labels: anonymous ? { [anonymousLabel]: '', ...labels } : labels,
        options,
        anonymous,
        fill: 'never',
      });
      if (size > 0) {
        await this.#createLimited(volume, size);
        events.emit({ type: 'volume', action: 'create', actor: { id, attributes: { driver: 'local' } } });
        return volume;
      }
      await using undo = new AsyncDisposableStack();
      try {
        await mkdir(join(root, id), { mode: 0o701 });
      } catch (error) {
        // Left by a create that was not acknowledged, or by hand: what is in it is kept.
        if (codeOf(error) !== 'EEXIST') throw diskError(`create volume ${id}`, error);
      }
      try {
        await mkdir(mountpoint, { mode: 0o755 });
        undo.defer(() => rm(join(root, id), { recursive: true, force: true }));
        // mkdir's mode goes through the umask.
        await chmod(mountpoint, 0o755);
        // The record alone is synced: the directories of a volume that never held anything are made again from it, and
        // whoever syncs a file in them syncs them too.
        await database.write([{ kind, key: id, value: volume }]);
      } catch (error) {
        if (codeOf(error) !== 'EEXIST') throw diskError(`create volume ${id}`, error);
        await database.write([{ kind, key: id, value: volume }]);
      }
      undo.move();
      this.#volumes.set(id, volume);
      events.emit({ type: 'volume', action: 'create', actor: { id, attributes: { driver: 'local' } } });
      return volume;
    });
  }

  /** The folder is whole under another name before the record is written, and gets its own name after it. */
  async #createLimited(volume: VolumeRecord, size: number): Promise<void> {
    const { root, database, limits } = this.#deps;
    const { name } = volume;
    const what = `create volume ${name} of ${volume.options['size']}`;
    limits.check(root, size, what);
    const home = join(root, name);
    if ((await exists(home)) && !(await removeIfEmpty(home)))
      throw new EngineError('conflict', `${what}: ${home} holds files of nobody's, which no limit would count`, {
        hint: `mv ${home} ${home}.old`,
      });
    const made = join(root, `${making}${name}`);
    await using undo = new AsyncDisposableStack();
    undo.defer(() => this.#removeTree(made));
    try {
      await this.#makeLimited(made, size);
      await database.write([{ kind, key: name, value: volume }]);
      undo.move();
      // What is mounted in it goes with it.
      await rename(made, home);
    } catch (error) {
      throw diskError(what, error);
    }
    this.#volumes.set(name, volume);
  }

  async #makeLimited(home: string, size: number): Promise<void> {
    const { limits } = this.#deps;
    await mkdir(home, { mode: 0o701 });
    await limits.limit(home, size);
    await mkdir(join(home, '_data'), { mode: 0o755 });
    await chmod(join(home, '_data'), 0o755);
    await syncFolder(home);
    await syncFolder(dirname(home));
    if (limits.hasImage(home)) await limits.mount(home, join(home, '_data'));
  }

  adopt(wanted: Omit<Volume, 'driver' | 'mountpoint'>, from: string | undefined, options: AdoptOptions) {
    const { name } = wanted;
    checkName(name);
    checkDriverOptions(name, wanted.options);
    return this.#queue.run(name, async (): Promise<Volume> => {
      const { root, database, events } = this.#deps;
      const place = join(root, name);
      if (this.#volumes.has(name) || (await exists(place)))
        throw new EngineError('conflict', `a volume ${name} is here already`, { hint: `berth volume inspect ${name}` });
      const staged = join(root, `.adopting-${name}`);
      const data = join(staged, '_data');
      await using undo = new AsyncDisposableStack();
      undo.defer(() => rm(staged, { recursive: true, force: true }));
      try {
        await rm(staged, { recursive: true, force: true });
        await mkdir(staged, { mode: 0o701 });
        await mkdir(data, { mode: 0o755 });
        await chmod(data, 0o755);
        // An engine that finds it without a record removes what is in this folder, which it would keep otherwise.
        await writeFile(join(staged, adoptingMark), '');
        if (from !== undefined) await copyTree(from, data, { exact: true, ...options });
        await options.copied?.(data);
        await syncFileSystem(staged);
        undo.defer(() => rm(place, { recursive: true, force: true }));
        await rename(staged, place);
        await syncFileSystem(place);
        const mountpoint = join(place, '_data');
        const fill = isMounted(wanted.options) ? 'never' : 'done';
        const volume: VolumeRecord = Object.freeze({ ...wanted, driver: 'local', mountpoint, fill });
        await database.write([{ kind, key: name, value: volume }]);
        undo.move();
        this.#volumes.set(name, volume);
        await unlink(join(place, adoptingMark)).catch(() => {});
        events.emit({ type: 'volume', action: 'create', actor: { id: name, attributes: { driver: 'local' } } });
        return volume;
      } catch (error) {
        throw diskError(`adopt volume ${name}`, error);
      }
    });
  }

  remove(name: string, { force }: { readonly force: boolean }): Promise<void> {
    return this.#queue.run(name, async () => {
      if (!this.#volumes.has(name)) {
        if (force) return;
        throw notFound(name);
      }
      const users = this.#users.usersOf(name);
      if (users.length > 0)
        throw new EngineError('conflict', `remove ${name}: volume is in use - [${users.join(', ')}]`, {
          code: 'E_IN_USE',
        });
      const { root, database, events } = this.#deps;
      const { mountpoint, options } = this.#get(name);
      const empty = Object.keys(options).length === 0 && (await isEmpty(mountpoint));
      // What is mounted there is not the volume's to delete. (Under an empty directory is nothing, and at it rmdir tells.)
      if (!empty) await this.#mounts.clear(join(root, name));
      // The new name says that this volume goes: a start after a crash finishes it.
      const trash = join(root, `.removed-${name}`);
      await rename(join(root, name), trash).catch((error: unknown) => {
        if (codeOf(error) !== 'ENOENT') throw diskError(`remove volume ${name}`, error);
      });
      this.#volumes.delete(name);
      // Not synced: after a loss of power what is left of it goes by its new name, or it is there again and empty.
      await database.write([{ kind, key: name, value: undefined }], { durable: false });
      if (!empty || !(await removeIfEmpty(trash))) await this.#removeTree(trash);
      events.emit({ type: 'volume', action: 'destroy', actor: { id: name, attributes: { driver: 'local' } } });
    });
  }

  async #removeTree(path: string): Promise<void> {
    await this.#mounts.clear(path);
    this.#deps.limits.release(path);
    await rm(path, { recursive: true, force: true });
  }

  async prune(accept: (volume: Volume) => boolean, signal: AbortSignal) {
    const names: string[] = [];
    let bytes = 0;
    for (const volume of [...this.#volumes.values()]) {
      if (signal.aborted) break;
      const { name, mountpoint, options } = volume;
      // What driver options lead to is not for the taking, whatever was asked; Docker leaves these too.
      if (Object.keys(options).length > 0 || !accept(volume) || this.#users.usersOf(name).length > 0) continue;
      const size = await treeSize(mountpoint);
      try {
        await this.remove(name, { force: false });
      } catch (error) {
        // In use, or removed, meanwhile.
        if (error instanceof EngineError && (error.kind === 'conflict' || error.kind === 'not-found')) continue;
        throw error;
      }
      names.push(name);
      bytes += size;
    }
    this.#deps.events.emit({
      type: 'volume',
      action: 'prune',
      actor: { id: '', attributes: { reclaimed: String(bytes) } },
    });
    return { names, bytes };
  }

  fill(name: string, from: string): Promise<void> {
    return this.#queue.run(name, async () => {
      const volume = this.#get(name);
      if (isMounted(volume.options) || this.#hasImage(volume)) return this.#fillMounted(volume, from);
      if (volume.fill !== 'never' || (await readdir(volume.mountpoint)).length > 0) return;
      const staged = join(this.#deps.root, name, '_fill');
      await using undo = new AsyncDisposableStack();
      undo.defer(() => rm(staged, { recursive: true, force: true }));
      if ((await readdir(from)).length > 0) {
        await mkdir(staged, { mode: 0o700 });
        await copyTree(from, staged);
        await syncFileSystem(staged);
      }
      await this.#save({ ...volume, fill: 'moving' });
      undo.move();
      await this.#move(volume, from);
    });
  }

  /** Staged inside of what is mounted, so that the moves are renames; what a crash left of that is begun again. */
  async #fillMounted(volume: Volume, from: string): Promise<void> {
    // Nothing of a tmpfs outlives its last user, which is this one.
    if (volume.options['type'] === 'tmpfs') return;
    const user = 'fill';
    await this.#mounts.attach(volume, user);
    try {
      const { mountpoint } = volume;
      const staged = join(mountpoint, '.berth-fill');
      const there = await readdir(mountpoint);
      if (there.some((entry) => entry !== '.berth-fill') || (await readdir(from)).length === 0) return;
      await rm(staged, { recursive: true, force: true });
      await mkdir(staged, { mode: 0o700 });
      try {
        await copyTree(from, staged);
        for (const entry of await readdir(staged)) await rename(join(staged, entry), join(mountpoint, entry));
      } finally {
        await rm(staged, { recursive: true, force: true });
      }
    } finally {
      await this.#mounts.detach(volume, user);
    }
  }

  async attach(name: string, container: string): Promise<void> {
    const volume = this.#volumes.get(name);
    if (volume) await this.#mountLimit(volume);
    if (volume) await this.#mounts.attach(volume, container);
  }

  async detach(name: string, container: string): Promise<void> {
    const volume = this.#volumes.get(name);
    if (volume) await this.#mounts.detach(volume, container);
  }

  recover(usersOf: (name: string) => readonly string[]): Promise<void> {
    return this.#mounts.recover(this.list(), usersOf);
  }

  /** Limits go from their places, and with that their devices; what runs on one keeps it by a mount of its own. */
  async [Symbol.asyncDispose](): Promise<void> {
    const { limits, log } = this.#deps;
    for (const volume of this.#volumes.values()) {
      if (!this.#hasImage(volume)) continue;
      await limits
        .unmount(volume.mountpoint, { detach: false })
        .catch((error: unknown) => log.warn('the file system of a volume is in use', { volume: volume.name, error }));
    }
  }

  /** Entry by entry and not the whole folder: `_data` may be mounted already. */
  async #move(volume: Volume, like: string | undefined): Promise<void> {
    const staged = join(this.#deps.root, volume.name, '_fill');
    const entries = await readdir(staged).catch((error: unknown) => {
      if (codeOf(error) === 'ENOENT') return undefined;
      throw error;
    });
    const model = entries ? staged : like;
    // Before the moves, which change its times.
    const facts = model ? await stat(model) : undefined;
    for (const entry of entries ?? []) await rename(join(staged, entry), join(volume.mountpoint, entry));
    if (facts) {
      const { uid, gid, mode, atime, mtime } = facts;
      await chown(volume.mountpoint, uid, gid);
      await chmod(volume.mountpoint, mode & 0o7777);
      await utimes(volume.mountpoint, atime, mtime);
    }
    if (entries) await rmdir(staged);
    await this.#save({ ...this.#get(volume.name), fill: 'done' });
  }

  async #recover(): Promise<void> {
    const { root, database, log, limits } = this.#deps;
    limits.sweep(root);
    for (const entry of await readdir(root)) {
      if (entry.startsWith(making)) {
        const name = entry.slice(making.length);
        if (this.#volumes.has(name) && !(await exists(join(root, name))))
          await rename(join(root, entry), join(root, name));
        else await this.#removeTree(join(root, entry));
        continue;
      }
      if (entry.startsWith('.adopting-')) {
        await rm(join(root, entry), { recursive: true, force: true });
        continue;
      }
      if (!entry.startsWith('.removed-')) {
        const mark = join(root, entry, adoptingMark);
        if (this.#volumes.has(entry)) await rm(mark, { force: true });
        else if (await exists(mark)) await rm(join(root, entry), { recursive: true, force: true });
        else await removeIfEmpty(join(root, entry));
        continue;
      }
      const name = entry.slice('.removed-'.length);
      await this.#mounts.clear(join(root, entry));
      if (!(await exists(join(root, name))) && this.#volumes.delete(name))
        await database.write([{ kind, key: name, value: undefined }]);
      await this.#removeTree(join(root, entry));
    }
    for (const volume of this.#volumes.values()) {
      await this.#mountLimit(volume).catch((error: unknown) =>
        log.error('the data of a volume cannot be had', { volume: volume.name, error: messageOf(error) }),
      );
      if (volume.fill === 'moving') await this.#move(volume, undefined);
      else await rm(join(root, volume.name, '_fill'), { recursive: true, force: true });
      if (sizeOf(volume.options) > 0 && !limits.isLimited(join(root, volume.name)))
        log.warn('a volume has lost its limit: its files were copied without it', { volume: volume.name });
      if (await exists(volume.mountpoint)) continue;
      // Its directories were not synced, and nothing in them: it was empty. What once held an image's files is another matter.
      if (volume.fill === 'never' && !isMounted(volume.options) && sizeOf(volume.options) === 0) {
        await makeAgain(volume.mountpoint);
        log.info('the directory of a volume that held nothing was made again', { volume: volume.name });
      } else log.error('the data of a volume is missing', { volume: volume.name, path: volume.mountpoint });
    }
  }

  #hasImage({ name, options }: Volume): boolean {
    return sizeOf(options) > 0 && this.#deps.limits.hasImage(join(this.#deps.root, name));
  }

  async #mountLimit(volume: Volume): Promise<void> {
    const { root, limits } = this.#deps;
    if (this.#hasImage(volume)) await limits.mount(join(root, volume.name), volume.mountpoint);
  }

  #get(name: string): VolumeRecord {
    const volume = this.#volumes.get(name);
    if (!volume) throw notFound(name);
    return volume;
  }

  async #save(volume: VolumeRecord): Promise<void> {
    await this.#deps.database.write([{ kind, key: volume.name, value: volume }]);
    this.#volumes.set(volume.name, Object.freeze(volume));
  }
}

async function syncFolder(path: string): Promise<void> {
  await using folder = await open(path, 'r');
  await folder.sync();
}

async function makeAgain(mountpoint: string): Promise<void> {
  await mkdir(dirname(mountpoint), { recursive: true, mode: 0o701 });
  await mkdir(mountpoint, { mode: 0o755 });
  await chmod(mountpoint, 0o755);
}

/** The folder of a create that was cut short. Whatever holds a file is somebody's. */
async function removeIfEmpty(path: string): Promise<boolean> {
  await rmdir(join(path, '_data')).catch(() => {});
  return rmdir(path).then(
    () => true,
    () => false,
  );
}

async function isEmpty(path: string): Promise<boolean> {
  return readdir(path).then(
    (entries) => entries.length === 0,
    () => false,
  );
}

/** Docker's words. The name becomes a folder: nothing else may come through here. */
export function checkName(name: string): void {
  if (name.length === 1)
    throw new EngineError(
      'invalid',
      `create ${name}: volume name is too short, names should be at least two alphanumeric characters`,
    );
  if (!/^[a-zA-Z0-9][a-zA-Z0-9_.-]+$/.test(name) || name.length > 255)
    throw new EngineError(
      'invalid',
      `create ${name}: ${JSON.stringify(name)} includes invalid characters for a local volume name, only "[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. If you intended to pass a host directory, use absolute path`,
    );
}

function notFound(name: string): EngineError {
  return new EngineError('not-found', `get ${name}: no such volume`, { code: 'E_NO_SUCH_VOLUME' });
}

function diskError(what: string, error: unknown): EngineError {
  if (error instanceof EngineError) return error;
  const full = codeOf(error) === 'ENOSPC' || codeOf(error) === 'EDQUOT';
  return new EngineError(
    full ? 'unavailable' : 'internal',
    `${what}: ${error instanceof Error ? error.message : error}`,
    {
      cause: error,
    },
  );
}

async function exists(path: string): Promise<boolean> {
  return lstat(path).then(
    () => true,
    () => false,
  );
}
