import { EngineError } from '../base/errors.ts';
import { aliases, commands, dockerOnly } from './catalogue.ts';
import { type Command, didYouMean, helpFor, parseArguments, UsageError } from './command.ts';
import { type Entries, type Entry, type Group, isGroup } from './complete.ts';
import { plain, printFailure } from './terminal.ts';

/** Runs one command line and returns its exit code. */
export async function runCli(words: readonly string[]): Promise<number> {
  let json = false;
  try {
    const { host, args } = takeHost(words);
    // What commands ask for where the engine is: for this process the flag is the variable.
    if (host !== undefined) process.env.BERTH_HOST = host;
    const [first, ...rest] = args;
    if (first === undefined || first === '--help' || first === '-h') return say(overview());
    if (first === 'help') return say(await explain(rest));
    if (first === '--version' || first === '-v') return await run('version', await load('version'), ['--short']);
    const found = find(args);
    if ('group' in found) return say(groupHelp(found.name, found.group));
    const command = await found.entry.load();
    const below = Object.entries(command.commands ?? {}).find(([name]) => name === found.rest[0])?.[1];
    const own = command.passThrough && !below ? found.rest.slice(0, firstOperand(found.rest)) : found.rest;
    json = own.some((word) => /^--json(?:=true|=1)?$/.test(word));
    // -h is --hostname where docker has it so.
    const short = Object.values(command.options).some((option) => option.short === '-h') ? '--help' : '-h';
    if (own.includes('--help') || own.includes(short)) return say(helpFor(below ?? command));
    return await run(found.name, command, found.rest);
  } catch (error) {
    const { exitCode } = (error ?? {}) as { exitCode?: unknown };
    printFailure(error, json);
    return typeof exitCode === 'number' ? exitCode : 1;
  }
}

/** `-H ADDRESS` and `--host ADDRESS` before the command, as docker has them. */
function takeHost(words: readonly string[]): { readonly host: string | undefined; readonly args: readonly string[] } {
  const [first = '', second] = words;
  const joined = /^(?:--host=|-H=?)(.+)$/s.exec(first)?.[1];
  if (joined !== undefined) return { host: joined, args: words.slice(1) };
  if ((first === '-H' || first === '--host') && second !== undefined) return { host: second, args: words.slice(2) };
  return { host: undefined, args: words };
}

const run = (name: string, command: Command, rest: readonly string[]) =>
  command.run(parseArguments(name, command, rest));

function say(text: string): number {
  process.stdout.write(text);
  return 0;
}

async function load(name: string): Promise<Command> {
  const entry = commands[name]!;
  if (isGroup(entry)) throw new EngineError('internal', `${name} is no command`);
  return await entry.load();
}

type Found =
  | { readonly name: string; readonly entry: Entry; readonly rest: readonly string[] }
  | { readonly name: string; readonly group: Group };

/** The command of a command line, below its group where it has one: `container ls -a`. */
function find([first, ...rest]: readonly string[]): Found {
  const name = named(commands, first!);
  const entry = commands[name];
  if (!entry) throw unknownCommand(first!);
  if (!isGroup(entry)) return { name, entry, rest };
  const [second, ...others] = rest;
  // `berth volume` and `berth volume -q` list.
  const bare = second === undefined || (second.startsWith('-') && second !== '--help' && second !== '-h');
  if (bare && entry.otherwise)
    return { name: `${name} ${entry.otherwise}`, entry: entry.commands[entry.otherwise]!, rest };
  if (second === undefined || second === '--help' || second === '-h' || second === 'help')
    return { name, group: entry };
  const below = named(entry.commands, second);
  const command = entry.commands[below];
  if (!command)
    throw new UsageError(
      `no such ${name} command: ${plain(second)}${didYouMean(second, Object.keys(entry.commands))}`,
      `berth ${name} --help`,
    );
  return { name: `${name} ${below}`, entry: command, rest: others };
}

function named(entries: Entries, typed: string): string {
  return typed in entries ? typed : (aliases[typed] ?? typed);
}

async function explain(words: readonly string[]): Promise<string> {
  if (words.length === 0) return overview();
  const found = find(words);
  return 'group' in found ? groupHelp(found.name, found.group) : helpFor(await found.entry.load());
}

function unknownCommand(typed: string): UsageError {
  if (typed.startsWith('-')) return new UsageError(`unknown flag: ${plain(typed)}`, 'berth --help');
  if (dockerOnly.includes(typed))
    return new UsageError(
      `no such command: ${typed}; it is docker's, whose CLI speaks to this engine too`,
      `DOCKER_HOST=unix:///run/berth/berth.sock docker ${typed}, or berth --help`,
    );
  return new UsageError(`no such command: ${plain(typed)}${didYouMean(typed, Object.keys(commands))}`, 'berth --help');
}

/** Where the options of a pass-through command surely end: at the first word without a dash that is no option's value. */
function firstOperand(words: readonly string[]): number {
  const at = words.findIndex((word, index) => !word.startsWith('-') && !(words[index - 1] ?? '').startsWith('-'));
  return at < 0 ? words.length : at;
}

function linesOf(entries: Entries): string {
  const width = Math.max(...Object.keys(entries).map((name) => name.length));
  return Object.entries(entries)
    .map(([name, { about }]) => `  ${name.padEnd(width)}  ${about}\n`)
    .join('');
}

function groupHelp(name: string, { about, commands: below, otherwise }: Group): string {
  const usual = otherwise ? ` Without a word: ${otherwise}.` : '';
  return `berth ${name} COMMAND\n\n${about}.${usual}\n\nCommands:\n${linesOf(below)}\n'berth ${name} COMMAND --help' tells more.\n`;
}

function overview(): string {
  return `berth: containers, faster, and nothing is lost\n\nCommands:\n${linesOf(commands)}\n'berth COMMAND --help' tells more; 'berth -H ssh://user@host COMMAND' speaks to an engine elsewhere.\nEverything that speaks to Docker speaks to the engine:\n  export DOCKER_HOST=unix:///run/berth/berth.sock\n`;
}
