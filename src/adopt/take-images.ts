import { Readable } from 'node:stream';
import { EngineError } from '../base/errors.ts';
import type { ContentStore } from '../content/store.ts';
import type { Images } from '../images/images.ts';
import { tarEnd, tarHeader, tarPadding } from '../layers/tar-writer.ts';
import { type Digest, digestOf, hexOf } from '../oci/digest.ts';
import { type Descriptor, type Manifest, mediaTypes } from '../oci/manifest.ts';
import { imageLimits } from '../oci/validate.ts';
import type { ForeignRoot } from './foreign-root.ts';
import type { ObservedImage, ObservedLayer } from './observed.ts';
import { tarBytes, tarSize } from './tar-split.ts';

export interface TakeImageDeps {
  readonly root: ForeignRoot;
  readonly images: Images;
  readonly content: Pick<ContentStore, 'has'>;
}

export interface TakeImageOptions {
  /** In full form: those that it gets here, or none. */
  readonly names: readonly string[];
  readonly signal: AbortSignal;
  readonly progress: (bytes: number) => void;
}

/**
 * An image of the classic store, as an archive that is loaded like any other: its config, its layers as the tars that they
 * were, and a manifest, which Docker does not keep. What is here already is not sent again. It is here whole when this
 * returns, every layer checked against its diff ID, or it is not here.
 */
export async function takeImage(
  { root, images, content }: TakeImageDeps,
  image: ObservedImage,
  { names, signal, progress }: TakeImageOptions,
): Promise<{ readonly id: Digest }> {
  const configBytes = configOf(root, image);
  const layers: (Descriptor & { readonly from: ObservedLayer })[] = [];
  for (const from of image.layers)
    layers.push({ mediaType: mediaTypes.ociLayer, digest: from.diffId, size: await tarSize(root, from), from });
  const manifest: Manifest = {
    schemaVersion: 2,
    mediaType: mediaTypes.ociManifest,
    config: { mediaType: mediaTypes.ociConfig, digest: image.id, size: configBytes.length },
    layers: layers.map(({ mediaType, digest, size }) => ({ mediaType, digest, size })),
  };
  const bytes = Buffer.from(JSON.stringify(manifest));
  const descriptor = { mediaType: mediaTypes.ociManifest, digest: digestOf(bytes), size: bytes.length };
  const listed = names.map((name) => ({ ...descriptor, annotations: { 'io.containerd.image.name': name } }));
  const index = {
    schemaVersion: 2,
    mediaType: mediaTypes.ociIndex,
    manifests: listed.length > 0 ? listed : [descriptor],
  };

  const missing = new Map<Digest, (typeof layers)[number]>();
  for (const layer of layers) if (!(await content.has(layer.digest))) missing.set(layer.digest, layer);
  async function* archive(): AsyncGenerator<Buffer, void, void> {
    let sent = 0;
    yield* whole('oci-layout', Buffer.from('{"imageLayoutVersion":"1.0.0"}'));
    yield* whole('index.json', Buffer.from(JSON.stringify(index)));
    yield* whole(blobPath(descriptor.digest), bytes);
    yield* whole(blobPath(image.id), configBytes);
    for (const { digest, size, from } of missing.values()) {
      yield tarHeader({ name: blobPath(digest), size });
      for await (const piece of tarBytes(root, from)) {
        signal.throwIfAborted();
        sent += piece.length;
        progress(sent);
        yield piece;
      }
      yield tarPadding(size);
    }
    yield tarEnd();
  }
  // A stream swallows what is thrown by its source when its reader throws first.
  let failure: unknown;
  const source = async function* () {
    try {
      yield* archive();
    } catch (error) {
      failure = error;
      throw error;
    }
  };
  try {
    for await (const _ of images.load(Readable.from(source(), { objectMode: false }), { quiet: true, signal }));
  } catch (error) {
    throw failure ?? error;
  }
  return { id: descriptor.digest };
}

const blobPath = (digest: Digest) => `blobs/sha256/${hexOf(digest)}`;

function* whole(name: string, bytes: Buffer): Generator<Buffer, void, void> {
  yield Buffer.concat([tarHeader({ name, size: bytes.length }), bytes, tarPadding(bytes.length)]);
}

function configOf(root: ForeignRoot, { id }: ObservedImage): Buffer {
  for (const driver of root.names('image')) {
    const bytes = root.read(`image/${driver}/imagedb/content/sha256/${hexOf(id)}`, imageLimits.configBytes);
    if (bytes) return bytes;
  }
  throw new EngineError('corrupt', `the config of the image ${id} is missing`);
}
