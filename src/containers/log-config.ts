import type { HostConfig } from '../protocol/container.ts';
import { bytesOf, checkLogOptions } from '../protocol/log-options.ts';
import type { LogTarget } from '../runtime/runtime.ts';

type LogConfig = HostConfig['LogConfig'];

/** Throws `invalid` in Docker's words on a driver or an option that is not one. */
export function checkLogConfig({ Type, Config }: LogConfig): void {
  checkLogOptions({ Type, Config: Config ?? {} });
}

/** Drivers whose lines go elsewhere; what the monitor writes is what is still to be sent, and what `docker logs` reads. */
export function isForwarded({ Type }: LogConfig): boolean {
  return Type === 'syslog' || Type === 'journald';
}

/** Whether `docker logs` has nothing to read. */
export function isUnreadable(config: LogConfig): boolean {
  return config.Type === 'none' || (isForwarded(config) && isTrue(config.Config?.['cache-disabled'] ?? 'false'));
}

/** As for the driver `local` of Docker, which keeps the same for it. */
const cacheDefaults = { 'max-size': '20m', 'max-file': '5', compress: 'true' };

function fileOptions(
  { Type, Config }: LogConfig,
  defaults: Readonly<Record<string, string>>,
): Readonly<Record<string, string>> {
  if (!isForwarded({ Type, Config })) return { ...defaults, ...Config };
  const options = { ...cacheDefaults };
  for (const name of Object.keys(cacheDefaults) as (keyof typeof cacheDefaults)[]) {
    const given = Config?.[`cache-${name}`];
    if (given) options[name] = given;
  }
  return options;
}

const isTrue = (text: string) => /^(1|t)/i.test(text);

/** Where and how the log is written; undefined for `none`. Of options that were checked. */
export function logTarget(
  config: LogConfig,
  defaults: Readonly<Record<string, string>>,
  path: string,
): LogTarget | undefined {
  if (config.Type === 'none') return undefined;
  const options = fileOptions(config, defaults);
  const size = options['max-size'] ?? '-1';
  return { path, maxSize: size === '-1' ? 0 : (bytesOf(size) ?? 0), maxFiles: Number(options['max-file'] ?? '1') };
}

/** Whether files that were rotated away are packed: where there are any, unless `compress` is false. */
export function isPacked(config: LogConfig, defaults: Readonly<Record<string, string>>): boolean {
  if (config.Type === 'none') return false;
  const options = fileOptions(config, defaults);
  const size = options['max-size'] ?? '-1';
  const rotates = size !== '-1' && Number(options['max-file'] ?? '1') > 1;
  return rotates && isTrue(options['compress'] ?? 'true');
}
