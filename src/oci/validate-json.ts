import { EngineError } from '../base/errors.ts';

/**
 * From `unknown` to typed, for JSON that strangers wrote. Each reader takes the value and what to call it in a message,
 * and throws `invalid`; bytes that are no JSON at all are `corrupt`.
 */
export type JsonObject = Readonly<Record<string, unknown>>;

export function notValid(what: string, why: string): EngineError {
  return new EngineError('invalid', `invalid ${what}: ${why}`);
}

export function parseJsonObject(what: string, bytes: Uint8Array, limit: number): JsonObject {
  if (bytes.byteLength > limit)
    throw notValid(what, `it has ${bytes.byteLength} bytes, more than the ${limit} that are allowed`);
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (cause) {
    throw new EngineError('corrupt', `invalid ${what}: it is not JSON (${bytes.byteLength} bytes)`, { cause });
  }
  return object(value, what);
}

export function object(value: unknown, what: string): JsonObject {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw notValid(what, `it is ${kindOf(value)}, expected an object`);
  return value as JsonObject;
}

/** An own member; `constructor` and its like are not what a stranger's document has. */
export function member(body: JsonObject, key: string): unknown {
  return Object.hasOwn(body, key) ? body[key] : undefined;
}

export function absent(body: JsonObject, key: string): boolean {
  const value = member(body, key);
  return value === undefined || value === null;
}

/** A member that may be missing or null. */
export function optional<T>(
  body: JsonObject,
  key: string,
  read: (value: unknown, what: string) => T,
  what: string,
): T | undefined {
  return absent(body, key) ? undefined : read(member(body, key), `${what} ${key}`);
}

/** A member that is a list; null and missing are the empty list, which is how Go writes it. */
export function array(body: JsonObject, key: string, what: string, limit: number): readonly unknown[] {
  const value = member(body, key);
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value)) throw notValid(what, `${key} is ${kindOf(value)}, expected a list`);
  if (value.length > limit) throw notValid(what, `${key} has ${value.length} entries, more than the ${limit} allowed`);
  return value;
}

export function text(value: unknown, what: string): string {
  if (typeof value !== 'string') throw notValid(what, `it is ${kindOf(value)}, expected text`);
  return value;
}

/** A short word that ends up in messages and listings: media types, platforms. */
export function printable(value: unknown, what: string): string {
  const word = text(value, what);
  if (!/^[\x20-\x7e]{0,255}$/.test(word)) throw notValid(what, 'it is not a word of printable characters');
  return word;
}

export function wholeNumber(value: unknown, what: string): number {
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0)
    throw notValid(what, `it is ${typeof value === 'number' ? value : kindOf(value)}, expected a whole number`);
  return value;
}

export function stringArray(value: unknown, what: string): readonly string[] {
  if (!Array.isArray(value)) throw notValid(what, `it is ${kindOf(value)}, expected a list`);
  return value.map((entry, at) => text(entry, `${what}[${at}]`));
}

export function stringMap(value: unknown, what: string): Readonly<Record<string, string>> {
  const entries = Object.entries(object(value, what));
  // Object.fromEntries, not assignment: a member may be named `__proto__`.
  return Object.fromEntries(entries.map(([key, entry]) => [key, text(entry ?? '', what)]));
}

function kindOf(value: unknown): string {
  if (value === undefined) return 'missing';
  if (value === null) return 'null';
  return Array.isArray(value) ? 'a list' : typeof value === 'object' ? 'an object' : typeof value;
}
