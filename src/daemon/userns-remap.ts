import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { codeOf, EngineError, messageOf } from '../base/errors.ts';
import { readSubordinate, type SubordinateRange } from '../sys/subordinate-ids.ts';
import type { IdMaps, IdRange } from '../sys/user-namespace.ts';

/** Docker's own user, whose IDs are taken where the setting is `default`. */
const defaultUser = 'dockremap';
const rangeSize = 65_536;
/** As shadow's login.defs has SUB_UID_MIN. */
const firstSubordinate = 100_000;

export interface RemapDeps {
  /** Where passwd, group, subuid and subgid are. */
  readonly etc?: string;
  /** Runs a program that must succeed. */
  readonly run?: (program: string, args: readonly string[]) => void;
}

/**
 * The user namespace that the setting `usernsRemap` means: `default`, USER, or USER:GROUP by name or number, whose ranges
 * stand in /etc/subuid and /etc/subgid. For `default` the user is made where there is none, as Docker does. Undefined for
 * ''. Throws `invalid` and says what to do.
 */
export function remapOf(setting: string, { etc = '/etc', run = runProgram }: RemapDeps = {}): IdMaps | undefined {
  if (setting === '') return undefined;
  if (setting === 'default') makeDefaultUser(etc, run);
  const [userPart = '', groupPart] = setting === 'default' ? [defaultUser] : setting.split(':');
  const user = entryOf(etc, 'passwd', userPart);
  // Docker takes the group that has the user's name.
  const group = entryOf(etc, 'group', groupPart ?? user.name);
  if (user.id === 0) throw refused('root cannot be mapped to itself', 'name a user of its own, or default');
  return {
    uids: rangesOf(etc, 'subuid', user),
    gids: rangesOf(etc, 'subgid', group),
  };
}

interface Entry {
  readonly name: string;
  readonly id: number;
}

function entryOf(etc: string, file: 'passwd' | 'group', asked: string): Entry {
  const found = entriesIn(etc, file).find(({ name, id }) => name === asked || String(id) === asked);
  if (found) return found;
  const kind = file === 'passwd' ? 'user' : 'group';
  throw refused(
    `there is no ${kind} ${asked}`,
    kind === 'user' ? `useradd --system --user-group ${asked}, or name another` : `groupadd --system ${asked}`,
  );
}

function entriesIn(etc: string, file: 'passwd' | 'group'): readonly Entry[] {
  return readFileSync(join(etc, file), 'utf8')
    .split('\n')
    .map((line) => line.split(':'))
    .flatMap(([name = '', , id]) => (name !== '' && /^\d+$/.test(id ?? '') ? [{ name, id: Number(id) }] : []));
}

const belongsTo =
  ({ name, id }: Entry) =>
  ({ user }: SubordinateRange) =>
    user === name || user === String(id);

/** One after the other, as Docker puts them together: the first is that of root in the container. */
function rangesOf(etc: string, file: 'subuid' | 'subgid', owner: Entry): readonly IdRange[] {
  const all = readSubordinate(join(etc, file));
  let inside = 0;
  const ranges = all.filter(belongsTo(owner)).map(({ first, count }) => {
    const range = { inside, outside: first, count };
    inside += count;
    return range;
  });
  if (ranges.length === 0)
    throw refused(
      `no ${file} ranges found for ${file === 'subuid' ? 'user' : 'group'} "${owner.name}" in ${join(etc, file)}`,
      `usermod ${(['subuid', 'subgid'] as const).map((one) => addRange(etc, one)).join(' ')} ${owner.name}`,
    );
  if (ranges.some(({ outside }) => outside === 0))
    throw refused(`${join(etc, file)}: a range of ${owner.name} has root`);
  return ranges;
}

function makeDefaultUser(etc: string, run: NonNullable<RemapDeps['run']>): void {
  const has = (file: 'passwd' | 'group') => entriesIn(etc, file).some(({ name }) => name === defaultUser);
  if (!has('passwd'))
    run('useradd', [
      '--system',
      '--no-create-home',
      '--shell',
      '/bin/false',
      ...(has('group') ? ['--gid', defaultUser] : ['--user-group']),
      defaultUser,
    ]);
  const isFor = belongsTo(entryOf(etc, 'passwd', defaultUser));
  const missing = (['subuid', 'subgid'] as const).filter((file) => !readSubordinate(join(etc, file)).some(isFor));
  if (missing.length > 0) run('usermod', [...missing.map((file) => addRange(etc, file)), defaultUser]);
}

/** Behind all that are given. */
function addRange(etc: string, file: 'subuid' | 'subgid'): string {
  const ends = readSubordinate(join(etc, file)).map(({ first, count }) => first + count);
  const first = Math.max(firstSubordinate, ...ends);
  return `--add-${file}s=${first}-${first + rangeSize - 1}`;
}

function runProgram(program: string, args: readonly string[]): void {
  try {
    execFileSync(program, args, { stdio: ['ignore', 'ignore', 'pipe'], encoding: 'utf8', timeout: 30_000 });
  } catch (cause) {
    const said = cause instanceof Error && 'stderr' in cause ? String(cause.stderr ?? '').trim() : '';
    throw refused(
      `the user ${defaultUser} could not be made: ${program}: ${codeOf(cause) === 'ENOENT' ? 'there is no such program' : said || messageOf(cause)}`,
      `make it and its ranges: ${[program, ...args].join(' ')}`,
      cause,
    );
  }
}

const refused = (why: string, hint?: string, cause?: unknown) =>
  new EngineError('invalid', `usernsRemap: ${why}`, { cause, ...(hint !== undefined && { hint }) });
