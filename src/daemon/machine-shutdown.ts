import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { promisify } from 'node:util';

/** Seconds that a container may take to stop when the machine goes down, whatever its own timeout says. */
export const longestShutdown = 90;

/** What `systemctl is-system-running` says; it exits with 1 for everything but "running". */
async function systemState(): Promise<string> {
  const ask = promisify(execFile)('systemctl', ['is-system-running'], { timeout: 3_000 });
  return ask.then(
    ({ stdout }) => stdout,
    (error: { stdout?: unknown }) => String(error.stdout ?? ''),
  );
}

/**
 * Whether the SIGTERM that the engine got is the machine's end and not its own. Only systemd can be asked; elsewhere the answer
 * is no, and containers end with the machine as its other processes do.
 */
export async function isMachineGoingDown({
  hasSystemd = existsSync('/run/systemd/system'),
  state = systemState,
}: {
  readonly hasSystemd?: boolean;
  readonly state?: () => Promise<string>;
} = {}): Promise<boolean> {
  return hasSystemd && (await state()).trim() === 'stopping';
}
