import { closeSync, openSync, readlinkSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { EngineError, messageOf } from '../base/errors.ts';
import { reap, socketPair, spawn } from './spawn.ts';

/** A line of uid_map or gid_map (user_namespaces(7)). */
export interface IdRange {
  /** In the namespace. */
  readonly inside: number;
  /** In the namespace that this process is in. */
  readonly outside: number;
  readonly count: number;
}

/** What uid_map and gid_map of a user namespace say. */
export interface IdMaps {
  readonly uids: readonly IdRange[];
  readonly gids: readonly IdRange[];
}

const longest = 10_000;

/**
 * A new user namespace with these maps, as a descriptor: the namespace is there as long as somebody holds one, or a mount
 * that was made with it. The process that makes it must be one of its own with a single thread, so that a program does it
 * (unshare(1)); it ends before this returns, and when the engine is killed. Throws `unavailable`.
 */
export async function userNamespace(maps: IdMaps): Promise<number> {
  const { user } = await makeNamespaces(['user'], { maps });
  return user;
}

/** The same, with a network namespace that belongs to it: only there may who is root in the one mount /sys. */
export function userNamespaceWithNetwork(maps: IdMaps): Promise<Readonly<Record<'user' | 'net', number>>> {
  return makeNamespaces(['user', 'net'], { maps });
}

/** A new network namespace that belongs to a user namespace that is there, by a file of it such as `/proc/7/ns/user`. */
export async function networkNamespaceWithin(user: string): Promise<number> {
  const { net } = await makeNamespaces(['net'], { within: user });
  return net;
}

async function makeNamespaces<T extends 'user' | 'net'>(
  types: readonly T[],
  { maps, within }: { readonly maps?: IdMaps; readonly within?: string },
): Promise<Readonly<Record<T, number>>> {
  const [ours, theirs] = socketPair();
  const enter = within === undefined ? [] : ['nsenter', `--user=${within}`];
  const argv = [...enter, 'unshare', ...types.map((type) => `--${type}`), '/bin/sh', '-c', 'read line <&3'];
  let pid: number;
  try {
    pid = spawn({ path: `/usr/bin/${argv[0]}`, argv, env: ['PATH=/usr/bin:/bin'], fds: [theirs] });
  } catch (cause) {
    closeSync(ours);
    throw failed(messageOf(cause), cause);
  } finally {
    closeSync(theirs);
  }
  let ended = false;
  const opened = new Map<T, number>();
  try {
    // With several it is all of them at once.
    const [last] = types;
    const own = readlinkSync(`/proc/self/ns/${last}`);
    for (const deadline = Date.now() + longest; readlinkSync(`/proc/${pid}/ns/${last}`) === own; await sleep(1)) {
      if (reap(pid) !== undefined) {
        ended = true;
        throw failed('the kernel allows none');
      }
      if (Date.now() > deadline) throw failed('it takes too long');
    }
    if (maps) {
      writeFileSync(`/proc/${pid}/uid_map`, mapText(maps.uids));
      writeFileSync(`/proc/${pid}/gid_map`, mapText(maps.gids));
    }
    for (const type of types) opened.set(type, openSync(`/proc/${pid}/ns/${type}`, 'r'));
    return Object.fromEntries(opened) as Record<T, number>;
  } catch (cause) {
    for (const fd of opened.values()) closeSync(fd);
    throw cause instanceof EngineError ? cause : failed(messageOf(cause), cause);
  } finally {
    closeSync(ours);
    while (!ended) {
      ended = reap(pid) !== undefined;
      if (!ended) await sleep(1);
    }
  }
}

const mapText = (ranges: readonly IdRange[]) =>
  ranges.map(({ inside, outside, count }) => `${inside} ${outside} ${count}\n`).join('');

const failed = (why: string, cause?: unknown) =>
  new EngineError('unavailable', `make a user namespace: ${why}`, {
    cause,
    hint: 'sysctl user.max_user_namespaces says how many there may be',
  });

/** What an ID inside is outside; undefined when it is nobody there. */
export function outsideOf(ranges: readonly IdRange[], id: number): number | undefined {
  const range = ranges.find(({ inside, count }) => id >= inside && id < inside + count);
  return range && range.outside + id - range.inside;
}

/** What an ID outside is inside; undefined when it is nobody there. */
export function insideOf(ranges: readonly IdRange[], id: number): number | undefined {
  const range = ranges.find(({ outside, count }) => id >= outside && id < outside + count);
  return range && range.inside + id - range.outside;
}

/** The last ID; (uid_t)-1 is none. */
const last = 0xfffffffe;

/**
 * All IDs as they are, but for these two, which change places: what belongs to `stored` on the disk is `seen`'s, and what
 * `seen` makes is stored as `stored`'s. Inside is the disk, outside is who looks (mount_setattr(2), MOUNT_ATTR_IDMAP).
 */
export function exchange(stored: number, seen: number): readonly IdRange[] {
  if (stored === seen) return [{ inside: 0, outside: 0, count: last + 1 }];
  const [low, high] = stored < seen ? [stored, seen] : [seen, stored];
  return [
    { inside: 0, outside: 0, count: low },
    { inside: low, outside: high, count: 1 },
    { inside: low + 1, outside: low + 1, count: high - low - 1 },
    { inside: high, outside: low, count: 1 },
    { inside: high + 1, outside: high + 1, count: last - high },
  ].filter(({ count }) => count > 0);
}

/**
 * The same for who looks from a user namespace with these ranges: whoever has an ID in it sees what has that ID on the disk,
 * but for the two that change places.
 */
export function exchangeWithin(ranges: readonly IdRange[], stored: number, seen: number): readonly IdRange[] {
  return exchange(stored, seen).flatMap((range) =>
    ranges.flatMap(({ inside, outside, count }) => {
      // Of the container's IDs, those that are in both.
      const first = Math.max(range.outside, inside);
      const end = Math.min(range.outside + range.count, inside + count);
      if (first >= end) return [];
      return [{ inside: range.inside + first - range.outside, outside: outside + first - inside, count: end - first }];
    }),
  );
}
