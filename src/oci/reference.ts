import { EngineError } from '../base/errors.ts';
import { type Digest, isDigest } from './digest.ts';

/**
 * An image name as Docker understands it, in full: `nginx` is `docker.io/library/nginx:latest`.
 * Grammar: the distribution project's reference grammar; checked strictly because names come from strangers (S08).
 */
export interface Reference {
  /** `docker.io`, `localhost:5000` */
  readonly domain: string;
  /** `library/nginx` */
  readonly path: string;
  readonly tag: string | undefined;
  readonly digest: Digest | undefined;
}

const component = '[a-z0-9]+(?:(?:\\.|_|__|-+)[a-z0-9]+)*';
const pathPattern = new RegExp(`^${component}(?:/${component})*$`);
const label = '(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])';
const domainPattern = new RegExp(`^(?:${label}(?:\\.${label})*|\\[[a-fA-F0-9:]+\\])(?::[0-9]+)?$`);
const tagPattern = /^[\w][\w.-]{0,127}$/;

/** Throws `invalid` with Docker's words (`invalid reference format`). */
export function parseReference(text: string): Reference {
  const bad = (why: string) => new EngineError('invalid', why);
  if (isHexId(text)) throw bad(`invalid repository name (${text}), cannot specify 64-byte hexadecimal strings`);
  let rest = text;
  let digest: Digest | undefined;
  const at = rest.indexOf('@');
  if (at >= 0) {
    const named = rest.slice(at + 1);
    if (!isDigest(named)) throw bad('invalid reference format');
    digest = named;
    rest = rest.slice(0, at);
  }
  let tag: string | undefined;
  const colon = rest.lastIndexOf(':');
  if (colon > rest.lastIndexOf('/')) {
    tag = rest.slice(colon + 1);
    rest = rest.slice(0, colon);
    if (!tagPattern.test(tag)) throw bad('invalid reference format');
  }
  const slash = rest.indexOf('/');
  const first = slash < 0 ? '' : rest.slice(0, slash);
  const named = first !== '' && (/[.:]/.test(first) || first === 'localhost' || first.toLowerCase() !== first);
  let domain = named ? first : 'docker.io';
  let path = named ? rest.slice(slash + 1) : rest;
  if (domain === 'index.docker.io') domain = 'docker.io';
  if (domain === 'docker.io' && !path.includes('/')) path = `library/${path}`;
  if (path.toLowerCase() !== path) throw bad(`invalid reference format: repository name (${path}) must be lowercase`);
  if (!pathPattern.test(path) || !domainPattern.test(domain)) throw bad('invalid reference format');
  if (domain.length + 1 + path.length > 255)
    throw bad('invalid reference format: repository name must not be more than 255 characters');
  return { domain, path, tag, digest };
}

/** The reference with the tag `latest` where it has neither tag nor digest. */
/** Whether it may stand behind the colon of a name. */
export const isTag = (text: string): boolean => /^\w[\w.-]{0,127}$/.test(text);

export function withDefaultTag(reference: Reference): Reference {
  return reference.tag || reference.digest ? reference : { ...reference, tag: 'latest' };
}

/** `docker.io/library/nginx`: the repository without tag and digest. */
export function repositoryOf({ domain, path }: Reference): string {
  return `${domain}/${path}`;
}

/** The full form, `docker.io/library/nginx:latest`: what the store keeps. */
export function formatReference(reference: Reference): string {
  return repositoryOf(reference) + suffix(reference);
}

/** The form people type and Docker shows: `nginx:latest`. */
export function familiarName(reference: Reference): string {
  return familiarRepository(reference) + suffix(reference);
}

export function familiarRepository({ domain, path }: Reference): string {
  if (domain !== 'docker.io') return `${domain}/${path}`;
  return path.startsWith('library/') && path.indexOf('/', 8) < 0 ? path.slice(8) : path;
}

function suffix({ tag, digest }: Reference): string {
  return (tag ? `:${tag}` : '') + (digest ? `@${digest}` : '');
}

function isHexId(text: string): boolean {
  return /^[0-9a-f]{64}$/.test(text);
}
