import type { Readable } from 'node:stream';
import type { Digest } from '../oci/digest.ts';
import type { HistoryEntry, ImageConfig } from '../oci/image-config.ts';
import type { Descriptor } from '../oci/manifest.ts';
import type { Platform } from '../oci/platform.ts';
import type { Credentials } from '../remotes/registry.ts';
import type { ImageCommit } from './commit.ts';

/** One line of a progress stream, in Docker's wire form (engine-api.md, section 9). */
export interface Progress {
  readonly status?: string;
  readonly id?: string;
  readonly stream?: string;
  readonly progressDetail?: { readonly current?: number; readonly total?: number };
  readonly progress?: string;
  readonly aux?: unknown;
}

/** How much of one image moves at a time. The engine may change it while it runs. */
export interface TransferLimits {
  /** Layers of a pull. */
  downloads: number;
  /** Blobs of a push. */
  uploads: number;
}

/** An image for one platform, ready to be run. */
export interface Image {
  /** The digest that the name points to: of the index, or of the manifest where there is none. Docker's image Id. */
  readonly id: Digest;
  /** What the name points to, index or manifest. */
  readonly descriptor: Descriptor;
  /** The manifest of the platform that was chosen. */
  readonly manifest: Descriptor;
  readonly config: ImageConfig;
  /** Base first. */
  readonly layers: readonly Digest[];
  /** Bytes of content and of unpacked layers. */
  readonly size: number;
  /** Names in full form, with tag: `docker.io/library/nginx:latest`. */
  readonly names: readonly string[];
  /** `docker.io/library/nginx@sha256:...` */
  readonly repoDigests: readonly string[];
  /** When the image was made; RFC 3339. */
  readonly created: string;
  /** When a name was last put on it; RFC 3339. */
  readonly tagged: string | undefined;
}

/** One of the manifests that an index lists, or the only one of an image without an index. */
export interface ImageManifest {
  readonly descriptor: Descriptor;
  readonly kind: 'image' | 'attestation' | 'unknown';
  /** All of its content is here. */
  readonly available: boolean;
  readonly platform: Platform | undefined;
  /** Of an attestation: the manifest that it is about. */
  readonly attests: Digest | undefined;
  /** Bytes of what is here: blobs, and layers made ready. */
  readonly content: number;
  readonly unpacked: number;
  /** Both together; a plain layer and its blob are one file. */
  readonly total: number;
}

export interface SaveOptions {
  /** Of an index only the image for this platform. */
  readonly platform?: Platform;
  readonly signal: AbortSignal;
}

export interface PushOptions {
  /** Every tag of the repository; the name has none then. */
  readonly allTags: boolean;
  /** Only the image for this platform. */
  readonly platform?: Platform;
  readonly credentials?: Credentials;
  readonly signal?: AbortSignal;
}

export interface ImportOptions {
  /** The name that it gets, or ''. */
  readonly name: string;
  readonly message: string;
  /** Instructions, as of a Dockerfile. */
  readonly changes: readonly string[];
  readonly platform?: Platform;
  readonly signal?: AbortSignal;
}

/** What images take. */
export interface ImageUsage {
  /** On the disk: blobs and layers, each once. */
  readonly bytes: number;
  /** Of each image's size, what other images have too. */
  readonly shared: ReadonlyMap<Digest, number>;
}

export interface PruneOptions {
  /** Those with names too, where no container uses them. */
  readonly all: boolean;
  readonly matches: (image: Image) => boolean;
  /** What was shown to somebody: nothing more goes of an image than stands here. */
  readonly only?: ReadonlyMap<Digest, { readonly names: readonly string[]; readonly whole: boolean }>;
}

/** What a prune takes of one image. */
export interface Prunable {
  readonly id: Digest;
  /** Familiar names and digest references that go. */
  readonly names: readonly string[];
  /** The image too, not only names of it. */
  readonly whole: boolean;
  /** What is freed: of parts that several of them share, the first has them. */
  readonly bytes: number;
}

export interface Removed {
  readonly untagged: readonly string[];
  readonly deleted: readonly Digest[];
}

/** Who uses images, asked before one is removed. `containers/` implements it, `daemon/` hands it over. */
export interface ImageUsers {
  usersOf(id: Digest): readonly ImageUser[];
}

export interface ImageUser {
  readonly id: string;
  readonly running: boolean;
  /** What it calls the image; undefined while it is being made. */
  readonly name?: string;
}

export interface PullOptions {
  readonly platform?: Platform;
  /** Every tag of the repository; the name has none then. */
  readonly allTags?: boolean;
  readonly credentials?: Credentials;
  readonly signal?: AbortSignal;
}

/**
 * Images: names, what they point to, and how they come and go. Messages are Docker's where it has one
 * (`No such image: x`, `pull access denied for x, ...`, `manifest for x not found: ...`).
 * Names given are what the user typed: name[:tag][@digest], ID or ID prefix.
 */
export interface Images {
  /** Throws `not-found` (`No such image: x:latest`). With a platform: throws when the image has none for it. */
  get(name: string, platform?: Platform): Promise<Image>;
  list(): Promise<readonly Image[]>;
  /** Throws before the first progress when the registry refuses; the name appears last. */
  pull(name: string, options: PullOptions): AsyncIterable<Progress>;
  /** docker-archive and OCI layout, in any compression. */
  load(
    archive: Readable,
    options: { quiet: boolean; platform?: Platform; signal?: AbortSignal },
  ): AsyncIterable<Progress>;
  /**
   * A tar of the images: OCI layout and docker-archive in one. Throws before the first bytes when there is no such image;
   * what is damaged later cuts it off. Its content stays, whatever is removed, until it is read or the signal aborts.
   */
  save(names: readonly string[], options: SaveOptions): Promise<AsyncIterable<Buffer>>;
  /** Throws before the first progress only for what is no name; all else is told behind it, as Docker does. */
  push(name: string, options: PushOptions): AsyncIterable<Progress>;
  /** A root file system as an image: the bytes of a tar in any compression, or where in the web there is one. */
  import(archive: Readable | URL, options: ImportOptions): AsyncIterable<Progress>;
  /** Removes what nobody uses, as far as it matches. */
  /** What `prune` would remove, if containers of `without` were gone. */
  prunable(options: PruneOptions & { readonly without: ReadonlySet<string> }): Promise<readonly Prunable[]>;
  prune(options: PruneOptions): Promise<Removed & { readonly bytes: number }>;
  /** In the order of the index. Throws `not-found`. */
  manifests(id: Digest): readonly ImageManifest[];
  usage(): Promise<ImageUsage>;
  /** An image with one layer more than another; its ID. */
  commit(commit: ImageCommit): Promise<Digest>;
  tag(name: string, target: string): Promise<void>;
  remove(name: string, options: { force: boolean; prune: boolean }): Promise<Removed>;
  history(
    name: string,
    platform?: Platform,
  ): Promise<
    readonly (HistoryEntry & { readonly size: number; readonly names: readonly string[]; readonly id: string })[]
  >;
  /** All blobs and layers that nothing refers to go; after a start, and after a pull that failed. */
  collect(): Promise<{ readonly bytes: number }>;
}
