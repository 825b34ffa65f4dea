import { readFileSync } from 'node:fs';
import { codeOf } from '../base/errors.ts';

export const subordinateFiles = { uids: '/etc/subuid', gids: '/etc/subgid' } as const;

/** A line of /etc/subuid or /etc/subgid (subuid(5)). */
export interface SubordinateRange {
  /** A name, or a number. */
  readonly user: string;
  readonly first: number;
  readonly count: number;
}

/** A file that is not there has none. */
export function readSubordinate(path: string): readonly SubordinateRange[] {
  try {
    return parseSubordinate(readFileSync(path, 'utf8'));
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return [];
    throw error;
  }
}

/** What is no such line is passed over, as shadow's own programs do. */
export function parseSubordinate(text: string): readonly SubordinateRange[] {
  return text.split('\n').flatMap((line) => {
    const [, user = '', first, count] = /^\s*([^:#\s]+):(\d+):(\d+)\s*$/.exec(line) ?? [];
    return Number(count) > 0 ? [{ user, first: Number(first), count: Number(count) }] : [];
  });
}
