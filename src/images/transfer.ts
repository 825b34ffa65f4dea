import type { Semaphore } from '../base/async.ts';
import { EngineError } from '../base/errors.ts';
import type { ContentStore } from '../content/store.ts';
import { type Digest, hexOf } from '../oci/digest.ts';
import type { ImageConfig } from '../oci/image-config.ts';
import { type Descriptor, isIndexType, isManifestType, type Manifest } from '../oci/manifest.ts';
import { formatPlatform, type Platform, platformScore } from '../oci/platform.ts';
import { checkIndexDepth, readImageConfig, readIndex, readManifest, refuseSchema1 } from '../oci/validate.ts';
import { isAttestation, isImageManifest, platformOf } from './graph.ts';
import type { LayerSteps } from './progress.ts';

/** One end of a walk: where an image's documents and blobs come from. Everything it returns is verified. */
export interface ImageSource {
  /** For messages: `docker.io/library/nginx:latest`, `the archive`. */
  readonly name: string;
  /** A manifest, an index or a config. */
  document(descriptor: Descriptor, signal: AbortSignal): Promise<Buffer>;
  /** Puts the blob into the store; it is there whole when this returns. */
  deliver(descriptor: Descriptor, into: ContentStore, options: DeliverOptions): Promise<void>;
}

export interface DeliverOptions {
  readonly onProgress: (bytes: number) => void;
  readonly signal: AbortSignal;
}

/** The other end. What was put is kept from collection until the sink is disposed, and then only if it has a name. */
export interface ImageSink {
  /** Keeps a digest that is about to come, by whatever way, from collection. */
  claim(digest: Digest): void;
  putDocument(descriptor: Descriptor, bytes: Uint8Array): Promise<void>;
  hasLayer(layer: Layer): Promise<boolean>;
  putLayer(layer: Layer, from: ImageSource, steps: LayerSteps, options: PutLayerOptions): Promise<void>;
  /** Makes a plain tar that is here already ready, before it is known which layer it is. */
  preparePlain?(digest: Digest, size: number, signal: AbortSignal): Promise<void>;
}

export interface PutLayerOptions {
  readonly fetching: Semaphore;
  readonly signal: AbortSignal;
}

/** A layer as the manifest and the config name it together. */
export interface Layer {
  readonly descriptor: Descriptor;
  readonly diffId: Digest;
}

export interface TransferOptions {
  readonly root: Descriptor;
  readonly rootBytes: Uint8Array;
  readonly platform: Platform;
  /** The platform was asked for, and nothing else will do even where there is no choice. */
  readonly strict: boolean;
  readonly fetching: Semaphore;
  readonly stepsOf: (layer: Layer) => LayerSteps;
  readonly signal: AbortSignal;
}

export interface Transferred {
  readonly manifest: Descriptor;
  readonly config: ImageConfig;
  /** Whether a layer had to come. */
  readonly moved: boolean;
}

/** How many documents an index may make us fetch while the platform is looked for (S34). */
const indexLimit = 32;

/** Moves an image for one platform: documents from the root down, then its layers beside each other. */
export async function transfer(from: ImageSource, to: ImageSink, options: TransferOptions): Promise<Transferred> {
  const { root, rootBytes, signal } = options;
  const refused = refuseSchema1(root.mediaType, from.name);
  if (refused) throw refused;
  const chosen = isIndexType(root.mediaType) ? await choose(from, to, options) : { ...root, bytes: rootBytes };
  if (!isManifestType(chosen.mediaType)) throw notAnImage(from, chosen.mediaType);
  const bytes = chosen.bytes ?? (await from.document(chosen, signal));
  const manifest = readManifest(bytes, chosen.mediaType);
  if (!isImageManifest(chosen, manifest)) throw notAnImage(from, manifest.artifactType ?? manifest.config.mediaType);

  to.claim(manifest.config.digest);
  const configBytes = await from.document(manifest.config, signal);
  const config = readImageConfig(configBytes);
  checkConfig(from, manifest, config, options);

  // Only now: an image that is refused leaves nothing behind.
  if (isIndexType(root.mediaType)) await to.putDocument(root, rootBytes);
  await to.putDocument(chosen, bytes);
  await to.putDocument(manifest.config, configBytes);
  const moved = await moveLayers(from, to, layersOf(manifest, config), options);
  return { manifest: { mediaType: chosen.mediaType, digest: chosen.digest, size: chosen.size }, config, moved };
}

interface Candidate extends Descriptor {
  readonly bytes?: Uint8Array;
}

