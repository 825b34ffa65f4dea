import { type GoValue, isTrue, jsonOf, printed, sprintf, typeOf } from './go-values.ts';

/** A function of a template. A parameter of a type takes nothing else; `any` takes all. */
export interface GoFunction {
  readonly parameters: readonly ('string' | 'int' | '[]string' | 'any')[];
  /** The last parameter may come any number of times, also not at all. */
  readonly variadic?: boolean;
  /** Throws an Error with what Go says was wrong with the values. */
  readonly call: (...args: readonly GoValue[]) => GoValue;
}

const text = (value: GoValue) => value as string;

/** `eq a b c` is whether a is any of the others. */
function equal(a: GoValue, ...others: readonly GoValue[]): boolean {
  if (others.length === 0) throw new Error('missing argument for comparison');
  return others.some((b) => {
    if (typeof a === 'object' || typeof b === 'object') throw new Error('incompatible types for comparison');
    if (a !== undefined && b !== undefined && typeof a !== typeof b)
      throw new Error('incompatible types for comparison');
    return a === b;
  });
}

function less(a: GoValue, b: GoValue): boolean {
  if (typeof a === 'string' && typeof b === 'string') return Buffer.compare(Buffer.from(a), Buffer.from(b)) < 0;
  if (typeof a === 'number' && typeof b === 'number') return a < b;
  const ordered = (value: GoValue) => typeof value === 'string' || typeof value === 'number';
  throw new Error(ordered(a) && ordered(b) ? 'incompatible types for comparison' : 'invalid type for comparison');
}

/** One step of `index`. */
function indexed(value: GoValue, key: GoValue): GoValue {
  if (value === undefined) throw new Error('index of untyped nil');
  if (value instanceof Map) {
    if (typeof key !== 'string') throw new Error(`value has type ${typeOf(key)}; should be string`);
    return value.get(key) ?? '';
  }
  if (typeof value !== 'string' && !Array.isArray(value)) throw new Error(`can't index item of type ${typeOf(value)}`);
  if (typeof key !== 'number' || !Number.isInteger(key))
    throw new Error(`cannot index slice/array with type ${typeOf(key)}`);
  if (typeof value === 'string') {
    const bytes = Buffer.from(value);
    if (key < 0 || key >= bytes.length) throw new Error(`index out of range: ${key}`);
    return bytes[key];
  }
  if (key < 0 || key >= value.length) throw new Error(`index out of range: ${key}`);
  return (value as readonly GoValue[])[key];
}

function sliced(value: GoValue, ...bounds: readonly GoValue[]): GoValue {
  if (value === undefined) throw new Error('slice of untyped nil');
  if (bounds.length > 3) throw new Error(`too many slice indexes: ${bounds.length}`);
  if (typeof value === 'string' && bounds.length === 3) throw new Error('cannot 3-index slice a string');
  if (typeof value !== 'string' && !Array.isArray(value)) throw new Error(`can't slice item of type ${typeOf(value)}`);
  const whole: Buffer | readonly GoValue[] =
    typeof value === 'string' ? Buffer.from(value) : (value as readonly GoValue[]);
  const numbers = bounds.map((bound) => {
    if (typeof bound !== 'number' || !Number.isInteger(bound))
      throw new Error(`cannot index slice/array with type ${typeOf(bound)}`);
    if (bound < 0 || bound > whole.length) throw new Error(`index out of range: ${bound}`);
    return bound;
  });
  const [from = 0, to = whole.length] = numbers;
  if (from > to) throw new Error(`invalid slice index: ${from} > ${to}`);
  return Buffer.isBuffer(whole) ? whole.toString('utf8', from, to) : whole.slice(from, to);
}

function lengthOf(value: GoValue): number {
  if (value === undefined) throw new Error('len of nil pointer');
  if (typeof value === 'string') return Buffer.byteLength(value);
  if (value instanceof Map) return value.size;
  if (Array.isArray(value)) return value.length;
  throw new Error(`len of type ${typeOf(value)}`);
}

/** fmt.Sprint: a blank between two that are no strings. */
function sprint(...values: readonly GoValue[]): string {
  return values
    .map((value, at) =>
      at > 0 && typeof value !== 'string' && typeof values[at - 1] !== 'string' ? ` ${printed(value)}` : printed(value),
    )
    .join('');
}

