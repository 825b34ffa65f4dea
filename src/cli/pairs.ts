import { UsageError } from './command.ts';

/** `NAME=VALUE` taken apart; the value of a bare name is ''. */
export function splitOnce(text: string): readonly [string, string] {
  const at = text.indexOf('=');
  return at < 0 ? [text, ''] : [text.slice(0, at), text.slice(at + 1)];
}

/** Of texts that must be `NAME=VALUE`. Throws a `UsageError` that names the option. */
export function pairsOf(texts: readonly string[], option: string, help: string): (readonly [string, string])[] {
  for (const text of texts)
    if (!/^[^=]+=/.test(text)) throw new UsageError(`${option} ${text}: expected NAME=VALUE`, help);
  return texts.map(splitOnce);
}

/** What `--filter` gives as the API's `filters`: a list for each name. */
export function filtersOf(texts: readonly string[], help: string): Record<string, string[]> {
  const filters: Record<string, string[]> = {};
  for (const [name, value] of pairsOf(texts, '--filter', help)) filters[name] = [...(filters[name] ?? []), value];
  return filters;
}
