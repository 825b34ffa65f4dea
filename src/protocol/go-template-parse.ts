import { goFunctions } from './go-template-functions.ts';
import { badTemplate, shownToken, type Token, type TokenKind, templateTokens } from './go-template-tokens.ts';

export type Operand =
  | { readonly kind: 'dot' | 'nil'; readonly at: number }
  | { readonly kind: 'constant'; readonly at: number; readonly value: string | number | boolean; readonly text: string }
  | { readonly kind: 'field'; readonly at: number; readonly names: readonly string[] }
  | { readonly kind: 'variable'; readonly at: number; readonly name: string; readonly names: readonly string[] }
  | { readonly kind: 'function'; readonly at: number; readonly name: string }
  | { readonly kind: 'pipeline'; readonly at: number; readonly pipeline: Pipeline; readonly names: readonly string[] };

export interface Command {
  readonly at: number;
  readonly operands: readonly [Operand, ...Operand[]];
}

export interface Pipeline {
  readonly at: number;
  readonly variables: readonly string[];
  /** `=` and not `:=`. */
  readonly assigns: boolean;
  readonly commands: readonly Command[];
}

export type Node =
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'action'; readonly at: number; readonly pipeline: Pipeline }
  | { readonly kind: 'break' | 'continue'; readonly at: number }
  | { readonly kind: 'template'; readonly at: number; readonly name: string; readonly pipeline: Pipeline | undefined }
  | {
      readonly kind: 'if' | 'range' | 'with';
      readonly at: number;
      readonly pipeline: Pipeline;
      readonly then: readonly Node[];
      readonly otherwise: readonly Node[];
    };

export interface ParsedTemplate {
  readonly nodes: readonly Node[];
  /** By `define` and `block`. */
  readonly defined: ReadonlyMap<string, readonly Node[]>;
}

/** Throws `invalid` in the words of Go's parser. */
export function parseTemplate(name: string, template: string): ParsedTemplate {
  return new Parser(name, template).all();
}

type End = 'end' | 'else' | 'else if' | 'else with';

class Parser {
  readonly #name: string;
  readonly #template: string;
  readonly #tokens: readonly Token[];
  readonly #defined = new Map<string, readonly Node[]>();
  #next = 0;
  #variables = ['$'];
  #ranges = 0;

  constructor(name: string, template: string) {
    this.#name = name;
    this.#template = template;
    this.#tokens = templateTokens(name, template);
  }

