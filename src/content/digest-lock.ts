import { KeyedQueue } from '../base/async.ts';
import { EngineError } from '../base/errors.ts';
import type { Digest } from '../oci/digest.ts';

/** One holder per digest; the others wait in line, and leave it when their signal says so. */
export class DigestLock {
  readonly #queue = new KeyedQueue();

  /** Resolves to what gives the lock back; it may be called more than once. */
  acquire(digest: Digest, signal?: AbortSignal): Promise<() => void> {
    const canceled = () => new EngineError('canceled', `content ${digest}: the wait for another writer was canceled`);
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(canceled());
      const leave = () => reject(canceled());
      signal?.addEventListener('abort', leave, { once: true });
      void this.#queue.run(digest, async () => {
        signal?.removeEventListener('abort', leave);
        if (signal?.aborted) return;
        await new Promise<void>((release) => resolve(release));
      });
    });
  }
}
