import { EngineError } from '../base/errors.ts';
import type { Healthcheck, ImageDefaults } from '../oci/image-config.ts';
import { formatPort, parsePorts } from '../protocol/ports.ts';
import { parseSignal } from '../protocol/signals.ts';
import { parseDuration } from '../protocol/time.ts';
import { expand, type Instruction, instructionsOf, jsonStrings, pairsOf, wordsOf } from './instructions.ts';

type Mutable = { -readonly [K in keyof ImageDefaults]: ImageDefaults[K] };
const bad = (message: string) => new EngineError('invalid', message);

/** What the instructions of `--change` make of a configuration, in Docker's words where one is wrong. */
export function changedConfig(config: ImageDefaults, changes: readonly string[]): ImageDefaults {
  const text = changes.join('\n');
  if (changes.length === 0) return config;
  const changed: Mutable = { ...config };
  const state = { commandSet: false };
  for (const instruction of instructionsOf(text)) {
    const apply = commands[instruction.name];
    if (!apply) throw bad(`${instruction.name} is not a valid change command`);
    apply(changed, instruction, state);
  }
  return changed;
}

type Apply = (config: Mutable, instruction: Instruction, state: { commandSet: boolean }) => void;

const commands: Readonly<Record<string, Apply>> = {
  CMD: (config, { rest }, state) => {
    config.Cmd = command(config, rest);
    state.commandSet = true;
  },
  ENTRYPOINT: (config, { rest }, { commandSet }) => {
    const words = rest === '' ? null : command(config, rest);
    config.Entrypoint = words?.length ? words : null;
    // The image's arguments were for another program.
    if (!commandSet) config.Cmd = null;
  },
  ENV: (config, { name, rest }) => {
    for (const [key, value] of expandedPairs(config, name, rest)) {
      const others = (config.Env ?? []).filter((entry) => entry.split('=', 1)[0] !== key);
      const at = (config.Env ?? []).findIndex((entry) => entry.split('=', 1)[0] === key);
      config.Env = others.toSpliced(at < 0 ? others.length : at, 0, `${key}=${value}`);
    }
  },
  LABEL: (config, { name, rest }) => {
    config.Labels = { ...config.Labels, ...Object.fromEntries(expandedPairs(config, name, rest)) };
  },
  EXPOSE: (config, { name, rest }) => {
    const ports = wordsOf(need(name, rest)).flatMap((word) => portsOf(expand(word, config.Env)));
    config.ExposedPorts = { ...config.ExposedPorts, ...Object.fromEntries(ports.map((port) => [port, {}])) };
  },
  VOLUME: (config, { name, rest }) => {
    const paths = jsonStrings(need(name, rest)) ?? wordsOf(rest);
    const expanded = paths.map((path) => expand(path, config.Env).trim());
    if (expanded.includes('')) throw bad('VOLUME specified can not be an empty string');
    config.Volumes = { ...config.Volumes, ...Object.fromEntries(expanded.map((path) => [path, {}])) };
  },
  USER: (config, { name, rest }) => {
    config.User = expand(needOne(name, rest), config.Env);
  },
  WORKDIR: (config, { name, rest }) => {
    const path = expand(needOne(name, rest), config.Env);
    config.WorkingDir = cleanAbsolute(path.startsWith('/') ? path : `${config.WorkingDir || '/'}/${path}`);
  },
  STOPSIGNAL: (config, { name, rest }) => {
    const signal = expand(needOne(name, rest), config.Env);
    try {
      parseSignal(signal);
    } catch (cause) {
      throw new EngineError('invalid', `invalid signal: ${signal}`, { cause });
    }
    config.StopSignal = signal;
  },
  ONBUILD: (config, { name, rest }) => {
    const trigger = need(name, rest).trim();
    const first = trigger.split(/\s/, 1)[0]!.toUpperCase();
    if (first === 'ONBUILD') throw bad("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed");
    if (first === 'FROM' || first === 'MAINTAINER') throw bad(`${first} isn't allowed as an ONBUILD trigger`);
    config.OnBuild = [...(config.OnBuild ?? []), trigger];
  },
  HEALTHCHECK: (config, { name, rest }) => {
    config.Healthcheck = healthcheck(need(name, rest));
  },
};

const shell = ['/bin/sh', '-c'];

function command({ Shell }: Mutable, rest: string): readonly string[] {
  const words = jsonStrings(rest);
  if (words) return words;
  const [...start] = Shell?.length ? Shell : shell;
  return rest === '' ? start : [...start, rest];
}

function need(name: string, rest: string): string {
  if (rest === '') throw bad(`${name} requires at least one argument`);
  return rest;
}

function needOne(name: string, rest: string): string {
  if (rest === '') throw bad(`${name} requires exactly one argument`);
  return rest;
}

function expandedPairs(config: Mutable, name: string, rest: string): (readonly [string, string])[] {
  // All with the environment as it was before this instruction.
  return pairsOf(name, need(name, rest)).map(([key, value]) => {
    const expanded = expand(key, config.Env);
    if (expanded === '') throw bad(`${name} names can not be blank`);
    return [expanded, expand(value, config.Env)] as const;
  });
}

