import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { EngineError, messageOf } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import type { DiskLimits } from '../quotas/disk-limits.ts';
import { MountCalls } from '../sys/mount.ts';
import { ErofsSnapshotter } from './erofs-snapshotter.ts';
import { detachedOverlay, layerFlags, mountOverlay, mountOverlayByDescriptors } from './overlay-mount.ts';
import { OverlaySnapshotter } from './overlay-snapshotter.ts';
import type { Snapshotter } from './snapshotter.ts';

export interface ChooseSnapshotterDeps {
  readonly root: string;
  /** What lies below every container's image (foundation.ts); undefined: nothing. */
  readonly foundation?: string;
  readonly log: Log;
  readonly limits: DiskLimits;
  /** From the configuration. `auto` takes EROFS where the kernel mounts it. */
  readonly prefer: 'auto' | 'erofs' | 'overlay';
}

export interface StorageSupport {
  /** False with the reason; `direct` where file data goes past the page cache of the tar. */
  readonly erofs: { readonly works: true; readonly direct: boolean } | { readonly works: false; readonly why: string };
  readonly overlay:
    | { readonly works: true; readonly lowerdirPlus: boolean }
    | { readonly works: false; readonly why: string };
}

/** Tries real mounts on the data root's own file system: a kernel version says less than a mount that works. */
export function probeStorage(root: string): StorageSupport {
  mkdirSync(root, { recursive: true, mode: 0o700 });
  const calls = new MountCalls();
  const directory = mkdtempSync(join(root, 'probe.'));
  try {
    return { erofs: probeErofs(calls, directory), overlay: probeOverlay(calls, directory) };
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/** The snapshotter for this machine. Throws `unsupported` when none works, or when the one that was asked for does not. */
export function chooseSnapshotter({ root, foundation, log, limits, prefer }: ChooseSnapshotterDeps): Snapshotter {
  const { erofs, overlay } = probeStorage(root);
  if (!overlay.works) {
    throw new EngineError('unsupported', `overlay does not work on ${root}: ${overlay.why}`, {
      hint: 'put the data root on a local ext4 or xfs file system, and run the engine as root',
    });
  }
  const deps = {
    root,
    foundation,
    log,
    limits,
    calls: new MountCalls(),
    mountOverlay: overlay.lowerdirPlus ? mountOverlay : mountOverlayByDescriptors,
    detachedOverlay: overlay.lowerdirPlus ? detachedOverlay : undefined,
  };
  if (prefer !== 'overlay' && erofs.works) return new ErofsSnapshotter({ ...deps, directIo: erofs.direct });
  if (prefer === 'erofs' && !erofs.works) {
    throw new EngineError('unsupported', `EROFS cannot be mounted from files on ${root}: ${erofs.why}`, {
      hint: 'it needs Linux 6.12; configure the overlay snapshotter, or leave the choice to Berth',
    });
  }
  if (!erofs.works) log.info('layers are unpacked into directories', { because: erofs.why });
  return new OverlaySnapshotter(deps);
}

function probeErofs(calls: MountCalls, directory: string): StorageSupport['erofs'] {
  const target = join(directory, 'erofs');
  const tar = join(directory, 'empty.tar');
  const index = join(directory, 'empty.erofs');
  mkdirSync(target);
  writeFileSync(tar, Buffer.alloc(1024));
  writeFileSync(index, emptyIndex());
  const attempt = (direct: boolean) => {
    const options = [
      ['source', index],
      ['device', tar],
      ['ro', true],
    ] as const;
    calls.mountNew({
      type: 'erofs',
      target,
      options: direct ? [...options, ['directio', true]] : options,
      flags: layerFlags,
    });
    calls.unmount(target, { detach: true });
  };
  try {
    attempt(true);
    return { works: true, direct: true };
  } catch {
    try {
      attempt(false);
      return { works: true, direct: false };
    } catch (error) {
      return { works: false, why: messageOf(error) };
    }
  }
}

function probeOverlay(calls: MountCalls, directory: string): StorageSupport['overlay'] {
  const [lower, upper, work, target] = ['lower', 'upper', 'work', 'merged'].map((name) => {
    mkdirSync(join(directory, name));
    return join(directory, name);
  }) as [string, string, string, string];
  let why: unknown;
  for (const [lowerdirPlus, mount] of [
    [true, mountOverlay],
    [false, mountOverlayByDescriptors],
  ] as const) {
    try {
      mount(calls, { lower: [lower], upper, work, target });
      calls.unmount(target, { detach: true });
      return { works: true, lowerdirPlus };
    } catch (error) {
      why = error;
    }
  }
  return { works: false, why: messageOf(why) };
}

/** An EROFS file system over a tar, as `layers/` builds them, that holds an empty directory. */
function emptyIndex(): Buffer {
  const index = Buffer.alloc(2048);
  const superblock = index.subarray(1024);
  superblock.writeUInt32LE(0xe0f5e1e2);
  superblock[12] = 9;
  superblock.writeUInt16LE(1280 / 32, 14);
  superblock.writeUInt32LE(1, 16);
  superblock.writeUInt32LE(4, 36);
  superblock.writeUInt32LE(0xc, 80);
  superblock.writeUInt16LE(1, 86);
  superblock.writeUInt16LE(9, 88);
  index.writeUInt32LE(2, 1152 + 64);
  const inode = index.subarray(1280);
  inode.writeUInt16LE(1);
  inode.writeUInt16LE(0o040755, 4);
  inode.writeUInt32LE(512, 8);
  inode.writeUInt32LE(3, 16);
  inode.writeUInt32LE(2, 44);
  const entries = index.subarray(1536);
  for (const [i, name] of ['.', '..'].entries()) {
    entries.writeUInt32LE(1280 / 32, i * 12);
    entries.writeUInt16LE(24 + i, i * 12 + 8);
    entries[i * 12 + 10] = 2;
    entries.write(name, 24 + i);
  }
  return index;
}
