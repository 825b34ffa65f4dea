import { readFileSync } from 'node:fs';
import { codeOf, EngineError, messageOf } from '../base/errors.ts';
import { type DockerKey, dockerKeys, forms, isObject } from './docker-keys.ts';

export const defaultDaemonJson = '/etc/docker/daemon.json';

export interface DaemonJson {
  readonly path: string;
  /** False: there is no such file, and nobody asked for it. */
  readonly found: boolean;
  /** As they stand in the file. */
  readonly keys: Readonly<Record<string, unknown>>;
  /** Settings of ours by name, not read yet. */
  readonly settings: Readonly<Record<string, unknown>>;
  /** For each key that sets something the settings that it sets. */
  readonly settingsOf: ReadonlyMap<string, readonly string[]>;
  /** What stands in the file and does nothing, with why. */
  readonly unheard: readonly { readonly key: string; readonly why: string }[];
}

const known = new Map(dockerKeys.map((one) => [one.key, one]));
const proxyKeys = ['http-proxy', 'https-proxy', 'no-proxy'];

/** Reads dockerd's configuration file. Throws `invalid` as dockerd refuses it: no JSON, a key that is none, a value of another form. */
export function readDaemonJson(path: string, { required }: { readonly required: boolean }): DaemonJson {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    if (codeOf(error) === 'ENOENT' && !required)
      return { path, found: false, keys: {}, settings: {}, settingsOf: new Map(), unheard: [] };
    throw refused(path, `it cannot be read: ${codeOf(error)}`, error);
  }
  return parseDaemonJson(text, path);
}

/** As `readDaemonJson`, of the file's text. An empty file says nothing, as with dockerd. */
export function parseDaemonJson(text: string, path: string): DaemonJson {
  const content = text.replace(/^\uFEFF/, '');
  const keys = content.trim() === '' ? {} : parsed(content, path);
  const unknown = Object.entries(keys).flatMap(([key, value]) =>
    key === 'proxies' && isObject(value)
      ? Object.keys(value).filter((name) => !proxyKeys.includes(name))
      : known.has(key)
        ? []
        : [key],
  );
  if (unknown.length > 0)
    throw refused(
      path,
      `the following directives don't match any configuration option: ${unknown.toSorted().join(', ')}`,
    );
  const settings: Record<string, unknown> = {};
  const settingsOf = new Map<string, readonly string[]>();
  const unheard: { key: string; why: string }[] = [];
  for (const [key, value] of Object.entries(keys)) {
    // Go's decoder takes null for nothing said.
    if (value === null) continue;
    const one = known.get(key)!;
    if (!forms[one.form](value))
      throw refused(path, `${key}: expected ${words[one.form]}, got ${JSON.stringify(value)}`);
    const out: Record<string, unknown> = {};
    const why = one.honoured === 'no' ? one.about : put(one, value, out, path);
    if (why !== undefined) unheard.push({ key, why });
    Object.assign(settings, out);
    if (Object.keys(out).length > 0) settingsOf.set(key, Object.keys(out));
  }
  return { path, found: true, keys, settings, settingsOf, unheard };
}

/** Throws in dockerd's words when a flag and the file say the same thing. `flags` are settings by name, as given. */
export function refuseConflicts(file: DaemonJson, flags: Readonly<Record<string, string>>): void {
  const both = [...file.settingsOf].flatMap(([key, names]) =>
    names
      .filter((name) => flags[name] !== undefined)
      .map((name) => `${key}: (from flag: ${flags[name]}, from file: ${shown(file.keys[key])})`),
  );
  if (both.length > 0)
    throw refused(
      file.path,
      `the following directives are specified both as a flag and in the configuration file: ${both.join(', ')}`,
    );
}

const words: Readonly<Record<DockerKey['form'], string>> = {
  text: 'a text',
  flag: 'true or false',
  number: 'a whole number',
  size: 'bytes, as "64m" or 67108864',
  list: 'a list of texts',
  pairs: 'an object of texts',
  pools: 'a list of {"base": "10.10.0.0/16", "size": 24}',
  object: 'an object',
};

function put(one: DockerKey, value: unknown, out: Record<string, unknown>, path: string): string | undefined {
  try {
    return (one.put as ((value: unknown, out: Record<string, unknown>) => string | undefined) | undefined)?.(
      value,
      out,
    );
  } catch (error) {
    throw refused(path, messageOf(error), error);
  }
}

function parsed(text: string, path: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw refused(path, `it is not JSON: ${placeIn(text, messageOf(error))}`, error);
  }
  if (!isObject(value)) throw refused(path, 'it is not a JSON object');
  return value;
}

/** V8 names the position in most of its messages; without one the end is where something is missing. */
function placeIn(text: string, message: string): string {
  const named = /at position (\d+)/.exec(message)?.[1];
  const before = text.slice(0, named === undefined ? text.trimEnd().length : Number(named)).split('\n');
  const what = message.replace(/ in JSON at position .*$/s, '').replace(/, (\.\.\.)?".*$/s, '');
  return `line ${before.length}, column ${before.at(-1)!.length + 1}: ${what}`;
}

function shown(value: unknown): string {
  return Array.isArray(value)
    ? `[${value.join(' ')}]`
    : typeof value === 'object'
      ? JSON.stringify(value)
      : String(value);
}

const refused = (path: string, why: string, cause?: unknown) =>
  new EngineError('invalid', `unable to configure the engine with file ${path}: ${why}`, {
    cause,
    hint: 'docs/daemon-json.md tells of every key; berth engine start --validate looks again',
  });
