/** All rooms of the engine composed in this process on folders of their own, for tests that drive rooms without the API. */
import { execFileSync } from 'node:child_process';
import { createReadStream, existsSync, mkdtempSync, readdirSync, rmdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createLog } from '../../src/base/log.ts';
import { readConfig } from '../../src/daemon/config.ts';
import { openEngine } from '../../src/daemon/engine.ts';
import type { CreateRequest } from '../../src/protocol/container.ts';
import { readCreateRequest } from '../../src/protocol/create-request.ts';
import { check, libc } from '../../src/sys/libc.ts';
import { busyboxArchive, type ImageOptions } from './busybox-image.ts';

const CLONE_NEWNET = 0x40000000;

/** Bridge, rules and ports are then nobody else's: this process, and what it starts, gets a network of its own. */
export function ownNetwork(): void {
  check('unshare', 'CLONE_NEWNET', libc().func('int unshare(int)')(CLONE_NEWNET));
  execFileSync('ip', ['link', 'set', 'lo', 'up']);
}

export interface ComposedOptions {
  /** Of another process, which was killed; made anew where nothing is said. */
  readonly places?: Places;
  readonly runtime?: string;
  readonly snapshotter?: string;
}

export interface Places {
  readonly base: string;
  /** On a tmpfs, as /run is. */
  readonly runDir: string;
  /** Below the root of the cgroup tree. */
  readonly cgroup: string;
}

export function newPlaces(): Places {
  return {
    base: mkdtempSync(join(tmpdir(), 'berth-rooms-')),
    runDir: mkdtempSync('/dev/shm/berth-rooms-'),
    cgroup: `berth-test-${process.pid}`,
  };
}

export class Composed implements AsyncDisposable {
  readonly base: string;
  readonly runDir: string;
  readonly cgroup: string;
  readonly lines: string[] = [];
  readonly #options: ComposedOptions;
  engine!: Awaited<ReturnType<typeof openEngine>>;

  private constructor(options: ComposedOptions) {
    this.#options = options;
    ({ base: this.base, runDir: this.runDir, cgroup: this.cgroup } = options.places ?? newPlaces());
  }

  static async open(options: ComposedOptions = {}): Promise<Composed> {
    const composed = new Composed(options);
    await composed.start();
    return composed;
  }

  get containers() {
    return this.engine.containers;
  }

  /** On the same folders as before. */
  async start(): Promise<void> {
    const { runtime = '', snapshotter = 'auto' } = this.#options;
    const flags = {
      root: join(this.base, 'root'),
      runDir: this.runDir,
      cgroupParent: `/${this.cgroup}`,
      defaultRuntime: runtime,
      snapshotter,
    };
    const config = readConfig({ file: undefined, env: {}, flags });
    const log = createLog({ level: 'debug', format: 'text', write: (line) => void this.lines.push(line) });
    this.engine = await openEngine(config, log);
  }

  /** Closes the rooms; containers run on. */
  async stop(): Promise<void> {
    await this.engine[Symbol.asyncDispose]();
  }

  async load(options: ImageOptions): Promise<void> {
    const archive = createReadStream(busyboxArchive(options));
    for await (const _ of this.engine.images.load(archive, { quiet: true }));
  }

  /** What the API would make of this body. */
  request(body: Readonly<Record<string, unknown>>): CreateRequest {
    return readCreateRequest({ Image: 'bb:latest', ...body }, 1051);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { id } of this.containers.list())
      await this.containers.remove(id, { force: true, volumes: true, link: false }).catch(() => {});
    await this.containers.idle();
    await this.stop();
    for (const tree of readdirSync('/sys/fs/cgroup')) {
      const path = join('/sys/fs/cgroup', tree, this.cgroup);
      if (existsSync(path)) rmdirSync(path);
    }
    for (const path of [this.base, this.runDir])
      rmSync(path, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
  }
}
