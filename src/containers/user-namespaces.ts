import { chmodSync, chownSync, closeSync, realpathSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { EngineError } from '../base/errors.ts';
import type { HostConfig } from '../protocol/container.ts';
import type { MountOptions } from '../snapshots/snapshotter.ts';
import { MountCalls, mountFlags } from '../sys/mount.ts';
import { readSubordinate, type SubordinateRange, subordinateFiles } from '../sys/subordinate-ids.ts';
import {
  type IdMaps,
  type IdRange,
  networkNamespaceWithin,
  outsideOf,
  userNamespaceWithNetwork,
} from '../sys/user-namespace.ts';
import type { ContainerRecord } from './record.ts';
import type { Room } from './room.ts';
import { newMountPoint } from './subpaths.ts';

/** IDs of a container with `--userns auto`. */
const rangeSize = 65_536;
/** The user whose ranges in /etc/subuid and /etc/subgid they are taken from. */
const rangesUser = 'berth';
/** Where that user has none: what systemd leaves to nobody (systemd's UIDS-GIDS), 0x70000000 to 0x7fffffff. */
const unusedIds = { first: 0x70000000, count: 0x10000000 };

const invalid = (message: string, hint?: string) => new EngineError('invalid', message, hint ? { hint } : {});

/**
 * The user namespace of a container that is made: undefined is the host's. Throws `invalid`, in Docker's words where it has
 * some, for what cannot be done in one. Reserved by `room.mapped` until there is a record.
 */
export function ownersOf(room: Room, hostConfig: HostConfig): IdMaps | undefined {
  const { remap } = room.deps.config;
  const { UsernsMode: mode } = hostConfig;
  if (mode === 'host' || (mode !== 'auto' && !remap)) return undefined;
  if (hostConfig.Privileged)
    throw invalid(
      'privileged mode is incompatible with user namespaces.  You must run the container in the host namespace when running privileged mode',
      'add --userns host',
    );
  if (hostConfig.NetworkMode === 'host')
    throw invalid(
      "cannot share the host's network namespace when user namespaces are enabled",
      'add --userns host, or leave out --network host',
    );
  if (hostConfig.PidMode === 'host')
    throw invalid(
      'cannot share the host PID namespace when user namespaces are enabled',
      'add --userns host, or leave out --pid host',
    );
  // Docker lets it be made, and no runtime can start it: the kernel gives /dev/mqueue only to who owns the IPC namespace.
  if (hostConfig.IpcMode === 'host')
    throw invalid(
      "cannot share the host's IPC namespace when user namespaces are enabled",
      'add --userns host, or leave out --ipc host',
    );
  checkPassable(room.deps.runDir);
  const [donor] = donorsOf(room, hostConfig);
  const owners = mode === 'auto' ? (donor?.own.owners ?? freeOwners(room)) : remap!;
  checkDonors(room, hostConfig, owners);
  return owners;
}

/** Who shares a namespace with another must be in the user namespace that it belongs to. Throws `invalid`. */
function checkDonors(room: Room, hostConfig: HostConfig, owners: IdMaps): void {
  for (const other of donorsOf(room, hostConfig))
    if (!sameMaps(other.own.owners, owners))
      throw invalid(
        `cannot share a namespace of container ${other.name}: it has ${other.own.owners ? 'other IDs of the host' : "the host's user namespace"}`,
        other.own.owners ? 'run this one with --userns auto' : 'run this one with --userns host',
      );
}

/** Root of a container must come through to its bundle, as whoever it is on the host. Throws `unavailable`. */
function checkPassable(directory: string): void {
  const closed = closedAbove(directory);
  if (closed !== undefined)
    throw new EngineError(
      'unavailable',
      `a container in a user namespace cannot reach ${directory}: ${closed} lets nobody else through`,
      { hint: `chmod o+x ${closed}, or another runDir` },
    );
}

/** The first directory on the way, itself included, that only some pass through. */
function closedAbove(directory: string): string | undefined {
  for (let at = directory; ; at = dirname(at)) {
    if ((statSync(at).mode & 0o001) === 0) return at;
    if (at === '/') return undefined;
  }
}

/** How its files are shown, in its own IDs. */
export function shownOf({ mountLabel, own }: Pick<ContainerRecord, 'mountLabel' | 'own'>): MountOptions {
  return { label: mountLabel, owners: own.owners };
}

/** Who is root in the container, on the host. */
export function rootOutside(owners: IdMaps | undefined): { readonly uid: number; readonly gid: number } {
  return { uid: outsideOf(owners?.uids ?? [], 0) ?? 0, gid: outsideOf(owners?.gids ?? [], 0) ?? 0 };
}

/** The containers whose namespaces it joins; one that is not there is refused by name where it is joined. */
function donorsOf({ store }: Room, { NetworkMode, PidMode, IpcMode }: HostConfig): readonly ContainerRecord[] {
  return [NetworkMode, PidMode, IpcMode].flatMap((mode) => {
    if (!mode.startsWith('container:')) return [];
    try {
      return [store.get(mode.slice('container:'.length))];
    } catch {
      return [];
    }
  });
}

const sameMaps = (one: IdMaps | undefined, other: IdMaps | undefined) => JSON.stringify(one) === JSON.stringify(other);

function freeOwners({ store, mapped, deps }: Room): IdMaps {
  const known = [...store.list().map(({ own }) => own.owners), ...mapped.values(), deps.config.remap];
  const find = (kind: 'uids' | 'gids') => {
    const used = known.flatMap((owners) => owners?.[kind] ?? []);
    const first = freeRange(readSubordinate(subordinateFiles[kind]), used);
    if (first === undefined)
      throw new EngineError('unavailable', `no ${rangeSize} IDs are free for another user namespace`, {
        hint: `remove containers, or give the user ${rangesUser} more in ${subordinateFiles[kind]}`,
      });
    return [{ inside: 0, outside: first, count: rangeSize }];
  };
  return { uids: find('uids'), gids: find('gids') };
}

/** The first ID of a range that nobody has: of the user's own ranges, or of what is nobody's. Undefined when all are taken. */
export function freeRange(entries: readonly SubordinateRange[], used: readonly IdRange[]): number | undefined {
  const own = entries.filter(({ user }) => user === rangesUser);
  const others = own.length > 0 ? [] : entries;
  const taken = [...used.map(({ outside: first, count }) => ({ first, count })), ...others].sort(
    (a, b) => a.first - b.first,
  );
  for (const { first, count } of own.length > 0 ? own : [unusedIds]) {
    let at = first;
    for (const one of taken) {
      if (one.first + one.count <= at) continue;
      if (one.first >= at + rangeSize) break;
      at = one.first + one.count;
    }
    if (at + rangeSize <= first + count) return at;
  }
  return undefined;
}

/** The namespaces that a container is started in: files, as long as it is not disposed. */
export interface UserNamespace extends Disposable {
  readonly user: string;
  /** A network namespace that belongs to it; undefined where it joins another container's. */
  readonly network: string | undefined;
}

/**
 * A new one, or that of the containers whose namespaces it joins: what they have belongs to theirs. The runtime may come
 * through the bundle's directory as whoever is root in there.
 */
export async function openUserNamespace(
  room: Room,
  { id, hostConfig, own }: ContainerRecord,
): Promise<UserNamespace | undefined> {
  const { owners } = own;
  if (!owners) return undefined;
  const { gid } = rootOutside(owners);
  chownSync(room.bundle(id), 0, gid);
  chmodSync(room.bundle(id), 0o710);
  // It may be another that has the name by now.
  checkDonors(room, hostConfig, owners);
  const [donor] = donorsOf(room, hostConfig).flatMap((other) => room.live.get(other.id) ?? []);
  if (donor) {
    const user = `/proc/${donor.task.pid}/ns/user`;
    if (hostConfig.NetworkMode.startsWith('container:'))
      return { user, network: undefined, [Symbol.dispose]: () => {} };
    const net = await networkNamespaceWithin(user);
    return { user, network: `/proc/self/fd/${net}`, [Symbol.dispose]: () => closeSync(net) };
  }
  const { user, net } = await userNamespaceWithNetwork(owners);
  try {
    const at = newMountPoint(room, id, false);
    new MountCalls().mount({ source: `/proc/self/fd/${user}`, target: at, flags: mountFlags.MS_BIND });
    return { user: at, network: `/proc/self/fd/${net}`, [Symbol.dispose]: () => closeSync(net) };
  } catch (error) {
    closeSync(net);
    throw error;
  } finally {
    closeSync(user);
  }
}

interface Bound {
  readonly source: string;
  readonly recursive: boolean;
  /** Its files have the container's IDs on the disk. */
  readonly owners: IdMaps | undefined;
  /** What is mounted there later is to be seen. */
  readonly propagated: boolean;
}

/**
 * From where the runtime mounts a source as root of the container: from the source itself, or from a mount of it in the
 * bundle, when owners are to be mapped or root of the container is not let through to it.
 */
export async function sourceInUserNamespace(
  room: Room,
  id: string,
  { source, recursive, owners, propagated }: Bound,
): Promise<string> {
  if (!owners && closedAbove(dirname(realpathSync(source))) === undefined) return source;
  const calls = new MountCalls();
  const mount = owners
    ? await room.deps.snapshots.mapOwners(source, { recursive, owners })
    : calls.cloneDetached(source, { recursive });
  try {
    // Else the mounts of the bundle that are made next would be seen in it, and it in itself.
    if (!propagated) calls.makePrivate(mount, { recursive });
    const target = newMountPoint(room, id, statSync(source).isDirectory());
    calls.attach(mount, target);
    return target;
  } finally {
    closeSync(mount);
  }
}
