import { formatReference, parseReference, repositoryOf, withDefaultTag } from '../oci/reference.ts';
import type { ImageUser } from './images.ts';
import type { RemovalPlan } from './removal.ts';

export interface PruneFacts {
  /** Full names of the image. */
  readonly names: readonly string[];
  /** Repositories that it was pulled from. */
  readonly repositories: readonly string[];
  readonly users: readonly ImageUser[];
  /** Images with names too. */
  readonly all: boolean;
}

/**
 * What a prune takes of one image; undefined when nothing. One without names goes when no container uses it. Of one that
 * is used only the names go that no container calls it by, and never all of them.
 */
export function planPrune({ names, repositories, users, all }: PruneFacts): RemovalPlan | undefined {
  if (names.length > 0 && !all) return undefined;
  if (users.length === 0) return { names, repositories, image: true };
  const called = new Set(users.flatMap(({ name }) => fullName(name)));
  const kept = names.filter((name) => called.has(name));
  const left = kept.length > 0 ? kept : names.slice(0, 1);
  const gone = names.filter((name) => !left.includes(name));
  if (gone.length === 0) return undefined;
  const inUse = new Set(left.map((name) => repositoryOf(parseReference(name))));
  return { names: gone, repositories: repositories.filter((repository) => !inUse.has(repository)), image: false };
}

function fullName(name: string | undefined): string[] {
  if (name === undefined) return [];
  try {
    return [formatReference(withDefaultTag(parseReference(name)))];
  } catch {
    // A container may call it by its ID.
    return [];
  }
}
