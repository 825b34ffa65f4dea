import { Readable } from 'node:stream';
import type { ContentStore } from '../content/store.ts';
import { packTar } from '../layers/tar-writer.ts';
import { digestOf } from '../oci/digest.ts';
import type { ImageConfig, ImageDefaults } from '../oci/image-config.ts';
import { type Descriptor, type Manifest, mediaTypes } from '../oci/manifest.ts';
import type { Platform } from '../oci/platform.ts';
import type { Registry } from '../remotes/registry.ts';
import type { Claims, Lease } from './claims.ts';
import { decompressed } from './decompress.ts';
import { type Report, throttled } from './progress.ts';
import { blobKey, type StoreSink } from './store-sink.ts';

/** A file system that becomes an image of one layer. */
export interface ImportRequest {
  /** A tar in any compression. */
  readonly archive: Readable;
  readonly platform: Platform;
  /** What containers of it start with. */
  readonly defaults: ImageDefaults;
  readonly message: string;
}

export interface ImportDeps {
  readonly content: ContentStore & Required<Pick<ContentStore, 'receive'>>;
  readonly claims: Claims;
  readonly lease: Lease;
  readonly sink: StoreSink;
  readonly signal: AbortSignal;
}

/**
 * `docker import`: the tar is kept plain, as it is then layer and blob in one file. What no honest layer has in it is
 * refused by who makes the layer, as for any other; then nothing stays. Returns the manifest, which has no name yet.
 */
export async function importImage(request: ImportRequest, deps: ImportDeps): Promise<Descriptor> {
  const { sink, signal } = deps;
  const layer = await receiveLayer(request.archive, deps);
  await sink.preparePlain(layer.digest, layer.size, signal);

  const created = new Date().toISOString();
  const { os, architecture, variant } = request.platform;
  const config: ImageConfig = {
    created,
    architecture,
    os,
    ...(variant ? { variant } : {}),
    config: request.defaults,
    rootfs: { type: 'layers', diff_ids: [layer.digest] },
    history: [{ created, comment: request.message }],
  };
  const put = async (mediaType: string, value: unknown): Promise<Descriptor> => {
    const bytes = Buffer.from(JSON.stringify(value));
    const descriptor = { mediaType, digest: digestOf(bytes), size: bytes.length };
    await sink.putDocument(descriptor, bytes);
    return descriptor;
  };
  const manifest: Manifest = {
    schemaVersion: 2,
    mediaType: mediaTypes.ociManifest,
    config: await put(mediaTypes.ociConfig, config),
    layers: [layer],
  };
  return await put(mediaTypes.ociManifest, manifest);
}

async function receiveLayer(archive: Readable, { content, claims, lease, signal }: ImportDeps): Promise<Descriptor> {
  let size = 0;
  const counted = async function* () {
    for await (const chunk of decompressed(archive, signal)) {
      size += chunk.length;
      yield chunk;
    }
  };
  const digest = await content.receive(counted(), { size: 0, onDigest: (its) => lease.add(its), signal });
  if (size > 0) return { mediaType: mediaTypes.ociLayer, digest, size };
  // Nothing came: an image without a file, of an archive that says so.
  const nothing = packTar([]);
  const empty = digestOf(nothing);
  lease.add(empty);
  await claims.alone(blobKey(empty), () => content.put(nothing));
  return { mediaType: mediaTypes.ociLayer, digest: empty, size: nothing.length };
}

/** Begins to fetch an archive, and says how far it is. */
export async function downloading(
  url: URL,
  { registry, report, signal }: { readonly registry: Pick<Registry, 'download'>; report: Report; signal: AbortSignal },
): Promise<Readable> {
  const { stream, size } = await registry.download(url, { signal });
  report({ status: `Downloading from ${url.href}` });
  const numbers = throttled(report, undefined);
  let current = 0;
  return Readable.from(
    (async function* () {
      for await (const chunk of stream as AsyncIterable<Buffer>) {
        current += chunk.length;
        numbers('Importing', current, size ?? -1);
        yield chunk;
      }
    })(),
    { objectMode: false },
  );
}
