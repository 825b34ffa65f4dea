import { EngineError } from '../base/errors.ts';

/**
 * The `filters` of a query, in both of its encodings: `{"label":["a=b"]}` and `{"label":{"a=b":true}}`. Values of one key
 * are alternatives, except labels, which must all hold; keys must all hold.
 */
export class Filters {
  readonly #values: ReadonlyMap<string, readonly string[]>;

  constructor(values: ReadonlyMap<string, readonly string[]>) {
    this.#values = values;
  }

  static readonly none = new Filters(new Map());

  /** Throws `invalid` for what is no filter, and for a key that is not in `known` where that is given. */
  static parse(text: string | null | undefined, known?: readonly string[]): Filters {
    if (text === null || text === undefined || text === '') return Filters.none;
    const bad = (cause?: unknown) => new EngineError('invalid', 'invalid filter', { cause });
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch (error) {
      throw bad(error);
    }
    if (value === null) return Filters.none;
    if (typeof value !== 'object' || Array.isArray(value)) throw bad();
    const values = new Map<string, readonly string[]>();
    for (const [key, entry] of Object.entries(value)) {
      if (known && !known.includes(key)) throw new EngineError('invalid', `invalid filter '${key}'`);
      const read = valuesOf(entry);
      if (!read) throw bad();
      if (read.length > 0) values.set(key, read);
    }
    return values.size > 0 ? new Filters(values) : Filters.none;
  }

  get empty(): boolean {
    return this.#values.size === 0;
  }

  get(key: string): readonly string[] {
    return this.#values.get(key) ?? [];
  }

  has(key: string): boolean {
    return this.#values.has(key);
  }

  /** True when the key is not asked for, or one of its values is this one. */
  exact(key: string, candidate: string): boolean {
    const wanted = this.#values.get(key);
    return !wanted || wanted.includes(candidate);
  }

  /** As `exact`, by regular expression, or as text where the value is none. */
  matches(key: string, ...candidates: readonly string[]): boolean {
    const wanted = this.#values.get(key);
    return !wanted || wanted.some((pattern) => candidates.some((candidate) => matchesPattern(pattern, candidate)));
  }

  /** True when one of the values is a beginning of the candidate. */
  prefix(key: string, candidate: string): boolean {
    const wanted = this.#values.get(key);
    return !wanted || wanted.some((value) => candidate.startsWith(value));
  }

  /** Every `label` must be there, no `label!` may be. */
  labels(labels: Readonly<Record<string, string>>): boolean {
    return (
      this.get('label').every((wanted) => hasLabel(labels, wanted)) &&
      !this.get('label!').some((unwanted) => hasLabel(labels, unwanted))
    );
  }

  /** Undefined when not asked for. `{"dangling":["maybe"]}` is an error. */
  boolean(key: string): boolean | undefined {
    const wanted = this.#values.get(key);
    if (!wanted) return undefined;
    const read = wanted.map((value) => {
      const lower = value.toLowerCase();
      if (lower === '1' || lower === 'true' || lower === 't') return true;
      if (lower === '0' || lower === 'false' || lower === 'f') return false;
      throw new EngineError('invalid', `invalid filter '${key}=[${wanted.join(' ')}]'`);
    });
    if (read.includes(true) && read.includes(false))
      throw new EngineError('invalid', `invalid filter '${key}=[${wanted.join(' ')}]'`);
    return read[0];
  }

  /** Throws when a value is none of these. */
  oneOf(key: string, allowed: readonly string[], noun = key): void {
    for (const value of this.get(key))
      if (!allowed.includes(value))
        throw new EngineError(
          'invalid',
          `invalid filter '${key}=${value}': invalid value for ${noun} (${value}): must be one of ${allowed.join(', ')}`,
        );
  }
}

function valuesOf(entry: unknown): string[] | undefined {
  if (entry === null) return [];
  if (typeof entry !== 'object') return undefined;
  if (!Array.isArray(entry)) {
    const pairs = Object.entries(entry as Record<string, unknown>);
    return pairs.every(([, on]) => typeof on === 'boolean')
      ? pairs.filter(([, on]) => on).map(([value]) => value)
      : undefined;
  }
  return entry.every((value) => typeof value === 'string') ? entry : undefined;
}

function hasLabel(labels: Readonly<Record<string, string>>, wanted: string): boolean {
  const equals = wanted.indexOf('=');
  const name = equals < 0 ? wanted : wanted.slice(0, equals);
  if (!Object.hasOwn(labels, name)) return false;
  return equals < 0 || labels[name] === wanted.slice(equals + 1);
}

/**
 * Docker takes a name filter for a regular expression. Only the parts that cannot run away are taken as such here: one
 * with a repeated group (`(a+)+`) would hold up the engine for a stranger's pattern, and is compared as plain text.
 */
export function matchesPattern(pattern: string, candidate: string): boolean {
  if (pattern === candidate) return true;
  if (/^[\w./:@-]*$/.test(pattern) && !pattern.includes('.')) return candidate.includes(pattern);
  if (pattern.length > 256 || /[)][*+?{]|\\[1-9]|\(\?/.test(pattern) || (pattern.match(/[*+{]/g)?.length ?? 0) > 3)
    return candidate.includes(pattern);
  try {
    return new RegExp(pattern).test(candidate);
  } catch {
    return candidate.includes(pattern);
  }
}
