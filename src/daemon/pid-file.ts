import { readFileSync, unlinkSync, writeFileSync } from 'node:fs';
import { codeOf, EngineError } from '../base/errors.ts';

/**
 * Writes this process's ID there, and removes it at the end. Throws `conflict` while the process that it names runs, in
 * dockerd's words: so a dockerd that is started beside does not take the socket from under us, nor we from under it.
 */
export function pidFile(path: string): Disposable {
  if (path === '') return { [Symbol.dispose]: () => {} };
  const own = String(process.pid);
  const before = read(path);
  if (before !== undefined && before !== own && runs(Number(before)))
    throw new EngineError(
      'conflict',
      `failed to start the engine, ensure docker is not running or delete ${path}: process with PID ${before} is still running`,
    );
  try {
    writeFileSync(path, own, { mode: 0o644 });
  } catch (error) {
    throw new EngineError('unavailable', `the pid file ${path} cannot be written: ${codeOf(error)}`, { cause: error });
  }
  return {
    [Symbol.dispose]: () => {
      if (read(path) === own) unlinkSync(path);
    },
  };
}

function read(path: string): string | undefined {
  try {
    return /^\s*([1-9]\d*)\s*$/.exec(readFileSync(path, 'utf8'))?.[1];
  } catch {
    return undefined;
  }
}

/** Whether an engine, Docker's or one of ours, has this ID now: after a crash anybody may have got it. */
function runs(pid: number): boolean {
  try {
    return /dockerd|daemon[-/]main/.test(readFileSync(`/proc/${pid}/cmdline`, 'utf8'));
  } catch {
    return false;
  }
}
