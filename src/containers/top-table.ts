import { readFileSync } from 'node:fs';

/** What `ps -ef` would say of some processes, read from /proc: a host with thousands of others costs nothing. */
export interface Table {
  readonly Titles: readonly string[];
  readonly Processes: readonly (readonly string[])[];
}

export interface TableDeps {
  /** Where the process file system is. */
  readonly proc?: string;
  /** The host's users, as in passwd(5). */
  readonly passwd?: string;
  readonly now?: Date;
}

/** The kernel's USER_HZ: 100 on every architecture that Linux runs containers on. */
const ticksPerSecond = 100;

/** Columns and forms are those of procps' `ps -ef`; a process that ended meanwhile has no row. */
export function processTable(pids: readonly number[], deps: TableDeps = {}): Table {
  const { proc = '/proc', passwd = '/etc/passwd', now = new Date() } = deps;
  const names = userNames(passwd);
  const uptime = Number(read(`${proc}/uptime`)?.split(' ')[0] ?? 0);
  const rows = pids.flatMap((pid) => {
    const row = rowOf(pid, { proc, names, uptime, now });
    return row ? [row] : [];
  });
  return { Titles: ['UID', 'PID', 'PPID', 'C', 'STIME', 'TTY', 'TIME', 'CMD'], Processes: rows };
}

interface Host {
  readonly proc: string;
  readonly names: ReadonlyMap<string, string>;
  readonly uptime: number;
  readonly now: Date;
}

function rowOf(pid: number, { proc, names, uptime, now }: Host): readonly string[] | undefined {
  const stat = read(`${proc}/${pid}/stat`);
  const status = read(`${proc}/${pid}/status`);
  const commandLine = read(`${proc}/${pid}/cmdline`);
  if (stat === undefined || status === undefined || commandLine === undefined) return undefined;
  const end = stat.lastIndexOf(')');
  const name = stat.slice(stat.indexOf('(') + 1, end);
  const fields = stat.slice(end + 2).split(' ');
  const [state, parent] = fields;
  const terminal = Number(fields[4]);
  const used = (Number(fields[11]) + Number(fields[12])) / ticksPerSecond;
  const age = Math.max(0, uptime - Number(fields[19]) / ticksPerSecond);
  // The effective user, as ps has it.
  const uid = /^Uid:\s+\d+\s+(\d+)/m.exec(status)?.[1] ?? '0';
  const command = printable(commandLine.replace(/\0+$/, '').replaceAll('\0', ' '));
  return [
    shortName(names.get(uid) ?? uid),
    String(pid),
    parent!,
    String(age > 0 ? Math.min(99, Math.floor((used * 100) / age)) : 0),
    startTime(new Date(now.getTime() - age * 1000), now),
    terminalName(terminal),
    clock(Math.floor(used)),
    state === 'Z' ? `[${printable(name)}] <defunct>` : command || `[${printable(name)}]`,
  ];
}

/** The column has room for eight: a longer name is cut and marked. */
function shortName(name: string): string {
  return name.length > 8 ? `${name.slice(0, 7)}+` : name;
}

/** The time of day for today, the day within a year, else the year. */
function startTime(start: Date, now: Date): string {
  const two = (number: number) => String(number).padStart(2, '0');
  if (start.toDateString() === now.toDateString()) return `${two(start.getHours())}:${two(start.getMinutes())}`;
  if (start.getFullYear() !== now.getFullYear()) return String(start.getFullYear());
  return `${start.toLocaleString('en-US', { month: 'short' })}${two(start.getDate())}`;
}

/** By its device number: those of pseudo terminals are 136 to 143, of consoles 4. */
function terminalName(device: number): string {
  if (device === 0) return '?';
  const major = (device >> 8) & 0xfff;
  const minor = (device & 0xff) | ((device >>> 12) & 0xfff00);
  if (major >= 136 && major <= 143) return `pts/${minor + (major - 136) * 256}`;
  if (major === 4) return minor < 64 ? `tty${minor}` : `ttyS${minor - 64}`;
  return '?';
}

function clock(seconds: number): string {
  const two = (number: number) => String(number).padStart(2, '0');
  const days = Math.floor(seconds / 86_400);
  const time = `${two(Math.floor(seconds / 3600) % 24)}:${two(Math.floor(seconds / 60) % 60)}:${two(seconds % 60)}`;
  return days > 0 ? `${two(days)}-${time}` : time;
}

/** What would move a terminal's cursor, or end the row, is a question mark. */
function printable(text: string): string {
  return text.replace(/[\0-\x1f\x7f]/g, '?');
}

function userNames(passwd: string): ReadonlyMap<string, string> {
  const names = new Map<string, string>();
  for (const line of (read(passwd) ?? '').split('\n')) {
    const [name, , uid] = line.split(':');
    if (name && uid && !names.has(uid)) names.set(uid, name);
  }
  return names;
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}
