import { parseDuration } from '../protocol/time.ts';
import { UsageError } from './command.ts';

/** `64m`, `1.5g`: bytes, in powers of 1,024. */
export function bytesOf(text: string, option: string, help: string): number {
  const match = /^(\d+(?:\.\d+)?) ?([kmgtp]?)(?:i?b)?$/i.exec(text.replace(/^(\d+)b$/i, '$1'));
  if (!match) throw new UsageError(`${option} ${text}: expected a size as 64m or 1g`, help);
  return Math.round(Number(match[1]) * 1024 ** 'bkmgtp'.indexOf(match[2]!.toLowerCase() || 'b'));
}

export function wholeNumber(text: string, option: string, help: string): number {
  if (!/^[+-]?\d{1,15}$/.test(text)) throw new UsageError(`${option} ${text}: expected a number`, help);
  return Number(text);
}

/** Billionths of a processor. */
export function cpusOf(text: string, option: string, help: string): number {
  if (!/^\d+(?:\.\d+)?$|^\.\d+$/.test(text))
    throw new UsageError(`${option} ${text}: expected a number as 0.5 or 2`, help);
  return Math.round(Number(text) * 1e9);
}

/** `1m30s` in nanoseconds. */
export function durationOf(text: string, option: string, help: string): number {
  const found = parseDuration(text);
  if (found === undefined || found < 0n)
    throw new UsageError(`${option} ${text}: expected a time as 500ms, 30s or 1m30s`, help);
  return Number(found);
}

/** `on-failure:3`. What is no policy the engine says. */
export function policyOf(text: string): { readonly Name: string; readonly MaximumRetryCount: number } {
  const [, name = text, times = '0'] = /^([^:]+)(?::(\d{1,9}))?$/.exec(text) ?? [];
  return { Name: name, MaximumRetryCount: Number(times) };
}

/** Fields of a line of comma-separated values, RFC 4180: a field in double quotes may hold a comma, two quotes in it are one. */
export function commaSeparated(text: string): readonly string[] {
  const fields: string[] = [];
  const pattern = /(?:"((?:[^"]|"")*)"|([^,]*))(,|$)/gy;
  for (let match = pattern.exec(text); match; match = pattern.exec(text)) {
    fields.push(match[1]?.replaceAll('""', '"') ?? match[2]!);
    if (match[3] === '') return fields;
  }
  return text.split(',');
}

/** `linux/arm64/v8` as the API has it. */
export function platformJson(text: string | undefined): string | undefined {
  if (text === undefined) return undefined;
  const [os = '', architecture = '', variant] = text.split('/');
  return JSON.stringify({ os, architecture, ...(variant && { variant }) });
}
