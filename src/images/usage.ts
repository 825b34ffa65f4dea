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
  const isShared = ([part]: readonly [Digest, number]) => owners.get(part)! > 1;
  return new Map(all.map(([id, sizes]) => [id, sumOf(new Map([...sizes].filter(isShared)))]));
}

/** What an index lists, as `docker image ls --tree` shows it. */
export function manifestsOf({ listed, variants, blobs }: ImageGraph, factsOf: FactsOf): readonly ImageManifest[] {
  return listed.map((entry): ImageManifest => {
    const { descriptor, manifest, complete } = entry;
    const variant = variants.find((one) => one.descriptor.digest === descriptor.digest);
    const here = manifest ? [descriptor, manifest.config, ...manifest.layers] : [];
    const contents = new Map(here.map(({ digest }) => [digest, blobs.get(digest) ?? 0]));
    const layers = new Map(variant?.config.rootfs.diff_ids.map((diffId) => [diffId, factsOf(diffId)?.size ?? 0]));
    const [content, unpacked, total] = [contents, layers, new Map([...contents, ...layers])].map(sumOf);
    const attests = descriptor.annotations?.['vnd.docker.reference.digest'];
    return {
      ...{ descriptor, kind: kindOf(entry), available: complete },
      ...{ content: content!, unpacked: unpacked!, total: total! },
      platform: descriptor.platform ?? variant?.platform,
      attests: attests as Digest | undefined,
    };
  });
}

function sumOf(sizes: ReadonlyMap<Digest, number>): number {
  return [...sizes.values()].reduce((sum, bytes) => sum + bytes, 0);
}

function kindOf({ descriptor, manifest }: Listed): ImageManifest['kind'] {
  if (isAttestation(descriptor)) return 'attestation';
  if (!manifest) return 'image';
  const { mediaType } = manifest.config;
  return mediaType === mediaTypes.ociConfig || mediaType === mediaTypes.dockerConfig ? 'image' : 'unknown';
}
