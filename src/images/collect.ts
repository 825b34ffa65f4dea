import { EngineError } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import type { ContentStore } from '../content/store.ts';
import type { Digest } from '../oci/digest.ts';
import type { Snapshotter } from '../snapshots/snapshotter.ts';
import type { Claims } from './claims.ts';
import { blobKey, layerKey } from './store-sink.ts';

export interface CollectorDeps {
  readonly content: ContentStore;
  readonly snapshots: Pick<Snapshotter, 'hasLayer' | 'layerFacts' | 'removeLayer' | 'layers'>;
  readonly claims: Claims;
  /** Whether an image that is kept needs it. */
  readonly isReachable: (digest: Digest) => boolean;
  readonly log: Log;
}

/**
 * Takes away blobs and layers that no image reaches and no operation holds. Both are asked while the collector is alone
 * with the digest, so nothing goes that somebody has just begun to use.
 */
export class Collector {
  readonly #deps: CollectorDeps;

  constructor(deps: CollectorDeps) {
    this.#deps = deps;
  }

  async collect(): Promise<{ readonly bytes: number }> {
    const { content, snapshots } = this.#deps;
    return await this.sweep([...(await content.digests()), ...snapshots.layers()]);
  }

  /** Of these digests, blobs or layers, those that nobody needs. */
  async sweep(candidates: Iterable<Digest>): Promise<{ readonly bytes: number }> {
    let bytes = 0;
    for (const digest of new Set(candidates)) {
      if (!this.#isFree(digest)) continue;
      // A plain layer and its blob are one file.
      bytes += Math.max(await this.#removeLayer(digest), await this.#removeBlob(digest));
    }
    return { bytes };
  }

  /** What broken transfers left of these blobs; of one that goes on elsewhere nothing. */
  async dropPartials(digests: Iterable<Digest>): Promise<void> {
    const { content, claims } = this.#deps;
    for (const digest of digests)
      await claims.alone(blobKey(digest), async () => {
        if (claims.isHeld(digest) || (await content.has(digest))) return;
        await (await content.ingest(digest, -1)).discard();
      });
  }

  #isFree(digest: Digest): boolean {
    return !this.#deps.claims.isHeld(digest) && !this.#deps.isReachable(digest);
  }

  async #removeBlob(digest: Digest): Promise<number> {
    const { content, claims } = this.#deps;
    return await claims.alone(blobKey(digest), async () => {
      if (!this.#isFree(digest)) return 0;
      const size = await content.size(digest);
      if (size === undefined || !this.#isFree(digest)) return 0;
      await content.remove(digest);
      return size;
    });
  }

  async #removeLayer(digest: Digest): Promise<number> {
    const { snapshots, claims, log } = this.#deps;
    return await claims.alone(layerKey(digest), async () => {
      if (!snapshots.hasLayer(digest) || !this.#isFree(digest)) return 0;
      const size = snapshots.layerFacts(digest)?.size ?? 0;
      try {
        await snapshots.removeLayer(digest);
        return size;
      } catch (error) {
        // A container stands on it. It goes with the first collection after the container.
        if (error instanceof EngineError && error.kind === 'conflict') return 0;
        log.warn('could not remove a layer; the next collection tries again', { layer: digest, error });
        return 0;
      }
    });
  }
}
