import { EngineError } from '../base/errors.ts';
import type { ContentStore } from '../content/store.ts';
import { type Digest, digestOf } from '../oci/digest.ts';
import type { HistoryEntry, ImageConfig, ImageDefaults } from '../oci/image-config.ts';
import { type Descriptor, type Manifest, mediaTypes } from '../oci/manifest.ts';
import { readImageConfig, readManifest } from '../oci/validate.ts';
import type { Lease } from './claims.ts';
import type { ImageSink } from './transfer.ts';

export interface ImageCommit {
  /** The manifest that it stands on. */
  readonly base: Descriptor;
  readonly config: ImageDefaults;
  /** The tar of one layer more; none when nothing comes. */
  readonly layer: AsyncIterable<Buffer>;
  readonly createdBy: string;
  readonly comment: string;
  readonly author: string;
  /** In full form, with tag. */
  readonly name: string | undefined;
  readonly signal: AbortSignal;
}

export interface CommitDeps {
  readonly content: ContentStore;
  readonly sink: ImageSink;
  readonly lease: Lease;
}

/** As overlay and the snapshotters have it. */
const mostLayers = 127;

/** Puts an image with one layer more than its base into the store; it has no record yet. */
export async function commitImage(commit: ImageCommit, { content, sink, lease }: CommitDeps): Promise<Descriptor> {
  const { base, signal } = commit;
  const manifest = await readBase(base, content, lease);
  const { author: _, comment: __, ...before } = readImageConfig(await content.read(manifest.config.digest));
  if (manifest.layers.length >= mostLayers)
    throw new EngineError('invalid', `max depth exceeded: the image has ${manifest.layers.length} layers already`);
  const docker = manifest.config.mediaType === mediaTypes.dockerConfig;
  const layer = await receiveLayer(commit.layer, { content, sink, lease }, signal);

  const created = new Date().toISOString();
  const author = commit.author === '' ? {} : { author: commit.author };
  const comment = commit.comment === '' ? {} : { comment: commit.comment };
  const config: ImageConfig = {
    ...before,
    created,
    ...author,
    ...comment,
    config: commit.config,
    rootfs: { type: 'layers', diff_ids: [...before.rootfs.diff_ids, ...(layer ? [layer.digest] : [])] },
    history: [
      ...wholeHistory(before),
      { created, created_by: commit.createdBy, ...author, ...comment, ...(layer ? {} : { empty_layer: true }) },
    ],
  };
  const put = async (mediaType: string, document: unknown): Promise<Descriptor> => {
    const bytes = Buffer.from(JSON.stringify(document));
    const descriptor = { mediaType, digest: digestOf(bytes), size: bytes.length };
    await sink.putDocument(descriptor, bytes);
    return descriptor;
  };
  const layerType = docker ? mediaTypes.dockerLayer : mediaTypes.ociLayer;
  const made: Manifest = {
    schemaVersion: 2,
    mediaType: docker ? mediaTypes.dockerManifest : mediaTypes.ociManifest,
    config: await put(manifest.config.mediaType, config),
    layers: [...manifest.layers, ...(layer ? [{ mediaType: layerType, ...layer }] : [])],
  };
  return await put(made.mediaType!, made);
}

/** Entries for layers that it does not tell of too: else the one that is added would be taken for one of theirs. */
function wholeHistory({ history = [], rootfs, created }: ImageConfig): readonly HistoryEntry[] {
  const untold = rootfs.diff_ids.length - history.filter((entry) => !entry.empty_layer).length;
  return [...history, ...Array.from({ length: Math.max(0, untold) }, () => (created ? { created } : {}))];
}

/** All that the new manifest names is kept from collection from here on. */
async function readBase(base: Descriptor, content: ContentStore, lease: Lease): Promise<Manifest> {
  lease.add(base.digest);
  if (!(await content.has(base.digest)))
    throw new EngineError('not-found', `the image ${base.digest} that the container was made of is not here any more`, {
      hint: 'docker pull brings it back; docker export takes the files without it',
    });
  const manifest = readManifest(await content.read(base.digest), base.mediaType);
  lease.add(manifest.config.digest);
  for (const { digest } of manifest.layers) lease.add(digest);
  return manifest;
}

/** The layer as a blob, and ready to be mounted. Undefined when nothing came. */
async function receiveLayer(
  tar: AsyncIterable<Buffer>,
  { content, sink, lease }: CommitDeps,
  signal: AbortSignal,
): Promise<{ readonly digest: Digest; readonly size: number } | undefined> {
  const pieces = tar[Symbol.asyncIterator]();
  const first = await pieces.next();
  if (first.done) return undefined;
  let size = 0;
  const counted = async function* () {
    for (let piece = first as IteratorResult<Buffer, void>; !piece.done; piece = await pieces.next()) {
      size += piece.value.length;
      yield piece.value;
    }
  };
  if (!content.receive) throw new EngineError('unsupported', 'this content store takes no layers of unknown digest');
  const digest = await content.receive(counted(), { size: -1, onDigest: (known) => lease.add(known), signal });
  await sink.preparePlain!(digest, size, signal);
  return { digest, size };
}
