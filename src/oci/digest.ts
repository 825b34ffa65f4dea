import { createHash, type Hash } from 'node:crypto';
import { EngineError } from '../base/errors.ts';

/** `algorithm:hex` (OCI image-spec, descriptor.md, Digests). Made only by `parseDigest` and the hashers below. */
export type Digest = string & { readonly __digest: unique symbol };

const lengths: Readonly<Record<string, number>> = { sha256: 64, sha384: 96, sha512: 128 };

export function isDigest(text: string): text is Digest {
  const colon = text.indexOf(':');
  const length = lengths[text.slice(0, colon)];
  return length !== undefined && text.length === colon + 1 + length && /^[0-9a-f]+$/.test(text.slice(colon + 1));
}

/** Throws `invalid` unless the text is a digest of an algorithm that is known here. */
export function parseDigest(text: string): Digest {
  if (!isDigest(text)) throw new EngineError('invalid', `invalid digest ${JSON.stringify(text)}`);
  return text;
}

export function digestOf(content: string | Uint8Array): Digest {
  return `sha256:${createHash('sha256').update(content).digest('hex')}` as Digest;
}

/** A running hash in the algorithm of the digest that is expected; `digest()` ends it. */
export class Digester {
  readonly #algorithm: string;
  readonly #hash: Hash;

  constructor(expected?: Digest) {
    this.#algorithm = expected ? expected.slice(0, expected.indexOf(':')) : 'sha256';
    this.#hash = createHash(this.#algorithm);
  }

  update(chunk: Uint8Array): this {
    this.#hash.update(chunk);
    return this;
  }

  digest(): Digest {
    return `${this.#algorithm}:${this.#hash.digest('hex')}` as Digest;
  }
}

/** The hex part: what names a file. */
export function hexOf(digest: Digest): string {
  return digest.slice(digest.indexOf(':') + 1);
}

/** What was read is not what its digest names. */
export class DigestMismatch extends EngineError {
  constructor(subject: string, expected: Digest, actual: Digest) {
    super('corrupt', `${subject}: digest mismatch: expected ${expected}, got ${actual}`);
  }
}
