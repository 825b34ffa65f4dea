import { EngineError } from '../base/errors.ts';
import { type Digest, isDigest } from './digest.ts';
import type { HistoryEntry, ImageConfig, ImageDefaults } from './image-config.ts';
import { type Descriptor, type Index, isIndexType, isManifestType, type Manifest, mediaTypes } from './manifest.ts';
import type { Platform } from './platform.ts';
import {
  absent,
  array,
  type JsonObject,
  member,
  notValid,
  object,
  optional,
  parseJsonObject,
  printable,
  stringArray,
  stringMap,
  text,
  wholeNumber,
} from './validate-json.ts';

/** What an image may have at most (S06, S34). Far above what real images have, low enough to bound the work. */
export const imageLimits = {
  manifestBytes: 4 * 1024 * 1024,
  configBytes: 4 * 1024 * 1024,
  descriptors: 1000,
  layers: 128,
  /** An index may list an index: this deep, counted from the one that the name points to. */
  indexDepth: 4,
  historyEntries: 10_000,
} as const;

const schema1Types: ReadonlySet<string> = new Set([
  'application/vnd.docker.distribution.manifest.v1+json',
  'application/vnd.docker.distribution.manifest.v1+prettyjws',
  'application/vnd.oci.image.manifest.v0+json',
]);

/** The refusal of a manifest in Docker's first format, or undefined when the media type names another format. */
export function refuseSchema1(mediaType: string, subject = 'image'): EngineError | undefined {
  if (!schema1Types.has(mediaType)) return undefined;
  return new EngineError(
    'unsupported',
    `${subject}: Docker Image Format v1 and Docker Image manifest version 2, schema 1 are not supported`,
    { hint: 'push the image again with a current tool, which writes schema 2 or OCI manifests' },
  );
}

/**
 * What bytes that should be a manifest or an index say they are: their `mediaType`, or else what their members tell.
 * Throws like the readers.
 */
export function sniffMediaType(bytes: Uint8Array): string {
  const body = parseJsonObject('manifest', bytes, imageLimits.manifestBytes);
  const named = optional(body, 'mediaType', printable, 'manifest');
  if (named) return named;
  if (member(body, 'schemaVersion') === 1) return 'application/vnd.docker.distribution.manifest.v1+json';
  return Array.isArray(member(body, 'manifests')) ? mediaTypes.ociIndex : mediaTypes.ociManifest;
}

/**
 * An image manifest from a stranger. `mediaType` is what its descriptor or the registry called it; a body that calls
 * itself something else is refused, and so is one that could be read as an index too (CVE-2021-41190, S34).
 */
export function readManifest(bytes: Uint8Array, mediaType: string): Manifest {
  const what = 'manifest';
  const refused = refuseSchema1(mediaType);
  if (refused) throw refused;
  if (!isManifestType(mediaType)) throw notValid(what, `unexpected media type ${quoted(mediaType)}`);
  const body = parseJsonObject(what, bytes, imageLimits.manifestBytes);
  checkHead(what, body, mediaType);
  if (!absent(body, 'manifests')) throw notValid(what, 'it lists manifests, as only an index does');
  const layers = array(body, 'layers', what, imageLimits.layers);
  return {
    schemaVersion: 2,
    ...withDefined({
      mediaType: optional(body, 'mediaType', printable, what),
      artifactType: optional(body, 'artifactType', printable, what),
      subject: optional(body, 'subject', readDescriptor, what),
      annotations: optional(body, 'annotations', stringMap, what),
    }),
    config: readDescriptor(member(body, 'config'), `${what} config`),
    layers: layers.map((layer, at) => readDescriptor(layer, `${what} layers[${at}]`)),
  };
}

/** An index (OCI) or manifest list (Docker) from a stranger; as `readManifest`. */
export function readIndex(bytes: Uint8Array, mediaType: string): Index {
  const what = 'index';
  if (!isIndexType(mediaType)) throw notValid(what, `unexpected media type ${quoted(mediaType)}`);
  const body = parseJsonObject(what, bytes, imageLimits.manifestBytes);
  checkHead(what, body, mediaType);
  for (const key of ['config', 'layers', 'fsLayers'])
    if (!absent(body, key)) throw notValid(what, `it has ${key}, as only a manifest has`);
  const manifests = array(body, 'manifests', what, imageLimits.descriptors);
  return {
    schemaVersion: 2,
    ...withDefined({
      mediaType: optional(body, 'mediaType', printable, what),
      annotations: optional(body, 'annotations', stringMap, what),
    }),
    manifests: manifests.map((entry, at) => readDescriptor(entry, `${what} manifests[${at}]`)),
  };
}

/** Throws `invalid` when an index lies deeper than allowed; the index that the name points to has depth 1. */
export function checkIndexDepth(depth: number): void {
  if (depth > imageLimits.indexDepth)
    throw notValid('index', `indexes are nested more than ${imageLimits.indexDepth} deep`);
}

function checkHead(what: string, body: JsonObject, mediaType: string): void {
  const version = member(body, 'schemaVersion');
  const refused = version === 1 ? refuseSchema1('application/vnd.docker.distribution.manifest.v1+json') : undefined;
  if (refused) throw refused;
  if (version !== 2) throw notValid(what, `schemaVersion is ${quoted(version)}, expected 2`);
  const own = optional(body, 'mediaType', printable, what);
  if (own && own !== mediaType)
    throw notValid(what, `it calls itself ${quoted(own)} but was announced as ${quoted(mediaType)}`);
}

