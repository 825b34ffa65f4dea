import { execFile } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { EngineError } from '../base/errors.ts';
import type { Room } from './room.ts';
import { running } from './stop.ts';

export interface Processes {
  readonly Titles: readonly string[];
  readonly Processes: readonly (readonly string[])[];
}

/** By the host's ps, named by its absolute path, or from /proc where there is none. */
const ps = '/bin/ps';

export async function top(room: Room, name: string, psArgs: string): Promise<Processes> {
  const { container, live } = running(room, name);
  const pids = await live.task.pids();
  const args = psArgs.trim() === '' ? ['-ef'] : psArgs.trim().split(/\s+/);
  room.emit(container, 'top');
  if (!existsSync(ps)) {
    if (psArgs.trim() !== '' && psArgs.trim() !== '-ef')
      throw new EngineError('unsupported', 'top with arguments needs ps on the host', {
        hint: 'apt-get install procps',
      });
    return fromProc(pids);
  }
  return parsePs(await run(args), new Set(pids));
}

function run(args: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const options = {
      cwd: '/',
      env: { PATH: '/usr/bin:/bin', LC_ALL: 'C.UTF-8' },
      maxBuffer: 16 * 1024 * 1024,
      timeout: 10_000,
    };
    execFile(ps, args, options, (error, stdout, stderr) => {
      if (!error) return resolve(stdout);
      reject(new EngineError('invalid', `error running ps: ${stderr.trim() || error.message}`, { cause: error }));
    });
  });
}

/** Lines of processes in the container, by the column that names them. The last column keeps its blanks. */
export function parsePs(output: string, pids: ReadonlySet<number>): Processes {
  const [header = '', ...lines] = output.split('\n');
  const Titles = header.trim().split(/\s+/);
  const column = Titles.indexOf('PID');
  if (column < 0) throw new EngineError('invalid', "Couldn't find PID field in ps output");
  const Processes = lines.flatMap((line) => {
    const fields = line.trim().split(/\s+/);
    if (!pids.has(Number(fields[column]))) return [];
    return [[...fields.slice(0, Titles.length - 1), fields.slice(Titles.length - 1).join(' ')]];
  });
  return { Titles, Processes };
}

function fromProc(pids: readonly number[]): Processes {
  const Processes = pids.flatMap((pid) => {
    try {
      const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
      const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      const uid = /^Uid:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? '?';
      const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replace(/\0/g, ' ').trim();
      const name = stat.slice(stat.indexOf('(') + 1, stat.lastIndexOf(')'));
      const seconds = Math.floor((Number(fields[11]) + Number(fields[12])) / 100);
      return [[uid, String(pid), fields[1]!, '0', '?', '?', clock(seconds), command || `[${name}]`]];
    } catch {
      // It ended meanwhile.
      return [];
    }
  });
  return { Titles: ['UID', 'PID', 'PPID', 'C', 'STIME', 'TTY', 'TIME', 'CMD'], Processes };
}

function clock(seconds: number): string {
  const two = (number: number) => String(number).padStart(2, '0');
  return `${two(Math.floor(seconds / 3600))}:${two(Math.floor(seconds / 60) % 60)}:${two(seconds % 60)}`;
}
