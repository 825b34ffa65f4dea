import { availableParallelism } from 'node:os';
import { KeyedQueue } from '../base/async.ts';
import type { Digest } from '../oci/digest.ts';
import type { LayerFacts, Snapshotter } from '../snapshots/snapshotter.ts';
import { WorkerPool } from './worker-pool.ts';
import { defaultLayerLimits, type LayerLimits } from './write-layer.ts';

export interface LayerApplierDeps {
  readonly snapshotter: Pick<Snapshotter, 'form' | 'hasLayer' | 'layerFacts' | 'stageLayer'>;
  readonly limits?: Partial<LayerLimits>;
  /** Threads at most; as many as there are cores. */
  readonly workers?: number;
  /** How long a thread without work stays: each costs some 10 MB. */
  readonly lingerMs?: number;
}

export interface ApplyRequest {
  /** The blob's file, of any compression: what it is says its content, not its media type. */
  readonly blobPath: string;
  /** Digest of the uncompressed tar. */
  readonly diffId: Digest;
  /** The blob is the plain tar itself, hashed by the content store: its digest is the diff ID. */
  readonly verified?: boolean;
  /** Compressed bytes of `blobPath` that were read so far. */
  readonly onProgress?: (bytes: number) => void;
  readonly signal?: AbortSignal;
}

/**
 * Makes layers of blobs: each in a worker thread, several beside each other. Throws DigestMismatch when the content is
 * not what the diff ID names, `invalid` naming entry and reason for what is no honest layer, `unavailable` naming path
 * and bytes when the disk is full. Then nothing of the layer is kept.
 */
export class LayerApplier {
  readonly #snapshotter: LayerApplierDeps['snapshotter'];
  readonly #limits: LayerLimits;
  readonly #pool: WorkerPool;
  /** Two images with the same layer: the second waits and then finds it. */
  readonly #queue = new KeyedQueue();

  constructor({ snapshotter, limits, workers = availableParallelism(), lingerMs = 10_000 }: LayerApplierDeps) {
    this.#snapshotter = snapshotter;
    this.#limits = { ...defaultLayerLimits, ...limits };
    this.#pool = new WorkerPool({ size: workers, lingerMs });
  }

  apply({ blobPath, diffId, verified = false, onProgress, signal }: ApplyRequest): Promise<LayerFacts> {
    return this.#queue.run(diffId, async () => {
      const there = this.#snapshotter.hasLayer(diffId) ? this.#snapshotter.layerFacts(diffId) : undefined;
      if (there) return there;
      signal?.throwIfAborted();
      await using stage = await this.#snapshotter.stageLayer(diffId);
      const job = {
        blobPath,
        diffId,
        verified,
        form: this.#snapshotter.form,
        directory: stage.directory,
        limits: this.#limits,
      };
      const options = { ...(onProgress ? { onRead: onProgress } : {}), ...(signal ? { signal } : {}) };
      const facts = await this.#pool.run(job, options);
      signal?.throwIfAborted();
      await stage.commit(facts);
      return facts;
    });
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#pool[Symbol.asyncDispose]();
  }
}
