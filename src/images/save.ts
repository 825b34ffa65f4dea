import type { ContentStore } from '../content/store.ts';
import { tarEnd, tarHeader, tarPadding } from '../layers/tar-writer.ts';
import { type Digest, Digester, DigestMismatch, hexOf } from '../oci/digest.ts';
import { type Descriptor, mediaTypes } from '../oci/manifest.ts';
import type { Platform } from '../oci/platform.ts';
import { familiarName, familiarRepository, parseReference } from '../oci/reference.ts';
import { bestFor, platformOf } from './graph.ts';
import type { ImageParts } from './parts.ts';

/** An image that goes into an archive, with the names that it has there; in full form. */
export interface SavedImage {
  readonly parts: ImageParts;
  readonly names: readonly string[];
}

export interface ArchiveDeps {
  readonly content: ContentStore;
  /** Which of an index's images older readers get, who know of only one. */
  readonly platform: Platform;
  readonly signal: AbortSignal;
}

/** Of a document, or of a blob in the store. */
type Entry = { readonly name: string } & (
  | { readonly bytes: Buffer }
  | { readonly digest: Digest; readonly size: number }
  | { readonly folder: true }
);

/**
 * The images as one tar that is an OCI layout and, for older readers, a docker-archive (`manifest.json`, `repositories`).
 * Blobs are the store's own, so every digest is the same on the other side; the same images always give the same bytes.
 */
export async function* writeArchive(
  images: readonly SavedImage[],
  { content, platform, signal }: ArchiveDeps,
): AsyncGenerator<Buffer, void, void> {
  for (const entry of entriesOf(images, platform)) {
    signal.throwIfAborted();
    if ('folder' in entry) yield tarHeader({ name: entry.name, type: 'directory' });
    else if ('bytes' in entry) {
      const { name, bytes } = entry;
      yield Buffer.concat([tarHeader({ name, size: bytes.length }), bytes, tarPadding(bytes.length)]);
    } else yield* writeBlob(entry, content);
  }
  yield tarEnd();
}

/** A blob that is damaged cuts the archive off: nobody shall take it for whole. */
async function* writeBlob(
  { name, digest, size }: { readonly name: string; readonly digest: Digest; readonly size: number },
  content: ContentStore,
): AsyncGenerator<Buffer, void, void> {
  const digester = new Digester(digest);
  const source = content.open(digest, { end: size });
  yield tarHeader({ name, size });
  for await (const chunk of source as AsyncIterable<Buffer>) {
    digester.update(chunk);
    yield chunk;
  }
  const actual = digester.digest();
  if (actual !== digest) throw new DigestMismatch('content', digest, actual);
  yield tarPadding(size);
}

function entriesOf(images: readonly SavedImage[], platform: Platform): readonly Entry[] {
  const blobs = new Map<string, Entry>();
  for (const { parts } of images) {
    for (const { descriptor, bytes } of parts.documents)
      blobs.set(pathOf(descriptor.digest), { name: pathOf(descriptor.digest), bytes });
    for (const { digest, size } of parts.blobs) blobs.set(pathOf(digest), { name: pathOf(digest), digest, size });
  }
  const folders = new Set([...blobs.keys()].map((path) => path.slice(0, path.lastIndexOf('/') + 1)));
  if (folders.size > 0) folders.add('blobs/');
  const below = [...[...folders].map((name): Entry => ({ name, folder: true })), ...blobs.values()];
  const repositories = repositoriesOf(images, platform);
  return [
    ...below.sort((a, b) => (a.name < b.name ? -1 : 1)),
    { name: 'index.json', bytes: json(indexOf(images)) },
    { name: 'manifest.json', bytes: json(images.map((image) => dockerEntry(image, platform))) },
    { name: 'oci-layout', bytes: json({ imageLayoutVersion: '1.0.0' }) },
    ...(repositories ? [{ name: 'repositories', bytes: json(repositories) }] : []),
  ];
}

/** OCI image-layout.md: an entry for each name, or one without where there is none. */
function indexOf(images: readonly SavedImage[]) {
  const manifests = images.flatMap(({ parts: { root }, names }): Descriptor[] => {
    const { mediaType, digest, size } = root;
    if (names.length === 0) return [{ mediaType, digest, size }];
    return names.map((name) => ({
      ...{ mediaType, digest, size },
      annotations: {
        'io.containerd.image.name': name,
        'org.opencontainers.image.ref.name': parseReference(name).tag ?? '',
      },
    }));
  });
  return { schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests };
}

function dockerEntry({ parts, names }: SavedImage, platform: Platform) {
  const { manifest } = chosen(parts, platform);
  return {
    Config: pathOf(manifest.config.digest),
    RepoTags: names.length > 0 ? names.map((name) => familiarName(parseReference(name))) : null,
    Layers: manifest.layers.map(({ digest }) => pathOf(digest)),
  };
}

/** The form before manifest.json: which layer is the top of what tag. */
function repositoriesOf(images: readonly SavedImage[], platform: Platform) {
  const repositories: Record<string, Record<string, string>> = {};
  for (const { parts, names } of images) {
    const top = chosen(parts, platform).manifest.layers.at(-1);
    if (!top) continue;
    for (const name of names) {
      const reference = parseReference(name);
      const tags = (repositories[familiarRepository(reference)] ??= {});
      tags[reference.tag!] = hexOf(top.digest);
    }
  }
  return Object.keys(repositories).length > 0 ? repositories : undefined;
}

function chosen({ images }: ImageParts, platform: Platform) {
  const offered = images.map((image) => ({ image, platform: platformOf(image.config) }));
  return bestFor(offered, platform)?.image ?? images[0]!;
}

function pathOf(digest: Digest): string {
  return `blobs/${digest.replace(':', '/')}`;
}

function json(value: unknown): Buffer {
  return Buffer.from(JSON.stringify(value));
}
