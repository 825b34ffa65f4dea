import { randomInt } from 'node:crypto';
import { EngineError } from '../base/errors.ts';
import { adjectives, nouns } from './words.ts';

const charset = '[a-zA-Z0-9][a-zA-Z0-9_.-]';
const pattern = /^\/?[a-zA-Z0-9][a-zA-Z0-9_.-]+$/;

/** The name without its leading slash. Throws `invalid` with Docker's words. */
export function checkName(name: string): string {
  if (!pattern.test(name))
    throw new EngineError('invalid', `Invalid container name (${name}), only ${charset} are allowed`);
  return name.startsWith('/') ? name.slice(1) : name;
}

/** A made-up name that `taken` does not have. */
export function inventName(taken: (name: string) => boolean): string {
  for (let round = 0; ; round++) {
    const name = `${adjectives[randomInt(adjectives.length)]}_${nouns[randomInt(nouns.length)]}`;
    const tried = round < 6 ? name : `${name}${randomInt(10 ** Math.min(round - 4, 9))}`;
    if (!taken(tried)) return tried;
  }
}