/** A descriptor from a stranger (OCI image-spec, descriptor.md). `urls` are carried and never followed (S32). */
export function readDescriptor(value: unknown, what: string): Descriptor {
  const body = object(value, what);
  const digest = member(body, 'digest');
  if (typeof digest !== 'string' || !isDigest(digest)) throw notValid(what, `digest is ${quoted(digest)}`);
  return {
    mediaType: optional(body, 'mediaType', printable, what) ?? '',
    digest,
    size: wholeNumber(member(body, 'size'), `${what} size`),
    ...withDefined({
      platform: optional(body, 'platform', readPlatform, what),
      annotations: optional(body, 'annotations', stringMap, what),
      artifactType: optional(body, 'artifactType', printable, what),
      urls: optional(body, 'urls', stringArray, what),
    }),
  };
}

function readPlatform(value: unknown, what: string): Platform {
  const body = object(value, what);
  return {
    os: optional(body, 'os', printable, what) ?? '',
    architecture: optional(body, 'architecture', printable, what) ?? '',
    ...withDefined({
      variant: optional(body, 'variant', printable, what) || undefined,
      'os.version': optional(body, 'os.version', printable, what) || undefined,
    }),
  };
}

/** An image configuration from a stranger (OCI image-spec, config.md). Members that are null count as absent, as in Go. */
export function readImageConfig(bytes: Uint8Array): ImageConfig {
  const what = 'image config';
  const body = parseJsonObject(what, bytes, imageLimits.configBytes);
  return {
    architecture: optional(body, 'architecture', printable, what) ?? '',
    os: optional(body, 'os', printable, what) ?? '',
    rootfs: readRootfs(member(body, 'rootfs'), `${what} rootfs`),
    ...withDefined({
      created: optional(body, 'created', text, what),
      author: optional(body, 'author', text, what),
      'os.version': optional(body, 'os.version', printable, what),
      variant: optional(body, 'variant', printable, what),
      config: optional(body, 'config', readDefaults, what),
      history: absent(body, 'history')
        ? undefined
        : array(body, 'history', what, imageLimits.historyEntries).map((entry, at) =>
            readHistory(entry, `${what} history[${at}]`),
          ),
      docker_version: optional(body, 'docker_version', text, what),
      comment: optional(body, 'comment', text, what),
    }),
  };
}

function readRootfs(value: unknown, what: string): ImageConfig['rootfs'] {
  // A config that is no image's (of an artifact) may have none; whoever needs layers compares with the manifest.
  if (value === undefined || value === null) return { type: 'layers', diff_ids: [] };
  const body = object(value, what);
  const type = optional(body, 'type', text, what) ?? 'layers';
  if (type !== 'layers') throw notValid(what, `type is ${quoted(type)}, expected "layers"`);
  const ids = array(body, 'diff_ids', what, imageLimits.layers);
  const diffIds: Digest[] = ids.map((id, at) => {
    if (typeof id !== 'string' || !isDigest(id)) throw notValid(what, `diff_ids[${at}] is ${quoted(id)}`);
    return id;
  });
  return { type: 'layers', diff_ids: diffIds };
}

function readHistory(value: unknown, what: string): HistoryEntry {
  const body = object(value, what);
  return withDefined({
    created: optional(body, 'created', text, what),
    created_by: optional(body, 'created_by', text, what),
    author: optional(body, 'author', text, what),
    comment: optional(body, 'comment', text, what),
    empty_layer: optional(body, 'empty_layer', flag, what),
  });
}

function readDefaults(value: unknown, what: string): ImageDefaults {
  const body = object(value, what);
  return withDefined({
    User: optional(body, 'User', text, what),
    ExposedPorts: optional(body, 'ExposedPorts', nameSet, what),
    Env: optional(body, 'Env', stringArray, what),
    Entrypoint: optional(body, 'Entrypoint', stringArray, what),
    Cmd: optional(body, 'Cmd', stringArray, what),
    Volumes: optional(body, 'Volumes', nameSet, what),
    WorkingDir: optional(body, 'WorkingDir', text, what),
    Labels: optional(body, 'Labels', stringMap, what),
    StopSignal: optional(body, 'StopSignal', text, what),
    Healthcheck: optional(body, 'Healthcheck', readHealthcheck, what),
    Shell: optional(body, 'Shell', stringArray, what),
    OnBuild: optional(body, 'OnBuild', stringArray, what),
    ArgsEscaped: optional(body, 'ArgsEscaped', flag, what),
  });
}

function readHealthcheck(value: unknown, what: string): NonNullable<ImageDefaults['Healthcheck']> {
  const body = object(value, what);
  return withDefined({
    Test: optional(body, 'Test', stringArray, what),
    Interval: optional(body, 'Interval', wholeNumber, what),
    Timeout: optional(body, 'Timeout', wholeNumber, what),
    StartPeriod: optional(body, 'StartPeriod', wholeNumber, what),
    StartInterval: optional(body, 'StartInterval', wholeNumber, what),
    Retries: optional(body, 'Retries', wholeNumber, what),
  });
}

function flag(value: unknown, what: string): boolean {
  if (typeof value !== 'boolean') throw notValid(what, `it is ${quoted(value)}, expected true or false`);
  return value;
}

/** Go's `map[string]struct{}`: the names count, the values are empty objects. */
function nameSet(value: unknown, what: string): Record<string, Record<string, never>> {
  return Object.fromEntries(Object.keys(object(value, what)).map((name) => [name, {}]));
}

function quoted(value: unknown): string {
  const shown = JSON.stringify(value) ?? 'missing';
  return shown.length > 100 ? `${shown.slice(0, 100)}...` : shown;
}

/** The members that have a value. Not by assignment, which would run the setter of a member named `__proto__`. */
function withDefined<T extends object>(members: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(members).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]?: Exclude<T[K], undefined>;
  };
}
