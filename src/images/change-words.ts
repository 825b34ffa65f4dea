/** The value of a variable; undefined when it is not set. */
export type Lookup = (name: string) => string | undefined;

/** Splits at blanks that are not in quotes and not escaped. Quotes and backslashes stay where they are. */
export function splitWords(text: string): string[] {
  const words: string[] = [];
  let word = '';
  let quote = '';
  for (let at = 0; at < text.length; at++) {
    const char = text[at]!;
    if (char === '\\' && at + 1 < text.length && quote !== "'") word += char + text[++at];
    else if (quote === '' && /\s/.test(char)) {
      if (word !== '') words.push(word);
      word = '';
    } else {
      if (quote === '' && (char === '"' || char === "'")) quote = char;
      else if (char === quote) quote = '';
      word += char;
    }
  }
  return word === '' ? words : [...words, word];
}

/** Takes off the quotes around a whole word. */
export function unquote(word: string): string {
  return /^"([^"]*)"$/.exec(word)?.[1] ?? /^'([^']*)'$/.exec(word)?.[1] ?? word;
}

/**
 * Puts in variables: `$name`, `${name}`, `${name:-else}`, `${name:+if set}`; not inside single quotes. `quoted` also takes
 * off quotes and backslashes within the word, as a shell does.
 */
export function expand(text: string, get: Lookup, quoted?: 'quoted'): string {
  let result = '';
  let quote = '';
  for (let at = 0; at < text.length; at++) {
    const char = text[at]!;
    if (char === '\\' && at + 1 < text.length && quote !== "'") {
      const next = text[++at]!;
      result += quoted || next === '$' ? next : char + next;
    } else if (quoted && quote === '' && (char === '"' || char === "'")) quote = char;
    else if (quoted && char === quote) quote = '';
    else if (char === '$' && quote !== "'") {
      const [whole, plain, name, how, other = ''] =
        /^\$(?:(\w+)|\{(\w+)(?:(:[-+])([^}]*))?\})/.exec(text.slice(at)) ?? [];
      if (whole === undefined) result += char;
      else {
        const value = get(plain ?? name!);
        if (how === ':-') result += value || expand(other, get);
        else if (how === ':+') result += value ? expand(other, get) : '';
        else result += value ?? '';
        at += whole.length - 1;
      }
    } else result += char;
  }
  return result;
}
