import { EngineError } from '../base/errors.ts';
import { type Described, tagOf } from './log-tag.ts';

/** What the monitor has room for beside a line. */
const most = 16 * 1024;

/**
 * What the log options `labels`, `env` and `tag` put into each line, by name. Undefined when they name nothing. Throws
 * `invalid` when it is too much.
 */
export function logAttributes(container: Described): Readonly<Record<string, string>> | undefined {
  const { Type, Config } = container.hostConfig.LogConfig;
  if (Type !== 'json-file') return undefined;
  const pairs = namedByOptions(container);
  if (Config?.['tag']) pairs.set('tag', tagOf(container, Config['tag']));
  if (pairs.size === 0) return undefined;
  const attributes = Object.fromEntries([...pairs].sort(([a], [b]) => (a < b ? -1 : 1)));
  if (Buffer.byteLength(JSON.stringify(attributes)) > most)
    throw new EngineError('invalid', `the labels and variables of a log line take more than ${most / 1024} KiB`);
  return attributes;
}

/** Labels and variables that the log options `labels`, `env` and their patterns name. */
export function namedByOptions({ config, hostConfig }: Described): Map<string, string> {
  const options = hostConfig.LogConfig.Config ?? {};
  const pairs = new Map<string, string>();
  const pick = (
    names: string | undefined,
    pattern: string | undefined,
    entries: readonly (readonly [string, string])[],
  ) => {
    const wanted = new Set((names ?? '').split(',').filter(Boolean));
    const matching = pattern ? safePattern(pattern) : undefined;
    for (const [key, value] of entries) if (wanted.has(key) || matching?.test(key)) pairs.set(key, value);
  };
  pick(options['labels'], options['labels-regex'], Object.entries(config.Labels));
  const env = config.Env.map((entry): [string, string] => {
    const [key = '', value = ''] = entry.split(/=(.*)/s);
    return [key, value];
  });
  pick(options['env'], options['env-regex'], env);
  return pairs;
}

function safePattern(text: string): RegExp | undefined {
  try {
    return new RegExp(text);
  } catch {
    return undefined;
  }
}
