import { parseTime, zeroTime } from './time.ts';

/** A span in the words of `docker ps`: `3 seconds`, `About a minute`, `2 weeks`. */
export function humanDuration(milliseconds: number): string {
  const seconds = Math.floor(milliseconds / 1000);
  if (seconds < 1) return 'Less than a second';
  if (seconds === 1) return '1 second';
  if (seconds < 60) return `${seconds} seconds`;
  const minutes = Math.floor(seconds / 60);
  if (minutes === 1) return 'About a minute';
  if (minutes < 60) return `${minutes} minutes`;
  // Hours are rounded, all else is cut.
  const hours = Math.floor(milliseconds / 3_600_000 + 0.5);
  if (hours === 1) return 'About an hour';
  if (hours < 48) return `${hours} hours`;
  if (hours < 24 * 7 * 2) return `${Math.floor(hours / 24)} days`;
  if (hours < 24 * 30 * 2) return `${Math.floor(hours / 24 / 7)} weeks`;
  if (hours < 24 * 365 * 2) return `${Math.floor(hours / 24 / 30)} months`;
  return `${Math.floor(hours / 24 / 365)} years`;
}

export interface StatusState {
  readonly status: 'created' | 'running' | 'paused' | 'restarting' | 'removing' | 'exited' | 'dead';
  readonly exitCode: number;
  readonly startedAt: string;
  readonly finishedAt: string;
  readonly health?: { readonly status: string } | undefined;
}

/** `Up 3 seconds (healthy)`, `Exited (4) 8 seconds ago`: the status column of `docker ps`. */
export function statusText(state: StatusState, now: number): string {
  const since = (time: string) => humanDuration(Math.max(0, now - milliseconds(time)));
  switch (state.status) {
    case 'running': {
      const health =
        state.health === undefined
          ? ''
          : ` (${state.health.status === 'starting' ? 'health: starting' : state.health.status})`;
      return `Up ${since(state.startedAt)}${health}`;
    }
    case 'paused':
      return `Up ${since(state.startedAt)} (Paused)`;
    case 'restarting':
      return `Restarting (${state.exitCode}) ${since(state.finishedAt)} ago`;
    case 'removing':
      return 'Removal In Progress';
    case 'dead':
      return 'Dead';
    case 'created':
      return 'Created';
    case 'exited':
      return state.finishedAt === zeroTime ? 'Created' : `Exited (${state.exitCode}) ${since(state.finishedAt)} ago`;
  }
}

function milliseconds(time: string): number {
  const nanoseconds = parseTime(time);
  return nanoseconds === undefined ? 0 : Number(nanoseconds / 1_000_000n);
}
