import { EngineError } from '../base/errors.ts';
import type { HostConfig } from './container.ts';
import { GoTemplate } from './go-template.ts';

const invalid = (message: string) => new EngineError('invalid', message);

const common = ['max-file', 'max-size', 'compress'];
/** Of every driver that writes anything. */
const buffering = ['mode', 'max-buffer-size'];
const jsonFile = [...common, 'labels', 'labels-regex', 'env', 'env-regex', 'tag'];
/** Drivers of Docker that are not built yet. */
const later = ['awslogs', 'etwlogs', 'fluentd', 'gcplogs', 'gelf', 'journald', 'splunk', 'syslog'];

/** What Docker refuses of a driver and its options, in its words, also what it refuses only when the container starts. */
export function checkLogOptions({ Type, Config }: HostConfig['LogConfig']): void {
  if (later.includes(Type))
    throw new EngineError(
      'unsupported',
      `Berth does not do the log driver '${Type}' yet: use 'json-file', 'local' or 'none'`,
    );
  // Docker takes any option of a driver that writes nothing.
  if (Type === 'none') return;
  if (Type !== 'json-file' && Type !== 'local') throw invalid(`logger: no log driver named '${Type}' is registered`);
  const known = Type === 'json-file' ? jsonFile : common;
  for (const option of Object.keys(Config))
    if (!known.includes(option) && !buffering.includes(option))
      throw invalid(
        Type === 'json-file'
          ? `unknown log opt '${option}' for json-file log driver`
          : `unknown log opt '${option}' for log driver local`,
      );
  checkBuffering(Config);
  const compress = checkFiles(Config);
  if (Type === 'json-file') {
    if (
      compress === true &&
      (Number(Config['max-file'] ?? 1) < 2 || !Config['max-size'] || Config['max-size'] === '-1')
    )
      throw invalid('compress cannot be true when max-file is less than 2 or max-size is not set');
    for (const option of ['labels-regex', 'env-regex']) checkPattern(Config[option]);
    if (Config['tag']) parseTag(Config['tag']);
  } else if (compress !== false && Config['max-file'] === '1')
    throw invalid('compression cannot be enabled when max file count is 1');
}

function checkBuffering(options: Readonly<Record<string, string>>): void {
  const mode = options['mode'] ?? '';
  if (!['', 'blocking', 'non-blocking'].includes(mode)) throw invalid(`logger: logging mode not supported: ${mode}`);
  const size = options['max-buffer-size'];
  if (size === undefined) return;
  if (mode !== 'non-blocking')
    throw invalid("logger: max-buffer-size option is only supported with 'mode=non-blocking'");
  if (bytesOf(size) === undefined) throw invalid(`error parsing option max-buffer-size: invalid size: '${size}'`);
}

/** Whether they are to be compressed; undefined where it is not said. */
function checkFiles(options: Readonly<Record<string, string>>): boolean | undefined {
  const { 'max-size': size, 'max-file': files, compress } = options;
  if (size !== undefined && size !== '-1') {
    const bytes = bytesOf(size);
    if (bytes === undefined) throw invalid(`invalid value for max-size: invalid size: '${size}'`);
    if (bytes <= 0) throw invalid('max-size must be a positive number');
  }
  if (files !== undefined) {
    if (!/^[+-]?\d{1,6}$/.test(files)) throw invalid(`strconv.Atoi: parsing ${JSON.stringify(files)}: invalid syntax`);
    if (Number(files) < 1) throw invalid('max-file cannot be less than 1');
  }
  if (compress === undefined) return undefined;
  if (!/^(1|t|T|TRUE|true|True|0|f|F|FALSE|false|False)$/.test(compress))
    throw invalid(`strconv.ParseBool: parsing ${JSON.stringify(compress)}: invalid syntax`);
  return /^(1|t)/i.test(compress);
}

function checkPattern(text: string | undefined): void {
  if (text === undefined) return;
  try {
    new RegExp(text);
  } catch (cause) {
    throw new EngineError('invalid', `error parsing regexp: ${text}`, { cause });
  }
}

const units: Readonly<Record<string, number>> = { '': 1, k: 1024, m: 1024 ** 2, g: 1024 ** 3, t: 1024 ** 4 };

/** `10m`, `1.5 GiB`, `512`; undefined when it is no size. */
export function bytesOf(text: string): number | undefined {
  const [, number, unit = ''] = /^(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?$/i.exec(text) ?? [];
  return number === undefined ? undefined : Math.floor(Number(number) * units[unit.toLowerCase()]!);
}

/** The option `tag`, a template of Go. Throws `invalid` in Go's words. */
export function parseTag(template: string): GoTemplate {
  return new GoTemplate('log-tag', template);
}
