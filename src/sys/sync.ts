import { open } from 'node:fs/promises';
import { check, libc } from './libc.ts';

const SYNC_FILE_RANGE_WRITE = 2;

/** syncfs(2) on the file system that `path` is on, on a thread of koffi's pool. */
export async function syncFileSystem(path: string): Promise<void> {
  const syncfs = libc().func('int syncfs(int)');
  await using directory = await open(path, 'r');
  await new Promise<void>((resolve, reject) => {
    syncfs.async(directory.fd, (error: unknown, result: number) => {
      try {
        if (error) throw error;
        check('syncfs', path, result);
        resolve();
      } catch (failed) {
        reject(failed);
      }
    });
  });
}

/** sync_file_range(2): starts writing back what was just written, without waiting for it. */
export class WriteBack {
  readonly #syncFileRange = libc().func('int sync_file_range(int, int64_t, int64_t, uint)');

  start(fd: number, offset: number, length: number): void {
    check('sync_file_range', `fd ${fd}`, this.#syncFileRange(fd, offset, length, SYNC_FILE_RANGE_WRITE));
  }
}