function portsOf(text: string): string[] {
  const [, protocol = 'tcp'] = text.toLowerCase().split('/');
  if (!['tcp', 'udp', 'sctp'].includes(protocol)) throw bad(`Invalid proto: ${protocol}`);
  try {
    return parsePorts(text).map(formatPort);
  } catch (cause) {
    throw new EngineError('invalid', `Invalid containerPort: ${text.split('/')[0]}`, { cause });
  }
}

function cleanAbsolute(path: string): string {
  const parts: string[] = [];
  for (const part of path.split('/')) {
    if (part === '..') parts.pop();
    else if (part !== '' && part !== '.') parts.push(part);
  }
  return `/${parts.join('/')}`;
}

const flags: Readonly<Record<string, 'Interval' | 'Timeout' | 'StartPeriod' | 'StartInterval' | 'Retries'>> = {
  interval: 'Interval',
  timeout: 'Timeout',
  'start-period': 'StartPeriod',
  'start-interval': 'StartInterval',
  retries: 'Retries',
};

function healthcheck(text: string): Healthcheck {
  const found: { -readonly [K in keyof Healthcheck]: Healthcheck[K] } = {};
  let rest = text;
  for (let flag = /^--([\w-]+)(?:=(\S*))?\s*/.exec(rest); flag; flag = /^--([\w-]+)(?:=(\S*))?\s*/.exec(rest)) {
    rest = rest.slice(flag[0].length);
    const key = flags[flag[1]!];
    if (!key) throw bad(`Unknown flag: ${flag[1]}`);
    found[key] = key === 'Retries' ? retries(flag[2] ?? '') : duration(flag[1]!, flag[2] ?? '');
  }
  const [, type = '', its = ''] = /^(\S*)\s*(.*)$/s.exec(rest)!;
  if (type === '') throw bad('Missing type for HEALTHCHECK (should be CMD or NONE)');
  if (type.toUpperCase() === 'NONE') {
    if (its !== '') throw bad('HEALTHCHECK NONE takes no arguments');
    return { Test: ['NONE'] };
  }
  if (type.toUpperCase() !== 'CMD') throw bad(`Unknown type "${type.toUpperCase()}" in HEALTHCHECK (try CMD)`);
  if (its === '') throw bad('Missing command after HEALTHCHECK CMD');
  const words = jsonStrings(its);
  return { ...found, Test: words ? ['CMD', ...words] : ['CMD-SHELL', its] };
}

function duration(flag: string, text: string): number {
  const value = parseDuration(text);
  if (value === undefined) throw bad(`time: invalid duration "${text}"`);
  if (value !== 0n && value < 1_000_000n) throw bad(`Interval "${flag}" cannot be less than 1ms`);
  return Number(value);
}

function retries(text: string): number {
  if (!/^-?\d{1,9}$/.test(text)) throw bad(`strconv.ParseInt: parsing "${text}": invalid syntax`);
  if (Number(text) < 0) throw bad(`--retries cannot be negative (${text})`);
  return Number(text);
}

/** What a configuration leaves out, from the one below it. */
export function mergedDefaults(config: ImageDefaults, below: ImageDefaults): ImageDefaults {
  const merged: Mutable = { ...config };
  if (!config.User && below.User) merged.User = below.User;
  if (below.ExposedPorts) merged.ExposedPorts = { ...below.ExposedPorts, ...config.ExposedPorts };
  if (below.Volumes) merged.Volumes = { ...below.Volumes, ...config.Volumes };
  if (below.Labels) merged.Labels = { ...below.Labels, ...config.Labels };
  const keys = new Set((config.Env ?? []).map((entry) => entry.split('=', 1)[0]));
  const inherited = (below.Env ?? []).filter((entry) => !keys.has(entry.split('=', 1)[0]));
  if (inherited.length > 0) merged.Env = [...(config.Env ?? []), ...inherited];
  if (!config.Entrypoint?.length) {
    if (!config.Cmd?.length && below.Cmd) merged.Cmd = below.Cmd;
    if (!config.Entrypoint && below.Entrypoint) merged.Entrypoint = below.Entrypoint;
  }
  if (below.Healthcheck) merged.Healthcheck = { ...below.Healthcheck, ...nonZero(config.Healthcheck ?? {}) };
  if (!config.WorkingDir && below.WorkingDir) merged.WorkingDir = below.WorkingDir;
  if (!config.StopSignal && below.StopSignal) merged.StopSignal = below.StopSignal;
  if (!config.Shell && below.Shell) merged.Shell = below.Shell;
  if (!config.OnBuild && below.OnBuild) merged.OnBuild = below.OnBuild;
  return merged;
}

function nonZero(healthcheck: Healthcheck): Healthcheck {
  return Object.fromEntries(
    Object.entries(healthcheck).filter(([, value]) => value !== 0 && !(Array.isArray(value) && value.length === 0)),
  );
}