const htmlNames: Readonly<Record<string, string>> = {
  '"': '&#34;',
  "'": '&#39;',
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '\0': '\uFFFD',
};

const one = (call: (value: string) => GoValue): GoFunction => ({
  parameters: ['string'],
  call: (value) => call(text(value)),
});
const printing = (call: (...values: readonly GoValue[]) => string): GoFunction => ({
  parameters: ['any'],
  variadic: true,
  call,
});
const comparing = (call: (a: GoValue, b: GoValue) => boolean): GoFunction => ({ parameters: ['any', 'any'], call });

/** Go's own functions of text/template, and those that Docker adds. */
export const goFunctions: ReadonlyMap<string, GoFunction> = new Map<string, GoFunction>([
  ['json', { parameters: ['any'], call: jsonOf }],
  ['split', { parameters: ['string', 'string'], call: (value, by) => splitText(text(value), text(by)) }],
  ['join', { parameters: ['[]string', 'string'], call: (values, by) => (values as readonly string[]).join(text(by)) }],
  // strings.Title: the first letter of each word.
  [
    'title',
    one((value) =>
      value.replace(/(^|\s|[^\w\u0080-\u{10ffff}])(\p{L})/gu, (_, before, first) => before + upper(first)),
    ),
  ],
  ['lower', one((value) => value.toLowerCase())],
  ['upper', one((value) => value.toUpperCase())],
  [
    'pad',
    {
      parameters: ['string', 'int', 'int'],
      call: (value, before, after) =>
        value === ''
          ? ''
          : ' '.repeat(Math.max(0, before as number)) + value + ' '.repeat(Math.max(0, after as number)),
    },
  ],
  [
    'truncate',
    {
      parameters: ['string', 'int'],
      call: (value, most) => {
        const bytes = Buffer.from(text(value));
        return bytes.length < (most as number) ? value : bytes.toString('utf8', 0, most as number);
      },
    },
  ],
  ['print', printing(sprint)],
  ['println', printing((...values) => `${values.map(printed).join(' ')}\n`)],
  [
    'printf',
    { parameters: ['string', 'any'], variadic: true, call: (format, ...values) => sprintf(text(format), values) },
  ],
  ['html', printing((...values) => sprint(...values).replace(/["'&<>\0]/g, (char) => htmlNames[char]!))],
  [
    'js',
    printing((...values) =>
      sprint(...values).replace(/[\\'"<>&=\p{Cc}]/gu, (char) =>
        '\\\'"'.includes(char) ? `\\${char}` : `\\u${char.charCodeAt(0).toString(16).toUpperCase().padStart(4, '0')}`,
      ),
    ),
  ],
  [
    'urlquery',
    printing((...values) =>
      encodeURIComponent(sprint(...values))
        .replace(/%20/g, '+')
        .replace(/[!'()*]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`),
    ),
  ],
  ['len', { parameters: ['any'], call: lengthOf }],
  [
    'index',
    { parameters: ['any', 'any'], variadic: true, call: (value, ...keys) => keys.reduce<GoValue>(indexed, value) },
  ],
  ['slice', { parameters: ['any', 'any'], variadic: true, call: sliced }],
  ['not', { parameters: ['any'], call: (value) => !isTrue(value) }],
  ['eq', { parameters: ['any', 'any'], variadic: true, call: equal }],
  ['ne', comparing((a, b) => !equal(a, b))],
  ['lt', comparing(less)],
  ['le', comparing((a, b) => less(a, b) || equal(a, b))],
  ['gt', comparing((a, b) => !less(a, b) && !equal(a, b))],
  ['ge', comparing((a, b) => !less(a, b))],
  // These two take no more than they need: the reader of templates calls them itself.
  ['and', { parameters: ['any', 'any'], variadic: true, call: (...values) => values.at(-1) }],
  ['or', { parameters: ['any', 'any'], variadic: true, call: (...values) => values.at(-1) }],
]);

const upper = (letter: string) => letter.toUpperCase();

function splitText(value: string, by: string): readonly string[] {
  return by === '' ? [...value] : value.split(by);
}
