import { EngineError } from '../base/errors.ts';
import { type GoFunction, goFunctions } from './go-template-functions.ts';
import {
  type Command,
  commandText,
  type Node,
  type Operand,
  operandText,
  type ParsedTemplate,
  type Pipeline,
  parseTemplate,
  pipelineText,
} from './go-template-parse.ts';
import { GoStruct, type GoValue, isTrue, printed, sortedEntries, typeOf } from './go-values.ts';

/** What a template may write, so that a range in a range ends. Bytes. */
const mostOutput = 1024 * 1024;
const deepest = 100;

/**
 * A template of Go's text/template with the functions that Docker adds: `json`, `split`, `join`, `title`, `lower`,
 * `upper`, `pad`, `truncate`. Both its reading and its running throw `invalid` in Go's words.
 */
export class GoTemplate {
  readonly #name: string;
  readonly #text: string;
  readonly #parsed: ParsedTemplate;

  constructor(name: string, text: string) {
    this.#name = name;
    this.#text = text;
    this.#parsed = parseTemplate(name, text);
  }

  run(data: GoValue): string {
    return new Run({ name: this.#name, text: this.#text, parsed: this.#parsed }, data).all();
  }
}

interface Variable {
  readonly name: string;
  value: GoValue;
}

type Flow = 'on' | 'break' | 'continue';

interface Template {
  readonly name: string;
  readonly text: string;
  readonly parsed: ParsedTemplate;
}

class Run {
  readonly #template: Template;
  readonly #data: GoValue;
  #variables: Variable[];
  #out = '';
  #depth = 0;
  #within: string;

  constructor(template: Template, data: GoValue) {
    this.#template = template;
    this.#data = data;
    this.#within = template.name;
    this.#variables = [{ name: '$', value: data }];
  }

  all(): string {
    this.#nodes(this.#template.parsed.nodes, this.#data);
    return this.#out;
  }

  #nodes(nodes: readonly Node[], dot: GoValue): Flow {
    for (const node of nodes) {
      const flow = this.#node(node, dot);
      if (flow !== 'on') return flow;
    }
    return 'on';
  }

  #node(node: Node, dot: GoValue): Flow {
    switch (node.kind) {
      case 'text':
        this.#write(node.text);
        return 'on';
      case 'action': {
        const value = this.#pipeline(node.pipeline, dot);
        if (node.pipeline.variables.length === 0) this.#write(value === undefined ? '<no value>' : printed(value));
        return 'on';
      }
      case 'break':
      case 'continue':
        return node.kind;
      case 'template':
        this.#call(node, dot);
        return 'on';
      case 'range':
        return this.#range(node, dot);
      default: {
        const known = this.#variables.length;
        const value = this.#pipeline(node.pipeline, dot);
        const flow = isTrue(value)
          ? this.#nodes(node.then, node.kind === 'with' ? value : dot)
          : this.#nodes(node.otherwise, dot);
        this.#variables.length = known;
        return flow;
      }
    }
  }

