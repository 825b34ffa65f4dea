import type { Readable } from 'node:stream';
import type { Digest } from '../oci/digest.ts';
import type { HistoryEntry, ImageConfig } from '../oci/image-config.ts';
import type { Descriptor } from '../oci/manifest.ts';
import type { Platform } from '../oci/platform.ts';
import type { Credentials } from '../remotes/registry.ts';

/** One line of a progress stream, in Docker's wire form (engine-api.md, section 9). */
export interface Progress {
  readonly status?: string;
  readonly id?: string;
  readonly stream?: string;
  readonly progressDetail?: { readonly current?: number; readonly total?: number };
  readonly progress?: string;
  readonly aux?: unknown;
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

export interface Removed {
  readonly untagged: readonly string[];
  readonly deleted: readonly Digest[];
}

/** Who uses images, asked before one is removed. `containers/` implements it, `daemon/` hands it over. */
export interface ImageUsers {
  usersOf(id: Digest): readonly { readonly id: string; readonly running: boolean }[];
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
