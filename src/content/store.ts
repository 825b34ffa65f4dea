import type { Readable } from 'node:stream';
import type { DiskUsage } from '../base/disk-usage.ts';
import type { Digest } from '../oci/digest.ts';

/** A blob that is being written. Bytes survive `dispose` (for resume) unless `discard` was called. */
export interface Ingest extends AsyncDisposable {
  /**
   * Bytes that are here: from an earlier attempt at first, growing with every write. Ask the source for what follows.
   * Equal to the size from the start when the whole blob is in the store already; then `commit` has nothing to do.
   */
  readonly offset: number;
  /**
   * The chunk may be reused once this returns. Throws `corrupt` when more than the expected size comes, `unavailable`
   * naming the path when the disk is full; the bytes that were here are given up then.
   */
  write(chunk: Uint8Array): Promise<void>;
  /** Starts over: the source cannot give a range. */
  restart(): Promise<void>;
  /** Verifies size and digest, syncs, and makes the blob visible. Throws DigestMismatch, and then nothing is kept. */
  commit(): Promise<void>;
  discard(): Promise<void>;
}

/** Blobs by digest. A blob is here whole and verified, or it is not here. A reader never sees half of one. */
export interface ContentStore {
  has(digest: Digest): Promise<boolean>;
  /** Bytes; undefined when it is not here. */
  size(digest: Digest): Promise<number | undefined>;
  /** The file, for workers that read it on their own. Throws `not-found`. */
  path(digest: Digest): string;
  /**
   * The whole blob, refused with `invalid` when larger than `limit` (default 4 MiB: manifests and configs). Verified
   * again: throws DigestMismatch when the disk gives back something else than was put there.
   */
  read(digest: Digest, limit?: number): Promise<Buffer>;
  /** Throws `not-found`. Bytes `start` to `end`, `end` not included, as `slice` counts. */
  open(digest: Digest, range?: { start?: number; end?: number }): Readable;
  /**
   * One writer per digest at a time; a second caller waits and then finds the blob. `size` -1 when unknown.
   * The signal ends the waiting.
   */
  ingest(digest: Digest, size: number, options?: { readonly signal?: AbortSignal }): Promise<Ingest>;
  put(content: Uint8Array): Promise<Digest>;
  /**
   * Takes a blob whose digest (sha256) nobody knows until it is here whole. A store without this is for small blobs only.
   */
  receive?(body: AsyncIterable<Uint8Array>, options: ReceiveOptions): Promise<Digest>;
  remove(digest: Digest): Promise<void>;
  digests(): Promise<readonly Digest[]>;
  /** Adds what blobs, and those on their way, take on the disk. */
  measure(usage: DiskUsage): Promise<void>;
}

export interface ReceiveOptions {
  /** Bytes that are expected; for messages. */
  readonly size: number;
  /** Told before the blob can be seen. */
  readonly onDigest?: (digest: Digest) => void;
  readonly signal?: AbortSignal;
}
