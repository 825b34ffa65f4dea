import type { SyslogFormat } from '../../protocol/syslog-address.ts';
import type { LogMessage } from './message.ts';

export interface SyslogFrame {
  readonly format: SyslogFormat;
  /** 0 to 23. */
  readonly facility: number;
  readonly hostname: string;
  readonly tag: string;
  readonly pid: number;
  /** Each message with its length in front (RFC 5425, 4.3), not only with a newline behind. */
  readonly counted: boolean;
}

const error = 3;
const information = 6;
const months = 'Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec'.split(' ');

/** A message as Docker's driver sends it; the time is the line's own. */
export function syslogBytes(frame: SyslogFrame, message: LogMessage): Buffer {
  const { format, hostname, tag, pid } = frame;
  const priority = frame.facility * 8 + (message.stream === 'stderr' ? error : information);
  const head =
    format === ''
      ? `<${priority}>${stamp(message.time)} ${tag}[${pid}]: `
      : format === 'rfc3164'
        ? `<${priority}>${stamp(message.time)} ${hostname} ${tag}[${pid}]: `
        : `<${priority}>1 ${offsetTime(message.time, format === 'rfc5424micro' ? 6 : 0)} ${hostname} ${tag} ${pid} ${tag} - `;
  const whole = Buffer.concat([Buffer.from(head), message.text, Buffer.from('\n')]);
  return frame.counted ? Buffer.concat([Buffer.from(`${whole.length} `), whole]) : whole;
}

const two = (value: number) => String(value).padStart(2, '0');

/** `Nov  4 03:02:01`, by the clock on the wall (RFC 3164, 4.1.2). */
function stamp(time: string): string {
  const at = new Date(time);
  return `${months[at.getMonth()]} ${String(at.getDate()).padStart(2)} ${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
}

/** `2026-11-04T03:02:01.123456+01:00`. */
function offsetTime(time: string, digits: number): string {
  const at = new Date(time);
  const minutes = -at.getTimezoneOffset();
  const offset =
    minutes === 0
      ? 'Z'
      : `${minutes < 0 ? '-' : '+'}${two(Math.floor(Math.abs(minutes) / 60))}:${two(Math.abs(minutes) % 60)}`;
  const fraction = (/\.(\d+)/.exec(time)?.[1] ?? '').padEnd(9, '0').slice(0, digits);
  const day = `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
  const clock = `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
  return `${day}T${clock}${digits > 0 ? `.${fraction}` : ''}${offset}`;
}
