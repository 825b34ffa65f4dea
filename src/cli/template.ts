import { UsageError } from './command.ts';

type Scope = ReadonlyMap<string, unknown>;
type Evaluate = (dot: unknown, scope: Scope) => unknown;
type Render = (dot: unknown, scope: Scope) => string;

/**
 * The part of Go's text/template that `--format` is used for: fields, `range`, `if`, `with`, variables, pipes, comparisons,
 * and docker's functions. A field that is not there is `<no value>`. Throws a `UsageError` for a template that is none.
 */
export function compileTemplate(text: string): (value: unknown) => string {
  const parser = new Parser(text);
  const render = parser.block(['']).render;
  return (value) => render(value, new Map([['$', value]]));
}

interface Block {
  readonly render: Render;
  /** The action that ended it: `end`, `else`, `else if .X`. */
  readonly ended: string;
}

class Parser {
  readonly #parts: string[];
  #at = 0;

  constructor(text: string) {
    // Text and actions by turns; a dash inside the braces takes the space on its side away.
    this.#parts = text
      .replace(/\s*\{\{- /g, '{{')
      .replace(/ -\}\}\s*/g, '}}')
      .split(/\{\{((?:"(?:[^"\\]|\\.)*"|`[^`]*`|[^}"`]|\}(?!\}))*)\}\}/);
    if (this.#parts.some((part, index) => index % 2 === 0 && part.includes('{{')))
      throw wrong(`an action is not closed: ${text}`);
  }

  block(ends: readonly string[]): Block {
    const renders: Render[] = [];
    // Variables are seen by what follows them in the block.
    const done = (ended: string): Block => ({
      ended,
      render: (dot, scope) => {
        const own = new Map(scope);
        return renders.map((render) => render(dot, own)).join('');
      },
    });
    while (this.#at < this.#parts.length) {
      const part = this.#parts[this.#at]!;
      const isAction = this.#at % 2 === 1;
      this.#at++;
      if (!isAction) {
        const plainText = part.replace(/\\([nt])/g, (_, letter: string) => (letter === 'n' ? '\n' : '\t'));
        renders.push(() => plainText);
        continue;
      }
      const action = part.trim();
      const [word = '', ...rest] = action.split(/\s+/);
      if (word === 'end' || word === 'else') {
        if (!ends.includes(word)) throw wrong(`{{${action}}} without a beginning`);
        return done(action);
      }
      if (word.startsWith('/*')) continue;
      if (word === 'range' || word === 'if' || word === 'with')
        renders.push(this.#branch(word, action.slice(word.length)));
      else renders.push(rendered(rest[0] === ':=' || rest[0] === '=' ? assignment(action) : pipeline(action)));
    }
    if (!ends.includes('')) throw wrong('{{end}} is missing');
    return done('');
  }

  #branch(kind: 'range' | 'if' | 'with', text: string): Render {
    const [, names, source] = /^\s*(?:((?:\$\w+\s*,\s*)?\$\w+)\s*:=)?(.*)$/s.exec(text)!;
    const value = pipeline(source!);
    const body = this.block(['end', 'else']);
    let otherwise: Render = () => '';
    if (body.ended.startsWith('else')) {
      const more = /^else\s+if\s+(.*)$/s.exec(body.ended)?.[1];
      otherwise = more === undefined ? this.block(['end']).render : this.#branch('if', more);
    }
    const variables = (names ?? '').split(',').flatMap((name) => name.trim() || []);
    return (dot, scope) => {
      const found = value(dot, scope);
      if (!truth(found)) return otherwise(dot, scope);
      if (kind === 'if') return body.render(dot, scope);
      const bound = (entries: readonly unknown[]) =>
        new Map([...scope, ...variables.map((name, index) => [name, entries[index]] as const)]);
      if (kind === 'with') return body.render(found, bound([found]));
      const entries: (readonly [unknown, unknown])[] = Array.isArray(found)
        ? found.map((one: unknown, index) => [index, one] as const)
        : Object.entries(found as object).sort(([a], [b]) => (a < b ? -1 : 1));
      return entries.map(([key, one]) => body.render(one, bound(variables.length === 2 ? [key, one] : [one]))).join('');
    };
  }
}

function rendered(evaluate: Evaluate): Render {
  return (dot, scope) => {
    const value = evaluate(dot, scope);
    return value === nothing ? '' : shown(value);
  };
}

/** What an assignment prints. */
const nothing = Symbol('nothing');

function assignment(text: string): Evaluate {
  const [, name, source] = /^(\$\w+)\s*:?=(.*)$/s.exec(text) ?? [];
  if (name === undefined) throw wrong(`{{${text}}}`);
  const value = pipeline(source!);
  return (dot, scope) => {
    (scope as Map<string, unknown>).set(name, value(dot, scope));
    return nothing;
  };
}

const token = /\s*("(?:[^"\\]|\\.)*"|`[^`]*`|-?\d+(?:\.\d+)?|\$\w*(?:\.\w+)*|(?:\.[\w-]+)+|\.|\w+|[()|])/y;

function tokensOf(text: string): string[] {
  const tokens: string[] = [];
  token.lastIndex = 0;
  let end = 0;
  for (let match = token.exec(text); match; match = token.exec(text)) {
    tokens.push(match[1]!);
    end = token.lastIndex;
  }
  if (text.slice(end).trim() !== '') throw wrong(`{{${text.trim()}}}: '${text.slice(end).trim()}' is not understood`);
  return tokens;
}

function pipeline(text: string): Evaluate {
  const tokens = tokensOf(text);
  const read = piped(tokens);
  if (tokens.length > 0) throw wrong(`{{${text.trim()}}}: '${tokens[0]}' is one too many`);
  return read;
}

/** `A | f x`: what comes before the bar is the last argument of what stands behind it. */
function piped(tokens: string[]): Evaluate {
  let value = call(tokens, undefined);
  while (tokens[0] === '|') {
    tokens.shift();
    value = call(tokens, value);
  }
  return value;
}

function call(tokens: string[], last: Evaluate | undefined): Evaluate {
  const [first] = tokens;
  if (first === undefined) throw wrong('an action is empty');
  const args: Evaluate[] = [];
  const isFunction = /^[a-z]\w*$/i.test(first) && !['true', 'false', 'nil'].includes(first);
  if (isFunction) tokens.shift();
  while (tokens.length > 0 && tokens[0] !== '|' && tokens[0] !== ')') args.push(operand(tokens));
  if (last) args.push(last);
  if (!isFunction) {
    if (args.length !== 1) throw wrong(`${first} is no function`);
    return args[0]!;
  }
  const known = functions[first];
  if (!known) throw wrong(`function "${first}" not defined`);
  return (dot, scope) => known(...args.map((arg) => arg(dot, scope)));
}

function operand(tokens: string[]): Evaluate {
  const word = tokens.shift()!;
  if (word === '(') {
    const inner = piped(tokens);
    if (tokens.shift() !== ')') throw wrong("')' is missing");
    if (!tokens[0]?.startsWith('.') || tokens[0] === '.') return inner;
    const path = tokens.shift()!;
    return (dot, scope) => fieldOf(inner(dot, scope), path);
  }
  if (word.startsWith('"')) return constant(JSON.parse(word) as string);
  if (word.startsWith('`')) return constant(word.slice(1, -1));
  if (/^-?\d/.test(word)) return constant(Number(word));
  if (word === 'true' || word === 'false') return constant(word === 'true');
  if (word === 'nil') return constant(null);
  if (word === '.') return (dot) => dot;
  if (word.startsWith('.')) return (dot) => fieldOf(dot, word);
  const [, name = '', path = ''] = /^(\$\w*)(.*)$/.exec(word) ?? [];
  if (!word.startsWith('$')) throw wrong(`'${word}' is not understood`);
  return (_, scope) => {
    if (!scope.has(name)) throw wrong(`undefined variable "${name}"`);
    return path === '' ? scope.get(name) : fieldOf(scope.get(name), path);
  };
}

const constant =
  (value: unknown): Evaluate =>
  () =>
    value;

function fieldOf(value: unknown, path: string): unknown {
  return path
    .slice(1)
    .split('.')
    .reduce((at: unknown, key) => (isMap(at) && Object.hasOwn(at, key) ? at[key] : undefined), value);
}

const isMap = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null;

function truth(value: unknown): boolean {
  if (Array.isArray(value)) return value.length > 0;
  return isMap(value) ? Object.keys(value).length > 0 : Boolean(value);
}

/** As Go prints values. */
function shown(value: unknown): string {
  if (value === undefined || value === null) return '<no value>';
  if (Array.isArray(value)) return `[${value.map(shown).join(' ')}]`;
  if (isMap(value))
    return `map[${Object.entries(value)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, one]) => `${key}:${shown(one)}`)
      .join(' ')}]`;
  return String(value);
}

const order = (a: unknown, b: unknown) =>
  typeof a === 'number' && typeof b === 'number' ? a - b : String(a) < String(b) ? -1 : String(a) > String(b) ? 1 : 0;
const textOf = (value: unknown) => (typeof value === 'string' ? value : shown(value));

const functions: Readonly<Record<string, (...args: readonly unknown[]) => unknown>> = {
  json: (value) => JSON.stringify(value ?? null),
  jsonpretty: (value) => JSON.stringify(value ?? null, null, 2),
  index: (value, ...keys) =>
    keys.reduce((at, key) => (isMap(at) ? (at as Readonly<Record<string, unknown>>)[String(key)] : undefined), value),
  len: (value) => (typeof value === 'string' || Array.isArray(value) ? value.length : Object.keys(value ?? {}).length),
  join: (list, separator) => (Array.isArray(list) ? list.map(textOf).join(String(separator)) : ''),
  split: (text, separator) => String(text).split(String(separator)),
  lower: (text) => textOf(text).toLowerCase(),
  upper: (text) => textOf(text).toUpperCase(),
  title: (text) => textOf(text).replace(/(^|\s)\S/g, (letter) => letter.toUpperCase()),
  truncate: (text, length) => textOf(text).slice(0, Number(length)),
  pad: (text, before, after) =>
    text === '' ? '' : `${' '.repeat(Number(before))}${textOf(text)}${' '.repeat(Number(after))}`,
  print: (...values) => values.map(textOf).join(''),
  println: (...values) => `${values.map(textOf).join(' ')}\n`,
  printf: (format, ...values) => {
    const rest = [...values];
    return String(format).replace(/%(%|[sdvq])/g, (_, letter: string) =>
      letter === '%' ? '%' : letter === 'q' ? JSON.stringify(textOf(rest.shift())) : textOf(rest.shift()),
    );
  },
  not: (value) => !truth(value),
  and: (...values) => values.find((value) => !truth(value)) ?? values.at(-1),
  or: (...values) => values.find(truth) ?? values.at(-1),
  eq: (first, ...others) => others.some((other) => first === other),
  ne: (a, b) => a !== b,
  lt: (a, b) => order(a, b) < 0,
  le: (a, b) => order(a, b) <= 0,
  gt: (a, b) => order(a, b) > 0,
  ge: (a, b) => order(a, b) >= 0,
};

function wrong(why: string): UsageError {
  return new UsageError(`--format: template parsing error: ${why}`, "--format '{{json .}}' shows what there is");
}
