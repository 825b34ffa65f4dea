import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { EngineError } from '../base/errors.ts';

export interface CopyOptions {
  /** What cannot be kept, such as an extended attribute, is an error and not left out. */
  readonly exact?: boolean;
  /** Ends the copy; what is there of it stays. */
  readonly signal?: AbortSignal | undefined;
  /** Bytes so far, now and then. */
  readonly progress?: ((bytes: number) => void) | undefined;
}

/**
 * Copies what is in `from` into `to`, with owner, mode, times, links and extended attributes. By the host's cp, named by
 * its absolute path and run outside of the container: nothing of the copied tree is executed or followed (S02, S09). Holes
 * stay holes, and blocks are shared where the file system can.
 */
export async function copyTree(from: string, to: string, options: CopyOptions = {}): Promise<void> {
  const exact = options.exact ? ['--preserve=all,xattr'] : [];
  await run('/bin/cp', ['-a', '--reflink=auto', ...exact, '--no-target-directory', '--', `${from}/.`, to], options);
}

/** Everything written to the file system that holds `path` is on disk. */
export async function syncFileSystem(path: string): Promise<void> {
  await run('/bin/sync', ['-f', '--', path]);
}

const progressMs = 200;

function run(program: string, args: readonly string[], { signal, progress }: CopyOptions = {}): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(new EngineError('canceled', 'the copy was given up'));
    const child = spawn(program, args, {
      cwd: '/',
      env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C' },
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    const stop = () => void child.kill('SIGKILL');
    signal?.addEventListener('abort', stop, { once: true });
    const timer = progress && setInterval(() => progress(writtenBy(child.pid)), progressMs);
    child.once('close', () => {
      signal?.removeEventListener('abort', stop);
      clearInterval(timer);
    });
    let said = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      said = (said + text).slice(0, 4096);
    });
    child.on('error', (cause) => reject(new EngineError('internal', `${program}: ${cause.message}`, { cause })));
    child.on('close', (code) => {
      if (code === 0) return resolve();
      if (signal?.aborted) return reject(new EngineError('canceled', 'the copy was given up'));
      const full = said.includes('No space left on device');
      reject(new EngineError(full ? 'unavailable' : 'internal', said.trim() || `${program} ended with ${code}`));
    });
  });
}

/** proc_pid_io(5); what it has written so far, 0 when it has ended. */
function writtenBy(pid: number | undefined): number {
  try {
    return Number(/^wchar: (\d+)$/m.exec(readFileSync(`/proc/${pid}/io`, 'utf8'))?.[1] ?? 0);
  } catch {
    return 0;
  }
}
