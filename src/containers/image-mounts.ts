import { mkdirSync, readdirSync, rmdirSync } from 'node:fs';
import { join } from 'node:path';
import { codeOf } from '../base/errors.ts';
import type { Digest } from '../oci/digest.ts';
import type { ContainerRecord, HeldMount } from './record.ts';
import type { Room } from './room.ts';
import { shownOf } from './user-namespaces.ts';

/**
 * The image that a container has at a target (Engine API 1.48, mounts of type `image`). Its layers are held by a snapshot
 * of the container's own, so that neither a removal by force nor a restart of the engine takes them away.
 */
export interface MountedImage {
  readonly id: Digest;
  readonly manifest: Digest;
  readonly layers: readonly Digest[];
  /** The key of the snapshot. */
  readonly snapshot: string;
}

/** Whose the snapshot is can be read from its key: what a crash leaves is found by it. */
export const imageSnapshot = (id: string, number: number) => `${id}.image${number}`;

/** The container that a snapshot belongs to. */
export const ownerOfSnapshot = (key: string) => key.replace(/\.image\d+$/, '');

/** Where it is mounted while the container runs, from where the runtime binds it. */
export const imageMountPoint = (room: Room, id: string, snapshot: string) => join(directory(room, id), snapshot);

const directory = (room: Room, id: string) => join(room.bundle(id), 'images');

export function imagesOf({ own }: Pick<ContainerRecord, 'own'>): readonly MountedImage[] {
  return own.mounts.flatMap(({ image }: HeldMount) => (image ? [image] : []));
}

export async function mountImages(room: Room, container: ContainerRecord): Promise<void> {
  const { id, own } = container;
  for (const { snapshot } of imagesOf({ own })) {
    const target = imageMountPoint(room, id, snapshot);
    mkdirSync(target, { recursive: true, mode: 0o700 });
    await room.deps.snapshots.mount(snapshot, target, shownOf(container));
  }
}

/** Of a container that has ended, of which there may be no record any more. What stays mounted makes the removal fail. */
export async function unmountImages(room: Room, id: string): Promise<void> {
  let keys: readonly string[];
  try {
    keys = readdirSync(directory(room, id));
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return;
    throw error;
  }
  for (const key of keys) {
    const target = join(directory(room, id), key);
    await room.deps.snapshots.unmount(key, target);
    rmdirSync(target);
  }
  rmdirSync(directory(room, id));
}

/** All snapshots of a container, its own included. */
export async function removeSnapshots({ deps }: Room, id: string): Promise<void> {
  for (const key of deps.snapshots.snapshots())
    if (key !== id && ownerOfSnapshot(key) === id) await deps.snapshots.remove(key);
  await deps.snapshots.remove(id);
}
