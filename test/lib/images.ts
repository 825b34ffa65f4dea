import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { type Digest, digestOf, hexOf } from '../../src/oci/digest.ts';
import type { ImageDefaults } from '../../src/oci/image-config.ts';
import { type Descriptor, mediaTypes } from '../../src/oci/manifest.ts';
import { hostPlatform, type Platform } from '../../src/oci/platform.ts';

/** Small images for tests: as blobs, as an OCI layout (folder or tar), as a docker-archive. */

export interface TarEntry {
  readonly name: string;
  /** `file` where nothing is said. */
  readonly type?: 'file' | 'directory' | 'symlink' | 'hardlink' | 'fifo' | 'character' | 'block';
  readonly content?: string | Uint8Array;
  /** Of a link. */
  readonly target?: string;
  readonly mode?: number;
  readonly uid?: number;
  readonly gid?: number;
  readonly mtime?: number;
  /** Of a device: major, minor. */
  readonly device?: readonly [number, number];
}

const flags = { file: '0', hardlink: '1', symlink: '2', character: '3', block: '4', directory: '5', fifo: '6' };

/** A plain ustar archive. Names longer than 100 bytes are not for here. */
export function tar(entries: readonly TarEntry[]): Buffer {
  const blocks = entries.flatMap((entry) => {
    const content = Buffer.from(entry.content ?? '');
    return [header(entry, content.length), content, Buffer.alloc((512 - (content.length % 512)) % 512)];
  });
  return Buffer.concat([...blocks, Buffer.alloc(1024)]);
}

function header(entry: TarEntry, size: number): Buffer {
  const { name, type = 'file', target = '', uid = 0, gid = 0, mtime = 1_700_000_000, device = [0, 0] } = entry;
  const mode = entry.mode ?? (type === 'directory' ? 0o755 : type === 'symlink' ? 0o777 : 0o644);
  const block = Buffer.alloc(512);
  const octal = (value: number, at: number, length: number) =>
    block.write(`${value.toString(8).padStart(length - 1, '0')}\0`, at, 'latin1');
  if (Buffer.byteLength(name) > 100 || Buffer.byteLength(target) > 100) throw new Error(`name too long: ${name}`);
  block.write(name, 0);
  octal(mode, 100, 8);
  octal(uid, 108, 8);
  octal(gid, 116, 8);
  octal(size, 124, 12);
  octal(mtime, 136, 12);
  block.write('        ', 148, 'latin1');
  block.write(flags[type], 156, 'latin1');
  block.write(target, 157);
  block.write('ustar\0' + '00', 257, 'latin1');
  octal(device[0], 329, 8);
  octal(device[1], 337, 8);
  block.write(
    `${block
      .reduce((sum, byte) => sum + byte, 0)
      .toString(8)
      .padStart(6, '0')}\0 `,
    148,
    'latin1',
  );
  return block;
}

export type Compression = 'none' | 'gzip' | 'zstd';

export interface ImageOptions {
  /** Base first; each is the entries of a layer, or its tar. */
  readonly layers: readonly (readonly TarEntry[] | Buffer)[];
  readonly config?: ImageDefaults;
  readonly platform?: Platform;
  readonly compression?: Compression;
  /** Docker's media types in place of OCI's. */
  readonly docker?: boolean;
}

export interface TestImage {
  /** Of the manifest, or of the index. */
  readonly descriptor: Descriptor;
  /** Everything below it, itself included. */
  readonly blobs: ReadonlyMap<Digest, Buffer>;
}

export function makeImage({
  layers,
  config = {},
  platform = hostPlatform(),
  compression = 'gzip',
  docker = false,
}: ImageOptions): TestImage {
  const blobs = new Map<Digest, Buffer>();
  const tars = layers.map((layer) => (Buffer.isBuffer(layer) ? layer : tar(layer)));
  const layerType = docker
    ? {
        none: mediaTypes.dockerLayer,
        gzip: mediaTypes.dockerLayerGzip,
        zstd: 'application/vnd.docker.image.rootfs.diff.tar.zstd',
      }
    : { none: mediaTypes.ociLayer, gzip: mediaTypes.ociLayerGzip, zstd: mediaTypes.ociLayerZstd };
  const manifest = {
    schemaVersion: 2,
    mediaType: docker ? mediaTypes.dockerManifest : mediaTypes.ociManifest,
    config: add(
      blobs,
      docker ? mediaTypes.dockerConfig : mediaTypes.ociConfig,
      json({
        created: '2024-01-02T03:04:05Z',
        architecture: platform.architecture,
        os: platform.os,
        ...(platform.variant ? { variant: platform.variant } : {}),
        config,
        rootfs: { type: 'layers', diff_ids: tars.map((bytes) => digestOf(bytes)) },
        history: tars.map((_, at) => ({ created: '2024-01-02T03:04:05Z', created_by: `layer ${at}` })),
      }),
    ),
    layers: tars.map((bytes) => add(blobs, layerType[compression], compress(bytes, compression))),
  };
  return { descriptor: { ...add(blobs, manifest.mediaType, json(manifest)), platform }, blobs };
}

