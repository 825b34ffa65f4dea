import { mkdirSync, readdirSync, realpathSync, rmdirSync, rmSync, statSync } from 'node:fs';
import { rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import { Semaphore } from '../base/async.ts';
import type { DiskUsage } from '../base/disk-usage.ts';
import { codeOf, EngineError, messageOf } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import type { Digest } from '../oci/digest.ts';
import type { DiskLimits } from '../quotas/disk-limits.ts';
import type { MountCalls } from '../sys/mount.ts';
import type { IdMaps } from '../sys/user-namespace.ts';
import { LayerStore } from './layer-store.ts';
import { cloneWithOwners, OwnerNamespaces, withMappedOwners } from './mapped-owners.ts';
import type { OverlayMount } from './overlay-mount.ts';
import { currentMounts, makePrivate, undoPrivate } from './private-root.ts';
import type {
  LayerFacts,
  LayerForm,
  LayerStage,
  MountOptions,
  OpenSnapshot,
  Snapshotter,
  SnapshotUsage,
} from './snapshotter.ts';
import { type RootAttributes, WritableStore } from './writable-store.ts';

/** As Docker and the kernel's page of options have it. */
const maxLayers = 128;

/**
 * The folders that something is mounted in, each a private mount of its own. Not the whole root: a hard link from the
 * content store to a layer would go from one mount to another, which the kernel refuses.
 */
const mounting = ['mounts', 'views', 'limited'] as const;

/** Where the trees of layers are, in the form that an implementation keeps them. */
export interface LayerTrees extends AsyncDisposable {
  /** The directory with a layer's tree, for as long as it is not released. */
  acquire(diffId: Digest): string;
  release(diffId: Digest): void;
  /** Lets go of a layer that nobody uses, before it is removed. */
  drop(diffId: Digest): Promise<void>;
  recover(used: ReadonlySet<Digest>): Promise<void>;
}

export interface LayeredSnapshotterDeps {
  readonly root: string;
  /** A directory that lies below the layers of every snapshot, and of none of its views. */
  readonly foundation?: string | undefined;
  readonly log: Log;
  readonly calls: MountCalls;
  readonly limits: DiskLimits;
  readonly mountOverlay: (calls: MountCalls, mount: OverlayMount) => void;
  /** Undefined where the kernel cannot: then it is mounted for a moment, and taken off its place. */
  readonly detachedOverlay?:
    | ((calls: MountCalls, mount: Omit<OverlayMount, 'target'>, subject: string) => number)
    | undefined;
}

/** A snapshot that somebody has open. */
interface Opened {
  users: number;
  readonly layers: readonly Digest[];
  /** Of its root, the newest last. The older ones are in use still; all of them are one file system. */
  readonly mounts: number[];
  /** Where the newest is attached. */
  attached: boolean;
}

/** What both snapshotters have in common: overlay over trees of layers, one writable directory for each snapshot. */
export abstract class LayeredSnapshotter implements Snapshotter {
  abstract readonly name: 'erofs' | 'overlay';
  abstract readonly form: LayerForm;
  protected readonly root: string;
  protected readonly calls: MountCalls;
  protected readonly log: Log;
  readonly #foundation: readonly string[];
  readonly #mountOverlay: LayeredSnapshotterDeps['mountOverlay'];
  readonly #detachedOverlay: LayeredSnapshotterDeps['detachedOverlay'];
  protected readonly store: LayerStore;
  readonly #writable: WritableStore;
  readonly #mounted = new Map<string, { readonly key: string; readonly layers: readonly Digest[] }>();
  readonly #rootOf = new Map<Digest, RootAttributes>();
  readonly #viewed = new Map<Digest, number>();
  readonly #opened = new Map<string, Opened>();
  /** Until the last of its mounts is gone: there must not be another meanwhile. */
  readonly #closing = new Map<string, Promise<unknown>>();
  readonly #owners = new OwnerNamespaces();
  #views = 0;
  /** The unmount of an overlay syncs the file system below it: on Node's few threads it must not push out all else. */
  readonly #unmounting = new Semaphore(2);

  constructor({ root, foundation, log, calls, limits, mountOverlay, detachedOverlay }: LayeredSnapshotterDeps) {
    mkdirSync(root, { recursive: true, mode: 0o700 });
    // The kernel shows mount points by their real path.
    this.root = realpathSync(root);
    this.log = log;
    this.calls = calls;
    this.#foundation = foundation === undefined ? [] : [foundation];
    this.#mountOverlay = mountOverlay;
    this.#detachedOverlay = detachedOverlay;
    for (const name of ['layers', 'staging', 'containers', 'trash', ...mounting, 'empty']) {
      mkdirSync(join(this.root, name), { recursive: true, mode: 0o700 });
    }
    for (const name of mounting) makePrivate(calls, join(this.root, name));
    this.store = new LayerStore({ root: this.root, sync: (directory) => this.syncLayer(directory) });
    this.#writable = new WritableStore({ root: this.root, log, limits });
  }

  protected abstract readonly trees: LayerTrees;
  protected abstract syncLayer(directory: string): Promise<void>;

  hasLayer(diffId: Digest): boolean {
    return this.store.has(diffId);
  }

  layerFacts(diffId: Digest): LayerFacts | undefined {
    return this.store.facts(diffId);
  }

  stageLayer(diffId: Digest): Promise<LayerStage> {
    return this.store.stage(diffId);
  }

  layers(): readonly Digest[] {
    return this.store.list();
  }

  async measureLayers(usage: DiskUsage): Promise<void> {
    await usage.add(join(this.root, 'layers'));
  }

  async removeLayer(diffId: Digest): Promise<void> {
    if (this.#writable.uses(diffId) || this.#viewed.has(diffId)) {
      throw new EngineError('conflict', `layer ${diffId} is in use`);
    }
    this.#rootOf.delete(diffId);
    await this.trees.drop(diffId);
    if (this.#writable.uses(diffId) || this.#viewed.has(diffId)) {
      throw new EngineError('conflict', `layer ${diffId} is in use`);
    }
    await this.store.remove(diffId);
  }

  async prepare(key: string, layers: readonly Digest[], { limit } = { limit: 0 }): Promise<void> {
    this.#checkLayers(layers);
    await this.#writable.prepare(key, layers, this.#rootAttributes(layers.at(-1)), limit);
  }

  async mount(key: string, target: string, { label, owners }: MountOptions = { label: '' }): Promise<void> {
    const layers = this.#writable.chain(key);
    const directory = await this.#writable.place(key);
    using namespace = owners && (await this.#owners.hold(owners));
    await this.#closing.get(key);
    const there = this.#mounted.get(target);
    if (there?.key === key) return;
    if (there) throw new EngineError('conflict', `snapshot ${there.key} is mounted at ${target}`);
    const lower = this.#acquire(layers);
    const opened = this.#opened.get(key);
    try {
      // The kernel must not have two file systems over one writable directory: what is open gets the place.
      if (opened) {
        this.calls.attach(opened.mounts.at(-1)!, target);
        opened.attached = true;
      } else
        this.#withOwners(namespace?.fd, directory, lower, (mount) => this.#overlay({ ...mount, target, label }, key));
    } catch (error) {
      this.#release(layers);
      throw error;
    }
    this.#mounted.set(target, { key, layers });
  }

  async unmount(key: string, target: string): Promise<void> {
    const there = this.#mounted.get(target);
    if (there && there.key !== key) return;
    this.#mounted.delete(target);
    try {
      this.#keepOpen(key, target);
      await this.#ending(key, () => this.calls.unmountLater(target, { detach: true }));
    } catch (error) {
      if (!['EINVAL', 'ENOENT'].includes(codeOf(error) ?? '')) {
        if (there) this.#mounted.set(target, there);
        throw error;
      }
    }
    if (there) this.#release(there.layers);
  }

  async view(layers: readonly Digest[]): Promise<{ readonly path: string } & AsyncDisposable> {
    this.#checkLayers(layers);
    const lower = this.#acquireViewed(layers);
    const release = () => this.#releaseViewed(layers);
    if (lower.length === 1) {
      return { path: lower[0]!, [Symbol.asyncDispose]: async () => release() };
    }
    const path = join(this.root, 'views', `${process.pid}.${this.#views++}`);
    try {
      mkdirSync(path, { mode: 0o700 });
      this.#overlay({ lower, target: path }, 'view');
    } catch (error) {
      release();
      rmSync(path, { recursive: true, force: true });
      throw error;
    }
    return {
      path,
      [Symbol.asyncDispose]: async () => {
        await this.#unmounting.run(() => this.calls.unmountLater(path, { detach: true }));
        await rmdir(path);
        release();
      },
    };
  }

  async open(key: string, { label, owners }: MountOptions = { label: '' }): Promise<OpenSnapshot> {
    const directory = await this.#writable.place(key);
    using namespace = owners && (await this.#owners.hold(owners));
    await this.#closing.get(key);
    const upper = join(directory, 'upper');
    const opened = this.#opened.get(key) ?? this.#open(key, directory, label, namespace?.fd);
    opened.users++;
    let below: number | undefined;
    return {
      root: opened.mounts.at(-1)!,
      upper,
      lower: () => (below ??= this.#detached({ lower: this.#lowerOf(opened.layers) }, `layers of ${key}`)),
      [Symbol.asyncDispose]: async () => {
        const its = below;
        below = undefined;
        if (its !== undefined) await this.#unmounting.run(() => this.calls.closeLater(its));
        if (--opened.users === 0) await this.#close(key, opened);
      },
    };
  }

  async mapOwners(path: string, { recursive, owners }: { recursive: boolean; owners: IdMaps }): Promise<number> {
    using namespace = await this.#owners.hold(owners);
    return cloneWithOwners(this.calls, path, { recursive, namespace: namespace.fd });
  }

  async remove(key: string): Promise<void> {
    for (const [target, mounted] of this.#mounted) {
      if (mounted.key === key) throw new EngineError('conflict', `snapshot ${key} is mounted at ${target}`);
    }
    this.#writable.remove(key);
  }

  snapshots(): readonly string[] {
    return this.#writable.keys();
  }

  usage(key: string): Promise<SnapshotUsage> {
    return this.#writable.usage(key);
  }

  describe(key: string): Readonly<Record<string, string>> {
    const directory = this.#writable.placeName(key);
    const target = [...this.#mounted].find(([, mounted]) => mounted.key === key)?.[0];
    return {
      LowerDir: distinct(this.#writable.chain(key))
        .map((diffId) => this.store.directory(diffId))
        .toReversed()
        .join(':'),
      MergedDir: target ?? '',
      UpperDir: join(directory, 'upper'),
      WorkDir: join(directory, 'work'),
    };
  }

  async recover(mounted: ReadonlyMap<string, string>): Promise<void> {
    const targets = new Set(currentMounts().map((mount) => mount.target));
    const known = new Set(this.#writable.keys());
    const used = new Set<Digest>();
    const running: (readonly [key: string, target: string])[] = [];
    for (const [key, target] of mounted) {
      if (!targets.has(realPath(target)) || !known.has(key)) continue;
      running.push([key, target]);
      for (const diffId of this.#writable.chain(key)) used.add(diffId);
    }
    const kept = new Set([...running.map(([, target]) => target), ...this.#mounted.keys()].map(realPath));
    const places = mounting.map((name) => join(this.root, name));
    // What is on top was mounted later and goes first.
    for (const { target } of currentMounts().toReversed()) {
      // Those of layers and of limited snapshots are told by who keeps them.
      const ours =
        target.startsWith(`${this.root}/`) && !/^(mounts|limited)\//.test(target.slice(this.root.length + 1));
      if (ours && !kept.has(target) && !places.includes(target)) {
        await this.calls.unmountLater(target, { detach: true });
      }
    }
    await this.trees.recover(used);
    for (const [key, target] of running) {
      if (this.#mounted.has(target)) continue;
      const layers = this.#writable.chain(key);
      this.#acquire(layers);
      this.#mounted.set(target, { key, layers });
    }
    for (const room of ['staging', 'views']) {
      const directory = join(this.root, room);
      for (const name of readdirSync(directory)) {
        rmSync(join(directory, name), { recursive: true, force: true });
      }
    }
    await this.#writable.recover();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#writable[Symbol.asyncDispose]();
    for (const [key, opened] of this.#opened) await this.#close(key, opened);
    await this.trees[Symbol.asyncDispose]();
    for (const name of mounting) undoPrivate(this.calls, join(this.root, name));
    this.#owners[Symbol.dispose]();
  }

  #checkLayers(layers: readonly Digest[]): void {
    if (layers.length > maxLayers) {
      throw new EngineError('invalid', `the image has ${layers.length} layers, more than ${maxLayers}`);
    }
    for (const diffId of layers) {
      if (!this.store.has(diffId)) throw new EngineError('not-found', `layer ${diffId} is not here`);
    }
  }

  /** The directories of a chain for overlay, top first. */
  #acquire(layers: readonly Digest[]): string[] {
    if (layers.length === 0) return [join(this.root, 'empty')];
    const acquired: Digest[] = [];
    try {
      return distinct(layers)
        .map((diffId) => {
          const path = this.trees.acquire(diffId);
          acquired.push(diffId);
          return path;
        })
        .toReversed();
    } catch (error) {
      for (const diffId of acquired) this.trees.release(diffId);
      throw error;
    }
  }

  #open(key: string, directory: string, label: string, namespace: number | undefined): Opened {
    const layers = this.#writable.chain(key);
    const lower = this.#acquireViewed(layers);
    try {
      const target = [...this.#mounted].find(([, mounted]) => mounted.key === key)?.[0];
      const mount =
        target === undefined
          ? this.#withOwners(namespace, directory, lower, (mount) => this.#detached({ ...mount, label }, key))
          : this.calls.cloneDetached(target);
      const opened: Opened = { users: 0, layers, mounts: [mount], attached: false };
      this.#opened.set(key, opened);
      return opened;
    } catch (error) {
      this.#releaseViewed(layers);
      throw error;
    }
  }

  /** Runs `mounting` with the writable directory over the layers, their owners mapped by a user namespace or as they are. */
  #withOwners<T>(
    namespace: number | undefined,
    directory: string,
    layers: readonly string[],
    mounting: (mount: Pick<OverlayMount, 'lower' | 'upper' | 'work'>) => T,
  ): T {
    const use = ([writable, ...lower]: readonly string[]) =>
      mounting({ lower, upper: join(writable!, 'upper'), work: join(writable!, 'work') });
    const directories = [directory, ...layers, ...this.#foundation];
    if (namespace === undefined) return use(directories);
    const place = join(this.root, 'views', `${process.pid}.${this.#views++}`);
    return withMappedOwners(this.calls, { place, directories, namespace }, use);
  }

  /** Once, whoever comes first: the last that had it open, or the end of the engine. */
  async #close(key: string, opened: Opened): Promise<void> {
    if (this.#opened.get(key) !== opened) return;
    this.#opened.delete(key);
    try {
      await this.#ending(key, async () => {
        for (const mount of opened.mounts) await this.calls.closeLater(mount);
      });
    } finally {
      this.#releaseViewed(opened.layers);
    }
  }

  /** What ends a mount of the snapshot. Whoever wants another waits for it. */
  async #ending(key: string, end: () => Promise<void>): Promise<void> {
    const ended = this.#unmounting.run(end);
    const settled = Promise.allSettled([this.#closing.get(key), ended]).then(() => {
      if (this.#closing.get(key) === settled) this.#closing.delete(key);
    });
    this.#closing.set(key, settled);
    await ended;
  }

  /** What is mounted loses its place: those that have it open, and the next mount, go on with the same file system. */
  #keepOpen(key: string, target: string): void {
    const opened = this.#opened.get(key);
    if (!opened?.attached) return;
    opened.mounts.push(this.calls.cloneDetached(target));
    opened.attached = false;
  }

  #detached(mount: Omit<OverlayMount, 'target'>, subject: string): number {
    // A single directory is itself what overlay would show.
    if (!mount.upper && mount.lower.length === 1) return this.calls.cloneDetached(mount.lower[0]!);
    if (this.#detachedOverlay)
      return this.#explained(subject, () => this.#detachedOverlay!(this.calls, mount, subject));
    const target = join(this.root, 'views', `${process.pid}.${this.#views++}`);
    mkdirSync(target, { mode: 0o700 });
    try {
      this.#overlay({ ...mount, target }, subject);
      try {
        return this.calls.cloneDetached(target);
      } finally {
        this.calls.unmount(target, { detach: true });
      }
    } finally {
      rmdirSync(target);
    }
  }

  /** The directories of a chain that is held already, top first. */
  #lowerOf(layers: readonly Digest[]): string[] {
    const lower = this.#acquire(layers);
    this.#release(layers);
    return lower;
  }

  /** As `#acquire`; they cannot be removed meanwhile, whether a snapshot stands on them or not. */
  #acquireViewed(layers: readonly Digest[]): string[] {
    const lower = this.#acquire(layers);
    for (const diffId of layers) this.#viewed.set(diffId, (this.#viewed.get(diffId) ?? 0) + 1);
    return lower;
  }

  #releaseViewed(layers: readonly Digest[]): void {
    this.#release(layers);
    for (const diffId of layers) {
      const count = this.#viewed.get(diffId)! - 1;
      if (count > 0) this.#viewed.set(diffId, count);
      else this.#viewed.delete(diffId);
    }
  }

  #release(layers: readonly Digest[]): void {
    for (const diffId of distinct(layers)) this.trees.release(diffId);
  }

  #overlay(mount: OverlayMount, subject: string): void {
    this.#explained(`${subject} at ${mount.target}`, () => this.#mountOverlay(this.calls, mount));
  }

  #explained<T>(subject: string, mounting: () => T): T {
    try {
      return mounting();
    } catch (error) {
      throw new EngineError('unavailable', `mount ${subject}: ${messageOf(error)}`, { cause: error });
    }
  }

  /** A writable directory covers the root of the top layer, and must look like it. */
  #rootAttributes(top: Digest | undefined): RootAttributes {
    if (!top) return { mode: 0o755, uid: 0, gid: 0 };
    const known = this.#rootOf.get(top);
    if (known) return known;
    const path = this.trees.acquire(top);
    try {
      const { mode, uid, gid } = statSync(path);
      const attributes = { mode: mode & 0o7777, uid, gid };
      this.#rootOf.set(top, attributes);
      return attributes;
    } finally {
      this.trees.release(top);
    }
  }
}

/** As /proc/self/mountinfo has it. */
function realPath(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    return path;
  }
}

/**
 * A layer that is in a chain twice counts at its upper place: overlay refuses the same directory twice, and whatever the
 * lower one brings or hides, the upper one does too.
 */
function distinct(layers: readonly Digest[]): readonly Digest[] {
  return layers.filter((diffId, i) => layers.lastIndexOf(diffId) === i);
}
