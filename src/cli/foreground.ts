import { EngineError } from '../base/errors.ts';
import { type EngineClient, ResponseError } from '../client/client.ts';
import { converse } from './streams.ts';

export interface Foreground {
  readonly stdin: boolean;
  readonly tty: boolean;
  /** It is removed when it ends, and that is waited for. */
  readonly autoRemove: boolean;
  /** Keys that leave it running, as `ctrl-p,ctrl-q`; undefined is these. */
  readonly detachKeys?: string | undefined;
  /** Whether signals that this process gets go to the program. */
  readonly signals?: boolean;
  /** Streams of its output that are shown; both where nothing is said. */
  readonly outputs?: { readonly stdout: boolean; readonly stderr: boolean };
  /** It is new: when it cannot be started it goes again. */
  readonly removeUnstarted?: boolean;
}

/** Starts a container that does not run, with this terminal attached before; gives back its exit code. */
export async function runInForeground(client: EngineClient, id: string, how: Foreground): Promise<number> {
  return await follow(client, id, { ...how, start: true });
}

/** Attaches this terminal to a container that runs; gives back its exit code. */
export async function attachTo(client: EngineClient, id: string, how: Foreground): Promise<number> {
  return await follow(client, id, { ...how, start: false });
}

async function follow(client: EngineClient, id: string, how: Foreground & { start: boolean }): Promise<number> {
  const { stdin, tty, autoRemove, detachKeys, outputs = { stdout: true, stderr: true }, start } = how;
  const { stream, multiplexed } = await client.hijack(`/containers/${id}/attach`, {
    query: {
      stream: 1,
      stdin: stdin ? 1 : 0,
      stdout: outputs.stdout ? 1 : 0,
      stderr: outputs.stderr ? 1 : 0,
      detachKeys,
    },
  });
  const waited = client.json<{ StatusCode: number }>('POST', `/containers/${id}/wait`, {
    query: { condition: autoRemove ? 'removed' : start ? 'next-exit' : 'not-running' },
  });
  waited.catch(() => {});
  // Signals are for the program, as long as this terminal is not the program's own.
  const passed = tty || how.signals === false ? [] : (['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT'] as const);
  for (const signal of passed)
    process.on(signal, () => void client.json('POST', `/containers/${id}/kill`, { query: { signal } }).catch(() => {}));
  if (start)
    try {
      await (how.removeUnstarted === false
        ? client.json('POST', `/containers/${id}/start`)
        : startOrRemove(client, id));
    } catch (error) {
      stream.destroy();
      throw error;
    }
  const detached = await converse({
    ...{ client, stream, multiplexed, stdin, tty, detachKeys },
    resizePath: `/containers/${id}/resize`,
  });
  if (detached) {
    process.stderr.write('\nberth: left it running; berth attach brings it back\n');
    // The wait would keep this process.
    process.exit(0);
  }
  return (await waited).StatusCode;
}

export async function startOrRemove(client: EngineClient, id: string): Promise<void> {
  try {
    await client.json('POST', `/containers/${id}/start`);
  } catch (error) {
    // A container that never ran is nothing anybody asked for.
    await client.json('DELETE', `/containers/${id}`, { query: { force: 1, v: 1 } }).catch(() => {});
    throw error;
  }
}

/** The error of a command that runs a program: its exit code is 127, 126 or 125, as docker's. */
export class StartError extends EngineError {
  readonly exitCode: number;

  constructor(cause: unknown) {
    const { message, kind, hint } = cause instanceof EngineError ? cause : new EngineError('internal', String(cause));
    super(kind, message, { cause, ...(hint !== undefined && { hint }) });
    this.exitCode = startFailureCode(cause);
  }
}

/** 127, 126 or 125, as docker's: every other code would be taken for the program's. */
export function startFailureCode(error: unknown): number {
  if (!(error instanceof ResponseError)) return 125;
  if (/executable file not found|no such file or directory/.test(error.message)) return 127;
  return /permission denied|is a directory/.test(error.message) ? 126 : 125;
}
