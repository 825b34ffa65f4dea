import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { EngineError } from '../base/errors.ts';
import type { Room } from './room.ts';
import { running } from './stop.ts';
import { processTable } from './top-table.ts';

export interface Processes {
  readonly Titles: readonly string[];
  readonly Processes: readonly (readonly string[])[];
}

/** The host's, by its absolute path: for columns that somebody asks for. */
const ps = '/bin/ps';

export async function top(room: Room, name: string, psArgs: string): Promise<Processes> {
  const { container, live } = running(room, name);
  const pids = await live.task.pids();
  room.emit(container, 'top');
  const args = psArgs.trim() === '' ? ['-ef'] : psArgs.trim().split(/\s+/);
  if (args.join(' ') === '-ef') return processTable(pids);
  if (!existsSync(ps))
    throw new EngineError('unsupported', 'top with arguments needs ps on the host', {
      hint: 'apt-get install procps',
    });
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
      // The first line says what; a page on how ps is used follows it.
      const [said = ''] = stderr.trim().split('\n');
      reject(new EngineError('invalid', `ps: ${said || error.message}`, { cause: error }));
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
