/**
 * The structured log: one line an event, `time level message key=value ...` or JSON. An error is logged once, where
 * it stops. Values under keys that name secrets are never written (S29).
 */
export type LogLevel = 'debug' | 'info' | 'warn' | 'error';
export type LogFields = Readonly<Record<string, unknown>>;

export interface Log {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
  /** The same log with fields that every line carries. */
  with(fields: LogFields): Log;
}

const ranks: Record<LogLevel, number> = { debug: 0, info: 1, warn: 2, error: 3 };
const secret = /passw|secret|token|authorization|credential|identity/i;

export interface LogOptions {
  readonly level?: LogLevel;
  /** In place of `level`, looked at for every line: it may change. */
  readonly threshold?: { readonly level: LogLevel };
  readonly format: 'text' | 'json';
  readonly write: (line: string) => void;
}

export function createLog(
  { level = 'info', threshold = { level }, format, write }: LogOptions,
  fixed: LogFields = {},
): Log {
  const emit = (at: LogLevel, message: string, fields: LogFields = {}) => {
    if (ranks[at] < ranks[threshold.level]) return;
    const time = new Date().toISOString();
    const all = Object.entries({ ...fixed, ...fields }).map(([key, value]): [string, unknown] => [
      key,
      secret.test(key) ? '[redacted]' : value instanceof Error ? describe(value) : value,
    ]);
    if (format === 'json') write(`${JSON.stringify({ time, level: at, message, ...Object.fromEntries(all) })}\n`);
    else
      write(`${time} ${at.padEnd(5)} ${message}${all.map(([key, value]) => ` ${key}=${printable(value)}`).join('')}\n`);
  };
  return {
    debug: (message, fields) => emit('debug', message, fields),
    info: (message, fields) => emit('info', message, fields),
    warn: (message, fields) => emit('warn', message, fields),
    error: (message, fields) => emit('error', message, fields),
    with: (fields) => createLog({ threshold, format, write }, { ...fixed, ...fields }),
  };
}

/** A log that keeps nothing, for tests and for callers that were given none. */
export const silentLog: Log = createLog({ level: 'error', format: 'text', write: () => {} });

function describe(error: Error): string {
  const cause = error.cause instanceof Error ? `: ${describe(error.cause)}` : '';
  return `${error.message}${cause}`;
}

function printable(value: unknown): string {
  const text = typeof value === 'string' ? value : (JSON.stringify(value) ?? 'undefined');
  return /^[\w./:@+,-]+$/.test(text) ? text : JSON.stringify(text);
}
