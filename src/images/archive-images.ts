import { EngineError } from '../base/errors.ts';
import type { ContentStore } from '../content/store.ts';
import { digestOf } from '../oci/digest.ts';
import { type Descriptor, isIndexType, isManifestType, type Manifest, mediaTypes } from '../oci/manifest.ts';
import { formatReference, parseReference, withDefaultTag } from '../oci/reference.ts';
import { imageLimits, readImageConfig, readIndex, sniffMediaType } from '../oci/validate.ts';
import { array, member, parseJsonObject } from '../oci/validate-json.ts';
import { refused } from './archive-reader.ts';
import type { Staged, StagedFile } from './archive-stage.ts';
import { isAttestation } from './graph.ts';
import type { ImageSink } from './transfer.ts';

/** An image that an archive brings, with its names in full form. */
export interface ArchiveImage {
  readonly descriptor: Descriptor;
  readonly names: readonly string[];
}

export interface ArchiveImagesDeps {
  readonly content: ContentStore;
  readonly sink: ImageSink;
}

/** What an archive says it holds. One that has both forms is read as an OCI layout. */
export async function imagesOf(staged: Staged, deps: ArchiveImagesDeps): Promise<readonly ArchiveImage[]> {
  const images = staged.documents.has('index.json')
    ? await imagesOfLayout(staged, deps)
    : await imagesOfDockerArchive(staged, deps);
  if (images.length === 0) throw refused('it holds no image');
  return images;
}

/** OCI image-layout.md. The same image may stand there once for each name. */
async function imagesOfLayout({ documents }: Staged, { content }: ArchiveImagesDeps): Promise<ArchiveImage[]> {
  const layout = documents.get('oci-layout');
  if (!layout) throw refused('it has index.json and no oci-layout');
  const version = member(parseJsonObject('oci-layout', layout, 4096), 'imageLayoutVersion');
  if (version !== '1.0.0') throw refused(`its layout has version ${JSON.stringify(version)}, expected "1.0.0"`);
  const { manifests } = readIndex(documents.get('index.json')!, mediaTypes.ociIndex);
  const found = new Map<string, { descriptor: Descriptor; names: Set<string> }>();
  for (const listed of manifests) {
    if (isAttestation(listed)) continue;
    const { digest, size } = listed;
    if (!(await content.has(digest))) throw refused(`${digest}, which index.json lists, is not in it`);
    // Some writers leave the media type out.
    const mediaType = listed.mediaType || sniffMediaType(await content.read(digest));
    if (!isIndexType(mediaType) && !isManifestType(mediaType))
      throw refused(`${digest} is of type ${JSON.stringify(mediaType)}, which is no image`);
    const image = found.get(digest) ?? { descriptor: { mediaType, digest, size }, names: new Set() };
    const name = nameFrom(listed);
    if (name) image.names.add(name);
    found.set(digest, image);
  }
  return [...found.values()].map(({ descriptor, names }) => ({ descriptor, names: [...names] }));
}

/** containerd's annotation has the whole name; the specification's has it with some writers, with others only a tag. */
function nameFrom({ annotations = {} }: Descriptor): string | undefined {
  const whole = annotations['io.containerd.image.name'];
  if (whole) return fullName(whole);
  const reference = annotations['org.opencontainers.image.ref.name'];
  return reference && /[:/]/.test(reference) ? fullName(reference) : undefined;
}

function fullName(text: string): string | undefined {
  const reference = withDefaultTag(parseReference(text));
  // A digest is no name that can be kept.
  return reference.digest ? undefined : formatReference(reference);
}

