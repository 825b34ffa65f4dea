import type { Digest } from '../oci/digest.ts';
import { mediaTypes } from '../oci/manifest.ts';
import type { LayerFacts } from '../snapshots/snapshotter.ts';
import { type ImageGraph, isAttestation, type Listed } from './graph.ts';
import type { ImageManifest } from './images.ts';

export type FactsOf = (diffId: Digest) => LayerFacts | undefined;

/** The bytes of what an image is made of: its blobs, and its layers as they are used. A plain layer and its blob are one file. */
export function sizesOf({ blobs, variants }: ImageGraph, factsOf: FactsOf): ReadonlyMap<Digest, number> {
  const sizes = new Map(blobs);
  for (const { config } of variants)
    for (const diffId of config.rootfs.diff_ids) sizes.set(diffId, factsOf(diffId)?.size ?? sizes.get(diffId) ?? 0);
  return sizes;
}

/** Of each image's size, what at least one other has too. */
export function sharedSizes(graphs: ReadonlyMap<Digest, ImageGraph>, factsOf: FactsOf): ReadonlyMap<Digest, number> {
  const all = [...graphs].map(([id, graph]) => [id, sizesOf(graph, factsOf)] as const);
  const owners = new Map<Digest, number>();
  for (const [, sizes] of all) for (const part of sizes.keys()) owners.set(part, (owners.get(part) ?? 0) + 1);
  return new Map(
    all.map(([id, sizes]) => [
      id,
      [...sizes].reduce((sum, [part, bytes]) => (owners.get(part)! > 1 ? sum + bytes : sum), 0),
    ]),
  );
}

/** What an index lists, as `docker image ls --tree` shows it. */
export function manifestsOf({ listed, variants, blobs }: ImageGraph, factsOf: FactsOf): readonly ImageManifest[] {
  return listed.map((entry): ImageManifest => {
    const { descriptor, manifest, complete } = entry;
    const variant = variants.find((one) => one.descriptor.digest === descriptor.digest);
    const here = manifest ? [descriptor, manifest.config, ...manifest.layers] : [];
    const content = [...new Set(here.map(({ digest }) => digest))].reduce((sum, it) => sum + (blobs.get(it) ?? 0), 0);
    const diffIds = new Set(variant?.config.rootfs.diff_ids);
    const unpacked = [...diffIds].reduce((sum, diffId) => sum + (factsOf(diffId)?.size ?? 0), 0);
    const attests = descriptor.annotations?.['vnd.docker.reference.digest'];
    return {
      ...{ descriptor, kind: kindOf(entry), available: complete, content, unpacked },
      platform: descriptor.platform ?? variant?.platform,
      attests: attests as Digest | undefined,
    };
  });
}

function kindOf({ descriptor, manifest }: Listed): ImageManifest['kind'] {
  if (isAttestation(descriptor)) return 'attestation';
  if (!manifest) return 'image';
  const { mediaType } = manifest.config;
  return mediaType === mediaTypes.ociConfig || mediaType === mediaTypes.dockerConfig ? 'image' : 'unknown';
}
