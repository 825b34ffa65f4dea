import { readFileSync } from 'node:fs';
import { codeOf } from '../base/errors.ts';
import type { Task } from '../runtime/runtime.ts';
import { Pidfd } from '../sys/pidfd.ts';

/**
 * Sends a signal to the process of an exec and to all that it started and that is still in its session: a shell that is
 * ended would else leave its commands behind. Only processes of the container are looked at.
 */
export async function signalSession(exec: Task, container: Task, signal: number): Promise<void> {
  const session = sessionOf(exec.pid);
  const others = session === undefined ? [] : (await container.pids()).filter((pid) => pid !== exec.pid);
  await exec.kill(signal);
  for (const pid of others) {
    try {
      // Held first and looked at then: what is signalled is what was looked at.
      using process = new Pidfd(pid);
      if (sessionOf(pid) === session) process.kill(signal);
    } catch (error) {
      if (codeOf(error) !== 'ESRCH' && codeOf(error) !== 'ENOENT') throw error;
    }
  }
}

/** Field 6 of proc_pid_stat(5), in this namespace's numbers; undefined when it has ended. */
function sessionOf(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[3];
  } catch {
    return undefined;
  }
}
