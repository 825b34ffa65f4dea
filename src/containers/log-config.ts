import { EngineError } from '../base/errors.ts';
import type { HostConfig } from '../protocol/container.ts';
import type { LogTarget } from '../runtime/runtime.ts';

/** Drivers of Docker that are not built yet. */
const later = ['journald', 'syslog', 'gelf', 'fluentd', 'awslogs', 'splunk', 'gcplogs', 'etwlogs'];
const jsonFileOptions = [
  'max-size',
  'max-file',
  'compress',
  'labels',
  'labels-regex',
  'env',
  'env-regex',
  'tag',
  'mode',
  'max-buffer-size',
];

type LogConfig = HostConfig['LogConfig'];

/** Throws `invalid` in Docker's words on a driver or an option that is not one. */
export function checkLogConfig({ Type, Config }: LogConfig): void {
  if (Type === 'none') return;
  if (later.includes(Type))
    throw new EngineError('unsupported', `log driver '${Type}' is not supported yet, use json-file, local or none`);
  if (Type !== 'json-file' && Type !== 'local')
    throw new EngineError('invalid', `logger: no log driver named '${Type}' is registered`);
  for (const option of Object.keys(Config ?? {}))
    if (!jsonFileOptions.includes(option))
      throw new EngineError('invalid', `unknown log opt '${option}' for ${Type} log driver`);
  if (Config?.['mode'] && !['blocking', 'non-blocking'].includes(Config['mode']))
    throw new EngineError('invalid', `logger: logging mode not supported: ${Config['mode']}`);
  logTarget({ Type, Config: Config ?? {} }, {}, '');
}

/** Where and how the log is written; undefined for `none`. */
export function logTarget(
  { Type, Config }: LogConfig,
  defaults: Readonly<Record<string, string>>,
  path: string,
): LogTarget | undefined {
  if (Type === 'none') return undefined;
  const options = { ...defaults, ...Config };
  const maxSize = sizeOf(options['max-size'] ?? '-1');
  const files = options['max-file'] ?? '1';
  if (!/^[1-9]\d{0,5}$/.test(files)) throw new EngineError('invalid', `max-file cannot be less than 1: ${files}`);
  return { path, maxSize, maxFiles: Number(files) };
}

const units: Readonly<Record<string, number>> = { '': 1, k: 1024, m: 1024 ** 2, g: 1024 ** 3 };

function sizeOf(text: string): number {
  if (text === '-1') return 0;
  const [, number, unit = ''] = /^(\d+(?:\.\d+)?)\s*([kmg]?)(?:i?b)?$/i.exec(text) ?? [];
  const bytes = number ? Math.floor(Number(number) * units[unit.toLowerCase()]!) : 0;
  if (bytes <= 0) throw new EngineError('invalid', `invalid size: '${text}'`);
  return bytes;
}
