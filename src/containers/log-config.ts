import type { HostConfig } from '../protocol/container.ts';
import { bytesOf, checkLogOptions } from '../protocol/log-options.ts';
import type { LogTarget } from '../runtime/runtime.ts';

type LogConfig = HostConfig['LogConfig'];

/** Throws `invalid` in Docker's words on a driver or an option that is not one. */
export function checkLogConfig({ Type, Config }: LogConfig): void {
  checkLogOptions({ Type, Config: Config ?? {} });
}

/** Where and how the log is written; undefined for `none`. Of options that were checked. */
export function logTarget(
  { Type, Config }: LogConfig,
  defaults: Readonly<Record<string, string>>,
  path: string,
): LogTarget | undefined {
  if (Type === 'none') return undefined;
  const options = { ...defaults, ...Config };
  const size = options['max-size'] ?? '-1';
  return { path, maxSize: size === '-1' ? 0 : (bytesOf(size) ?? 0), maxFiles: Number(options['max-file'] ?? '1') };
}

/** Whether files that were rotated away are packed: where there are any, unless `compress` is false. */
export function isPacked({ Type, Config }: LogConfig, defaults: Readonly<Record<string, string>>): boolean {
  if (Type === 'none') return false;
  const options = { ...defaults, ...Config };
  const size = options['max-size'] ?? '-1';
  const rotates = size !== '-1' && Number(options['max-file'] ?? '1') > 1;
  return rotates && /^(1|t)/i.test(options['compress'] ?? 'true');
}