/** One name for several platforms. */
export function makeIndex(images: readonly TestImage[], { docker = false } = {}): TestImage {
  const blobs = new Map(images.flatMap((image) => [...image.blobs]));
  const mediaType = docker ? mediaTypes.dockerIndex : mediaTypes.ociIndex;
  const index = { schemaVersion: 2, mediaType, manifests: images.map(({ descriptor }) => descriptor) };
  return { descriptor: add(blobs, mediaType, json(index)), blobs };
}

/** The files of a small system around the machine's static busybox: a shell and its commands, passwd, group, /tmp. */
export function busyboxFiles(): readonly TarEntry[] {
  const commands = execFileSync('busybox', ['--list'], { encoding: 'utf8' }).split('\n');
  return [
    ...['bin', 'dev', 'etc', 'proc', 'root', 'sys', 'usr', 'usr/bin', 'var'].map(directory),
    { ...directory('tmp'), mode: 0o1777 },
    { name: 'bin/busybox', content: readFileSync('/bin/busybox'), mode: 0o755 },
    ...commands
      .filter((name) => name !== '' && name !== 'busybox')
      .map((name): TarEntry => ({ name: `bin/${name}`, type: 'symlink', target: 'busybox' })),
    { name: 'etc/passwd', content: 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n' },
    { name: 'etc/group', content: 'root:x:0:\nnogroup:x:65534:\n' },
  ];
}

function directory(name: string): TarEntry {
  return { name: `${name}/`, type: 'directory' };
}

/** Busybox and, above it, as many small layers as asked for, each with a file `/layer-N`. */
export function busyboxImage({
  extraLayers = 0,
  ...options
}: Partial<ImageOptions> & { readonly extraLayers?: number } = {}): TestImage {
  const extra = Array.from({ length: extraLayers }, (_, at): TarEntry[] => [
    { name: `layer-${at + 1}`, content: `what layer ${at + 1} adds\n` },
  ]);
  return makeImage({
    config: { Cmd: ['sh'], Env: ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'] },
    ...options,
    layers: [busyboxFiles(), ...(options.layers ?? []), ...extra],
  });
}

/** Busybox for this machine, and as much as its name for two others. */
export function multiPlatformImage(options: { readonly docker?: boolean } = {}): TestImage {
  const others: Platform[] = [
    { os: 'linux', architecture: hostPlatform().architecture === 's390x' ? 'ppc64le' : 's390x' },
    { os: 'windows', architecture: 'amd64', 'os.version': '10.0.17763.1' },
  ];
  const stubs = others.map((platform) =>
    makeImage({ ...options, platform, layers: [[{ name: 'platform', content: JSON.stringify(platform) }]] }),
  );
  return makeIndex([...stubs, busyboxImage(options)], options);
}

/** The files of an OCI layout; `name` becomes its reference annotation. */
function layoutFiles({ descriptor, blobs }: TestImage, name: string | undefined): TarEntry[] {
  const annotations = name && { 'org.opencontainers.image.ref.name': name, 'io.containerd.image.name': name };
  const top = annotations ? { ...descriptor, annotations } : descriptor;
  return [
    { name: 'oci-layout', content: '{"imageLayoutVersion":"1.0.0"}' },
    { name: 'index.json', content: json({ schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests: [top] }) },
    directory('blobs'),
    directory('blobs/sha256'),
    ...[...blobs].map(([digest, content]): TarEntry => ({ name: `blobs/sha256/${hexOf(digest)}`, content })),
  ];
}

export function writeLayout(image: TestImage, folder: string, name?: string): void {
  for (const { name: file, type, content } of layoutFiles(image, name))
    if (type === 'directory') mkdirSync(join(folder, file), { recursive: true });
    else {
      mkdirSync(folder, { recursive: true });
      writeFileSync(join(folder, file), content ?? '');
    }
}

export function layoutTar(image: TestImage, name?: string): Buffer {
  return tar(layoutFiles(image, name));
}

/** What `docker save` of older engines wrote: plain layers beside a manifest.json. For uncompressed images. */
export function dockerArchive(options: Omit<ImageOptions, 'compression' | 'docker'>, names: readonly string[]): Buffer {
  const { blobs, descriptor } = makeImage({ ...options, compression: 'none' });
  const manifest = JSON.parse(blobs.get(descriptor.digest)!.toString()) as { config: Descriptor; layers: Descriptor[] };
  const config = `${hexOf(manifest.config.digest)}.json`;
  const layers = manifest.layers.map(({ digest }) => `${hexOf(digest).slice(0, 40)}/layer.tar`);
  return tar([
    { name: config, content: blobs.get(manifest.config.digest)! },
    ...manifest.layers.map(({ digest }, at): TarEntry => ({ name: layers[at]!, content: blobs.get(digest)! })),
    { name: 'manifest.json', content: json([{ Config: config, RepoTags: names, Layers: layers }]) },
  ]);
}

function compress(bytes: Buffer, compression: Compression): Buffer {
  if (compression === 'none') return bytes;
  return compression === 'gzip' ? gzipSync(bytes, { level: 1 }) : zstdCompressSync(bytes);
}

function json(value: unknown): Buffer {
  return Buffer.from(JSON.stringify(value));
}

function add(blobs: Map<Digest, Buffer>, mediaType: string, bytes: Buffer): Descriptor {
  const digest = digestOf(bytes);
  blobs.set(digest, bytes);
  return { mediaType, digest, size: bytes.length };
}
