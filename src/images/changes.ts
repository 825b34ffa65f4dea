import { posix } from 'node:path';
import { EngineError } from '../base/errors.ts';
import type { Healthcheck, ImageDefaults } from '../oci/image-config.ts';
import { parseSignal } from '../protocol/signals.ts';
import { expand, type Lookup, splitWords, unquote } from './change-words.ts';

/** What is being changed. */
interface Draft {
  config: { -readonly [K in keyof ImageDefaults]: ImageDefaults[K] };
  /** A CMD came among the changes. */
  commanded: boolean;
}
type Change = (draft: Draft, rest: string, get: Lookup) => void;

/**
 * What `--change` of `docker import` and `docker commit` says, applied to an image's defaults: instructions as in a
 * Dockerfile, those that change nothing but the configuration. Throws `invalid` in Docker's words; the given is not changed.
 */
export function applyChanges(defaults: ImageDefaults, changes: readonly string[]): ImageDefaults {
  const draft: Draft = { config: { ...defaults }, commanded: false };
  for (const line of changes.flatMap(linesOf)) {
    const [, name = '', rest = ''] = /^\s*([^\s[]+)\s*([\s\S]*)$/.exec(line) ?? [];
    const change = instructions[name.toUpperCase()];
    if (!change) throw new EngineError('invalid', `${name.toUpperCase()} is not a valid change command`);
    change(draft, rest.trim(), (variable) => environmentOf(draft.config).get(variable));
  }
  return draft.config;
}

/** One change may hold several instructions, one a line; a backslash at the end joins lines, `#` begins a comment. */
function linesOf(change: string): string[] {
  return change
    .replace(/\\[ \t]*\r?\n/g, '')
    .split(/\r?\n/)
    .filter((line) => line.trim() !== '' && !line.trimStart().startsWith('#'));
}

const instructions: Readonly<Record<string, Change>> = {
  CMD: (draft, rest) => {
    draft.config.Cmd = commandOf(draft.config, rest);
    draft.commanded = true;
  },
  ENTRYPOINT: (draft, rest) => {
    const command = rest === '' ? [] : commandOf(draft.config, rest);
    draft.config.Entrypoint = command.length > 0 ? command : null;
    // The command that was there was meant for another entrypoint.
    if (!draft.commanded) draft.config.Cmd = null;
  },
  ENV: ({ config }, rest, get) => {
    const environment = environmentOf(config);
    for (const [name, value] of pairsOf('ENV', rest, get)) environment.set(name, value);
    config.Env = [...environment].map(([name, value]) => `${name}=${value}`);
  },
  LABEL: ({ config }, rest, get) => {
    config.Labels = { ...config.Labels, ...Object.fromEntries(pairsOf('LABEL', rest, get)) };
  },
  EXPOSE: ({ config }, rest, get) => {
    const ports = atLeastOne('EXPOSE', splitWords(rest)).flatMap((word) => exposedPorts(expand(unquote(word), get)));
    config.ExposedPorts = { ...config.ExposedPorts, ...Object.fromEntries(ports.map((port) => [port, {}])) };
  },
  USER: ({ config }, rest, get) => {
    config.User = expand(unquote(exactlyOne('USER', rest)), get);
  },
  VOLUME: ({ config }, rest, get) => {
    const paths = (jsonList(rest) ?? atLeastOne('VOLUME', splitWords(rest)).map(unquote)).map((path) =>
      expand(path, get),
    );
    if (paths.length === 0) throw needs('VOLUME', 'at least one argument');
    if (paths.includes('')) throw new EngineError('invalid', 'VOLUME specified can not be an empty string');
    config.Volumes = { ...config.Volumes, ...Object.fromEntries(paths.map((path) => [path, {}])) };
  },
  WORKDIR: ({ config }, rest, get) => {
    const path = expand(unquote(exactlyOne('WORKDIR', rest)), get);
    if (path === '') throw new EngineError('invalid', 'cannot normalize nothing');
    config.WorkingDir = posix.resolve('/', config.WorkingDir ?? '', path);
  },
  ONBUILD: ({ config }, rest) => {
    if (rest === '') throw needs('ONBUILD', 'at least one argument');
    const trigger = /^\S+/.exec(rest)![0].toUpperCase();
    if (trigger === 'ONBUILD') throw new EngineError('invalid', "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed");
    if (trigger === 'MAINTAINER' || trigger === 'FROM')
      throw new EngineError('invalid', `${trigger} isn't allowed as an ONBUILD trigger`);
    config.OnBuild = [...(config.OnBuild ?? []), rest];
  },
  STOPSIGNAL: ({ config }, rest, get) => {
    const signal = expand(unquote(exactlyOne('STOPSIGNAL', rest)), get);
    parseSignal(signal);
    config.StopSignal = signal;
  },
  HEALTHCHECK: ({ config }, rest) => {
    config.Healthcheck = healthcheckOf(rest);
  },
};

function environmentOf({ Env }: ImageDefaults): Map<string, string> {
  return new Map(
    (Env ?? []).map((entry) => {
      const equals = entry.indexOf('=');
      return equals < 0 ? [entry, ''] : [entry.slice(0, equals), entry.slice(equals + 1)];
    }),
  );
}

/** A list in JSON as it is; anything else is for a shell. */
function commandOf({ Shell }: ImageDefaults, rest: string): readonly string[] {
  const list = jsonList(rest);
  if (list) return list;
  return [...(Shell?.length ? Shell : ['/bin/sh', '-c']), ...(rest === '' ? [] : [rest])];
}

function jsonList(text: string): string[] | undefined {
  if (!text.startsWith('[')) return undefined;
  try {
    const value: unknown = JSON.parse(text);
    return Array.isArray(value) && value.every((entry) => typeof entry === 'string') ? value : undefined;
  } catch {
    return undefined;
  }
}

/** `a=b c="d e"`, or one pair in the old form, `a b c`. */
function pairsOf(name: string, rest: string, get: Lookup): [string, string][] {
  const words = atLeastOne(name, splitWords(rest));
  if (!words[0]!.includes('=')) {
    const [, key = '', value] = /^(\S+)\s+([\s\S]+)$/.exec(rest) ?? [];
    if (value === undefined) throw new EngineError('invalid', `${name} must have two arguments`);
    return [[expand(unquote(key), get), expand(unquote(value), get)]];
  }
  return words.map((word) => {
    const equals = word.indexOf('=');
    if (equals < 0)
      throw new EngineError(
        'invalid',
        `Syntax error - can't find = in ${JSON.stringify(word)}. Must be of the form: name=value`,
      );
    const key = expand(unquote(word.slice(0, equals)), get);
    if (key === '') throw new EngineError('invalid', `${name} names can not be blank`);
    return [key, expand(word.slice(equals + 1), get, 'quoted')];
  });
}

/** `80`, `80/udp`, `8000-8002/tcp`. */
function exposedPorts(text: string): string[] {
  const [range = '', protocol = 'tcp', ...more] = text.toLowerCase().split('/');
  const [first, last] =
    /^(\d+)(?:-(\d+))?$/
      .exec(range)
      ?.slice(1)
      .map((part) => (part === undefined ? undefined : Number(part))) ?? [];
  const isPort = (port: number | undefined): port is number => port !== undefined && port <= 65_535;
  const end = last ?? first;
  if (!isPort(first) || !isPort(end) || end < first || more.length > 0)
    throw new EngineError('invalid', `Invalid containerPort: ${text}`);
  if (!['tcp', 'udp', 'sctp'].includes(protocol)) throw new EngineError('invalid', `Invalid proto: ${protocol}`);
  return Array.from({ length: end - first + 1 }, (_, at) => `${first + at}/${protocol}`);
}

const durations: Readonly<Record<string, 'Interval' | 'Timeout' | 'StartPeriod' | 'StartInterval'>> = {
  interval: 'Interval',
  timeout: 'Timeout',
  'start-period': 'StartPeriod',
  'start-interval': 'StartInterval',
};

function healthcheckOf(rest: string): Healthcheck {
  const check: { -readonly [K in keyof Healthcheck]: Healthcheck[K] } = {};
  let left = rest;
  for (let flag = /^--([a-z-]+)(?:=(\S*))?\s*/.exec(left); flag; flag = /^--([a-z-]+)(?:=(\S*))?\s*/.exec(left)) {
    const [whole, name = '', value = ''] = flag;
    left = left.slice(whole.length);
    const field = durations[name];
    if (field) check[field] = nanoseconds(name, value);
    else if (name === 'retries') {
      if (!/^\d+$/.test(value))
        throw new EngineError('invalid', `strconv.ParseInt: parsing ${JSON.stringify(value)}: invalid syntax`);
      check.Retries = Number(value);
    } else throw new EngineError('invalid', `Unknown flag: ${name}`);
  }
  const [, kind = '', command = ''] = /^(\S+)\s*([\s\S]*)$/.exec(left) ?? [];
  if (kind === '') throw needs('HEALTHCHECK', 'at least one argument');
  switch (kind.toUpperCase()) {
    case 'NONE':
      if (command !== '') throw new EngineError('invalid', 'HEALTHCHECK NONE takes no arguments');
      return { Test: ['NONE'] };
    case 'CMD': {
      if (command === '') throw new EngineError('invalid', 'Missing command after HEALTHCHECK CMD');
      const list = jsonList(command);
      return { Test: list ? ['CMD', ...list] : ['CMD-SHELL', command], ...check };
    }
    default:
      throw new EngineError('invalid', `Unknown type ${JSON.stringify(kind.toUpperCase())} in HEALTHCHECK (try CMD)`);
  }
}

const units: Readonly<Record<string, number>> = { ns: 1, us: 1e3, µs: 1e3, ms: 1e6, s: 1e9, m: 60e9, h: 3600e9 };

/** `1m30s`, as Go writes durations. */
function nanoseconds(flag: string, text: string): number {
  if (text === '0') return 0;
  const parts = [...text.matchAll(/(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)/g)];
  if (parts.length === 0 || parts.map(([whole]) => whole).join('') !== text)
    throw new EngineError('invalid', `time: invalid duration ${JSON.stringify(text)}`);
  const total = Math.round(parts.reduce((sum, [, number, unit]) => sum + Number(number) * units[unit!]!, 0));
  if (total < 1e6) throw new EngineError('invalid', `Interval ${JSON.stringify(flag)} cannot be less than 1ms`);
  return total;
}

function exactlyOne(name: string, rest: string): string {
  if (rest === '') throw needs(name, 'exactly one argument');
  return rest;
}

function atLeastOne(name: string, words: readonly string[]): readonly string[] {
  if (words.length === 0) throw needs(name, 'at least one argument');
  return words;
}

function needs(name: string, what: string): EngineError {
  return new EngineError('invalid', `${name} requires ${what}`);
}
