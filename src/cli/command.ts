import { closest } from '../base/edit-distance.ts';
import { EngineError } from '../base/errors.ts';

/** One option of a command. A flag has no value name. */
export interface Option {
  /** `-p` */
  readonly short?: string;
  /** `PORTS`, shown in help; absent for a flag that is on or off. */
  readonly value?: string;
  readonly many?: boolean;
  /** Other long names that docker takes too: `net` for `network`. Not shown. */
  readonly also?: readonly string[];
  readonly about: string;
}

export interface Parsed {
  readonly operands: readonly string[];
  /** `otherwise` where it was not given. */
  flag(name: string, otherwise?: boolean): boolean;
  /** The last value given. */
  value(name: string): string | undefined;
  values(name: string): readonly string[];
}

export interface Command {
  /** `run [OPTIONS] IMAGE [COMMAND] [ARG...]` */
  readonly usage: string;
  readonly about: string;
  readonly options: Readonly<Record<string, Option>>;
  /** How many operands it takes. */
  readonly operands: { readonly least: number; readonly most: number };
  /** Options end at the first operand: what follows belongs to the program that is run. */
  readonly passThrough?: boolean;
  /** Of one that passes through: first operands that are commands of ours, with options of their own. */
  readonly commands?: Readonly<Record<string, Command>>;
  readonly examples?: readonly string[];
  /** Returns the exit code. */
  run(parsed: Parsed): Promise<number>;
}

/** What the user typed cannot be: exit code 125, as docker's. */
export class UsageError extends EngineError {
  readonly exitCode = 125;

  constructor(message: string, hint: string) {
    super('invalid', message, { hint, code: 'E_USAGE' });
  }
}

/** `--json` where stdout has an archive already. */
export function stdoutIsTaken(instead: string): UsageError {
  return new UsageError('--json: the archive goes to stdout, which has no room for anything else', instead);
}

/** Reads `-d -p 80:80 --name=x IMAGE ARGS`: long and short options, joined flags (`-it`), `--` ends options. */
export function parseArguments(name: string, command: Command, args: readonly string[]): Parsed {
  const found = new Map<string, string[]>();
  const operands: string[] = [];
  const help = `berth ${name} --help`;
  const byShort = new Map(
    Object.entries(command.options).flatMap(([long, option]) =>
      option.short ? [[option.short.slice(1), long] as const] : [],
    ),
  );
  const byOther = new Map(
    Object.entries(command.options).flatMap(([long, { also = [] }]) => also.map((other) => [other, long] as const)),
  );
  const put = (long: string, value: string) => {
    if (command.options[long]!.value === undefined && !/^(?:1|t|true|0|f|false)$/i.test(value))
      throw new UsageError(`--${long}=${value}: expected true or false`, help);
    const values = found.get(long);
    if (values) values.push(value);
    else found.set(long, [value]);
  };
  const rest = [...args];
  while (rest.length > 0) {
    const word = rest.shift()!;
    if (word === '--') {
      operands.push(...rest);
      break;
    }
    if (word.startsWith('--')) {
      const equals = word.indexOf('=');
      const typed = word.slice(2, equals < 0 ? undefined : equals);
      const long = byOther.get(typed) ?? typed;
      const option = command.options[long];
      if (!option)
        throw new UsageError(`unknown flag: --${long}${didYouMean(long, Object.keys(command.options), '--')}`, help);
      if (option.value === undefined) put(long, equals < 0 ? 'true' : word.slice(equals + 1));
      else put(long, equals < 0 ? valueAfter(word, rest, help) : word.slice(equals + 1));
    } else if (word.length > 1 && word.startsWith('-')) {
      for (let at = 1; at < word.length; at++) {
        const long = byShort.get(word[at]!);
        if (!long) throw new UsageError(`unknown shorthand flag: '${word[at]}' in ${word}`, help);
        if (command.options[long]!.value === undefined) {
          put(long, 'true');
          continue;
        }
        const joined = word.slice(at + 1).replace(/^=/, '');
        put(long, joined === '' ? valueAfter(`-${word[at]}`, rest, help) : joined);
        break;
      }
    } else if (command.passThrough) {
      operands.push(word, ...rest);
      break;
    } else {
      operands.push(word);
    }
  }
  const { least, most } = command.operands;
  if (operands.length < least || operands.length > most) {
    const count =
      least === most ? `${least}` : most === Number.POSITIVE_INFINITY ? `at least ${least}` : `${least} to ${most}`;
    throw new UsageError(
      `berth ${name} takes ${count} argument${least === 1 && (most === 1 || most === Number.POSITIVE_INFINITY) ? '' : 's'}, got ${operands.length}`,
      help,
    );
  }
  return {
    operands,
    flag: (long, otherwise = false) => {
      const last = found.get(long)?.at(-1);
      return last === undefined ? otherwise : /^(?:1|t|true)$/i.test(last);
    },
    value: (long) => found.get(long)?.at(-1),
    values: (long) => found.get(long) ?? [],
  };
}

function valueAfter(word: string, rest: string[], help: string): string {
  const value = rest.shift();
  if (value === undefined) throw new UsageError(`flag needs an argument: ${word}`, help);
  return value;
}

/** `; did you mean --name?` when something known is close to what was typed, else nothing. */
export function didYouMean(typed: string, known: Iterable<string>, prefix = ''): string {
  const close = closest(typed, known);
  return close === undefined ? '' : `; did you mean ${prefix}${close}?`;
}

export function helpFor(command: Command): string {
  const lines = [`berth ${command.usage}`, '', command.about];
  const options = Object.entries(command.options).map(([long, { short, value, about }]): [string, string] => [
    `  ${short ? `${short}, ` : '    '}--${long}${value ? ` ${value}` : ''}`,
    about,
  ]);
  if (options.length > 0) {
    const width = Math.max(...options.map(([left]) => left.length));
    lines.push('', 'Options:', ...options.map(([left, about]) => `${left.padEnd(width)}  ${about}`));
  }
  if (command.examples) lines.push('', 'Examples:', ...command.examples.map((line) => `  ${line}`));
  return `${lines.join('\n')}\n`;
}