  #range(node: Extract<Node, { readonly then: readonly Node[] }>, dot: GoValue): Flow {
    const known = this.#variables.length;
    const { variables, assigns } = node.pipeline;
    const value = this.#pipeline({ ...node.pipeline, variables: [] }, dot);
    const entries = this.#entries(value, node.pipeline);
    for (const [key, each] of entries) {
      const values = variables.length === 1 ? [each] : [key, each];
      for (const [at, name] of variables.entries()) this.#set(name, values[at], assigns);
      const flow = this.#nodes(node.then, each);
      if (!assigns) this.#variables.length = known;
      if (flow === 'break') break;
    }
    if (entries.length === 0) return this.#nodes(node.otherwise, dot);
    return 'on';
  }

  #entries(value: GoValue, pipeline: Pipeline) {
    if (value === undefined) return [];
    if (value instanceof Map) return sortedEntries(value);
    if (Array.isArray(value)) return [...(value as readonly GoValue[]).entries()];
    if (typeof value === 'number' && Number.isInteger(value) && value <= mostOutput)
      return Array.from({ length: Math.max(0, value) }, (_, n): [number, number] => [n, n]);
    const last = pipeline.commands.at(-1)!;
    throw this.#fail(last.at, commandText(last), `range can't iterate over ${printed(value)}`);
  }

  #call({ at, name, pipeline }: Extract<Node, { readonly kind: 'template' }>, dot: GoValue): void {
    const nodes = this.#template.parsed.defined.get(name);
    const text = `{{template ${JSON.stringify(name)}${pipeline ? ` ${pipelineText(pipeline)}` : ''}}}`;
    if (!nodes) throw this.#fail(at, text, `template ${JSON.stringify(name)} not defined`);
    if (++this.#depth > deepest) throw this.#fail(at, text, 'exceeded maximum template depth (100000)');
    const value = pipeline && this.#pipeline(pipeline, dot);
    const outer = { variables: this.#variables, within: this.#within };
    this.#variables = [{ name: '$', value }];
    this.#within = name;
    this.#nodes(nodes, value);
    this.#variables = outer.variables;
    this.#within = outer.within;
    this.#depth--;
  }

  #pipeline({ commands, variables, assigns }: Pipeline, dot: GoValue): GoValue {
    let value: GoValue;
    for (const [stage, command] of commands.entries()) value = this.#command(command, dot, stage === 0 ? [] : [value]);
    for (const name of variables) this.#set(name, value, assigns);
    return value;
  }

  #set(name: string, value: GoValue, assigns: boolean): void {
    const known = assigns ? this.#variables.findLast((variable) => variable.name === name) : undefined;
    if (known) known.value = value;
    else this.#variables.push({ name, value });
  }

  /** `piped` is what the command before gave: the last argument. */
  #command(command: Command, dot: GoValue, piped: readonly GoValue[]): GoValue {
    const [first, ...rest] = command.operands;
    if (first.kind === 'function') return this.#function(command, dot, piped);
    if (rest.length > 0 || piped.length > 0) {
      const isCalled = first.kind === 'field' || first.kind === 'variable' || first.kind === 'pipeline';
      const name = isCalled ? first.names.at(-1) : undefined;
      if (name !== undefined) {
        const value = this.#operand(first, dot);
        const what = value === undefined ? `nil data; no entry for key ${JSON.stringify(name)}` : undefined;
        throw this.#fail(
          first.at,
          operandText(first),
          what ?? `${name} has arguments but cannot be invoked as function`,
        );
      }
      const shown = rest[0] ?? first;
      if (first.kind === 'nil') throw this.#fail(first.at, 'nil', 'nil is not a command');
      throw this.#fail(
        first.at,
        operandText(first),
        `can't give argument to non-function ${operandText(rest[0] ? first : shown)}`,
      );
    }
    if (first.kind === 'nil') throw this.#fail(first.at, 'nil', 'nil is not a command');
    return this.#operand(first, dot);
  }

  #function(command: Command, dot: GoValue, piped: readonly GoValue[]): GoValue {
    const [first, ...rest] = command.operands;
    const { name, at } = first as Extract<Operand, { readonly kind: 'function' }>;
    const known = goFunctions.get(name)!;
    const { parameters, variadic } = known;
    const given = rest.length + piped.length;
    const least = variadic ? parameters.length - 1 : parameters.length;
    if (given < least || (!variadic && given > least))
      throw this.#fail(
        at,
        name,
        `wrong number of args for ${name}: want ${variadic ? `at least ${least}` : least} got ${given}`,
      );
    if (name === 'and' || name === 'or') {
      let value: GoValue;
      for (const operand of rest) {
        value = this.#operand(operand, dot);
        if (isTrue(value) === (name === 'or')) return value;
      }
      return piped.length > 0 ? piped[0] : value;
    }
    const values = rest.map((operand, n) => this.#argument(operand, dot, parameterAt(known, n)));
    for (const value of piped) values.push(this.#typed(value, parameterAt(known, values.length), command));
    try {
      return known.call(...values);
    } catch (error) {
      if (error instanceof EngineError) throw error;
      throw this.#fail(command.at, commandText(command), `error calling ${name}: ${(error as Error).message}`);
    }
  }

  #argument(operand: Operand, dot: GoValue, type: string): GoValue {
    if (operand.kind === 'nil') {
      if (type === 'any') return undefined;
      throw this.#fail(operand.at, 'nil', `cannot assign nil to ${type}`);
    }
    const value = this.#operand(operand, dot);
    if (operand.kind === 'constant' && !fits(value, type))
      throw this.#fail(
        operand.at,
        operand.text,
        type === '[]string'
          ? `can't handle ${operand.text} for arg of type []string`
          : `expected ${type === 'int' ? 'integer' : type}; found ${operand.text}`,
      );
    return this.#typed(value, type, { at: operand.at, operands: [operand] });
  }

  #typed(value: GoValue, type: string, command: Command): GoValue {
    if (fits(value, type)) return value;
    throw this.#fail(
      command.at,
      commandText(command),
      value === undefined
        ? `invalid value; expected ${type}`
        : `wrong type for value; expected ${type}; got ${typeOf(value)}`,
    );
  }

  #operand(operand: Operand, dot: GoValue): GoValue {
    switch (operand.kind) {
      case 'dot':
        return dot;
      case 'nil':
        return undefined;
      case 'constant':
        return operand.value;
      case 'field':
        return this.#fields(dot, operand.names, operand);
      case 'variable': {
        const { name, names } = operand;
        return this.#fields(this.#variables.findLast((variable) => variable.name === name)?.value, names, operand);
      }
      case 'function':
        return this.#function({ at: operand.at, operands: [operand] }, dot, []);
      case 'pipeline':
        return this.#fields(this.#pipeline(operand.pipeline, dot), operand.names, operand);
    }
  }

  #fields(from: GoValue, names: readonly string[], operand: Operand): GoValue {
    let value = from;
    for (const name of names) {
      const fail = (what: string) => this.#fail(operand.at, operandText(operand), what);
      if (value instanceof GoStruct) {
        const method = value.methods.get(name);
        if (!method && !value.fields.has(name)) throw fail(`can't evaluate field ${name} in type ${value.type}`);
        value = method ? method() : value.fields.get(name);
      } else if (value instanceof Map) value = value.get(name);
      else if (value === undefined) throw fail(`nil data; no entry for key ${JSON.stringify(name)}`);
      else throw fail(`can't evaluate field ${name} in type ${typeOf(value)}`);
    }
    return value;
  }

  #write(text: string): void {
    this.#out += text;
    if (this.#out.length > mostOutput)
      throw new EngineError('invalid', `template: ${this.#template.name}: writes more than ${mostOutput} characters`);
  }

  #fail(at: number, context: string, what: string): EngineError {
    const before = this.#template.text.slice(0, at).split('\n');
    const place = `${this.#template.name}:${before.length}:${Buffer.byteLength(before.at(-1)!)}`;
    return new EngineError(
      'invalid',
      `template: ${place}: executing ${JSON.stringify(this.#within)} at <${context}>: ${what}`,
    );
  }
}

function parameterAt({ parameters }: GoFunction, at: number): string {
  return parameters[Math.min(at, parameters.length - 1)]!;
}

function fits(value: GoValue, type: string): boolean {
  return type === 'any' || typeOf(value) === type;
}
