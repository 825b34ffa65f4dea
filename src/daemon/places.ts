import { chmodSync } from 'node:fs';
import { dirname } from 'node:path';
import { codeOf, EngineError, messageOf } from '../base/errors.ts';
import { makeDirectories } from '../base/make-directories.ts';
import type { Config } from './config.ts';

/** The data root is nobody else's (S21); the run directory can be passed through, for the socket in it. */
export async function preparePlaces({ root, runDir, socket }: Config): Promise<void> {
  await place('root', root, async () => {
    await makeDirectories(root, 0o700);
    chmodSync(root, 0o700);
  });
  await place('runDir', runDir, async () => {
    await makeDirectories(runDir, 0o711);
    chmodSync(runDir, 0o711);
  });
  await place('socket', dirname(socket), () => makeDirectories(dirname(socket), 0o711));
}

const causes: Readonly<Record<string, string>> = {
  EACCES: 'permission denied',
  EPERM: 'not permitted',
  EROFS: 'the file system is read-only',
  ENOSPC: 'no space left on the device',
  EDQUOT: 'the quota is used up',
  EEXIST: 'there is a file',
  ENOTDIR: 'there is a file on the way',
  ENOENT: 'the file system makes no directories there',
};

/** Says which setting leads to a place that cannot be used, and why not. */
export async function place<T>(
  setting: 'root' | 'runDir' | 'socket',
  path: string,
  use: () => T | Promise<T>,
): Promise<T> {
  try {
    return await use();
  } catch (cause) {
    if (cause instanceof EngineError && cause.kind !== 'internal') throw cause;
    const what = { root: 'the data root', runDir: 'the run directory', socket: 'the directory of the socket' }[setting];
    const code = codeOf(cause) ?? '';
    throw new EngineError('unavailable', `${what} ${path} cannot be used: ${causes[code] ?? messageOf(cause)}`, {
      cause,
      hint:
        code === 'ENOSPC' || code === 'EDQUOT'
          ? `df -h ${path}, and make room`
          : ['EACCES', 'EPERM'].includes(code) && process.getuid?.() !== 0
            ? 'run the engine as root'
            : `name another place: --${setting === 'runDir' ? 'run-dir' : setting}, or ${setting} in the configuration file`,
    });
  }
}
