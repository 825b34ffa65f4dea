import { existsSync } from 'node:fs';
import { EngineError } from '../base/errors.ts';

/** Where a syslog server listens. */
export type SyslogAddress =
  | { readonly kind: 'local' }
  | { readonly kind: 'unix' | 'unixgram'; readonly path: string }
  | { readonly kind: 'udp' | 'tcp' | 'tcp+tls'; readonly host: string; readonly port: number };

const facilities = (
  'kern user mail daemon auth syslog lpr news uucp cron authpriv ftp ' +
  // 12 to 15 have no names.
  '- - - - local0 local1 local2 local3 local4 local5 local6 local7'
).split(' ');

const defaultPort = 514;

/** The option `syslog-address`; '' is this machine's own. Throws `invalid` in Docker's words. */
export function parseSyslogAddress(text: string): SyslogAddress {
  if (text === '') return { kind: 'local' };
  const [, kind, rest = ''] = /^(udp|tcp|tcp\+tls|unix|unixgram):\/\/(.*)$/s.exec(text) ?? [];
  if (kind === undefined)
    throw new EngineError('invalid', `unsupported scheme: '${/^([a-z][a-z\d+.-]*):/i.exec(text)?.[1] ?? ''}'`, {
      hint: 'an address is tcp://, tcp+tls:// or udp://HOST[:PORT], or unix:// or unixgram:///PATH',
    });
  if (kind === 'unix' || kind === 'unixgram') {
    const path = rest.replace(/^[^/]*/, '');
    if (path === '' || !existsSync(path)) throw new EngineError('invalid', `stat ${path}: no such file or directory`);
    return { kind, path };
  }
  const [, host, bare, port] = /^(?:\[([^\]]+)\]|([^/:]*))(?::(\d*))?(?:\/.*)?$/.exec(rest) ?? [];
  const number = port ? Number(port) : defaultPort;
  if ((host === undefined && bare === undefined) || number < 1 || number > 65_535)
    throw new EngineError('invalid', `syslog-address ${text}: not a host with a port`);
  return { kind: kind as 'udp', host: host || bare || '127.0.0.1', port: number };
}

/** The option `syslog-facility` as its number (RFC 5424, 6.2.1). Throws `invalid` in Docker's words. */
export function parseFacility(text: string): number {
  if (text === '') return facilities.indexOf('daemon');
  const number = /^\d+$/.test(text) ? Number(text) : text === '-' ? -1 : facilities.indexOf(text);
  if (number < 0 || number > 23) throw new EngineError('invalid', 'invalid syslog facility');
  return number;
}

export const syslogFormats = ['', 'rfc3164', 'rfc5424', 'rfc5424micro'] as const;
export type SyslogFormat = (typeof syslogFormats)[number];

/** The option `syslog-format`. Throws `invalid` in Docker's words. */
export function parseSyslogFormat(text: string): SyslogFormat {
  const format = syslogFormats.find((known) => known === text);
  if (format === undefined) throw new EngineError('invalid', 'Invalid syslog format');
  return format;
}
