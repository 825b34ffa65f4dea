import type { ErrorCode } from '../base/error-codes.ts';
import { EngineError } from '../base/errors.ts';
import { type Digest, hexOf } from '../oci/digest.ts';
import { familiarName, parseReference, type Reference, repositoryOf } from '../oci/reference.ts';

/** What a removal stands on. Names in full form. */
export interface RemovalFacts {
  readonly id: Digest;
  /** What the user named it by; absent when by ID. */
  readonly reference: Reference | undefined;
  readonly names: readonly string[];
  /** Repositories that it was pulled from: its digest references. */
  readonly repositories: readonly string[];
  readonly users: readonly { readonly id: string; readonly running: boolean }[];
  readonly force: boolean;
}

/** What goes. */
export interface RemovalPlan {
  readonly names: readonly string[];
  readonly repositories: readonly string[];
  /** The image itself too, not only names of it. */
  readonly image: boolean;
}

/**
 * Docker's rules. By name: the name goes, and the image with its last name. By ID: the image goes with all its names,
 * unless they lie in several repositories. A running container keeps its image; a stopped one keeps it unless forced.
 * Throws `conflict` with Docker's words.
 */
export function planRemoval(facts: RemovalFacts): RemovalPlan {
  return facts.reference ? byName(facts, facts.reference) : byId(facts);
}

function byName(facts: RemovalFacts, reference: Reference): RemovalPlan {
  const { id, users, force } = facts;
  const user = users[0];
  if (!force && user && isSingleReference(facts))
    throw new EngineError(
      'conflict',
      `conflict: unable to remove repository reference "${familiarName(reference)}" (must force) - container ${short(user.id)} is using its referenced image ${short(hexOf(id))}`,
      { code: 'E_IN_USE' },
    );
  const repository = repositoryOf(reference);
  const names = reference.digest ? [] : facts.names.filter((name) => name === nameOf(reference));
  const leftNames = facts.names.filter((name) => !names.includes(name));
  // The digest reference goes along with the last tag of its repository, as the user can't see it.
  const lastOfRepository = !leftNames.some((name) => repositoryOf(parseReference(name)) === repository);
  const repositories =
    reference.digest || lastOfRepository ? facts.repositories.filter((name) => name === repository) : [];
  const nothingLeft = leftNames.length === 0 && repositories.length === facts.repositories.length;
  return { names, repositories, image: nothingLeft && mayDelete(facts) };
}

/** After its last name went: a container that uses the image keeps it, silently, without names. */
function mayDelete({ users, force }: RemovalFacts): boolean {
  return force ? !users.some((user) => user.running) : users.length === 0;
}

function byId(facts: RemovalFacts): RemovalPlan {
  const { id, users, force, names, repositories } = facts;
  const refuse = (how: string, why: string, code: ErrorCode = 'E_CONFLICT') =>
    new EngineError('conflict', `conflict: unable to delete ${short(hexOf(id))} (${how}) - ${why}`, { code });
  const running = users.find((user) => user.running);
  if (running)
    throw refuse('cannot be forced', `image is being used by running container ${short(running.id)}`, 'E_IN_USE');
  if (!force) {
    if (!isSingleReference(facts)) throw refuse('must be forced', 'image is referenced in multiple repositories');
    const stopped = users[0];
    if (stopped)
      throw refuse('must be forced', `image is being used by stopped container ${short(stopped.id)}`, 'E_IN_USE');
  }
  return { names, repositories, image: true };
}

/** At most one tag, and digests only of its repository. */
function isSingleReference({ names, repositories }: Pick<RemovalFacts, 'names' | 'repositories'>): boolean {
  if (names.length + repositories.length <= 1) return true;
  if (names.length > 1 || repositories.length > 1) return false;
  return repositoryOf(parseReference(names[0]!)) === repositories[0];
}

function nameOf(reference: Reference): string {
  return `${repositoryOf(reference)}:${reference.tag}`;
}

function short(hex: string): string {
  return hex.slice(0, 12);
}
