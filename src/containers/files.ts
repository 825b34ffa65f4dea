import { randomUUID } from 'node:crypto';
import { closeSync, constants, fstatSync, openSync, statSync } from 'node:fs';
import type { Readable } from 'node:stream';
import type { FileJobs, TarOut } from '../archive/file-jobs.ts';
import type { Change, MountView, PathStat, RootView } from '../archive/view.ts';
import { codeOf, EngineError } from '../base/errors.ts';
import { decompressed } from '../images/decompress.ts';
import { cleanPath } from '../protocol/volume-spec.ts';
import { resolveUser } from '../runtime/spec/user.ts';
import { openWithOwners } from './idmap.ts';
import type { ContainerRecord } from './record.ts';
import { type Room, volumesOf } from './room.ts';
import { shownOf } from './user-namespaces.ts';

const O_PATH = 0o10000000;

export interface WriteOptions {
  /** A directory does not give way to something else, nor something else to a directory. */
  readonly keepTypes: boolean;
  /** All of it belongs to the user that the container runs as. */
  readonly ownedByUser: boolean;
  readonly signal: AbortSignal;
}

/** The files of containers, whether they run or not, with their volumes and what is bound into them. */
export interface ContainerFiles {
  /** Throws `not-found` in Docker's words. A link at the end is not followed, unless a slash or a dot comes behind it. */
  stat(name: string, path: string): Promise<PathStat>;
  read(name: string, path: string): Promise<TarOut & { readonly stat: PathStat }>;
  /** Takes a tar in any compression. What came before an error stays. */
  write(name: string, path: string, archive: Readable, options: WriteOptions): Promise<void>;
  /** All of it but what is mounted. */
  export(name: string): Promise<TarOut>;
  changes(name: string): Promise<readonly Change[]>;
}

export class RoomFiles implements ContainerFiles {
  readonly #room: Room;
  readonly #jobs: FileJobs;

  constructor(room: Room, jobs: FileJobs) {
    this.#room = room;
    this.#jobs = jobs;
  }

