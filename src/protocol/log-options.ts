import { EngineError } from '../base/errors.ts';
import type { HostConfig } from './container.ts';
import { GoTemplate } from './go-template.ts';
import { parseFacility, parseSyslogAddress, parseSyslogFormat } from './syslog-address.ts';

const invalid = (message: string) => new EngineError('invalid', message);

const common = ['max-file', 'max-size', 'compress'];
/** Of every driver that writes anything: how it buffers, and what is kept here of what goes elsewhere. */
const buffering = ['mode', 'max-buffer-size', 'cache-disabled', 'cache-max-size', 'cache-max-file', 'cache-compress'];
const naming = ['labels', 'labels-regex', 'env', 'env-regex', 'tag'];
const drivers: Readonly<Record<string, { readonly known: readonly string[]; readonly named: string }>> = {
  'json-file': { known: [...common, ...naming], named: 'json-file log driver' },
  local: { known: common, named: 'log driver local' },
  journald: { known: naming, named: 'journald log driver' },
  syslog: {
    known: [
      ...naming,
      ...['address', 'facility', 'format', 'tls-ca-cert', 'tls-cert', 'tls-key', 'tls-skip-verify'].map(
        (name) => `syslog-${name}`,
      ),
    ],
    named: 'syslog log driver',
  },
};
/** Drivers of Docker for services of others. */
const others = ['awslogs', 'etwlogs', 'fluentd', 'gcplogs', 'gelf', 'splunk'];

/** What Docker refuses of a driver and its options, in its words, also what it refuses only when the container starts. */
export function checkLogOptions({ Type, Config }: HostConfig['LogConfig']): void {
  if (others.includes(Type))
    throw new EngineError(
      'unsupported',
      `Berth has no log driver '${Type}': use 'json-file', 'local', 'syslog', 'journald' or 'none'`,
    );
  // Docker takes any option of a driver that writes nothing.
  if (Type === 'none') return;
  const driver = Object.hasOwn(drivers, Type) ? drivers[Type] : undefined;
  if (!driver) throw invalid(`error looking up logging plugin ${Type}: plugin "${Type}" not found`);
  for (const option of Object.keys(Config))
    if (!driver.known.includes(option) && !buffering.includes(option))
      throw invalid(`unknown log opt '${option}' for ${driver.named}`);
  checkBuffering(Config);
  checkCache(Config);
  if (Type !== 'local') {
    for (const option of ['labels-regex', 'env-regex']) checkPattern(Config[option]);
    if (Config['tag']) parseTag(Config['tag']);
  }
  if (Type === 'syslog') {
    parseSyslogAddress(Config['syslog-address'] ?? '');
    parseFacility(Config['syslog-facility'] ?? '');
    parseSyslogFormat(Config['syslog-format'] ?? '');
  }
  if (Type === 'syslog' || Type === 'journald') return;
  const compress = checkFiles(Config);
  if (Type === 'json-file') {
    if (
      compress === true &&
      (Number(Config['max-file'] ?? 1) < 2 || !Config['max-size'] || Config['max-size'] === '-1')
    )
      throw invalid('compress cannot be true when max-file is less than 2 or max-size is not set');
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

/** What is kept here of a log that goes elsewhere. */
function checkCache(options: Readonly<Record<string, string>>): void {
  const {
    'cache-disabled': disabled,
    'cache-max-size': size,
    'cache-max-file': files,
    'cache-compress': pack,
  } = options;
  if (disabled !== undefined && !isBoolean(disabled))
    throw invalid(`invalid value for option cache-disabled: ${disabled}`);
  checkFiles({
    ...(size !== undefined && { 'max-size': size }),
    ...(files !== undefined && { 'max-file': files }),
    ...(pack !== undefined && { compress: pack }),
  });
}

const isBoolean = (text: string) => /^(1|t|T|TRUE|true|True|0|f|F|FALSE|false|False)$/.test(text);

function boolean(text: string): boolean {
  if (!isBoolean(text)) throw invalid(`strconv.ParseBool: parsing ${JSON.stringify(text)}: invalid syntax`);
  return /^(1|t)/i.test(text);
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
  return compress === undefined ? undefined : boolean(compress);
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
