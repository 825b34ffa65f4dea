import { lstatSync, rmSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { codeOf, EngineError } from './errors.ts';

/** How often it is tried, and the milliseconds between: some five seconds for whoever still writes into it. */
const attempts = 500;
const pause = 10;

/**
 * Removes a directory with all below it, and is done when it is gone. Node's own may return without an error and leave it
 * there when somebody makes files in it meanwhile, as a runtime does that is just being killed. Nothing where there is
 * none. The first attempt is made at once: for a handful of small files that is quicker than by way of the pool. Throws
 * `internal` when it comes back again and again, and what rm(1) would say of anything else.
 */
export async function removeDirectory(path: string): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      rmSync(path, { recursive: true, force: true });
    } catch (error) {
      if (codeOf(error) !== 'ENOTEMPTY') throw error;
    }
    if (!lstatSync(path, { throwIfNoEntry: false })) return;
    if (attempt === attempts)
      throw new EngineError('internal', `remove directory ${path}: something goes on making files in it`);
    await sleep(pause);
  }
}