  async stat(name: string, path: string): Promise<PathStat> {
    await using opened = await openView(this.#room, this.#room.store.get(name));
    return await this.#jobs.stat(opened.view, path).catch((error) => refuse(error, name, path));
  }

  async read(name: string, path: string): Promise<TarOut & { readonly stat: PathStat }> {
    const container = this.#room.store.get(name);
    await using undo = new AsyncDisposableStack();
    const opened = undo.use(await openView(this.#room, container));
    const packed = undo.use(await this.#jobs.pack(opened.view, path).catch((error) => refuse(error, name, path)));
    this.#room.emit(container, 'archive-path');
    return { stat: packed.stat, pieces: packed.pieces, ...ending(undo.move()) };
  }

  async write(name: string, path: string, archive: Readable, options: WriteOptions): Promise<void> {
    try {
      const container = this.#room.store.get(name);
      await using opened = await openView(this.#room, container);
      const { keepTypes, ownedByUser, signal } = options;
      const { User } = container.config;
      const owner = ownedByUser && User !== '' ? resolveUser(opened.view.root, User) : undefined;
      // Outside of the container, before a name of its is looked at (S02).
      const tar = decompressed(archive, signal);
      await this.#jobs
        .unpack(opened.view, path, tar, { keepTypes, owner: owner && { uid: owner.uid, gid: owner.gid } })
        .catch((error) => refuse(error, name, path));
      this.#room.emit(container, 'extract-to-dir');
    } finally {
      archive.destroy();
    }
  }

  async export(name: string): Promise<TarOut> {
    const container = this.#room.store.get(name);
    refuseRemoved(this.#room, container, 'export');
    await using undo = new AsyncDisposableStack();
    const snapshot = undo.use(await this.#room.deps.snapshots.open(container.id, shownOf(container)));
    const { owners } = container.own;
    const packed = undo.use(this.#jobs.export({ root: snapshot.root, readOnly: true, owners, mounts: [] }));
    this.#room.emit(container, 'export');
    return { pieces: packed.pieces, ...ending(undo.move()) };
  }

  async changes(name: string): Promise<readonly Change[]> {
    const container = this.#room.store.get(name);
    await using snapshot = await this.#room.deps.snapshots.open(container.id, shownOf(container));
    return await this.#jobs.changes({ upper: snapshot.upper, lower: snapshot.lower() });
  }
}

export function refuseRemoved(room: Room, { id, state }: ContainerRecord, what: string): void {
  if (state.status === 'dead') throw new EngineError('conflict', `You cannot ${what} container ${id} which is Dead`);
  if (room.removing.has(id) || state.status === 'removing')
    throw new EngineError('conflict', `You cannot ${what} container ${id} which is being removed`);
}

/** Once, however often it is called. */
function ending(stack: AsyncDisposableStack): AsyncDisposable {
  let ended: Promise<void> | undefined;
  return { [Symbol.asyncDispose]: () => (ended ??= stack.disposeAsync()) };
}

/** What the container sees: its root, and of what is mounted over it that which is its own or was given to it. */
async function openView(
  room: Room,
  container: ContainerRecord,
): Promise<{ readonly view: RootView } & AsyncDisposable> {
  const { id, own, hostConfig, files } = container;
  await using undo = new AsyncDisposableStack();
  const snapshot = undo.use(await room.deps.snapshots.open(id, shownOf(container)));
  // What a volume's options mount is there while somebody has the volume: now that is us too.
  const user = `files-${randomUUID()}`;
  for (const name of volumesOf(container)) {
    await room.deps.volumes.attach(name, user);
    undo.defer(() => room.deps.volumes.detach(name, user));
  }
  const inside = rootOfProcess(room, id, snapshot.root);
  if (inside !== undefined) undo.defer(() => closeSync(inside));
  const mounts: MountView[] = [];
  const { owners } = own;
  // A volume's files have the container's IDs on the disk; all else is seen with those of the host.
  const add = (
    target: string,
    source: MountView['source'],
    how: { readOnly: boolean; alone?: boolean; stored?: boolean },
  ) =>
    mounts.push({
      target,
      source,
      readOnly: how.readOnly,
      alone: how.alone ?? false,
      owners: how.stored ? undefined : owners,
    });
  for (const { point, tmpfs, subpath, recursive, image, idmap } of own.mounts) {
    const { Destination: target, Source: at, RW, Type } = point;
    const how = { readOnly: !RW, alone: Type === 'bind' && !recursive, stored: Type === 'volume' };
    // A tmpfs is nowhere but in the mounts of the container's processes.
    if (image) {
      const files = undo.use(await room.deps.snapshots.open(image.snapshot, shownOf(container)));
      add(target, { at: files.root, below: subpath }, how);
    } else if (idmap && statSync(at, { throwIfNoEntry: false })?.isDirectory()) {
      const user = resolveUser(snapshot.root, container.config.User);
      const mapped = await openWithOwners({ source: at, recursive, user, owners });
      undo.defer(() => closeSync(mapped));
      add(target, { at: mapped, below: subpath }, how);
    } else if (tmpfs === undefined) add(target, { at, below: subpath }, how);
    else if (inside !== undefined) add(target, { at: inside, below: target }, how);
  }
  if (inside !== undefined) {
    for (const target of Object.keys(hostConfig.Tmpfs ?? {}))
      add(cleanPath(target), { at: inside, below: target }, { readOnly: false });
    const ours = { '/etc/resolv.conf': files.resolvConf, '/etc/hostname': files.hostname, '/etc/hosts': files.hosts };
    for (const [target, at] of Object.entries(ours))
      if (!mounts.some((mount) => mount.target === target))
        add(target, { at, below: '' }, { readOnly: hostConfig.ReadonlyRootfs });
  }
  const depth = ({ target }: MountView) => target.split('/').length;
  const held = undo.move();
  return {
    view: {
      root: snapshot.root,
      readOnly: hostConfig.ReadonlyRootfs,
      owners,
      mounts: mounts.toSorted((a, b) => depth(a) - depth(b)),
    },
    [Symbol.asyncDispose]: () => held.disposeAsync(),
  };
}

/** The root as the container's process has it. Undefined when it does not run, or that number is another's by now. */
function rootOfProcess({ live }: Room, id: string, root: number): number | undefined {
  const task = live.get(id)?.task;
  if (!task) return undefined;
  let fd: number;
  try {
    fd = openSync(`/proc/${task.pid}/root`, O_PATH | constants.O_DIRECTORY);
  } catch (error) {
    if (['ENOENT', 'ESRCH'].includes(codeOf(error) ?? '')) return undefined;
    throw error;
  }
  const [its, ours] = [fstatSync(fd), fstatSync(root)];
  if (its.dev === ours.dev && its.ino === ours.ino) return fd;
  closeSync(fd);
  return undefined;
}

/** Docker's words where it has some. */
function refuse(error: unknown, name: string, path: string): never {
  const code = codeOf(error);
  if (code === 'ENOENT')
    throw new EngineError('not-found', `Could not find the file ${path} in container ${name}`, {
      cause: error,
      code: 'E_NO_SUCH_FILE',
    });
  if (code === 'ENOSPC' || code === 'EDQUOT')
    throw new EngineError('unavailable', `write ${path} in container ${name}: no space left on device`, {
      cause: error,
      hint: 'free space on that file system',
    });
  throw error;
}
