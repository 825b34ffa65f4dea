import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs';
import { codeOf, EngineError } from '../../base/errors.ts';
import { openat2, resolve } from '../../sys/openat2.ts';
import type { SpecUser } from './input.ts';

/** Who a process is, and its home directory (`/` when the image does not say). */
export interface ResolvedUser extends SpecUser {
  readonly home: string;
}

/** Larger files are not read: an image's /etc/group could otherwise fill the engine's memory (CVE-2026-47262). */
const mostBytes = 1024 * 1024;
/** (uid_t)-1 means "leave it" to the kernel, so the last valid one is before it. */
const mostId = 0xfffffffe;

/**
 * Resolves `USER` (`name`, `uid`, `name:group`, `uid:gid`, '' is root) and `--group-add` by the container's own files.
 * `root` is the mounted root, as a path or a descriptor of its directory. Throws `invalid` in Docker's words.
 */
export function resolveUser(root: string | number, user: string, groupAdd: readonly string[] = []): ResolvedUser {
  const directory = typeof root === 'string' ? openSync(root, constants.O_DIRECTORY | constants.O_RDONLY) : root;
  try {
    const read = (path: string) => readInside(directory, path);
    return findUser({ user, groupAdd, passwd: read('etc/passwd'), group: read('etc/group') });
  } finally {
    if (typeof root === 'string') closeSync(directory);
  }
}

/**
 * A file of the container as text, '' when it is not there. Links are followed as the container would see them, never out
 * of its root and not through /proc (S17). What it is, is known before it is opened: opening a device has effects.
 */
function readInside(directory: number, path: string): string {
  const refused = (fact: string, cause?: unknown) =>
    new EngineError('invalid', `read /${path} of the container: ${fact}`, { cause });
  let handle: number;
  try {
    handle = openat2(directory, path, { flags: pathOnly, resolve: resolve.inRoot | resolve.noMagicLinks });
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes(codeOf(error) ?? '')) return '';
    throw refused(codeOf(error) ?? 'unreadable', error);
  }
  try {
    const facts = fstatSync(handle);
    if (!facts.isFile()) throw refused('not a regular file');
    if (facts.size > mostBytes) throw refused(`larger than ${mostBytes} bytes`);
    const fd = openSync(`/proc/self/fd/${handle}`, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
    try {
      return readAtMost(fd, mostBytes, () => refused(`larger than ${mostBytes} bytes`));
    } finally {
      closeSync(fd);
    }
  } finally {
    closeSync(handle);
  }
}

/** O_PATH of asm-generic/fcntl.h. */
const pathOnly = 0o10000000;

/** The size is the file's word; what is read is counted. */
function readAtMost(fd: number, most: number, tooLarge: () => Error): string {
  const chunks: Buffer[] = [];
  for (let total = 0; ; ) {
    const chunk = Buffer.alloc(16 * 1024);
    const count = readSync(fd, chunk, 0, chunk.length, null);
    if (count === 0) return Buffer.concat(chunks).toString('utf8');
    total += count;
    if (total > most) throw tooLarge();
    chunks.push(chunk.subarray(0, count));
  }
}

/** The pure part: `passwd` and `group` are the files' contents. */
export function findUser({
  user,
  groupAdd,
  passwd,
  group,
}: {
  readonly user: string;
  readonly groupAdd: readonly string[];
  readonly passwd: string;
  readonly group: string;
}): ResolvedUser {
  const at = user.indexOf(':');
  const [wanted, wantedGroup] = at === -1 ? [user, ''] : [user.slice(0, at), user.slice(at + 1)];
  const wantedUid = numeric(wanted);
  const groups = parseGroups(group);

  // A number is a uid and never a name. '' is root.
  const entry = parsePasswd(passwd).find(({ name, uid }) =>
    wanted === '' ? uid === 0 : wantedUid !== undefined ? uid === wantedUid : name === wanted,
  );
  if (!entry && wanted !== '' && wantedUid === undefined)
    throw new EngineError('invalid', `unable to find user ${wanted}: no matching entries in passwd file`);

  const uid = entry ? inRange(entry.uid) : (wantedUid ?? 0);
  let gid = entry ? inRange(entry.gid) : 0;
  let member: number[] = [];
  if (wantedGroup !== '') gid = findGroup(groups, wantedGroup);
  else if (entry)
    member = groups.filter(({ members }) => members.includes(entry.name)).map((found) => inRange(found.gid));

  // The primary group too: a process without it in the list would not be held by a file that denies that group (CVE-2022-36109).
  const additional = [gid, ...member, ...groupAdd.map((name) => findGroup(groups, name))];
  return { uid, gid, additionalGids: [...new Set(additional)], home: entry?.home || '/' };
}

function findGroup(groups: readonly Group[], wanted: string): number {
  const wantedGid = numeric(wanted);
  const found = groups.find(({ name, gid }) => (wantedGid !== undefined ? gid === wantedGid : name === wanted));
  if (found) return inRange(found.gid);
  if (wantedGid !== undefined) return wantedGid;
  throw new EngineError('invalid', `unable to find group ${wanted}: no matching entries in group file`);
}

/** Undefined when the text is no number; a number that is none of an id throws, so that it never wraps around to root. */
function numeric(text: string): number | undefined {
  if (!/^[+-]?[0-9]+$/.test(text)) return undefined;
  return inRange(Number(text));
}

function inRange(id: number): number {
  if (Number.isInteger(id) && !Object.is(id, -0) && id >= 0 && id <= mostId) return id;
  throw new EngineError('invalid', `uids and gids must be in range 0-${mostId}`);
}

interface Group {
  readonly name: string;
  readonly gid: number;
  readonly members: readonly string[];
}

const lines = (text: string) =>
  text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => line.split(':'));

/** An id that is no plain number is none: Docker's 0 would be root. Such a line counts only when it is chosen by name. */
const idOf = (text = '') => (/^[0-9]+$/.test(text) ? Number(text) : Number.NaN);

const parsePasswd = (text: string) =>
  lines(text).map(([name = '', , uid, gid, , home = '']) => ({ name, uid: idOf(uid), gid: idOf(gid), home }));

const parseGroups = (text: string): Group[] =>
  lines(text).map(([name = '', , gid, members = '']) => ({
    name,
    gid: idOf(gid),
    members: members === '' ? [] : members.split(','),
  }));
