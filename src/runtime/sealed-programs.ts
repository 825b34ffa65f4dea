import { execFile } from 'node:child_process';
import { closeSync, statSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import { messageOf } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import { sealedMemfd } from '../sys/memfd.ts';
import type { DetectedRuntime } from './detect.ts';

const run = promisify(execFile);

interface Sealed {
  readonly fd: number;
  readonly stamp: string;
}

/**
 * crun as a sealed file in memory. A container can reach the program that started it by /proc/self/exe, so crun starts
 * itself once more from a copy that cannot be written, unless it sees that it is one: that is a bind mount, an unmount
 * and a second dynamic linking less at every start and exec (2.3 of 4.5 ms of processor time).
 */
export class SealedPrograms implements Disposable {
  readonly #log: Log;
  readonly #sealed = new Map<string, Sealed>();
  #disposed = false;

  constructor(deps: { readonly log: Log }) {
    this.#log = deps.log;
  }

  /** Until it is done, and where it cannot be, the runtime is started by its path. */
  async add({ family, path, version }: DetectedRuntime): Promise<void> {
    if (family !== 'crun') return;
    try {
      const stamp = stampOf(path);
      const content = await readFile(path);
      // A script cannot be started from a descriptor that is closed on exec.
      if (content.subarray(0, 4).toString('latin1') !== '\x7fELF' || this.#disposed) return;
      const fd = sealedMemfd('crun', content);
      // Does it run from there? Libraries may be looked for beside it, and a policy may forbid it.
      const said = await run(`/proc/${process.pid}/fd/${fd}`, ['--version'], { timeout: 10_000 }).catch((error) => ({
        stdout: '',
        error,
      }));
      if (!said.stdout.includes(version) || this.#disposed) {
        closeSync(fd);
        if (!this.#disposed)
          this.#log.debug('the runtime does not start from a sealed copy', {
            path,
            said: 'error' in said ? messageOf(said.error) : said.stdout,
          });
        return;
      }
      this.#drop(path);
      this.#sealed.set(path, { fd, stamp });
    } catch (error) {
      this.#log.debug('the runtime cannot be sealed', { path, error: messageOf(error) });
    }
  }

  /** The descriptor to start the runtime from; undefined: by its path. */
  descriptor(runtime: DetectedRuntime): number | undefined {
    const sealed = this.#sealed.get(runtime.path);
    if (!sealed) return undefined;
    if (stampOf(runtime.path) === sealed.stamp) return sealed.fd;
    // Upgraded under us: from here on the new one, whatever the engine's age.
    this.#drop(runtime.path);
    void this.add(runtime);
    return undefined;
  }

  #drop(path: string): void {
    const sealed = this.#sealed.get(path);
    this.#sealed.delete(path);
    if (sealed) closeSync(sealed.fd);
  }

  [Symbol.dispose](): void {
    this.#disposed = true;
    for (const path of [...this.#sealed.keys()]) this.#drop(path);
  }
}

function stampOf(path: string): string {
  const stat = statSync(path, { bigint: true, throwIfNoEntry: false });
  return stat ? `${stat.dev} ${stat.ino} ${stat.size} ${stat.mtimeNs} ${stat.ctimeNs}` : '';
}