/** Docker's manifest.json. Layers and config are files of any name; the manifest is made here. */
async function imagesOfDockerArchive(staged: Staged, deps: ArchiveImagesDeps): Promise<ArchiveImage[]> {
  const document = staged.documents.get('manifest.json');
  if (!document) throw refused('it has neither manifest.json nor index.json, so it is no archive of images');
  const images = new Map<string, { descriptor: Descriptor; names: Set<string> }>();
  for (const entry of readDockerManifest(document)) {
    const descriptor = await manifestFor(entry, staged, deps);
    const image = images.get(descriptor.digest) ?? { descriptor, names: new Set() };
    for (const tag of entry.tags) {
      const name = fullName(tag);
      if (name) image.names.add(name);
    }
    images.set(descriptor.digest, image);
  }
  return [...images.values()].map(({ descriptor, names }) => ({ descriptor, names: [...names] }));
}

interface DockerEntry {
  readonly config: string;
  readonly tags: readonly string[];
  readonly layers: readonly string[];
}

function readDockerManifest(document: Buffer): DockerEntry[] {
  let entries: unknown;
  try {
    entries = JSON.parse(document.toString());
  } catch (error) {
    throw new EngineError('invalid', refused('manifest.json is no JSON').message, { cause: error });
  }
  // Wrapped, so that the readers for what strangers write can be used on it.
  const list = array({ entries }, 'entries', 'manifest.json', imageLimits.descriptors);
  return list.map((entry) => {
    const body = typeof entry === 'object' && entry !== null ? (entry as Record<string, unknown>) : {};
    const texts = (key: string, limit: number): string[] => {
      const value = body[key] ?? [];
      if (!Array.isArray(value) || value.length > limit || value.some((one) => typeof one !== 'string'))
        throw refused(`manifest.json: ${key} is not a list of at most ${limit} strings`);
      return value;
    };
    if (typeof body.Config !== 'string') throw refused('manifest.json: an entry has no Config');
    return {
      config: body.Config,
      tags: texts('RepoTags', imageLimits.descriptors),
      layers: texts('Layers', imageLimits.layers),
    };
  });
}

async function manifestFor(entry: DockerEntry, staged: Staged, { content, sink }: ArchiveImagesDeps) {
  const config = fileAt(entry.config, staged);
  const { rootfs } = readImageConfig(await content.read(config.digest));
  if (rootfs.diff_ids.length !== entry.layers.length)
    throw refused(`${entry.config} has ${rootfs.diff_ids.length} layers, manifest.json ${entry.layers.length}`);
  const layers = entry.layers.map((path, at): Descriptor => {
    const { digest, size, compression } = fileAt(path, staged);
    if (compression === 'none' && digest !== rootfs.diff_ids[at])
      throw refused(`layer ${path} is ${digest}, the config says ${rootfs.diff_ids[at]}`);
    return { mediaType: layerType(path, compression), digest, size };
  });
  const manifest: Manifest = {
    schemaVersion: 2,
    mediaType: mediaTypes.ociManifest,
    config: { mediaType: mediaTypes.ociConfig, digest: config.digest, size: config.size },
    layers,
  };
  const bytes = Buffer.from(JSON.stringify(manifest));
  const descriptor = { mediaType: mediaTypes.ociManifest, digest: digestOf(bytes), size: bytes.length };
  await sink.putDocument(descriptor, bytes);
  return descriptor;
}

function layerType(path: string, compression: StagedFile['compression']): string {
  if (compression === 'none') return mediaTypes.ociLayer;
  if (compression === 'gzip') return mediaTypes.ociLayerGzip;
  if (compression === 'zstd') return mediaTypes.ociLayerZstd;
  throw refused(`layer ${path} is compressed by ${compression}, which layers may not be`);
}

/** A file by its path; links are followed, inside the archive only. */
function fileAt(path: string, { files, links }: Staged): StagedFile {
  let at = path.replace(/^(?:\.\/)+/, '');
  for (let hops = 0; hops < 10; hops++) {
    const file = files.get(at);
    if (file) return file;
    const target = links.get(at);
    if (target === undefined) throw refused(`${JSON.stringify(path)}, which manifest.json lists, is not in it`);
    at = target;
  }
  throw refused(`${JSON.stringify(path)} is a link to itself`);
}
