/** Made-up parts for the tests of this room, here and in test/. Nothing that ships imports it. */

import { readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { gunzipSync, gzipSync } from 'node:zlib';
import type { DiskUsage } from '../base/disk-usage.ts';
import { EngineError } from '../base/errors.ts';
import { silentLog } from '../base/log.ts';
import { FileContentStore } from '../content/file-store.ts';
import type { EngineEvent, Events, NewEvent } from '../events/bus.ts';
import { type Digest, digestOf } from '../oci/digest.ts';
import { type Descriptor, type Index, type Manifest, mediaTypes } from '../oci/manifest.ts';
import type { Platform } from '../oci/platform.ts';
import { formatReference, type Reference, repositoryOf } from '../oci/reference.ts';
import type { BlobArrival, Download, Fetched, PushedBlob, Registry, SearchResult } from '../remotes/registry.ts';
import { MemoryDatabase } from '../state/memory-database.ts';
import { ImageStore } from './image-store.ts';
import type { Progress } from './images.ts';
import type { LayerApplier } from './store-sink.ts';
import { tarOf } from './tar-of.ts';

export const amd64: Platform = { os: 'linux', architecture: 'amd64' };
export const arm64: Platform = { os: 'linux', architecture: 'arm64', variant: 'v8' };

/** An image made in memory. */
export interface MadeImage {
  readonly root: Descriptor;
  readonly blobs: ReadonlyMap<Digest, Buffer>;
  readonly diffIds: readonly Digest[];
}

export interface ImageRecipe {
  /** The text of one file for each layer. */
  readonly layers?: readonly string[];
  readonly platform?: Platform;
  readonly gzip?: boolean;
  readonly labels?: Readonly<Record<string, string>>;
  readonly history?: readonly { created_by?: string; empty_layer?: boolean }[];
  /** More than the layers have, or fewer. */
  readonly diffIds?: readonly Digest[];
  readonly configType?: string;
}

export function makeImage({
  layers = ['hello'],
  platform = amd64,
  gzip = true,
  labels = {},
  history = [],
  diffIds,
  configType = mediaTypes.ociConfig,
}: ImageRecipe = {}): MadeImage {
  const blobs = new Map<Digest, Buffer>();
  const add = (mediaType: string, bytes: Buffer): Descriptor => {
    const digest = digestOf(bytes);
    blobs.set(digest, bytes);
    return { mediaType, digest, size: bytes.length };
  };
  const tars = layers.map((text, at) => tarOf([{ name: `file-${at}`, content: text }]));
  const ids = tars.map((tar) => digestOf(tar));
  const config = {
    ...platform,
    created: '2026-01-02T03:04:05Z',
    config: { Labels: labels, Cmd: ['/bin/sh'] },
    rootfs: { type: 'layers', diff_ids: diffIds ?? ids },
    history,
  };
  const manifest: Manifest = {
    schemaVersion: 2,
    mediaType: mediaTypes.ociManifest,
    config: add(configType, Buffer.from(JSON.stringify(config))),
    layers: tars.map((tar) => (gzip ? add(mediaTypes.ociLayerGzip, gzipSync(tar)) : add(mediaTypes.ociLayer, tar))),
  };
  const root = add(mediaTypes.ociManifest, Buffer.from(JSON.stringify(manifest)));
  return { root, blobs, diffIds: ids };
}

export function makeIndex(images: readonly { image: MadeImage; platform: Platform }[]): MadeImage {
  const index: Index = {
    schemaVersion: 2,
    mediaType: mediaTypes.ociIndex,
    manifests: images.map(({ image, platform }) => ({ ...image.root, platform })),
  };
  const bytes = Buffer.from(JSON.stringify(index));
  const root = { mediaType: mediaTypes.ociIndex, digest: digestOf(bytes), size: bytes.length };
  const blobs = new Map(images.flatMap(({ image }) => [...image.blobs]));
  return { root, blobs: blobs.set(root.digest, bytes), diffIds: images.flatMap(({ image }) => image.diffIds) };
}

/** An OCI layout as a tar, the image under each of the names. */
export function layoutOf(image: MadeImage, names: readonly string[] = []): Buffer {
  const manifests = (names.length > 0 ? names : [undefined]).map((name) => ({
    ...image.root,
    ...(name ? { annotations: { 'io.containerd.image.name': name } } : {}),
  }));
  return tarOf([
    { name: 'oci-layout', content: JSON.stringify({ imageLayoutVersion: '1.0.0' }) },
    { name: 'index.json', content: JSON.stringify({ schemaVersion: 2, manifests }) },
    ...[...image.blobs].map(([digest, content]) => ({ name: `blobs/${digest.replace(':', '/')}`, content })),
  ]);
}

/** Layers by diff ID without a disk. */
export class FakeSnapshots {
  readonly all = new Map<Digest, number>();
  /** Layers that containers stand on. */
  readonly used = new Set<Digest>();

  hasLayer(diffId: Digest): boolean {
    return this.all.has(diffId);
  }

  layerFacts(diffId: Digest) {
    const size = this.all.get(diffId);
    return size === undefined ? undefined : { size, entries: 1 };
  }

  async removeLayer(diffId: Digest): Promise<void> {
    if (this.used.has(diffId)) throw new EngineError('conflict', `layer ${diffId} is in use`);
    this.all.delete(diffId);
  }

  layers(): readonly Digest[] {
    return [...this.all.keys()];
  }

  async measureLayers(usage: DiskUsage): Promise<void> {
    for (const size of this.all.values()) usage.bytes += size;
  }
}

export function fakeApplier(snapshots: FakeSnapshots): LayerApplier & { applied: number } {
  return {
    applied: 0,
    async apply({ blobPath, mediaType, diffId, signal }) {
      signal?.throwIfAborted();
      const blob = readFileSync(blobPath);
      const tar = mediaType.endsWith('gzip') ? gunzipSync(blob) : blob;
      if (digestOf(tar) !== diffId)
        throw new EngineError('corrupt', `layer ${diffId}: the content is ${digestOf(tar)}`);
      this.applied++;
      snapshots.all.set(diffId, tar.length);
    },
  };
}

/** A registry in memory. `opened` counts the requests for blobs. */
export class FakeRegistry implements Registry {
  readonly opened: Digest[] = [];
  readonly #images = new Map<string, MadeImage>();
  readonly #blobs = new Map<Digest, Buffer>();
  /** Awaited before a blob's bytes flow. */
  hold: Promise<void> = Promise.resolve();

  put(name: string, image: MadeImage): void {
    this.#images.set(name, image);
    for (const [digest, bytes] of image.blobs) this.#blobs.set(digest, bytes);
  }

  drop(digest: Digest): void {
    this.#blobs.delete(digest);
  }

  async resolve(reference: Reference): Promise<Fetched> {
    const byDigest = [...this.#images.values()].find((image) => image.root.digest === reference.digest);
    const image = reference.digest ? byDigest : this.#images.get(formatReference(reference));
    if (!image) throw new EngineError('not-found', `manifest for ${reference.path} not found: manifest unknown`);
    return { descriptor: image.root, bytes: image.blobs.get(image.root.digest)! };
  }

  async fetchManifest(_: Reference, descriptor: Descriptor): Promise<Fetched> {
    return { descriptor, bytes: this.#blob(descriptor.digest) };
  }

  async openBlob(_: Reference, { digest }: Descriptor, offset: number, { signal }: { signal?: AbortSignal }) {
    this.opened.push(digest);
    const bytes = this.#blob(digest);
    const { hold } = this;
    const body = async function* () {
      await Promise.race([
        hold,
        new Promise((_, reject) => signal?.addEventListener('abort', () => reject(signal.reason))),
      ]);
      yield bytes.subarray(offset);
    };
    return { stream: Readable.from(body(), { objectMode: false }), from: offset };
  }

  async tags(reference: Reference): Promise<readonly string[]> {
    const repository = `${reference.domain}/${reference.path}:`;
    return [...this.#images.keys()]
      .filter((name) => name.startsWith(repository))
      .map((name) => name.split(':').at(-1)!);
  }

  /** What was pushed: `repository@digest` of blobs, full names of manifests. */
  readonly pushed = new Map<string, Buffer>();
  readonly mounts: string[] = [];
  /** Awaited before a blob is taken. */
  beforePush: () => Promise<void> = async () => {};

  async pushBlob(reference: Reference, { descriptor, open, elsewhere }: PushedBlob): Promise<BlobArrival> {
    await this.beforePush();
    const key = `${repositoryOf(reference)}@${descriptor.digest}`;
    if (this.pushed.has(key)) return { kind: 'there' };
    const from = elsewhere.find((path) => this.mounts.includes(`${path}@${descriptor.digest}`));
    this.pushed.set(key, Buffer.concat(await Array.fromAsync(open(0) as AsyncIterable<Buffer>)));
    return from === undefined ? { kind: 'sent' } : { kind: 'mounted', from };
  }

  async pushManifest(reference: Reference, { descriptor, bytes }: Fetched): Promise<void> {
    const { digest } = descriptor;
    this.pushed.set(formatReference(reference.tag ? reference : { ...reference, digest }), bytes);
  }

  async search(): Promise<readonly SearchResult[]> {
    return [];
  }

  async download(url: URL): Promise<Download> {
    throw new EngineError('not-found', `failed to GET ${url.href} with status 404`);
  }

  async login(): Promise<{ identityToken: string }> {
    return { identityToken: '' };
  }

  #blob(digest: Digest): Buffer {
    const bytes = this.#blobs.get(digest);
    if (!bytes) throw new EngineError('not-found', `blob ${digest} unknown to registry`);
    return bytes;
  }
}

export interface FakeEngine extends AsyncDisposable {
  readonly images: ImageStore;
  readonly content: FileContentStore;
  readonly snapshots: FakeSnapshots;
  readonly applier: LayerApplier & { applied: number };
  readonly registry: FakeRegistry;
  readonly database: MemoryDatabase;
  readonly events: NewEvent[];
  readonly users: Map<Digest, { id: string; running: boolean }[]>;
  readonly root: string;
  /** The image store as after a restart. */
  reopen(): Promise<ImageStore>;
}

/** An image store on a temporary folder, with everything around it made up. */
export async function fakeEngine({ platform = amd64 } = {}): Promise<FakeEngine> {
  const root = await mkdtemp(join(tmpdir(), 'berth-images-'));
  const content = new FileContentStore({ root, log: silentLog });
  const snapshots = new FakeSnapshots();
  const applier = fakeApplier(snapshots);
  const registry = new FakeRegistry();
  const database = new MemoryDatabase();
  const events: NewEvent[] = [];
  const bus: Events = {
    emit: (event) => events.push(event),
    history: (): readonly EngineEvent[] => [],
    listen: () => ({ [Symbol.dispose]: () => {} }),
    listeners: 0,
  };
  const users = new Map<Digest, { id: string; running: boolean }[]>();
  const reopen = () =>
    ImageStore.open({
      ...{ content, snapshots, applier, registry, database, platform, events: bus, log: silentLog },
      users: { usersOf: (id) => users.get(id) ?? [] },
      limits: { downloads: 4, uploads: 5 },
    });
  return {
    ...{ images: await reopen(), content, snapshots, applier, registry, database, events, users, root, reopen },
    [Symbol.asyncDispose]: () => rm(root, { recursive: true, force: true }),
  };
}

export async function all(stream: AsyncIterable<Progress>): Promise<Progress[]> {
  return await Array.fromAsync(stream);
}
