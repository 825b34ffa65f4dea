import { EngineError } from '../base/errors.ts';
import type { ContentStore } from '../content/store.ts';
import { type Digest, DigestMismatch } from '../oci/digest.ts';
import type { ImageConfig } from '../oci/image-config.ts';
import { type Descriptor, isIndexType, isManifestType, type Manifest } from '../oci/manifest.ts';
import { checkIndexDepth, readImageConfig, readIndex, readManifest } from '../oci/validate.ts';
import { isImageManifest } from './graph.ts';

/** A manifest or an index, with its own bytes. */
export interface Document {
  readonly descriptor: Descriptor;
  readonly bytes: Buffer;
}

/** One platform's image among the parts. */
export interface PartImage {
  readonly descriptor: Descriptor;
  readonly manifest: Manifest;
  readonly config: ImageConfig;
}

/** An image as it is taken elsewhere: what is here of it, each thing once. */
export interface ImageParts {
  readonly root: Descriptor;
  /** What is listed comes before what lists it; the root is the last. */
  readonly documents: readonly Document[];
  /** Configs and layers, in the order of the manifests. */
  readonly blobs: readonly Descriptor[];
  readonly images: readonly PartImage[];
  /** What the documents list and what is not here; a manifest that lacks a blob counts as a whole. */
  readonly missing: readonly Descriptor[];
}

/** Reads what is here below a root, artifacts and attestations too. Throws `corrupt` when the root is not here whole. */
export async function partsOf(content: ContentStore, root: Descriptor): Promise<ImageParts> {
  const documents = new Map<Digest, Document>();
  const blobs = new Map<Digest, Descriptor>();
  const images: PartImage[] = [];
  const missing: Descriptor[] = [];

  const isHere = async ({ digest, size }: Descriptor) => (await content.size(digest)) === size;
  const visit = async (descriptor: Descriptor, depth: number): Promise<void> => {
    const { mediaType, digest } = descriptor;
    if (documents.has(digest) || blobs.has(digest)) return;
    const bytes = (await isHere(descriptor)) ? await read(content, digest) : undefined;
    if (!bytes) return void missing.push(descriptor);
    if (isIndexType(mediaType)) {
      checkIndexDepth(depth);
      for (const child of readIndex(bytes, mediaType).manifests) await visit(child, depth + 1);
    } else if (isManifestType(mediaType)) {
      const manifest = readManifest(bytes, mediaType);
      const its = [manifest.config, ...manifest.layers];
      const here = await Promise.all(its.map(isHere));
      if (here.includes(false)) return void missing.push(descriptor);
      for (const blob of its) if (!blobs.has(blob.digest)) blobs.set(blob.digest, blob);
      if (isImageManifest(descriptor, manifest)) {
        const config = await read(content, manifest.config.digest);
        if (!config) return void missing.push(descriptor);
        images.push({ descriptor, manifest, config: readImageConfig(config) });
      }
    } else {
      // Of a type that nobody here knows; it goes along as it is.
      blobs.set(digest, descriptor);
      return;
    }
    documents.set(digest, { descriptor, bytes });
  };

  await visit(root, 1);
  if (!documents.has(root.digest) || images.length === 0)
    throw new EngineError('corrupt', `image ${root.digest} is not here whole`, {
      hint: 'pull or load it again: that brings back what is missing',
    });
  return { root, documents: [...documents.values()], blobs: [...blobs.values()], images, missing };
}

/** Undefined when the disk gives back something else than was put there. */
async function read(content: ContentStore, digest: Digest): Promise<Buffer | undefined> {
  try {
    return await content.read(digest);
  } catch (error) {
    if (error instanceof DigestMismatch) return undefined;
    throw error;
  }
}
