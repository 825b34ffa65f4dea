import type { DiskUsage } from '../base/disk-usage.ts';
import type { Digest } from '../oci/digest.ts';
import type { IdMaps } from '../sys/user-namespace.ts';

/** One mount(2) to make. Snapshotters say which; whoever starts the container carries them out with `sys/`. */
export interface Mount {
  readonly type: string;
  readonly source: string;
  /** Mount options in fstab form, `ro`, `nosuid` and the file system's own. */
  readonly options: readonly string[];
}

/**
 * How a layer's content is kept by a snapshotter: its plain tar with an EROFS index beside it, or unpacked into a directory
 * in overlay's form.
 */
export type LayerForm = 'tar+erofs' | 'directory';

/** A layer that is being written. Nobody sees it until `commit`; `dispose` without commit removes every trace. */
export interface LayerStage extends AsyncDisposable {
  /** Where the content goes: `layer.tar` and `layer.erofs` inside it, or the tree under `fs/`. */
  readonly directory: string;
  /** Synced, then renamed into place. Committing a layer that came meanwhile is no error: the first stays. */
  commit(facts: LayerFacts): Promise<void>;
}

export interface LayerFacts {
  /** Bytes of the uncompressed tar. */
  readonly size: number;
  /** Entries in it. */
  readonly entries: number;
}

/** How a snapshot is shown. */
export interface MountOptions {
  /** What SELinux sees on every file of it; none where it is ''. */
  readonly label: string;
  /**
   * Who looks has these IDs: on the disk, in layers as in what is written, are those inside, and outside is what files are
   * shown with. As they are on the disk when undefined.
   */
  readonly owners?: IdMaps | undefined;
}

/** What `docker inspect` shows as GraphDriver, and what `ps -s` counts. */
export interface SnapshotUsage {
  /** Bytes on disk. */
  readonly bytes: number;
  readonly inodes: number;
}

/**
 * The files of a snapshot through descriptors, whether it is mounted anywhere or not. They hold mounts that are attached
 * nowhere: nothing of them is left when the engine is killed.
 */
export interface OpenSnapshot extends AsyncDisposable {
  /** The root directory (O_PATH), to be read and written; with mapped owners where they were asked for. */
  readonly root: number;
  /** The directory of what was written over the layers, in overlay's form; on the host. Owners are those of the disk. */
  readonly upper: string;
  /**
   * The root directory of the layers below (O_PATH), without what was written. Owners are those of the disk. Opened at the
   * first call.
   */
  lower(): number;
}

/**
 * Layered file systems: read-only layers by diff ID, and writable snapshots on top of a chain of them.
 * Every method is safe to repeat after a crash. `conformance.ts` in this room holds all of it for each implementation.
 */
export interface Snapshotter extends AsyncDisposable {
  readonly name: 'erofs' | 'overlay';
  readonly form: LayerForm;
  hasLayer(diffId: Digest): boolean;
  layerFacts(diffId: Digest): LayerFacts | undefined;
  stageLayer(diffId: Digest): Promise<LayerStage>;
  /** Frees the bytes at once. Throws `conflict` while a snapshot stands on it. */
  removeLayer(diffId: Digest): Promise<void>;
  layers(): readonly Digest[];
  /** Adds what layers take on the disk, whether an image has them or not. */
  measureLayers(usage: DiskUsage): Promise<void>;
  /**
   * A writable snapshot named `key` on top of `layers` (base first, at most 128). Durable when it returns.
   * Throws `not-found` when a layer is not here, `conflict` when the key is in use. What is written to it takes at most
   * `limit` bytes, 0 is as many as there are; `invalid` where that cannot be held.
   */
  prepare(key: string, layers: readonly Digest[], options?: { readonly limit: number }): Promise<void>;
  /**
   * Mounts the snapshot's root at `target`, which exists. Layer mounts that it needs are made and counted. Throws
   * `unsupported` where owners cannot be mapped.
   */
  mount(key: string, target: string, options?: MountOptions): Promise<void>;
  /** Unmounts what `mount` made at `target`; not mounted is no error. */
  unmount(key: string, target: string): Promise<void>;
  /** A read-only look at layers without a snapshot, for reading files such as the image's /etc/passwd. */
  view(layers: readonly Digest[]): Promise<{ readonly path: string } & AsyncDisposable>;
  /** Throws `not-found`. A snapshot may be mounted, unmounted and removed while it is open. Options as of `mount`. */
  open(key: string, options?: MountOptions): Promise<OpenSnapshot>;
  /**
   * Any directory or file, with what is mounted below it when `recursive`, as a mount that is attached nowhere and shows
   * owners as `MountOptions` say. A descriptor. Throws `unsupported` where a file system cannot.
   */
  mapOwners(path: string, how: { readonly recursive: boolean; readonly owners: IdMaps }): Promise<number>;
  remove(key: string): Promise<void>;
  snapshots(): readonly string[];
  usage(key: string): Promise<SnapshotUsage>;
  /** `GraphDriver.Data` of inspect. */
  describe(key: string): Readonly<Record<string, string>>;
  /**
   * After a start of the engine: `mounted` names the snapshots whose containers still run and where; their layer mounts
   * are counted again, every other mount and half-made thing below the root is removed.
   */
  recover(mounted: ReadonlyMap<string, string>): Promise<void>;
}