/** The manifest for the platform, from an index and those that it lists. Indexes on the way to it are kept. */
async function choose(from: ImageSource, to: ImageSink, options: TransferOptions): Promise<Candidate> {
  const { root, rootBytes, platform, signal } = options;
  let best: { descriptor: Descriptor; way: readonly [Descriptor, Uint8Array][]; score: number } | undefined;
  let read = 0;
  const offered = new Set<string>();

  const look = async (bytes: Uint8Array, mediaType: string, depth: number, way: [Descriptor, Uint8Array][]) => {
    checkIndexDepth(depth);
    if (++read > indexLimit) throw new EngineError('invalid', `${from.name}: more than ${indexLimit} indexes`);
    for (const descriptor of readIndex(bytes, mediaType).manifests) {
      if (isAttestation(descriptor)) continue;
      if (isIndexType(descriptor.mediaType)) {
        const nested = await from.document(descriptor, signal);
        await look(nested, descriptor.mediaType, depth + 1, [...way, [descriptor, nested]]);
      } else if (isManifestType(descriptor.mediaType)) {
        // Without a platform it may be for any; its config tells, and anything that says so is better.
        const score = descriptor.platform?.os ? platformScore(platform, descriptor.platform) : 1;
        const name = descriptor.platform ? formatPlatform(descriptor.platform) : '';
        // It is a stranger's text that people will see.
        if (/^[\w./-]{1,60}$/.test(name)) offered.add(name);
        if (score > (best?.score ?? 0)) best = { descriptor, way, score };
      }
    }
  };
  await look(rootBytes, root.mediaType, 1, []);
  if (!best) {
    const wanted = formatPlatform(platform);
    const hint = offered.size > 0 ? `--platform, with what it has: ${[...offered].slice(0, 10).join(', ')}` : undefined;
    throw new EngineError('not-found', `no matching manifest for ${wanted} in the manifest list entries`, {
      ...(hint && { hint }),
    });
  }
  for (const [descriptor, bytes] of best.way) await to.putDocument(descriptor, bytes);
  return best.descriptor;
}

function notAnImage(from: ImageSource, type: string): EngineError {
  return new EngineError('unsupported', `${from.name} is not a container image but an artifact of type ${type}`);
}

function checkConfig(
  from: ImageSource,
  manifest: Manifest,
  config: ImageConfig,
  { root, platform, strict }: TransferOptions,
): void {
  if (config.os !== 'linux')
    throw new EngineError(
      'unsupported',
      `image operating system ${JSON.stringify(config.os)} cannot be used on this platform: operating system is not supported`,
    );
  const { diff_ids } = config.rootfs;
  if (diff_ids.length !== manifest.layers.length)
    throw new EngineError(
      'invalid',
      `${from.name}: the manifest has ${manifest.layers.length} layers, the config ${diff_ids.length} diff_ids`,
    );
  // Out of an index only what fits is taken. A bare manifest is taken as it is, unless the platform was asked for.
  if ((strict || isIndexType(root.mediaType)) && platformScore(platform, platformOf(config)) === 0)
    throw new EngineError(
      'not-found',
      `image with reference ${from.name} was found but does not provide the specified platform (${formatPlatform(platform)}): it is for ${formatPlatform(platformOf(config))}`,
    );
}

/** Every layer once, also where an image has the same one twice. */
export function layersOf(manifest: Manifest, config: ImageConfig): Layer[] {
  const layers = new Map<string, Layer>();
  manifest.layers.forEach((descriptor, at) => {
    const diffId = config.rootfs.diff_ids[at]!;
    layers.set(`${descriptor.digest} ${diffId}`, { descriptor, diffId });
  });
  return [...layers.values()];
}

/** Downloads at a time for one image, beyond which Docker's progress says `Waiting`. */
const atOnce = 4;

async function moveLayers(
  from: ImageSource,
  to: ImageSink,
  layers: readonly Layer[],
  { fetching, stepsOf, signal }: TransferOptions,
): Promise<boolean> {
  const stop = new AbortController();
  const both = AbortSignal.any([signal, stop.signal]);
  let missing = 0;
  const started: Promise<void>[] = [];
  for (const layer of layers) {
    const steps = stepsOf(layer);
    if (await to.hasLayer(layer)) {
      steps.here();
      continue;
    }
    steps.queued(missing++ >= atOnce);
    const moving = to.putLayer(layer, from, steps, { fetching, signal: both });
    // One that fails stops the others; all have ended before the failure goes up.
    moving.catch((error) => stop.abort(error));
    started.push(moving);
  }
  await Promise.allSettled(started);
  signal.throwIfAborted();
  if (stop.signal.aborted) throw stop.signal.reason;
  return missing > 0;
}

export function shortId(digest: Digest): string {
  return hexOf(digest).slice(0, 12);
}
