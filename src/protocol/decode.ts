import { EngineError } from '../base/errors.ts';

/**
 * JSON as Go's encoding/json reads it, because clients depend on how it does: keys match without regard to case, the last
 * one wins, keys that are not known are ignored, `null` is the same as absent, and a wrong type is an error that names
 * the field. A decoder is given the value and where it stands, for that message.
 */
export type Decode<T> = (value: unknown, at: string) => T;

/** JSON text to a value. `empty` is what an empty text is; without it that is an error. */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    if (text.trim() === '') throw invalid('invalid JSON: got EOF while reading request body');
    if (error instanceof Error && /non-whitespace character after JSON/.test(error.message))
      throw invalid('unexpected content after JSON');
    throw invalid(`invalid JSON: ${error instanceof Error ? printable(error.message) : 'not JSON'}`);
  }
}

export const string: Decode<string | undefined> = (value, at) => {
  if (value === undefined || value === null) return undefined;
  return typeof value === 'string' ? value : wrongType(value, at, 'string');
};

export const boolean: Decode<boolean | undefined> = (value, at) => {
  if (value === undefined || value === null) return undefined;
  return typeof value === 'boolean' ? value : wrongType(value, at, 'bool');
};

/** A whole number; those beyond 2^53 lose their last digits, as in every JSON reader that has only doubles. */
export const integer: Decode<number | undefined> = (value, at) => {
  if (value === undefined || value === null) return undefined;
  if (typeof value !== 'number') return wrongType(value, at, 'int64');
  if (!Number.isInteger(value) || Math.abs(value) > 2 ** 63)
    throw invalid(`invalid JSON: json: cannot unmarshal number ${value} into Go ${place(at)} of type int64`);
  return value;
};

export const unsigned: Decode<number | undefined> = (value, at) => {
  if (value === undefined || value === null) return undefined;
  if (typeof value !== 'number') return wrongType(value, at, 'uint64');
  if (!Number.isInteger(value) || value < 0 || value > 2 ** 64)
    throw invalid(`invalid JSON: json: cannot unmarshal number ${value} into Go ${place(at)} of type uint64`);
  return value;
};

export function list<T>(item: Decode<T | undefined>, { type = '[]string', zero }: ListOptions<T> = {}) {
  return (value: unknown, at: string): T[] | undefined => {
    if (value === undefined || value === null) return undefined;
    if (!Array.isArray(value)) return wrongType(value, at, type);
    return value.map((entry) => item(entry, at) ?? zero ?? wrongType(entry, at, type));
  };
}

interface ListOptions<T> {
  /** How Go would call the list's type. */
  readonly type?: string;
  /** What `null` in the list is. */
  readonly zero?: T;
}

export const strings = list(string, { zero: '' });

/** Docker takes a plain string where it wants a list of words (`Cmd`, `Entrypoint`, `Shell`). */
export const stringOrStrings: Decode<string[] | undefined> = (value, at) =>
  typeof value === 'string' ? [value] : strings(value, at);

export function mapOf<T>(item: Decode<T | undefined>, { type = 'map[string]string', zero }: ListOptions<T> = {}) {
  return (value: unknown, at: string): Record<string, T> | undefined => {
    if (value === undefined || value === null) return undefined;
    if (typeof value !== 'object' || Array.isArray(value)) return wrongType(value, at, type);
    // fromEntries, not assignment: a key may be `__proto__`.
    return Object.fromEntries(
      Object.entries(value).map(([key, entry]) => [key, item(entry, at) ?? zero ?? wrongType(entry, at, type)]),
    );
  };
}

export const stringMap = mapOf(string, { zero: '' });

/** `{"80/tcp":{}}`: what is in the values says nothing. */
export const stringSet = mapOf<Record<string, never>>(
  (value, at) => (value === null || typeof value === 'object' ? {} : wrongType(value, at, 'struct {}')),
  { type: 'map[string]struct {}', zero: {} },
);

export type Fields = Readonly<Record<string, Decode<unknown>>>;
export type Decoded<F extends Fields> = { [K in keyof F]?: NonNullable<ReturnType<F[K]>> };

/** An object of known fields; those that are absent or null are not there in the result. */
export function object<F extends Fields>(name: string, fields: F) {
  const byLower = new Map(Object.entries(fields).map(([key, decode]) => [key.toLowerCase(), { key, decode }]));
  return (value: unknown, at = ''): Decoded<F> | undefined => {
    if (value === undefined || value === null) return undefined;
    if (typeof value !== 'object' || Array.isArray(value)) return wrongType(value, at, name);
    const result: Record<string, unknown> = {};
    for (const key of Object.keys(value)) {
      const field = byLower.get(key.toLowerCase());
      if (!field) continue;
      const decoded = field.decode((value as Record<string, unknown>)[key], `${name}.${field.key}`);
      if (decoded !== undefined) result[field.key] = decoded;
    }
    return result as Decoded<F>;
  };
}

function wrongType(value: unknown, at: string, type: string): never {
  throw invalid(`invalid JSON: json: cannot unmarshal ${kindOf(value)} into Go ${place(at)} of type ${type}`);
}

function place(at: string): string {
  return at === '' ? 'value' : `struct field ${at}`;
}

function kindOf(value: unknown): string {
  if (value === null || value === undefined) return 'null';
  if (Array.isArray(value)) return 'array';
  return typeof value === 'boolean' ? 'bool' : typeof value;
}

function invalid(message: string): EngineError {
  return new EngineError('invalid', message);
}

/** V8 quotes the text in its messages. */
function printable(text: string): string {
  return text.replace(/[\u0000-\u001f\u007f-\u009f]+/g, ' ').slice(0, 200);
}
