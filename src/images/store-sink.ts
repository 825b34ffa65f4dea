import { EngineError } from '../base/errors.ts';
import type { ContentStore } from '../content/store.ts';
import type { Digest } from '../oci/digest.ts';
import { type Descriptor, mediaTypes } from '../oci/manifest.ts';
import type { Snapshotter } from '../snapshots/snapshotter.ts';
import type { Claims, Lease } from './claims.ts';
import type { LayerSteps } from './progress.ts';
import type { ImageSink, ImageSource, Layer, PutLayerOptions } from './transfer.ts';

/** Makes a snapshotter's layer from a blob; verifies it against the diff ID. `layers/` implements it. */
export interface LayerApplier {
  apply(layer: {
    readonly blobPath: string;
    readonly mediaType: string;
    readonly diffId: Digest;
    /** The blob is the plain tar itself: its digest, which the content store has verified, is the diff ID. */
    readonly verified: boolean;
    /** Bytes of the blob. */
    readonly size: number;
    readonly onProgress?: (bytes: number) => void;
    readonly signal?: AbortSignal;
  }): Promise<unknown>;
}

export interface StoreSinkDeps {
  readonly content: ContentStore;
  readonly snapshots: Pick<Snapshotter, 'hasLayer'>;
  readonly applier: LayerApplier;
  readonly claims: Claims;
}

/** The engine's own store as an end of a transfer: content as it came, and its layers made ready to be mounted. */
export class StoreSink implements ImageSink {
  readonly #deps: StoreSinkDeps;
  readonly #lease: Lease;

  constructor(deps: StoreSinkDeps, lease: Lease) {
    this.#deps = deps;
    this.#lease = lease;
  }

  claim(digest: Digest): void {
    this.#lease.add(digest);
  }

  async putDocument({ digest, size }: Descriptor, bytes: Uint8Array): Promise<void> {
    const { content, claims } = this.#deps;
    this.#lease.add(digest);
    await claims.alone(blobKey(digest), async () => {
      await using ingest = await content.ingest(digest, size < 0 ? bytes.length : size);
      if (ingest.offset < bytes.length) {
        if (ingest.offset > 0) await ingest.restart();
        await ingest.write(bytes);
      }
      await ingest.commit();
    });
  }

  async hasLayer({ descriptor, diffId }: Layer): Promise<boolean> {
    const { content, snapshots } = this.#deps;
    this.#lease.add(descriptor.digest);
    this.#lease.add(diffId);
    return snapshots.hasLayer(diffId) && (await content.size(descriptor.digest)) === descriptor.size;
  }

  async putLayer(layer: Layer, from: ImageSource, steps: LayerSteps, options: PutLayerOptions): Promise<void> {
    const { content, claims } = this.#deps;
    const { descriptor, diffId } = layer;
    const { digest, size } = descriptor;
    const { fetching, signal } = options;
    this.#lease.add(digest);
    this.#lease.add(diffId);
    await claims.alone(
      blobKey(digest),
      async () => {
        if ((await content.size(digest)) === size) return;
        await fetching.run(async () => {
          signal.throwIfAborted();
          let whole = false;
          const onProgress = (bytes: number) => {
            if (whole) return;
            steps.fetching(bytes, size);
            whole = bytes >= size;
            if (whole) steps.verifying();
          };
          await from.deliver(descriptor, content, { onProgress, signal });
        });
      },
      signal,
    );
    steps.fetched();
    await this.#apply(layer, signal, (bytes) => steps.applying(bytes, size));
    steps.done();
  }

  async preparePlain(digest: Digest, size: number, signal: AbortSignal): Promise<void> {
    this.#lease.add(digest);
    const descriptor = { mediaType: mediaTypes.ociLayer, digest, size };
    await this.#apply({ descriptor, diffId: digest }, signal, () => {});
  }

  async #apply(layer: Layer, signal: AbortSignal, onProgress: (bytes: number) => void): Promise<void> {
    const { content, snapshots, applier, claims } = this.#deps;
    const { descriptor, diffId } = layer;
    const { digest, size, mediaType } = descriptor;
    await claims.alone(
      layerKey(diffId),
      async () => {
        if (snapshots.hasLayer(diffId)) return;
        const blob = { blobPath: content.path(digest), mediaType, diffId, size, verified: digest === diffId };
        await applier.apply({ ...blob, onProgress, signal });
        if (!snapshots.hasLayer(diffId))
          throw new EngineError('internal', `layer ${diffId} was applied and is not there`);
      },
      signal,
    );
  }
}

/** An uncompressed layer's blob and its diff ID are the same digest; the work on them is not. */
export function blobKey(digest: Digest): string {
  return `blob ${digest}`;
}

export function layerKey(diffId: Digest): string {
  return `layer ${diffId}`;
}
