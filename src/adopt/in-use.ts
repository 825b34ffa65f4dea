import { readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { codeOf, EngineError } from '../base/errors.ts';
import { lockFile } from '../sys/flock.ts';
import type { ForeignRoot, Opened } from './foreign-root.ts';

/** Databases that dockerd holds a lock of as long as it runs: volumes, networks. */
const databases = ['volumes/metadata.db', 'network/files/local-kv.db'];

/**
 * Makes sure that no dockerd works on the root, and that none begins while this is held: its databases are locked as it
 * would lock them, which changes nothing in them. Throws `conflict` naming the process, `not-found` when it is no root of
 * Docker's.
 */
export function holdRoot(root: ForeignRoot): Disposable {
  const names = new Set(root.names('.'));
  if (!names.has('containers') || !(names.has('image') || names.has('volumes')))
    throw new EngineError('not-found', `no data root of Docker at ${root.path}: it has no containers and images`, {
      hint: 'berth adopt docker --from DIR',
    });
  if (/^\d+\.\d+$/.test(basename(root.path)))
    throw new EngineError(
      'unsupported',
      `${root.path} is of a Docker with userns-remap: all that is in it has owners that are nobody's here`,
      { hint: 'start Docker once more without userns-remap, and docker save, berth load' },
    );
  using held = new DisposableStack();
  for (const path of databases) {
    const file = root.find(path);
    if (!file) continue;
    held.use(file);
    try {
      lockFile(file.fd, `${root.path}/${path}`);
    } catch (cause) {
      if (codeOf(cause) !== 'EAGAIN') throw cause;
      const pid = holderOf(file);
      throw new EngineError('conflict', `Docker is using ${root.path}${pid === undefined ? '' : ` (pid ${pid})`}`, {
        cause,
        hint: 'systemctl stop docker.socket docker, and adopt then',
      });
    }
  }
  return held.move();
}

/** proc_locks(5): `1: FLOCK  ADVISORY  WRITE 4711 fe:00:12345 0 EOF`. */
function holderOf({ stat }: Opened): number | undefined {
  const locks = readFileSync('/proc/locks', 'utf8').split('\n');
  const line = locks.find((entry) => entry.split(/\s+/)[5]?.endsWith(`:${stat.ino}`));
  const pid = Number(line?.split(/\s+/)[4]);
  return pid > 0 ? pid : undefined;
}
