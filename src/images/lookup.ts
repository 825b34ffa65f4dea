import { EngineError } from '../base/errors.ts';
import { type Digest, hexOf, isDigest } from '../oci/digest.ts';
import {
  familiarName,
  familiarRepository,
  formatReference,
  parseReference,
  type Reference,
  repositoryOf,
  withDefaultTag,
} from '../oci/reference.ts';
import type { ImageRecords } from './records.ts';

/** What the user's words turned out to mean. */
export interface Found {
  readonly id: Digest;
  /** The name in the store, when it was a name; `repository@digest` keys a digest reference; absent for an ID. */
  readonly reference?: Reference;
}

/**
 * Finds an image by what a user typed: full ID, name, name@digest, then ID prefix, in Docker's order. Throws
 * `not-found`, or `invalid` when the text can't name anything or the prefix fits several.
 */
export function lookUp(records: ImageRecords, text: string): Found {
  if (isDigest(text)) return byId(records, text, text);
  if (isDigest(`sha256:${text}`)) return byId(records, `sha256:${text}` as Digest, text);
  const prefix = /^(?:sha256:)?([0-9a-f]{1,63})$/.exec(text)?.[1];
  if (text.startsWith('sha256:') && prefix) return byPrefix(records, prefix) ?? missing(text);

  const reference = withDefaultTag(parseReference(text));
  const found = byReference(records, reference);
  if (found) return { id: found, reference };
  return (prefix && byPrefix(records, prefix)) || missing(familiarName(reference));
}

/**
 * What a name means to `docker save`: one image, under that name; of a repository without a tag every tag of it; an image
 * by its ID under none.
 */
export function lookUpAll(records: ImageRecords, text: string): readonly { id: Digest; saved: readonly string[] }[] {
  const tags =
    /[:@]/.test(text.slice(text.lastIndexOf('/') + 1)) || isDigest(`sha256:${text}`) ? [] : tagsOf(records, text);
  if (tags.length > 0) return tags.map(([name, id]) => ({ id, saved: [name] }));
  const { id, reference } = lookUp(records, text);
  return [{ id, saved: reference && !reference.digest ? [formatReference(reference)] : [] }];
}

function tagsOf(records: ImageRecords, repository: string): [string, Digest][] {
  const wanted = repositoryOf(parseReference(repository));
  return [...records.names]
    .filter(([name]) => repositoryOf(parseReference(name)) === wanted)
    .map(([name, { descriptor }]): [string, Digest] => [name, descriptor.digest])
    .sort(([a], [b]) => (a < b ? -1 : 1));
}

/** What is pushed where: the reference's tag, or all tags of its repository. Throws `not-found` in Docker's words. */
export function pushTargets(
  records: ImageRecords,
  given: Reference,
  allTags: boolean,
): readonly { reference: Reference; id: Digest }[] {
  if (given.digest) throw new EngineError('invalid', 'cannot push a digest reference');
  const tags = tagsOf(records, repositoryOf(given));
  if (tags.length === 0)
    throw new EngineError('not-found', `An image does not exist locally with the tag: ${familiarRepository(given)}`, {
      code: 'E_NO_SUCH_IMAGE',
    });
  if (allTags) return tags.map(([name, id]) => ({ reference: parseReference(name), id }));
  const reference = withDefaultTag(given);
  const id = records.names.get(formatReference(reference))?.descriptor.digest;
  if (!id)
    throw new EngineError('not-found', `tag does not exist: ${familiarName(reference)}`, { code: 'E_NO_SUCH_IMAGE' });
  return [{ reference, id }];
}

function byId(records: ImageRecords, id: Digest, text: string): Found {
  return records.images.has(id) ? { id } : missing(text);
}

function byReference(records: ImageRecords, reference: Reference): Digest | undefined {
  const { digest } = reference;
  if (!digest) return records.names.get(formatReference(reference))?.descriptor.digest;
  const record = records.images.get(digest);
  if (!record) return undefined;
  const repository = repositoryOf(reference);
  const known =
    record.repositories.includes(repository) ||
    records.namesOf(digest).some((name) => repositoryOf(parseReference(name)) === repository);
  return known ? digest : undefined;
}

function byPrefix(records: ImageRecords, prefix: string): Found | undefined {
  const ids = [...records.images.keys()].filter((id) => hexOf(id).startsWith(prefix));
  if (ids.length > 1) throw new EngineError('invalid', `multiple IDs found with provided prefix: ${prefix}`);
  return ids[0] ? { id: ids[0] } : undefined;
}

function missing(text: string): never {
  throw new EngineError('not-found', `No such image: ${text}`, { code: 'E_NO_SUCH_IMAGE' });
}
