import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { processTable } from './top-table.ts';

const base = mkdtempSync(join(tmpdir(), 'berth-top-'));
after(() => rmSync(base, { recursive: true, force: true }));
writeFileSync(join(base, 'uptime'), '1000000.00 0.00\n');
writeFileSync(join(base, 'passwd'), 'root:x:0:0::/root:/bin/sh\nadministrator:x:7:7::/:/bin/sh\n');

/** `ticks` of CPU, begun `age` seconds ago. */
function put(pid: number, { name = 'sh', state = 'S', tty = 0, ticks = 0, age = 60, uid = 0, command = 'sh\0' }) {
  mkdirSync(join(base, `${pid}`));
  const begun = (1_000_000 - age) * 100;
  const rest = [state, 1, 1, 1, tty, -1, 0, 0, 0, 0, 0, ticks, 0, 0, 0, 20, 0, 1, 0, begun, 0, 0];
  writeFileSync(join(base, `${pid}`, 'stat'), `${pid} (${name}) ${rest.join(' ')}\n`);
  writeFileSync(join(base, `${pid}`, 'status'), `Name:\t${name}\nUid:\t9\t${uid}\t0\t0\n`);
  writeFileSync(join(base, `${pid}`, 'cmdline'), command);
}

test('rows are those of ps -ef: names cut at eight, start by its age, terminals, time with days, what is defunct', () => {
  put(10, { command: 'sleep\x001000\x00', ticks: 1500, age: 60 });
  put(11, { uid: 7, tty: (136 << 8) | 3, age: 3 * 86_400, ticks: 2 * 8_640_000 + 6_100 });
  put(12, { name: 'a) (b', state: 'Z', command: '', uid: 42 });
  put(13, { name: 'kthread', command: '', tty: (4 << 8) | 64, age: 400 * 86_400 });
  put(14, { command: 'sh\x00-c\x00echo\n\x1b[2J\x00' });
  const now = new Date(2026, 10, 25, 12, 30, 30);
  const { Titles, Processes } = processTable([10, 11, 12, 13, 14, 15], {
    proc: base,
    passwd: join(base, 'passwd'),
    now,
  });
  assert.deepEqual(Titles, ['UID', 'PID', 'PPID', 'C', 'STIME', 'TTY', 'TIME', 'CMD']);
  assert.deepEqual(Processes, [
    ['root', '10', '1', '25', '12:29', '?', '00:00:15', 'sleep 1000'],
    ['adminis+', '11', '1', '66', 'Nov22', 'pts/3', '02-00:01:01', 'sh'],
    ['42', '12', '1', '0', '12:29', '?', '00:00:00', '[a) (b] <defunct>'],
    ['root', '13', '1', '0', '2025', 'ttyS0', '00:00:00', '[kthread]'],
    ['root', '14', '1', '0', '12:29', '?', '00:00:00', 'sh -c echo??[2J'],
  ]);
});
