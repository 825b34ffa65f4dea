import { EngineError } from '../base/errors.ts';

/** What Docker writes where something never happened: the zero of Go's time. */
export const zeroTime = '0001-01-01T00:00:00Z';

const second = 1_000_000_000n;
const units: Readonly<Record<string, bigint>> = {
  ns: 1n,
  us: 1000n,
  µs: 1000n,
  μs: 1000n,
  ms: 1_000_000n,
  s: second,
  m: 60n * second,
  h: 3600n * second,
};

/** A Go duration (`1h2m3.5s`, `-5m`) in nanoseconds; undefined when the text is none. */
export function parseDuration(text: string): bigint | undefined {
  const signed = /^([+-]?)(.*)$/s.exec(text)!;
  if (signed[2] === '0') return 0n;
  let total = 0n;
  let rest = signed[2]!;
  if (rest === '') return undefined;
  while (rest !== '') {
    const part = /^([0-9]{0,18})(?:\.([0-9]{0,18}))?(ns|us|µs|μs|ms|s|m|h)/.exec(rest);
    if (!part || (part[1] === '' && (part[2] ?? '') === '')) return undefined;
    const unit = units[part[3]!]!;
    const fraction = part[2] ?? '';
    total += BigInt(part[1] || '0') * unit + (BigInt(fraction || '0') * unit) / 10n ** BigInt(fraction.length);
    rest = rest.slice(part[0].length);
  }
  return signed[1] === '-' ? -total : total;
}

/** RFC 3339, also without zone (UTC), seconds or time, in nanoseconds since 1970; undefined when the text is none. */
export function parseTime(text: string): bigint | undefined {
  const match =
    /^(\d{4})-(\d\d)-(\d\d)(?:[Tt ](\d\d)(?::(\d\d)(?::(\d\d)(?:\.(\d{1,18}))?)?)?)?([Zz]|[+-]\d\d:\d\d)?$/.exec(text);
  if (!match) return undefined;
  const [, year, month, day, hour = '00', minute = '00', seconds = '00', fraction = '', zone = 'Z'] = match;
  const at = Date.parse(`${year}-${month}-${day}T${hour}:${minute}:${seconds}${zone.toUpperCase()}`);
  if (Number.isNaN(at)) return undefined;
  return BigInt(at) * 1_000_000n + BigInt(fraction.padEnd(9, '0').slice(0, 9));
}

/** `since` and `until`: Unix seconds with an optional fraction, RFC 3339, or a Go duration back from now. */
export function parseMoment(text: string, now: bigint): bigint | undefined {
  const unix = /^(-?)([0-9]{1,12})(?:\.([0-9]{1,18}))?$/.exec(text);
  if (unix) {
    const nanoseconds = BigInt(unix[2]!) * second + BigInt((unix[3] ?? '').padEnd(9, '0').slice(0, 9));
    return unix[1] ? -nanoseconds : nanoseconds;
  }
  const duration = parseDuration(text);
  return duration === undefined ? parseTime(text) : now - duration;
}

/** The same for a parameter of a query: '' and `0` are no bound. */
export function readMoment(name: string, text: string | null | undefined, now = nowNano()): bigint | undefined {
  if (text === null || text === undefined || text === '' || text === '0') return undefined;
  const moment = parseMoment(text, now);
  if (moment === undefined)
    throw new EngineError('invalid', `invalid value for "${name}": cannot parse "${text}" as a time`);
  return moment;
}

export function nowNano(): bigint {
  return BigInt(Date.now()) * 1_000_000n;
}

/** RFC 3339 with nanoseconds, UTC, without trailing zeros, as Go writes it. */
export function formatTime(nanoseconds: bigint): string {
  let whole = nanoseconds / second;
  let fraction = nanoseconds % second;
  if (fraction < 0n) {
    fraction += second;
    whole -= 1n;
  }
  const text = new Date(Number(whole) * 1000).toISOString().slice(0, 19);
  const digits = fraction.toString().padStart(9, '0').replace(/0+$/, '');
  return digits ? `${text}.${digits}Z` : `${text}Z`;
}

/** Seconds since 1970 of an RFC 3339 time, as lists give it. */
export function unixSeconds(time: string): number {
  const nanoseconds = parseTime(time);
  return nanoseconds === undefined ? 0 : Number(nanoseconds / second);
}

/** Milliseconds as Go writes a duration: `1m30s`, `500ms`. */
export function goDuration(milliseconds: number): string {
  const micros = Math.round(milliseconds * 1000);
  if (micros < 1000) return micros === 0 ? '0s' : `${micros}µs`;
  if (micros < 1_000_000) return `${micros / 1000}ms`;
  const minutes = Math.floor(micros / 60_000_000);
  const hours = Math.floor(minutes / 60);
  const seconds = `${(micros - minutes * 60_000_000) / 1_000_000}s`;
  return `${hours > 0 ? `${hours}h` : ''}${minutes > 0 ? `${minutes % 60}m` : ''}${seconds}`;
}
