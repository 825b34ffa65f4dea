import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseFacility, parseSyslogAddress } from '../../protocol/syslog-address.ts';
import { field, fieldName } from './journald.ts';
import { LogLines } from './lines.ts';
import type { LogMessage } from './message.ts';
import { type SyslogFrame, syslogBytes } from './syslog-format.ts';

const message = (text: string, stream: LogMessage['stream'] = 'stdout'): LogMessage => ({
  text: Buffer.from(text),
  stream,
  time: '2026-01-02T03:04:05.1234567Z',
  partial: undefined,
});
const frame: SyslogFrame = { format: '', facility: 3, hostname: 'h', tag: 't', pid: 7, counted: false };

test('syslog in all forms', () => {
  const at = new Date('2026-01-02T03:04:05Z');
  const stamp = `Jan ${String(at.getDate()).padStart(2)} ${at.toTimeString().slice(0, 8)}`;
  const said = (more: Partial<SyslogFrame>, stream?: LogMessage['stream']) =>
    syslogBytes({ ...frame, ...more }, message('hi there', stream)).toString();
  assert.equal(said({}), `<30>${stamp} t[7]: hi there\n`);
  assert.equal(said({ facility: 16 }, 'stderr'), `<131>${stamp} t[7]: hi there\n`);
  assert.equal(said({ format: 'rfc3164' }), `<30>${stamp} h t[7]: hi there\n`);
  const offset = at.getTimezoneOffset() === 0 ? 'Z' : '[+-]\\d\\d:\\d\\d';
  assert.match(
    said({ format: 'rfc5424' }),
    new RegExp(`^<30>1 2026-01-0\\dT\\d\\d:\\d\\d:05${offset} h t 7 t - hi there\n$`),
  );
  assert.match(
    said({ format: 'rfc5424micro' }),
    new RegExp(`^<30>1 2026-01-0\\dT\\d\\d:\\d\\d:05\\.123456${offset} h t 7 t - hi there\n$`),
  );
  const counted = said({ format: 'rfc5424', counted: true });
  const [, length, rest] = /^(\d+) (.*)$/s.exec(counted)!;
  assert.equal(Number(length), Buffer.byteLength(rest!));
});

test('addresses and facilities', () => {
  assert.deepEqual(parseSyslogAddress('udp://h'), { kind: 'udp', host: 'h', port: 514 });
  assert.deepEqual(parseSyslogAddress('tcp+tls://[::1]:6514'), { kind: 'tcp+tls', host: '::1', port: 6514 });
  assert.deepEqual(parseSyslogAddress('tcp://127.0.0.1:601/x'), { kind: 'tcp', host: '127.0.0.1', port: 601 });
  assert.deepEqual(parseSyslogAddress('unixgram:///dev/null'), { kind: 'unixgram', path: '/dev/null' });
  for (const bad of ['tcp://h:0', 'tcp://h:70000', 'tcp://h:x', 'gopher://x'])
    assert.throws(() => parseSyslogAddress(bad), { kind: 'invalid' });
  assert.deepEqual(['', 'kern', 'local7', '23', '0'].map(parseFacility), [3, 0, 23, 23, 0]);
  for (const bad of ['-', '-1', '24', 'Kern']) assert.throws(() => parseFacility(bad), { kind: 'invalid' });
});

test('lines, parts of long ones, and what is none', () => {
  const lines = new LogLines();
  const line = (log: string, stream = 'stdout') => `${JSON.stringify({ log, stream, time: '2026-01-01T00:00:00Z' })}\n`;
  const text =
    line('a\n') + line('part') + line('err\n', 'stderr') + line('ial\n') + 'no json\n{"log":7}\n' + line('b\r\n');
  const all: LogMessage[] = [];
  // In pieces of every kind.
  for (const byte of Buffer.from(text)) all.push(...lines.feed(Buffer.from([byte])));
  assert.equal(lines.pending, 0);
  const [first, part, other, last, terminal] = all;
  assert.deepEqual(
    all.map(
      (one) => `${one.stream} ${JSON.stringify(one.text.toString())} ${one.partial?.ordinal} ${one.partial?.last}`,
    ),
    [
      'stdout "a" undefined undefined',
      'stdout "part" 1 false',
      'stderr "err" undefined undefined',
      'stdout "ial" 2 true',
      'stdout "b\\r" undefined undefined',
    ],
  );
  assert.equal(part!.partial!.id, last!.partial!.id);
  assert.deepEqual([first!.partial, other!.partial, terminal!.partial], [undefined, undefined, undefined]);
  lines.feed(Buffer.from('{"log":"half'));
  assert.equal(lines.pending, 12);
  lines.endOfFile();
  assert.equal(lines.feed(Buffer.from(line('c\n')))[0]!.text.toString(), 'c');
});

test('fields of the journal', () => {
  assert.equal(field('A', Buffer.from('b=c')).toString(), 'A=b=c\n');
  assert.deepEqual(
    field('A', Buffer.from('b\nc')),
    Buffer.concat([Buffer.from('A\n'), Buffer.from([3, 0, 0, 0, 0, 0, 0, 0]), Buffer.from('b\nc\n')]),
  );
  assert.deepEqual(['com.x-y', '__a1', 'ü'].map(fieldName), ['COM_X_Y', 'A1', '']);
});
