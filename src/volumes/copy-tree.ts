import { spawn } from 'node:child_process';
import { EngineError } from '../base/errors.ts';

/**
 * Copies what is in `from` into `to`, with owner, mode, times, links and extended attributes. By the host's cp, named by
 * its absolute path and run outside of the container: nothing of the copied tree is executed or followed (S02, S09).
 */
export async function copyTree(from: string, to: string): Promise<void> {
  await run('/bin/cp', ['-a', '--no-target-directory', '--', `${from}/.`, to]);
}

/** Everything written to the file system that holds `path` is on disk. */
export async function syncFileSystem(path: string): Promise<void> {
  await run('/bin/sync', ['-f', '--', path]);
}

function run(program: string, args: readonly string[]): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      cwd: '/',
      env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C' },
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    let said = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      said = (said + text).slice(0, 4096);
    });
    child.on('error', (cause) => reject(new EngineError('internal', `${program}: ${cause.message}`, { cause })));
    child.on('close', (code) => {
      if (code === 0) return resolve();
      const full = said.includes('No space left on device');
      reject(new EngineError(full ? 'unavailable' : 'internal', said.trim() || `${program} ended with ${code}`));
    });
  });
}
