import { type EngineClient, ResponseError } from '../client/client.ts';
import { converse } from './streams.ts';

export interface Foreground {
  readonly stdin: boolean;
  readonly tty: boolean;
  /** It is removed when it ends, and that is waited for. */
  readonly autoRemove: boolean;
}

/** Starts a container that was created, with this terminal attached before; gives back its exit code. */
export async function runInForeground(
  client: EngineClient,
  id: string,
  { stdin, tty, autoRemove }: Foreground,
): Promise<number> {
  const { stream, multiplexed } = await client.hijack(`/containers/${id}/attach`, {
    query: { stream: 1, stdin: stdin ? 1 : 0, stdout: 1, stderr: 1 },
  });
  const waited = client.json<{ StatusCode: number }>('POST', `/containers/${id}/wait`, {
    query: { condition: autoRemove ? 'removed' : 'next-exit' },
  });
  waited.catch(() => {});
  // Signals are for the program, as long as this terminal is not the program's own.
  const passed = tty ? [] : (['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT'] as const);
  for (const signal of passed)
    process.on(signal, () => void client.json('POST', `/containers/${id}/kill`, { query: { signal } }).catch(() => {}));
  try {
    await startOrRemove(client, id);
  } catch (error) {
    stream.destroy();
    throw error;
  }
  await converse({ client, stream, multiplexed, stdin, tty, resizePath: `/containers/${id}/resize` });
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

/** 127, 126 or 125, as docker's: every other code would be taken for the program's. */
export function startFailureCode(error: unknown): number {
  if (!(error instanceof ResponseError)) return 125;
  if (/executable file not found|no such file or directory/.test(error.message)) return 127;
  return /permission denied|is a directory/.test(error.message) ? 126 : 125;
}
