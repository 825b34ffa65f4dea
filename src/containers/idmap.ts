import { closeSync, readFileSync, statSync } from 'node:fs';
import { codeOf, EngineError } from '../base/errors.ts';
import { withEngine } from '../snapshots/mapped-owners.ts';
import { MountCalls, parseMountInfo } from '../sys/mount.ts';
import { exchange, exchangeWithin, type IdMaps, userNamespace } from '../sys/user-namespace.ts';
import type { Room } from './room.ts';
import { newMountPoint } from './subpaths.ts';

interface MappedSource {
  readonly source: string;
  /** With what is mounted below it. */
  readonly recursive: boolean;
  /** Whom the files belong to in the container. */
  readonly user: { readonly uid: number; readonly gid: number };
  /** The container's own user namespace. */
  readonly owners: IdMaps | undefined;
}

/**
 * `-v SRC:DST:idmap`: whoever owns the source on the host, and the container's user, change places. What belongs to the
 * one is the other's in the container, and what the container's user makes belongs to the source's owner on the host;
 * everybody else stays who they are. A mount that is attached nowhere, as a descriptor. Throws `unsupported` where the
 * file system cannot.
 */
export async function openWithOwners({ source, recursive, user, owners }: MappedSource): Promise<number> {
  const calls = new MountCalls();
  const { uid, gid } = statSync(source);
  const maps = owners
    ? withEngine({
        uids: exchangeWithin(owners.uids, uid, user.uid),
        gids: exchangeWithin(owners.gids, gid, user.gid),
      })
    : { uids: exchange(uid, user.uid), gids: exchange(gid, user.gid) };
  const namespace = await userNamespace(maps);
  try {
    const mount = calls.cloneDetached(source, { recursive });
    try {
      calls.mapOwners(mount, namespace, { recursive });
      return mount;
    } catch (cause) {
      closeSync(mount);
      throw explained(source, recursive, cause);
    }
  } finally {
    closeSync(namespace);
  }
}

/** The same at a place in the bundle, from where the runtime mounts it. */
export async function mountWithOwners(room: Room, id: string, mapped: MappedSource): Promise<string> {
  const mount = await openWithOwners(mapped);
  try {
    const target = newMountPoint(room, id, statSync(mapped.source).isDirectory());
    new MountCalls().attach(mount, target);
    return target;
  } finally {
    closeSync(mount);
  }
}

function explained(source: string, recursive: boolean, cause: unknown): unknown {
  const code = codeOf(cause);
  const failed = (why: string, hint: string) =>
    new EngineError('unsupported', `mount ${source} with mapped owners (idmap): ${why}`, { cause, hint });
  if (code === 'ENOSYS') return failed('the kernel cannot; it needs Linux 5.12', 'mount it without idmap');
  if (code !== 'EINVAL' && code !== 'EPERM') return cause;
  const holding = parseMountInfo(readFileSync('/proc/self/mountinfo', 'utf8'));
  const within = (path: string, above: string) => path === above || path.startsWith(above === '/' ? '/' : `${above}/`);
  const type = holding
    .filter(({ target }) => within(source, target))
    .reduce<{ readonly target: string; readonly type: string } | undefined>(
      (best, one) => (best && best.target.length > one.target.length ? best : one),
      undefined,
    )?.type;
  const below = recursive && holding.some(({ target }) => target !== source && within(target, source));
  return failed(
    `its file system (${type ?? 'unknown'})${below ? ', or one that is mounted below it,' : ''} cannot, or has them mapped already`,
    'ext4, xfs, btrfs and tmpfs can; elsewhere mount it without idmap, and run the container as the owner: --user',
  );
}
