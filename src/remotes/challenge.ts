/** One way to sign in that an answer offers (RFC 9110, section 11.6.1). */
export interface Challenge {
  /** In lower case. */
  readonly scheme: string;
  readonly parameters: Readonly<Record<string, string>>;
}

const token = /[\w!#$%&'*+.^`|~-]+/y;
const parameter = /([\w!#$%&'*+.^`|~-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([\w!#$%&'*+.^`|~:/?=-]*))/y;

/** Reads a WWW-Authenticate header, which may hold several challenges. What can't be read ends the list. */
export function parseChallenges(header: string): readonly Challenge[] {
  const challenges: { scheme: string; parameters: Record<string, string> }[] = [];
  let at = 0;
  const match = (pattern: RegExp) => {
    pattern.lastIndex = at;
    const found = pattern.exec(header);
    if (found) at = pattern.lastIndex;
    return found;
  };
  while (at < header.length) {
    match(/[\s,]*/y);
    const current = challenges.at(-1);
    const pair = current && match(parameter);
    if (current && pair) {
      const name = pair[1]!.toLowerCase();
      if (!Object.hasOwn(current.parameters, name))
        current.parameters[name] = pair[2] === undefined ? pair[3]! : pair[2].replace(/\\(.)/g, '$1');
      continue;
    }
    const scheme = match(token);
    if (!scheme) break;
    challenges.push({ scheme: scheme[0].toLowerCase(), parameters: {} });
  }
  return challenges;
}
