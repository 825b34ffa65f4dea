import { Semaphore } from '../base/async.ts';
import { EngineError } from '../base/errors.ts';
import type { ContentStore } from '../content/store.ts';
import type { Digest } from '../oci/digest.ts';
import { type Descriptor, isIndexType } from '../oci/manifest.ts';
import type { Platform } from '../oci/platform.ts';
import type { Reference } from '../oci/reference.ts';
import type { Credentials, Registry } from '../remotes/registry.ts';
import { bestFor, platformOf } from './graph.ts';
import { type ImageParts, partsOf } from './parts.ts';
import { pushSteps, type Report } from './progress.ts';
import { shortId } from './transfer.ts';

export interface PushDeps {
  readonly registry: Registry;
  readonly content: ContentStore;
  readonly credentials: Credentials | undefined;
  /** What this machine runs: the choice where an index cannot go whole. */
  readonly platform: Platform;
  /** Other repositories of the same registry that hold the blob. */
  readonly elsewhere: (digest: Digest) => readonly string[];
  readonly report: Report;
  readonly signal: AbortSignal;
  /** Blobs that are sent at a time. */
  readonly uploads: number;
}

/** Pushes what is below the root and, last, the root under the reference's tag. Returns what the tag names there now. */
export async function pushImage(reference: Reference, root: Descriptor, deps: PushDeps): Promise<Descriptor> {
  const { report, registry, credentials, signal } = deps;
  const { parts, inPlaceOf } = await whatGoes(root, deps);
  await pushBlobs(reference, parts, deps);
  const options = { signal, ...(credentials ? { credentials } : {}) };
  for (const document of parts.documents) {
    const isRoot = document.descriptor.digest === parts.root.digest;
    await registry.pushManifest({ ...reference, tag: isRoot ? reference.tag : undefined }, document, options);
  }
  const { mediaType, digest, size } = parts.root;
  report({ status: `${reference.tag}: digest: ${digest} size: ${size}` });
  report({ progressDetail: {}, aux: { Tag: reference.tag, Digest: digest, Size: size } });
  if (inPlaceOf)
    report({
      progressDetail: {},
      aux: {
        manifestPushedInsteadOfIndex: true,
        originalIndex: inPlaceOf,
        selectedManifest: { ...parts.root, mediaType, digest, size },
      },
    });
  return { mediaType, digest, size };
}

/** The whole of it; of an index that is here in part only the image for this machine, as the registry takes no holes. */
async function whatGoes(
  root: Descriptor,
  { content, platform }: PushDeps,
): Promise<{ parts: ImageParts; inPlaceOf?: Descriptor }> {
  const parts = await partsOf(content, root);
  if (parts.missing.length === 0) return { parts };
  const offered = parts.images.map((image) => ({ image, platform: platformOf(image.config) }));
  const best = bestFor(offered, platform) ?? offered[0];
  if (!best || !isIndexType(root.mediaType))
    throw new EngineError('corrupt', `content ${parts.missing[0]!.digest} is missing`);
  return { parts: await partsOf(content, best.image.descriptor), inPlaceOf: root };
}

async function pushBlobs(reference: Reference, parts: ImageParts, deps: PushDeps): Promise<void> {
  const { registry, content, credentials, elsewhere, report, signal, uploads } = deps;
  const layers = new Set(parts.images.flatMap(({ manifest }) => manifest.layers.map(({ digest }) => digest)));
  const stop = new AbortController();
  const both = AbortSignal.any([signal, stop.signal]);
  const turns = new Semaphore(uploads);
  // The top layer first, as Docker shows them.
  const waiting = [...parts.blobs].reverse().map((blob, at) => {
    const steps = layers.has(blob.digest) ? pushSteps(report, shortId(blob.digest)) : undefined;
    steps?.queued(at >= uploads);
    return { blob, steps };
  });
  const running = waiting.map(({ blob, steps }) =>
    turns
      .run(async () => {
        both.throwIfAborted();
        const arrival = await registry.pushBlob(
          reference,
          {
            descriptor: blob,
            open: (offset) => content.open(blob.digest, { start: offset, end: blob.size }),
            elsewhere: elsewhere(blob.digest),
          },
          {
            signal: both,
            ...(credentials ? { credentials } : {}),
            onProgress: (bytes) => steps?.sending(bytes, blob.size),
          },
        );
        if (arrival.kind === 'there') steps?.there();
        else if (arrival.kind === 'mounted') steps?.mounted(arrival.from);
        else steps?.sent();
      })
      // One that fails stops the others; all have ended before the failure goes up.
      .catch((error: unknown) => stop.abort(error)),
  );
  await Promise.all(running);
  signal.throwIfAborted();
  if (stop.signal.aborted) throw stop.signal.reason;
}
