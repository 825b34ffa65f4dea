import type { Readable } from 'node:stream';
import { Semaphore } from '../base/async.ts';
import { EngineError } from '../base/errors.ts';
import type { ContentStore } from '../content/store.ts';
import type { Digest } from '../oci/digest.ts';
import { isIndexType } from '../oci/manifest.ts';
import type { Platform } from '../oci/platform.ts';
import { familiarName, parseReference } from '../oci/reference.ts';
import { imageLimits } from '../oci/validate.ts';
import { type ArchiveImage, imagesOf } from './archive-images.ts';
import { type Staged, type StagedFile, stageArchive } from './archive-stage.ts';
import type { Claims, Lease } from './claims.ts';
import { bestFor, readGraph } from './graph.ts';
import { loadSteps, type Report, silentSteps } from './progress.ts';
import { StoredSource } from './stored-source.ts';
import { type ImageSink, shortId, transfer } from './transfer.ts';

export interface LoadDeps {
  readonly content: ContentStore;
  readonly claims: Claims;
  readonly lease: Lease;
  readonly sink: ImageSink;
  readonly platform: Platform;
  /** The platform was asked for. */
  readonly strict: boolean;
  readonly quiet: boolean;
  readonly report: Report;
  readonly signal: AbortSignal;
  /** Writes all names at once, last of all. Returns those that were taken from other images. */
  readonly arrive: (images: readonly ArchiveImage[]) => Promise<ReadonlyMap<string, Digest>>;
}

/**
 * `docker load`: blobs go into the content store while the archive is read; then each image is moved as from anywhere
 * else. Names come last, all or none.
 */
export async function loadArchive(archive: Readable, deps: LoadDeps): Promise<void> {
  const { sink, signal } = deps;
  // A plain layer's digest is its diff ID: it can be made ready while the rest is read. What fails here fails again, and
  // loudly, when an image turns out to need it.
  const ahead: Promise<void>[] = [];
  const onTar = ({ digest, size }: StagedFile) => {
    if (sink.preparePlain && ahead.length < imageLimits.layers)
      ahead.push(sink.preparePlain(digest, size, signal).catch(() => {}));
  };
  try {
    await loadStaged(await stageArchive(archive, { ...deps, onTar }), deps);
  } finally {
    await Promise.all(ahead);
  }
}

async function loadStaged(staged: Staged, deps: LoadDeps): Promise<void> {
  const { content, sink, report, signal, quiet } = deps;
  const images = await imagesOf(staged, deps);
  const source = new StoredSource('the archive', content, 'invalid');
  for (const { descriptor } of images) {
    await transfer(source, sink, {
      ...{ root: descriptor, rootBytes: await source.document(descriptor), signal },
      ...(await platformFor(descriptor, deps)),
      fetching: new Semaphore(1),
      stepsOf: ({ diffId }) => (quiet ? silentSteps : loadSteps(report, shortId(diffId))),
    });
  }
  const moved = await deps.arrive(images);
  for (const [name, id] of moved)
    report({
      stream: `The image ${shown(name)} already exists, renaming the old one with ID ${id} to empty string\n`,
    });
  for (const { descriptor, names } of images) {
    if (names.length === 0) report({ stream: `Loaded image ID: ${descriptor.digest}\n` });
    for (const name of names) report({ stream: `Loaded image: ${shown(name)}\n` });
  }
}

/** Which of an index's images is made ready: the one asked for, the host's, or whichever the archive has whole. */
async function platformFor(
  descriptor: ArchiveImage['descriptor'],
  { content, platform, strict }: LoadDeps,
): Promise<{ platform: Platform; strict: boolean }> {
  if (strict || !isIndexType(descriptor.mediaType)) return { platform, strict };
  const { variants } = await readGraph(content, descriptor);
  const complete = variants.filter((variant) => variant.complete);
  const best = bestFor(variants, platform) ?? complete[0] ?? variants[0];
  if (!best) throw new EngineError('invalid', 'the archive is refused: its index lists no image that is in it');
  return { platform: best.platform, strict };
}

function shown(name: string): string {
  return familiarName(parseReference(name));
}
