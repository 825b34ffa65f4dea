import { EngineError } from '../base/errors.ts';
import { type Digest, digestOf, hexOf, isDigest, parseDigest } from '../oci/digest.ts';
import { formatReference, parseReference, withDefaultTag } from '../oci/reference.ts';
import { imageLimits, readImageConfig } from '../oci/validate.ts';
import { type JsonObject, member, object, text } from '../oci/validate-json.ts';
import type { ForeignRoot } from './foreign-root.ts';
import type { Finds } from './observe.ts';
import type { ObservedImage, ObservedLayer } from './observed.ts';

/** Drivers whose layers are folders with the files of a layer as they were in its tar. */
export const knownDrivers = ['overlay2', 'vfs'] as const;
export type KnownDriver = (typeof knownDrivers)[number];

/** Where a driver keeps the tree of one of its layers. */
export function treeOf(driver: string, cacheId: string): string {
  if (!/^[0-9a-z][0-9a-z-]{0,127}$/.test(cacheId))
    throw new EngineError('corrupt', `${JSON.stringify(cacheId)} is no name of a layer's folder`);
  return driver === 'vfs' ? `vfs/dir/${cacheId}` : `overlay2/${cacheId}/diff`;
}

/**
 * The classic store: `image/<driver>/imagedb` has configs by digest, `layerdb` the layers by chain ID (OCI image-spec,
 * config.md, Layer ChainID), `repositories.json` the names.
 */
export async function observeImages(root: ForeignRoot, finds: Finds<ObservedImage>): Promise<void> {
  for (const driver of root.names('image')) {
    const ids = root.names(`image/${driver}/imagedb/content/sha256`);
    if (ids.length === 0) continue;
    if (!(knownDrivers as readonly string[]).includes(driver)) {
      finds.fault(
        `${ids.length} images`,
        `they are kept by the storage driver ${driver}, which is not read here`,
        'start Docker once more, docker save -o FILE IMAGE..., and berth load -i FILE',
      );
      continue;
    }
    await observeStore(root, driver, ids, finds);
  }
  if (root.names('containerd/daemon/io.containerd.content.v1.content/blobs/sha256').length > 0)
    finds.fault(
      'images of the containerd image store',
      'they are kept by containerd, which is not read here',
      'start Docker once more, docker save -o FILE IMAGE..., and berth load -i FILE',
    );
}

async function observeStore(
  root: ForeignRoot,
  driver: string,
  ids: readonly string[],
  finds: Finds<ObservedImage>,
): Promise<void> {
  const store = `image/${driver}`;
  let repositories: ReadonlyMap<string, readonly string[]> = new Map();
  try {
    repositories = namesIn(root.json(`${store}/repositories.json`));
  } catch (error) {
    finds.fault('names of images', `${error instanceof Error ? error.message : error}; images are taken without`);
  }
  const parents = new Set(
    ids
      .map((id) => root.word(`${store}/imagedb/metadata/sha256/${id}/parent`))
      .filter((parent) => parent !== undefined),
  );
  for (const hex of ids) {
    const id = `sha256:${hex}`;
    const names = repositories.get(id) ?? [];
    // A step of a build: nobody can run it but by its ID, and what was made of it has all of its layers.
    if (names.length === 0 && parents.has(id)) continue;
    await finds.try(names.find((name) => !name.includes('@')) ?? id, () => {
      if (!isDigest(id)) throw new EngineError('corrupt', `${JSON.stringify(hex)} is no digest`);
      return observeImage(root, driver, id, names);
    });
  }
  // Of builds and the like: a name to something that is not there.
  for (const [id, names] of repositories)
    if (!ids.includes(id.slice('sha256:'.length)))
      for (const name of names) if (!name.includes('@')) finds.fault(name, `its image ${id} is missing`);
}

/** From image ID to names, in familiar form, those with a digest too. */
function namesIn(document: JsonObject | undefined): ReadonlyMap<string, readonly string[]> {
  const names = new Map<string, string[]>();
  if (!document) return names;
  for (const [repository, entries] of Object.entries(object(member(document, 'Repositories') ?? {}, 'Repositories')))
    for (const [name, id] of Object.entries(object(entries, repository))) {
      const its = names.get(text(id, name)) ?? [];
      names.set(text(id, name), [...its, name]);
    }
  return names;
}

function observeImage(root: ForeignRoot, driver: string, id: Digest, names: readonly string[]): ObservedImage {
  const path = `image/${driver}/imagedb/content/sha256/${hexOf(id)}`;
  const bytes = root.read(path, imageLimits.configBytes)!;
  const actual = digestOf(bytes);
  if (actual !== id) throw new EngineError('corrupt', `its config is damaged: it has the digest ${actual}`);
  const { rootfs, os } = readImageConfig(bytes);
  if (os !== 'linux') throw new EngineError('unsupported', `it is for ${os || 'an unknown system'}, not for linux`);
  return {
    id,
    names: names.flatMap((name) => (name.includes('@') ? [] : [formatReference(withDefaultTag(parseReference(name)))])),
    losesDigest: names.some((name) => name.includes('@')),
    layers: layersOf(root, driver, rootfs.diff_ids),
  };
}

export function chainIds(diffIds: readonly Digest[]): readonly Digest[] {
  const chain: Digest[] = [];
  for (const diffId of diffIds) chain.push(chain.length === 0 ? diffId : digestOf(`${chain.at(-1)} ${diffId}`));
  return chain;
}

function layersOf(root: ForeignRoot, driver: string, diffIds: readonly Digest[]): readonly ObservedLayer[] {
  return chainIds(diffIds).map((chainId, at) => {
    const directory = `image/${driver}/layerdb/sha256/${hexOf(chainId)}`;
    const missing = (what: string) =>
      new EngineError('corrupt', `${what} of its layer ${at + 1} of ${diffIds.length} (${diffIds[at]}) is missing`);
    const diffId = root.word(`${directory}/diff`);
    if (diffId === undefined) throw missing('the record');
    if (parseDigest(diffId) !== diffIds[at])
      throw new EngineError('corrupt', `its layer ${at + 1} is recorded as ${diffId}, its config says ${diffIds[at]}`);
    const cacheId = root.word(`${directory}/cache-id`);
    if (cacheId === undefined) throw missing('the name of the folder');
    const tree = treeOf(driver, cacheId);
    using files = root.find(tree, { directory: true });
    if (!files) throw missing('the folder');
    const tarSplit = `${directory}/tar-split.json.gz`;
    using split = root.find(tarSplit);
    if (!split?.stat.isFile()) throw missing('the list of files');
    const size = Number(root.word(`${directory}/size`) ?? 0);
    return { diffId: diffIds[at]!, tree, tarSplit, bytes: Number.isSafeInteger(size) && size > 0 ? size : 0 };
  });
}
