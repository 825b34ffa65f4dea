/** What a Go template computes with. `undefined` is Go's nil: no value. */
export type GoValue =
  | string
  | number
  | boolean
  | undefined
  | readonly GoValue[]
  | ReadonlyMap<string, GoValue>
  | GoStruct;

/** A struct, or a pointer to one, with its fields in order and its methods without arguments. */
export class GoStruct {
  /** As Go's reflection says it: `*logger.Info`. */
  readonly type: string;
  readonly fields: ReadonlyMap<string, GoValue>;
  readonly methods: ReadonlyMap<string, () => GoValue>;
  /** What `String()` gives, where the type has one. */
  readonly text: string | undefined;

  constructor(
    type: string,
    fields: Readonly<Record<string, GoValue>>,
    methods: Readonly<Record<string, () => GoValue>> = {},
    text?: string,
  ) {
    this.type = type;
    this.fields = new Map(Object.entries(fields));
    this.methods = new Map(Object.entries(methods));
    this.text = text;
  }
}

/** Go's name of the type. */
export function typeOf(value: GoValue): string {
  if (value === undefined) return '<nil>';
  if (typeof value === 'string') return 'string';
  if (typeof value === 'boolean') return 'bool';
  if (typeof value === 'number') return Number.isInteger(value) ? 'int' : 'float64';
  if (value instanceof GoStruct) return value.type;
  return value instanceof Map ? 'map[string]string' : '[]string';
}

/** Whether `if` takes it for true: not empty, not zero, not nil. */
export function isTrue(value: GoValue): boolean {
  if (value === undefined || value === '' || value === 0 || value === false) return false;
  if (value instanceof GoStruct) return true;
  if (value instanceof Map) return value.size > 0;
  return !Array.isArray(value) || value.length > 0;
}

/** In the order of its keys, as Go ranges over a map and prints it. */
export function sortedEntries(map: ReadonlyMap<string, GoValue>): readonly (readonly [string, GoValue])[] {
  return [...map].sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
}

/** `%v`. Strings within others are not quoted. */
export function printed(value: GoValue): string {
  if (value === undefined) return '<nil>';
  if (value instanceof GoStruct) {
    if (value.text !== undefined) return value.text;
    const inner = `{${[...value.fields.values()].map(printed).join(' ')}}`;
    return value.type.startsWith('*') ? `&${inner}` : inner;
  }
  if (value instanceof Map)
    return `map[${sortedEntries(value)
      .map(([key, each]) => `${key}:${printed(each)}`)
      .join(' ')}]`;
  if (Array.isArray(value)) return `[${value.map(printed).join(' ')}]`;
  return String(value);
}

/** As encoding/json writes it, without the escapes for HTML. */
export function jsonOf(value: GoValue): string {
  return JSON.stringify(plain(value)).replace(/[\u2028\u2029]/g, (char) => (char === '\u2028' ? '\\u2028' : '\\u2029'));
}

function plain(value: GoValue): unknown {
  if (value === undefined) return null;
  if (value instanceof GoStruct)
    return value.text ?? Object.fromEntries([...value.fields].map(([key, each]) => [key, plain(each)]));
  if (value instanceof Map) return Object.fromEntries(sortedEntries(value).map(([key, each]) => [key, plain(each)]));
  return Array.isArray(value) ? value.map(plain) : value;
}

/** `%q`: as a string of Go's source. */
export function quoted(text: string): string {
  const inner = text.replace(/["\\\p{Cc}]/gu, (char) => {
    const known = ({ '"': '\\"', '\\': '\\\\', '\n': '\\n', '\t': '\\t', '\r': '\\r' } as Record<string, string>)[char];
    return known ?? `\\x${char.charCodeAt(0).toString(16).padStart(2, '0')}`;
  });
  return `"${inner}"`;
}

/** fmt.Sprintf of the verbs v s q d x X t c f g e T and %%, with flags, width and precision. */
export function sprintf(format: string, values: readonly GoValue[]): string {
  let at = 0;
  const text = format.replace(
    /%([-+# 0]*)(\d*)(?:\.(\d*))?(.?)/gsu,
    (_whole, flags: string, width: string, precision: string | undefined, verb: string) => {
      if (verb === '%') return '%';
      if (verb === '') return '%!(NOVERB)';
      if (at >= values.length) return `%!${verb}(MISSING)`;
      const shown = oneVerb(verb, values[at++], { flags, precision });
      const missing = Number(width || 0) - [...shown].length;
      if (missing <= 0) return shown;
      if (flags.includes('-')) return shown + ' '.repeat(missing);
      if (!flags.includes('0')) return ' '.repeat(missing) + shown;
      const [, sign = '', rest = ''] = /^([+-]?)(.*)$/s.exec(shown)!;
      return sign + '0'.repeat(missing) + rest;
    },
  );
  const extra = values.slice(at).map((value) => `${typeOf(value)}=${printed(value)}`);
  return extra.length > 0 ? `${text}%!(EXTRA ${extra.join(', ')})` : text;
}

function oneVerb(
  verb: string,
  value: GoValue,
  { flags, precision }: { readonly flags: string; readonly precision: string | undefined },
): string {
  const bad = () => `%!${verb}(${typeOf(value)}=${printed(value)})`;
  const cut = (text: string) => (precision === undefined ? text : [...text].slice(0, Number(precision)).join(''));
  const signed = (text: string) => (flags.includes('+') && !text.startsWith('-') ? `+${text}` : text);
  const number = typeof value === 'number' ? value : undefined;
  switch (verb) {
    case 'v':
      return number === undefined ? printed(value) : signed(printed(value));
    case 's':
      return number === undefined && typeof value !== 'boolean' && value !== undefined ? cut(printed(value)) : bad();
    case 'q':
      if (typeof value === 'string') return quoted(cut(value));
      return Array.isArray(value) ? `[${value.map((each) => quoted(printed(each))).join(' ')}]` : bad();
    case 'd':
      return number !== undefined && Number.isInteger(number) ? signed(String(number)) : bad();
    case 'x':
    case 'X': {
      const hex =
        typeof value === 'string'
          ? Buffer.from(value).toString('hex')
          : number !== undefined && Number.isInteger(number)
            ? number.toString(16)
            : undefined;
      if (hex === undefined) return bad();
      return verb === 'X' ? hex.toUpperCase() : hex;
    }
    case 't':
      return typeof value === 'boolean' ? String(value) : bad();
    case 'c':
      return number !== undefined && Number.isInteger(number) ? String.fromCodePoint(number) : bad();
    case 'f':
      return number === undefined ? bad() : signed(number.toFixed(Number(precision ?? 6)));
    case 'g':
      return number === undefined ? bad() : signed(String(number));
    case 'e':
      return number === undefined
        ? bad()
        : signed(number.toExponential(Number(precision ?? 6)).replace(/e([+-])(\d)$/, 'e$10$2'));
    case 'T':
      return typeOf(value);
    default:
      return bad();
  }
}
