import { closeSync, mkdirSync, rmdirSync } from 'node:fs';
import { join } from 'node:path';
import { codeOf, EngineError, messageOf } from '../base/errors.ts';
import type { MountCalls } from '../sys/mount.ts';
import { type IdMaps, userNamespace } from '../sys/user-namespace.ts';

/**
 * On the disk, who the engine is itself: without an ID of its own the kernel would refuse all that it makes in a mount with
 * mapped owners, the overlay's own working directory before all else. Nobody inside has it.
 */
const engineOnDisk = 0xfffffff0;

/** Namespaces that are kept for the next mount: making one is a process. */
const mostKept = 16;

/** A user namespace by whose maps owners are shown, held as long as somebody uses it. */
export interface HeldNamespace extends Disposable {
  readonly fd: number;
}

interface Kept {
  readonly made: Promise<number>;
  users: number;
}

/** User namespaces for mounts with mapped owners, one for each pair of maps. */
export class OwnerNamespaces implements Disposable {
  readonly #kept = new Map<string, Kept>();

  /** The IDs of the disk are those inside; outside is who looks. */
  async hold(owners: IdMaps): Promise<HeldNamespace> {
    const key = JSON.stringify([owners.uids, owners.gids]);
    const kept = this.#kept.get(key) ?? { made: userNamespace(withEngine(owners)), users: 0 };
    kept.users++;
    // The newest is last.
    this.#kept.delete(key);
    this.#kept.set(key, kept);
    try {
      const fd = await kept.made;
      return {
        fd,
        [Symbol.dispose]: () => {
          kept.users--;
          this.#forget();
        },
      };
    } catch (error) {
      if (this.#kept.get(key) === kept) this.#kept.delete(key);
      throw error;
    }
  }

  #forget(): void {
    for (const [key, { made, users }] of this.#kept) {
      if (this.#kept.size <= mostKept) return;
      if (users > 0) continue;
      this.#kept.delete(key);
      void made.then(closeSync, () => {});
    }
  }

  [Symbol.dispose](): void {
    for (const { made } of this.#kept.values()) void made.then(closeSync, () => {});
    this.#kept.clear();
  }
}

/** These maps, and the engine itself. */
export const withEngine = ({ uids, gids }: IdMaps): IdMaps => {
  const engine = { inside: engineOnDisk, outside: 0, count: 1 };
  return { uids: [...uids, engine], gids: [...gids, engine] };
};

/**
 * Runs `use` with paths at which these directories are seen with mapped owners; they are gone when it returns, and what was
 * mounted from them keeps its own. Throws `unsupported` where a file system cannot.
 */
export function withMappedOwners<T>(
  calls: MountCalls,
  { place, directories, namespace }: { place: string; directories: readonly string[]; namespace: number },
  use: (paths: readonly string[]) => T,
): T {
  mkdirSync(place, { mode: 0o700 });
  try {
    // One unmount takes all that is in it away.
    calls.mount({ source: 'berth', target: place, type: 'tmpfs', data: 'mode=700' });
    try {
      return use(
        directories.map((directory, i) => {
          const path = join(place, String(i));
          mkdirSync(path);
          const mount = cloneWithOwners(calls, directory, { recursive: false, namespace });
          try {
            calls.attach(mount, path);
          } finally {
            closeSync(mount);
          }
          return path;
        }),
      );
    } finally {
      calls.unmount(place, { detach: true });
    }
  } finally {
    rmdirSync(place);
  }
}

/** A mount of `path` that is attached nowhere, as a descriptor. Throws `unsupported` where a file system cannot. */
export function cloneWithOwners(
  calls: MountCalls,
  path: string,
  { recursive, namespace }: { readonly recursive: boolean; readonly namespace: number },
): number {
  const mount = calls.cloneDetached(path, { recursive });
  try {
    calls.mapOwners(mount, namespace, { recursive });
    return mount;
  } catch (error) {
    closeSync(mount);
    throw explained(error, path);
  }
}

function explained(cause: unknown, path: string): unknown {
  if (!['EINVAL', 'EPERM', 'ENOSYS'].includes(codeOf(cause) ?? '')) return cause;
  return new EngineError('unsupported', `owners of files in ${path} cannot be mapped: ${messageOf(cause)}`, {
    cause,
    hint: 'it needs Linux 5.19, and a file system that can: ext4, xfs, btrfs, or tmpfs from 6.3 on; or run the container without a user namespace: --userns host',
  });
}
