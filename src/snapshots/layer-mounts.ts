import { mkdirSync, readdirSync, rmdirSync } from 'node:fs';
import { rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import { codeOf, EngineError, messageOf } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import type { Digest } from '../oci/digest.ts';
import type { MountCalls } from '../sys/mount.ts';
import { layerFlags } from './overlay-mount.ts';
import { currentMounts } from './private-root.ts';

interface LayerMount {
  readonly diffId: Digest;
  readonly path: string;
  users: number;
  timer: NodeJS.Timeout | undefined;
}

export interface LayerMountsDeps {
  /** Where the mount points are made: each mount has one of its own, so that unmounting late cannot hit a newer one. */
  readonly root: string;
  readonly calls: MountCalls;
  readonly log: Log;
  readonly directoryOf: (diffId: Digest) => string;
  /** Whether to read past the page cache of the tar; asked at each mount. */
  readonly directIo: (diffId: Digest) => boolean;
  /** How long an unused mount stays, so that runs in a row make only the overlay's. */
  readonly lingerMs: number;
}

/**
 * The EROFS mounts of layers, one for each layer that is in use. Each mount is a file system of its own to the kernel:
 * sharing it is what shares the page cache between containers.
 */
export class LayerMounts {
  readonly #deps: LayerMountsDeps;
  readonly #mounts = new Map<Digest, LayerMount>();
  readonly #leaving = new Set<Promise<void>>();
  #next = 0;

  constructor(deps: LayerMountsDeps) {
    this.#deps = deps;
  }

  /** Synchronous, so that two calls cannot both mount: 0.3 ms when it is not mounted yet, nothing when it is. */
  acquire(diffId: Digest): string {
    const mount = this.#mounts.get(diffId) ?? this.#mount(diffId);
    clearTimeout(mount.timer);
    mount.timer = undefined;
    mount.users++;
    return mount.path;
  }

  release(diffId: Digest): void {
    const mount = this.#mounts.get(diffId);
    if (!mount || --mount.users > 0) return;
    mount.timer = setTimeout(() => void this.#unmount(mount), this.#deps.lingerMs);
    mount.timer.unref();
  }

  /** Unmounts a layer that nobody uses, now. */
  async drop(diffId: Digest): Promise<void> {
    const mount = this.#mounts.get(diffId);
    if (mount && mount.users === 0) await this.#unmount(mount);
    await Promise.all(this.#leaving);
  }

  /** After a restart: takes over the mounts of layers that are in use, and unmounts the others. */
  async recover(used: ReadonlySet<Digest>): Promise<void> {
    const layerOf = new Map([...used].map((diffId) => [`${this.#deps.directoryOf(diffId)}/layer.erofs`, diffId]));
    const found = currentMounts().filter((mount) => mount.target.startsWith(`${this.#deps.root}/`));
    const kept = new Set<string>();
    for (const { target, source } of found) {
      const diffId = layerOf.get(source);
      if (diffId && !this.#mounts.has(diffId)) {
        this.#mounts.set(diffId, { diffId, path: target, users: 0, timer: undefined });
        kept.add(target);
      } else if (![...this.#mounts.values()].some((mount) => mount.path === target)) {
        await this.#deps.calls.unmountLater(target, { detach: true });
      } else kept.add(target);
    }
    for (const mount of this.#mounts.values()) kept.add(mount.path);
    for (const name of readdirSync(this.#deps.root)) {
      const path = join(this.#deps.root, name);
      if (!kept.has(path)) rmdirSync(path);
      const number = Number(name);
      if (Number.isSafeInteger(number)) this.#next = Math.max(this.#next, number + 1);
    }
  }

  /** Unmounts what is not in use. What is stays: running containers have it. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const mount of [...this.#mounts.values()]) {
      clearTimeout(mount.timer);
      if (mount.users === 0) await this.#unmount(mount);
    }
    await Promise.all(this.#leaving);
  }

  #mount(diffId: Digest): LayerMount {
    const { calls, directoryOf, directIo } = this.#deps;
    const directory = directoryOf(diffId);
    const path = this.#newMountPoint();
    try {
      const source = `${directory}/layer.erofs`;
      const options = [
        ['source', source],
        ['device', `${directory}/layer.tar`],
        ['ro', true],
      ] as const;
      calls.mountNew({
        type: 'erofs',
        target: path,
        options: directIo(diffId) ? [...options, ['directio', true]] : options,
        flags: layerFlags,
      });
    } catch (error) {
      rmdirSync(path);
      throw new EngineError('corrupt', `mount layer ${diffId}: ${messageOf(error)}`, { cause: error });
    }
    const mount = { diffId, path, users: 0, timer: undefined };
    this.#mounts.set(diffId, mount);
    return mount;
  }

  #newMountPoint(): string {
    for (;;) {
      const path = join(this.#deps.root, String(this.#next++));
      try {
        mkdirSync(path, { mode: 0o700 });
        return path;
      } catch (error) {
        if (codeOf(error) !== 'EEXIST') throw error;
      }
    }
  }

  #unmount(mount: LayerMount): Promise<void> {
    clearTimeout(mount.timer);
    if (this.#mounts.get(mount.diffId) !== mount) return Promise.resolve();
    this.#mounts.delete(mount.diffId);
    const leaving = this.#deps.calls
      .unmountLater(mount.path, { detach: true })
      .then(() => rmdir(mount.path))
      .catch((error: unknown) => this.#deps.log.error('a layer could not be unmounted', { path: mount.path, error }))
      .finally(() => this.#leaving.delete(leaving));
    this.#leaving.add(leaving);
    return leaving;
  }
}
