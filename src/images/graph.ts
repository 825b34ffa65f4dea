import { EngineError } from '../base/errors.ts';
import type { ContentStore } from '../content/store.ts';
import { type Digest, DigestMismatch } from '../oci/digest.ts';
import type { ImageConfig } from '../oci/image-config.ts';
import { type Descriptor, isIndexType, isManifestType, type Manifest, mediaTypes } from '../oci/manifest.ts';
import { type Platform, platformScore } from '../oci/platform.ts';
import { checkIndexDepth, readImageConfig, readIndex, readManifest } from '../oci/validate.ts';

/** One platform's image whose manifest and config are here. */
export interface Variant {
  readonly descriptor: Descriptor;
  readonly manifest: Manifest;
  readonly config: ImageConfig;
  readonly platform: Platform;
  /** Every blob of it is here. */
  readonly complete: boolean;
}

/** A manifest that the image lists, here or not. */
export interface Listed {
  readonly descriptor: Descriptor;
  /** Undefined when it is not here. */
  readonly manifest: Manifest | undefined;
  readonly complete: boolean;
}

/** An image as far as its content is here. Kept in memory, so that reads wait for no disk. */
export interface ImageGraph {
  readonly root: Descriptor;
  readonly variants: readonly Variant[];
  readonly listed: readonly Listed[];
  /** Every digest that the image can reach, here or not: what a collection must leave. */
  readonly reaches: ReadonlySet<Digest>;
  /** The blobs of it that are here, with their bytes. */
  readonly blobs: ReadonlyMap<Digest, number>;
}

/**
 * Reads what is here of an image. A document that is not what its digest says is taken away, so that the next pull
 * brings it again. Throws `corrupt` when the root itself is missing.
 */
export async function readGraph(content: ContentStore, root: Descriptor): Promise<ImageGraph> {
  const reaches = new Set<Digest>();
  const blobs = new Map<Digest, number>();
  const variants: Variant[] = [];
  const listed: Listed[] = [];

  const seen = async (descriptor: Descriptor): Promise<boolean> => {
    reaches.add(descriptor.digest);
    const size = await content.size(descriptor.digest);
    if (size !== undefined) blobs.set(descriptor.digest, size);
    return size !== undefined;
  };
  const visit = async (descriptor: Descriptor, depth: number): Promise<void> => {
    if (!(await seen(descriptor))) {
      if (isManifestType(descriptor.mediaType)) listed.push({ descriptor, manifest: undefined, complete: false });
      return;
    }
    if (isIndexType(descriptor.mediaType)) {
      checkIndexDepth(depth);
      const bytes = await readDocument(content, descriptor);
      if (!bytes) blobs.delete(descriptor.digest);
      else for (const child of readIndex(bytes, descriptor.mediaType).manifests) await visit(child, depth + 1);
    } else if (isManifestType(descriptor.mediaType)) {
      const bytes = await readDocument(content, descriptor);
      if (!bytes) blobs.delete(descriptor.digest);
      else await visitManifest(descriptor, readManifest(bytes, descriptor.mediaType));
    }
  };
  const visitManifest = async (descriptor: Descriptor, manifest: Manifest): Promise<void> => {
    const configHere = await seen(manifest.config);
    const here = await Promise.all(manifest.layers.map(seen));
    listed.push({ descriptor, manifest, complete: configHere && here.every(Boolean) });
    if (!configHere || !isImageManifest(descriptor, manifest)) return;
    const bytes = await readDocument(content, manifest.config);
    if (!bytes) return void blobs.delete(manifest.config.digest);
    const config = readImageConfig(bytes);
    for (const diffId of config.rootfs.diff_ids) reaches.add(diffId);
    const platform = platformOf(config);
    variants.push({ descriptor, manifest, config, platform, complete: here.every(Boolean) });
  };

  await visit(root, 1);
  if (!blobs.has(root.digest)) throw new EngineError('corrupt', `content ${root.digest} is missing`);
  return { root, variants, listed, reaches, blobs };
}

async function readDocument(content: ContentStore, { digest }: Descriptor): Promise<Buffer | undefined> {
  try {
    return await content.read(digest);
  } catch (error) {
    if (!(error instanceof DigestMismatch)) throw error;
    await content.remove(digest);
    return undefined;
  }
}

/** Attestations and other artifacts look like manifests and are no images. */
export function isImageManifest(descriptor: Descriptor, { config }: Pick<Manifest, 'config'>): boolean {
  if (isAttestation(descriptor)) return false;
  return config.mediaType === mediaTypes.ociConfig || config.mediaType === mediaTypes.dockerConfig;
}

/** BuildKit lists attestations in the index as manifests for a platform that no machine has. */
export function isAttestation({ annotations, platform }: Descriptor): boolean {
  return annotations?.['vnd.docker.reference.type'] !== undefined || platform?.os === 'unknown';
}

export function platformOf(config: ImageConfig): Platform {
  const { os, architecture, variant } = config;
  return { os, architecture, ...(variant ? { variant } : {}) };
}

/** The one that runs best on the wanted platform; the first of equals. */
export function bestFor<T extends { readonly platform: Platform }>(all: readonly T[], wanted: Platform): T | undefined {
  let best: T | undefined;
  let score = 0;
  for (const one of all) {
    const its = platformScore(wanted, one.platform);
    if (its > score) [best, score] = [one, its];
  }
  return best;
}
