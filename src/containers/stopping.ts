import { readFile } from 'node:fs/promises';
import type { Room } from './room.ts';

/** A stop that waits for a container to end. */
export interface Stopping {
  readonly id: string;
  readonly signal: number;
  /** Milliseconds since it was asked to. */
  readonly elapsed: number;
  /** Seconds that it has before SIGKILL; undefined is no end. */
  readonly seconds: number | undefined;
  /** Its first process; '' when that has ended. */
  readonly program: string;
  /** The signal does nothing to its first process. */
  readonly ignored: boolean;
}

/** The stops that wait now, those of every client. */
export async function stoppingNow(room: Room): Promise<readonly Stopping[]> {
  return await Promise.all(
    [...room.stopping].map(async ([id, { signal, since, seconds }]) => {
      const pid = room.live.get(id)?.task.pid;
      const status = pid === undefined ? '' : await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '');
      return {
        ...{ id, signal, elapsed: Math.round(performance.now() - since) },
        seconds: Number.isFinite(seconds) && seconds >= 0 ? seconds : undefined,
        program: /^Name:\t(.*)$/m.exec(status)?.[1] ?? '',
        ignored: isIgnored(status, signal),
      };
    }),
  );
}

/** From `/proc/PID/status`: ignored on purpose, or by the first process of a PID namespace, which takes only what it asks for. */
export function isIgnored(status: string, signal: number): boolean {
  const has = (mask: string) => {
    const bits = new RegExp(`^${mask}:\\t([0-9a-f]+)$`, 'm').exec(status)?.[1];
    return bits !== undefined && ((BigInt(`0x${bits}`) >> BigInt(signal - 1)) & 1n) === 1n;
  };
  return has('SigIgn') || (/^NSpid:.*\t1$/m.test(status) && !has('SigCgt'));
}
