import { EngineError } from '../base/errors.ts';

/** One instruction of a Dockerfile: its name in capitals, and what comes behind it on its lines. */
export interface Instruction {
  readonly name: string;
  readonly rest: string;
}

/** Lines of a Dockerfile: comments and empty ones left out, those that end in `\\` taken together. */
export function instructionsOf(text: string): readonly Instruction[] {
  const instructions: Instruction[] = [];
  let line = '';
  for (const raw of text.split(/\r?\n/)) {
    if (/^\s*(#|$)/.test(raw)) continue;
    const part = /^(.*)\\[ \t]*$/.exec(raw);
    line += part ? part[1]! : raw;
    if (part) continue;
    instructions.push(instructionOf(line));
    line = '';
  }
  if (line.trim() !== '') instructions.push(instructionOf(line));
  if (instructions.length === 0) throw new EngineError('invalid', 'file with no instructions');
  return instructions;
}

function instructionOf(line: string): Instruction {
  const [, name = '', rest = ''] = /^\s*(\S+)\s*(.*?)\s*$/s.exec(line) ?? [];
  return { name: name.toUpperCase(), rest };
}

/** A JSON list of strings; undefined when the text is anything else. */
export function jsonStrings(text: string): readonly string[] | undefined {
  if (!text.startsWith('[')) return undefined;
  try {
    const value: unknown = JSON.parse(text);
    return Array.isArray(value) && value.every((item) => typeof item === 'string') ? value : undefined;
  } catch {
    return undefined;
  }
}

/** Divided at blanks that are neither quoted nor escaped. Quotes and escapes stay in the words. */
export function wordsOf(text: string): string[] {
  const words: string[] = [];
  let word = '';
  let quote = '';
  for (let i = 0; i < text.length; i++) {
    const letter = text[i]!;
    if (letter === '\\' && quote !== "'" && i + 1 < text.length) {
      word += letter + text[++i]!;
      continue;
    }
    if (quote === '' && /\s/.test(letter)) {
      if (word !== '') words.push(word);
      word = '';
      continue;
    }
    if (quote === letter) quote = '';
    else if (quote === '' && (letter === '"' || letter === "'")) quote = letter;
    word += letter;
  }
  if (word !== '') words.push(word);
  return words;
}

/** `KEY=VALUE KEY=VALUE`, or the old form of one pair, `KEY VALUE with blanks`. */
export function pairsOf(name: string, text: string): (readonly [string, string])[] {
  const words = wordsOf(text);
  if (!words[0]?.includes('=')) {
    const [, key = '', value = ''] = /^(\S+)\s+(.*)$/s.exec(text) ?? [];
    if (key === '') throw new EngineError('invalid', `${name} must have two arguments`);
    return [[key, value]];
  }
  return words.map((word) => {
    const equals = word.indexOf('=');
    if (equals < 0)
      throw new EngineError('invalid', `Syntax error - can't find = in "${word}". Must be of the form: name=value`);
    return [word.slice(0, equals), word.slice(equals + 1)] as const;
  });
}

/** Takes the quotes and escapes off a word, and puts variables in. */
export function expand(word: string, environment: readonly string[] = []): string {
  const variables = new Map(environment.map((entry) => [entry.split('=', 1)[0]!, entry.slice(entry.indexOf('=') + 1)]));
  let out = '';
  let quote = '';
  for (let i = 0; i < word.length; i++) {
    const letter = word[i]!;
    if (letter === '\\' && quote !== "'" && i + 1 < word.length) {
      const next = word[++i]!;
      // In double quotes only what has a meaning there is escaped.
      out += quote === '"' && !'"$\\'.includes(next) ? `\\${next}` : next;
    } else if (letter === quote) quote = '';
    else if (quote === '' && (letter === '"' || letter === "'")) quote = letter;
    else if (letter === '$' && quote !== "'") {
      const [length, value] = variableAt(word.slice(i), variables);
      out += value;
      i += length - 1;
    } else out += letter;
  }
  return out;
}

function variableAt(text: string, variables: ReadonlyMap<string, string>): readonly [number, string] {
  const plain = /^\$([A-Za-z_]\w*)/.exec(text);
  if (plain) return [plain[0].length, variables.get(plain[1]!) ?? ''];
  if (!text.startsWith('${')) return [1, '$'];
  const braced = /^\$\{([A-Za-z_]\w*)(?:(:?)([-+])([^}]*))?\}/.exec(text);
  if (!braced)
    throw new EngineError('invalid', `failed to process ${JSON.stringify(text)}: unsupported modifier in substitution`);
  const [whole, name = '', colon, operator, other = ''] = braced;
  const value = variables.get(name);
  const set = colon ? Boolean(value) : value !== undefined;
  if (operator === '-') return [whole.length, set ? value! : other];
  if (operator === '+') return [whole.length, set ? other : ''];
  return [whole.length, value ?? ''];
}
