import { constants } from 'node:os';
import type { Command, Option } from './command.ts';

/** A command as the overview knows it. */
export interface Entry {
  readonly about: string;
  readonly load: () => Promise<Command>;
}

/** Commands below a word: `berth volume create`. */
export interface Group {
  readonly about: string;
  readonly commands: Readonly<Record<string, Entry>>;
  /** What it is without a further word. */
  readonly otherwise?: string;
}

export type Entries = Readonly<Record<string, Entry | Group>>;

export function isGroup(entry: Entry | Group): entry is Group {
  return 'commands' in entry;
}

/** Of what the engine has names. */
export type NameKind = 'containers' | 'running' | 'stopped' | 'images' | 'networks' | 'volumes';

export interface CompletionDeps {
  readonly commands: Entries;
  /** Nothing where the engine does not answer at once. */
  readonly names: (kind: NameKind) => Promise<readonly string[]>;
}

export interface Candidate {
  readonly word: string;
  readonly about?: string;
}

/** What may stand in the place of the last word of a command line that begins with `berth`. */
export async function complete(line: string, { commands, names }: CompletionDeps): Promise<readonly Candidate[]> {
  const words = splitLine(line).slice(1);
  const typed = words.pop() ?? '';
  const fitting = (candidates: readonly Candidate[]) => candidates.filter(({ word }) => word.startsWith(typed));
  const [first, ...others] = words;
  const overview = (entries: Entries) => Object.entries(entries).map(([word, { about }]) => ({ word, about }));
  if (first === undefined || (first === 'help' && others.length === 0))
    return fitting([
      ...overview(commands),
      ...(first === undefined ? [{ word: 'help', about: 'explain a command' }] : []),
    ]);
  const top = commands[first];
  if (!top) return [];
  const [second, ...below] = others;
  if (isGroup(top) && second === undefined) return fitting(overview(top.commands));
  const [called, entry, given] = isGroup(top)
    ? ([`${first} ${second}`, top.commands[second!], below] as const)
    : ([first, top, others] as const);
  if (!entry) return [];
  const loaded = await entry.load();
  // `exec ls`: options before the word make it a container.
  const inner = Object.entries(loaded.commands ?? {}).find(([word]) => word === given[0]);
  const [name, command, before] = inner
    ? ([`${called} ${inner[0]}`, inner[1], given.slice(1)] as const)
    : ([called, loaded, given] as const);
  const place = placeOf(command, before, typed);
  if (place.kind === 'flag') return fitting(flagsOf(command));
  const { values, kinds } =
    place.kind === 'value' ? wantedByOption(place.option) : wantedByOperand(name, command.usage, place.index);
  const found = (await Promise.all(kinds.map((kind) => names(kind)))).flat();
  const head = place.kind === 'value' ? place.head : '';
  const further = given.length === 0 && place.kind === 'operand' ? Object.entries(loaded.commands ?? {}) : [];
  return fitting([
    ...further.map(([word, { about }]) => ({ word, about })),
    ...[...values, ...new Set(found)].map((word) => ({ word: head + word })),
  ]);
}

type Place =
  | { readonly kind: 'flag' }
  /** `head` is what of the word stands before the value: `--image=`. */
  | { readonly kind: 'value'; readonly option: Option; readonly head: string }
  | { readonly kind: 'operand'; readonly index: number };

function placeOf(command: Command, before: readonly string[], typed: string): Place {
  let operands = 0;
  let open: Option | undefined;
  let ended = false;
  for (const word of before) {
    if (open) open = undefined;
    else if (word === '--') ended = true;
    else if (!ended && word.startsWith('-') && word.length > 1) open = optionOpenedBy(command, word);
    else {
      operands++;
      ended ||= command.passThrough === true;
    }
  }
  if (open) return { kind: 'value', option: open, head: '' };
  if (!ended && typed.startsWith('-')) {
    const equals = typed.indexOf('=');
    const option = equals < 0 ? undefined : command.options[typed.slice(2, equals)];
    return option?.value ? { kind: 'value', option, head: typed.slice(0, equals + 1) } : { kind: 'flag' };
  }
  return { kind: 'operand', index: operands };
}

/** The option whose value is the next word. */
function optionOpenedBy({ options }: Command, word: string): Option | undefined {
  if (word.startsWith('--')) {
    const option = options[word.slice(2)];
    return option?.value ? option : undefined;
  }
  const last = Object.values(options).find(({ short }) => short === `-${word.at(-1)}`);
  return last?.value ? last : undefined;
}

function flagsOf({ options }: Command): readonly Candidate[] {
  return [
    ...Object.entries(options).map(([long, { about }]) => ({ word: `--${long}`, about })),
    { word: '--help', about: 'explain this command' },
  ];
}

interface Wanted {
  readonly values: readonly string[];
  readonly kinds: readonly NameKind[];
}

const nothing: Wanted = { values: [], kinds: [] };

function wantedByOption({ value = '' }: Option): Wanted {
  if (/^[a-z]+(\|[a-z]+)+$/.test(value)) return { values: value.split('|'), kinds: [] };
  if (value === 'SIGNAL') return { values: Object.keys(constants.signals), kinds: [] };
  if (value === 'IMAGE') return { values: [], kinds: ['images'] };
  if (value === 'CONTAINER') return { values: [], kinds: ['containers'] };
  if (value === 'MODE' || value === 'NETWORK') return { values: [], kinds: ['networks'] };
  return nothing;
}

const onlyRunning = new Set(['exec', 'debug', 'stop', 'kill', 'stats', 'pause', 'top', 'attach']);

/** By the usage line, which people read too: `[OPTIONS] CONTAINER...`, `[start | stop]`, `bash | zsh`. */
function wantedByOperand(name: string, usage: string, index: number): Wanted {
  const verb = name.split(' ').at(-1)!;
  const own = usage.startsWith(`${name} `) ? name.length : usage.indexOf(' ');
  const words = usage
    .slice(own + 1)
    .replace(/ ?\| ?/g, '|')
    .split(' ')
    .filter((word) => word !== '[OPTIONS]');
  const last = words.at(-1) ?? '';
  const word = (words[index] ?? (/\.\.\.\]?$/.test(last) ? last : '')).replace(/^\[|\]$|\.\.\.\]?$/g, '');
  if (/^[a-z]+(\|[a-z]+)+$/.test(word)) return { values: word.split('|'), kinds: [] };
  switch (word) {
    case 'CONTAINER':
      return {
        values: [],
        kinds: [onlyRunning.has(verb) ? 'running' : verb === 'start' ? 'stopped' : 'containers'],
      };
    case 'IMAGE':
      return { values: [], kinds: ['images'] };
    case 'NETWORK':
      return { values: [], kinds: ['networks'] };
    case 'VOLUME':
      return { values: [], kinds: ['volumes'] };
    case 'NAME':
      return verb === 'inspect' ? { values: [], kinds: ['containers', 'images', 'networks', 'volumes'] } : nothing;
    default:
      return nothing;
  }
}

/** Words as a shell reads them; the last one may still be open, and is empty behind a space. */
export function splitLine(line: string): string[] {
  const words = [''];
  let quote = '';
  for (let at = 0; at < line.length; at++) {
    const letter = line[at]!;
    if (quote !== '') {
      if (letter === quote) quote = '';
      else words.push(words.pop()! + letter);
    } else if (letter === '"' || letter === "'") quote = letter;
    else if (letter === '\\' && at + 1 < line.length) words.push(words.pop()! + line[++at]!);
    else if (/\s/.test(letter)) {
      if (words.at(-1) !== '') words.push('');
    } else words.push(words.pop()! + letter);
  }
  return words;
}
