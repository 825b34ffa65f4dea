import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createReadStream } from 'node:fs';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { promisify } from 'node:util';
import { silentLog } from '../../src/base/log.ts';
import { FileContentStore } from '../../src/content/file-store.ts';
import { layoutOf, type MadeImage } from '../../src/images/fake-images.ts';
import { ImageStore } from '../../src/images/image-store.ts';
import { LayerApplier } from '../../src/layers/apply.ts';
import { hostPlatform } from '../../src/oci/platform.ts';
import { DiskLimits } from '../../src/quotas/disk-limits.ts';
import { HttpRegistry } from '../../src/remotes/http-registry.ts';
import { chooseSnapshotter } from '../../src/snapshots/probe.ts';
import type { Snapshotter } from '../../src/snapshots/snapshotter.ts';
import { SqliteDatabase } from '../../src/state/sqlite-database.ts';

const run = promisify(execFile);

export interface RealImages extends AsyncDisposable {
  readonly root: string;
  readonly images: ImageStore;
  readonly content: FileContentStore;
  readonly snapshots: Snapshotter;
}

/** An image store with real parts below `root`, which stays. */
export async function openImages(root: string, prefer: 'auto' | 'overlay' = 'auto'): Promise<RealImages> {
  await using opened = new AsyncDisposableStack();
  const log = silentLog;
  const content = new FileContentStore({ root: join(root, 'content'), log });
  const snapshots = opened.use(
    chooseSnapshotter({ root: join(root, 'snapshots'), log, limits: new DiskLimits(), prefer }),
  );
  await snapshots.recover(new Map());
  const applier = opened.use(new LayerApplier({ snapshotter: snapshots, limits: { reserveBytes: 0 } }));
  const database = opened.use(await SqliteDatabase.open({ path: join(root, 'engine.db') }));
  const config = { insecure: ['127.0.0.0/8'], mirrors: {}, certificates: join(root, 'certs.d') };
  const registry = opened.use(new HttpRegistry({ config, log }));
  const events = { emit: () => {}, history: () => [], listen: () => ({ [Symbol.dispose]: () => {} }), listeners: 0 };
  const images = await ImageStore.open({
    ...{ content, snapshots, applier, registry, database, events, log },
    limits: { downloads: 4, uploads: 5 },
    users: { usersOf: () => [] },
    platform: hostPlatform(),
  });
  const closing = opened.move();
  return { root, images, content, snapshots, [Symbol.asyncDispose]: () => closing.disposeAsync() };
}

export interface TempDir extends AsyncDisposable {
  readonly path: string;
}

export async function tempDir(): Promise<TempDir> {
  const path = await mkdtemp(join(tmpdir(), 'berth-images-'));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}

export interface RealRegistry extends AsyncDisposable {
  /** `127.0.0.1:port` */
  readonly host: string;
  push(image: MadeImage, name: string): Promise<void>;
}

/** Debian's docker-registry on loopback. */
export async function startRegistry(dir: string): Promise<RealRegistry> {
  const port = await freePort();
  const config = join(dir, 'registry.yml');
  await mkdir(join(dir, 'registry'), { recursive: true });
  await writeFile(
    config,
    `version: 0.1\nlog: {level: error}\nstorage: {filesystem: {rootdirectory: ${dir}/registry}}\nhttp: {addr: 127.0.0.1:${port}}\n`,
  );
  const server = spawn('docker-registry', ['serve', config], { stdio: 'ignore' });
  const host = `127.0.0.1:${port}`;
  for (let tries = 0; ; tries++) {
    const answer = await fetch(`http://${host}/v2/`).catch(() => undefined);
    if (answer?.ok) break;
    if (tries > 100) throw new Error('the registry does not start');
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return {
    host,
    push: async (image, name) => {
      const archive = join(dir, 'push.tar');
      await writeFile(archive, layoutOf(image));
      await run('skopeo', [
        ...['--insecure-policy', 'copy', '--all', '--preserve-digests', '--dest-tls-verify=false'],
        ...[`oci-archive:${archive}`, `docker://${host}/${name}`],
      ]);
    },
    [Symbol.asyncDispose]: async () => {
      const ended = once(server, 'exit');
      server.kill('SIGKILL');
      await ended;
    },
  };
}

export async function skopeo(...args: string[]): Promise<void> {
  await run('skopeo', ['--insecure-policy', ...args]);
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  if (typeof address !== 'object' || !address) throw new Error('no port');
  return address.port;
}

export function fileStream(path: string): Readable {
  return createReadStream(path);
}