  all(): ParsedTemplate {
    const { nodes, end } = this.#list();
    if (end) throw this.#fail(end.at, `unexpected {{${end.what.split(' ')[0]}}}`);
    return { nodes, defined: this.#defined };
  }

  /** Until what ends it, or the end of the template. */
  #list(): { readonly nodes: readonly Node[]; readonly end?: { readonly what: End; readonly at: number } } {
    const nodes: Node[] = [];
    for (;;) {
      const token = this.#take();
      if (token.kind === 'end of file') return { nodes };
      if (token.kind === 'text') {
        nodes.push({ kind: 'text', text: token.text });
        continue;
      }
      const first = this.#takeSolid();
      if (first.kind !== 'keyword') {
        this.#next = this.#tokens.indexOf(first);
        const pipeline = this.#pipeline('command', 'close');
        nodes.push({ kind: 'action', at: first.at, pipeline });
        continue;
      }
      if (first.text === 'end') {
        this.#close('end');
        return { nodes, end: { what: 'end', at: first.at } };
      }
      if (first.text === 'else') {
        const after = this.#peekSolid();
        if (after.kind === 'keyword' && (after.text === 'if' || after.text === 'with')) {
          this.#takeSolid();
          return { nodes, end: { what: `else ${after.text}`, at: first.at } };
        }
        this.#close('else');
        return { nodes, end: { what: 'else', at: first.at } };
      }
      nodes.push(...this.#statement(first));
    }
  }

  #statement({ text, at }: Token): readonly Node[] {
    switch (text) {
      case 'if':
      case 'range':
      case 'with':
        return [this.#control(text, at)];
      case 'break':
      case 'continue':
        this.#close(`{{${text}}}`);
        if (this.#ranges === 0) throw this.#fail(at, `{{${text}}} outside {{range}}`);
        return [{ kind: text, at }];
      case 'template': {
        const { at } = this.#peekSolid();
        const name = this.#string('template clause');
        const pipeline = this.#peekSolid().kind === 'close' ? undefined : this.#pipeline('template clause', 'close');
        if (!pipeline) this.#takeSolid();
        return [{ kind: 'template', at, name, pipeline }];
      }
      case 'define': {
        const name = this.#string('define clause');
        this.#close('define clause');
        this.#defined.set(name, this.#body('define clause'));
        return [];
      }
      default: {
        const name = this.#string('block clause');
        const pipeline = this.#pipeline('block clause', 'close');
        this.#defined.set(name, this.#body('block clause'));
        return [{ kind: 'template', at, name, pipeline }];
      }
    }
  }

  /** Of a template of its own, in which only `$` is known. */
  #body(context: string): readonly Node[] {
    const outer = { variables: this.#variables, ranges: this.#ranges };
    this.#variables = ['$'];
    this.#ranges = 0;
    const { nodes, end } = this.#list();
    if (!end) throw this.#fail(this.#template.length, 'unexpected EOF');
    if (end.what !== 'end') throw this.#fail(end.at, `unexpected {{else}} in ${context}`);
    this.#variables = outer.variables;
    this.#ranges = outer.ranges;
    return nodes;
  }

  #control(kind: 'if' | 'range' | 'with', at: number): Node {
    const known = this.#variables.length;
    const pipeline = this.#pipeline(kind, 'close');
    if (kind === 'range') this.#ranges++;
    const { nodes: then, end } = this.#list();
    if (kind === 'range') this.#ranges--;
    let otherwise: readonly Node[] = [];
    if (!end) throw this.#fail(this.#template.length, 'unexpected EOF');
    if (end.what === 'else if' || end.what === 'else with') {
      const again = end.what === 'else if' ? 'if' : 'with';
      if (again !== kind) throw this.#fail(end.at, `unexpected <${again}> in else`);
      otherwise = [this.#control(again, end.at)];
    } else if (end.what === 'else') {
      const last = this.#list();
      if (!last.end) throw this.#fail(this.#template.length, 'unexpected EOF');
      if (last.end.what !== 'end') throw this.#fail(last.end.at, 'expected end; found {{else}}');
      otherwise = last.nodes;
    }
    this.#variables.length = known;
    return { kind, at, pipeline, then, otherwise };
  }

  #pipeline(context: string, end: TokenKind): Pipeline {
    const at = this.#peekSolid().at;
    const { variables, assigns } = this.#declarations(context);
    const commands: Command[] = [];
    for (;;) {
      const token = this.#takeSolid();
      if (token.kind === end) break;
      if (!operandKinds.has(token.kind)) throw this.#unexpected(token, context);
      this.#next--;
      commands.push(this.#command());
    }
    if (commands.length === 0) throw this.#fail(this.#at(), `missing value for ${context}`);
    for (const [stage, { operands }] of commands.entries())
      if (stage > 0 && ['constant', 'dot', 'nil'].includes(operands[0].kind))
        throw this.#fail(this.#at(), `non executable command in pipeline stage ${stage + 1}`);
    // Known from here on, and not in its own value.
    if (!assigns) this.#variables.push(...variables);
    return { at, variables, assigns, commands };
  }

  /** `$a :=`, `$a =`, and `$i, $e :=` of a range. */
  #declarations(context: string): { readonly variables: readonly string[]; readonly assigns: boolean } {
    const begin = this.#next;
    const variables: string[] = [];
    while (this.#peekSolid().kind === 'variable') {
      const { text, at } = this.#takeSolid();
      const next = this.#peekSolid();
      if (next.kind === 'declare' || next.kind === 'assign') {
        this.#takeSolid();
        variables.push(text);
        if (next.kind === 'assign' && !this.#variables.includes(text))
          throw this.#fail(at, `undefined variable ${JSON.stringify(text)}`);
        return { variables, assigns: next.kind === 'assign' };
      }
      if (next.kind !== 'char' || next.text !== ',') break;
      this.#takeSolid();
      variables.push(text);
      if (context !== 'range' || variables.length > 1) throw this.#fail(at, `too many declarations in ${context}`);
      if (this.#peekSolid().kind !== 'variable') throw this.#fail(at, 'range can only initialize variables');
    }
    this.#next = begin;
    return { variables: [], assigns: false };
  }

  #command(): Command {
    const { at } = this.#peekSolid();
    const operands: Operand[] = [];
    for (;;) {
      this.#skipSpace();
      const operand = this.#operand();
      if (operand) operands.push(operand);
      const token = this.#take();
      if (token.kind === 'space') continue;
      if (token.kind === 'close' || token.kind === 'right') this.#next--;
      else if (token.kind !== 'pipe') throw this.#unexpected(token, 'operand');
      break;
    }
    const [first, ...rest] = operands;
    if (!first) throw this.#fail(this.#at(), 'empty command');
    return { at, operands: [first, ...rest] };
  }

  #operand(): Operand | undefined {
    const term = this.#term();
    if (!term || this.#peek().kind !== 'field') return term;
    const { at } = this.#peek();
    const names: string[] = [];
    while (this.#peek().kind === 'field') names.push(this.#take().text.slice(1));
    switch (term.kind) {
      case 'field':
      case 'variable':
        return { ...term, at, names: [...term.names, ...names] };
      case 'pipeline':
        return { ...term, at, names };
      case 'constant':
      case 'nil':
      case 'dot':
        throw this.#fail(at, `unexpected . after term ${JSON.stringify(operandText(term))}`);
      default:
        return {
          kind: 'pipeline',
          at,
          names,
          pipeline: { at: term.at, variables: [], assigns: false, commands: [{ at: term.at, operands: [term] }] },
        };
    }
  }

  #term(): Operand | undefined {
    const token = this.#take();
    const { kind, text, at } = token;
    switch (kind) {
      case 'word':
        if (!goFunctions.has(text)) throw this.#fail(at, `function ${JSON.stringify(text)} not defined`);
        return { kind: 'function', at, name: text };
      case 'dot':
      case 'nil':
        return { kind, at };
      case 'field':
        return { kind: 'field', at, names: [text.slice(1)] };
      case 'variable':
        if (!this.#variables.includes(text)) throw this.#fail(at, `undefined variable ${JSON.stringify(text)}`);
        return { kind: 'variable', at, name: text, names: [] };
      case 'bool':
        return { kind: 'constant', at, text, value: text === 'true' };
      case 'number':
        return { kind: 'constant', at, text, value: this.#number(token) };
      case 'character':
        return { kind: 'constant', at, text, value: this.#unquote(token).codePointAt(0) ?? 0 };
      case 'string':
        return { kind: 'constant', at, text, value: this.#unquote(token) };
      case 'raw':
        return { kind: 'constant', at, text, value: text.slice(1, -1).replaceAll('\r', '') };
      case 'left': {
        const pipeline = this.#pipeline('parenthesized pipeline', 'right');
        return { kind: 'pipeline', at, pipeline, names: [] };
      }
      default:
        this.#next--;
        return undefined;
    }
  }

  #number({ text, at }: Token): number {
    const value = Number(text.replaceAll('_', '').replace(/^\+/, ''));
    if (text === '-' || text === '+') throw this.#fail(at, `illegal number syntax: ${JSON.stringify(text)}`);
    const signed = /^-0[xXbBoO]/.test(text) ? -Number(text.slice(1).replaceAll('_', '')) : value;
    if (Number.isNaN(signed)) throw this.#fail(at, `bad number syntax: ${JSON.stringify(text)}`);
    return signed;
  }

  /** strconv.Unquote, of the escapes that Go has. */
  #unquote({ text, at }: Token): string {
    return text
      .slice(1, -1)
      .replace(/\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[0-7]{3}|.)/gsu, (_, escape: string) => {
        const code = /^[xuU]/.test(escape) && escape.length > 1 ? Number.parseInt(escape.slice(1), 16) : undefined;
        if (code !== undefined && code <= 0x10ffff) return String.fromCodePoint(code);
        if (/^[0-7]{3}$/.test(escape)) return String.fromCodePoint(Number.parseInt(escape, 8));
        const known = escapes[escape];
        if (known === undefined) throw this.#fail(at, 'invalid syntax');
        return known;
      });
  }

  #string(context: string): string {
    const token = this.#takeSolid();
    if (token.kind === 'string') return this.#unquote(token);
    if (token.kind === 'raw') return token.text.slice(1, -1);
    throw this.#unexpected(token, context);
  }

  #close(context: string): void {
    const token = this.#takeSolid();
    if (token.kind !== 'close') throw this.#unexpected(token, context);
  }

  #unexpected(token: Token, context: string) {
    return this.#fail(token.at, `unexpected ${shownToken(token)} in ${context}`);
  }

  #fail(at: number, what: string) {
    return badTemplate(this.#name, this.#template, at, what);
  }

  #at(): number {
    return this.#tokens[Math.max(0, this.#next - 1)]!.at;
  }

  #peek(): Token {
    return this.#tokens[this.#next]!;
  }

  /** The last one, the end of the file, again and again. */
  #take(): Token {
    const token = this.#tokens[this.#next]!;
    if (this.#next < this.#tokens.length - 1) this.#next++;
    return token;
  }

  #skipSpace(): void {
    while (this.#peek().kind === 'space') this.#next++;
  }

  #peekSolid(): Token {
    this.#skipSpace();
    return this.#peek();
  }

  #takeSolid(): Token {
    this.#skipSpace();
    return this.#take();
  }
}

const operandKinds: ReadonlySet<TokenKind> = new Set<TokenKind>([
  'bool',
  'character',
  'dot',
  'field',
  'word',
  'number',
  'nil',
  'raw',
  'string',
  'variable',
  'left',
]);

const escapes: Readonly<Record<string, string>> = {
  a: '\x07',
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
  v: '\v',
  '\\': '\\',
  '"': '"',
  "'": "'",
};

/** As Go writes a part of a template in an error. */
export function operandText(operand: Operand): string {
  const fields = (names: readonly string[]) => names.map((name) => `.${name}`).join('');
  switch (operand.kind) {
    case 'dot':
      return '.';
    case 'nil':
      return 'nil';
    case 'constant':
      return operand.text;
    case 'field':
      return fields(operand.names);
    case 'variable':
      return operand.name + fields(operand.names);
    case 'function':
      return operand.name;
    case 'pipeline':
      return `(${pipelineText(operand.pipeline)})${fields(operand.names)}`;
  }
}

export function commandText({ operands }: Command): string {
  return operands.map(operandText).join(' ');
}

export function pipelineText({ variables, assigns, commands }: Pipeline): string {
  const before = variables.length > 0 ? `${variables.join(', ')} ${assigns ? '=' : ':='} ` : '';
  return before + commands.map(commandText).join(' | ');
}
