import { KeyedQueue } from '../base/async.ts';
import type { Digest } from '../oci/digest.ts';

/**
 * What operations under way need, so that no removal and no collection takes it from under them, and who works on a
 * digest right now. A digest is added to a lease before it is looked for; whoever removes looks at the leases while it
 * is alone with the digest.
 */
export class Claims {
  readonly #held = new Map<Digest, number>();
  readonly #queue = new KeyedQueue();

  lease(): Lease {
    return new Lease(this.#held);
  }

  isHeld(digest: Digest): boolean {
    return this.#held.has(digest);
  }

  /**
   * Runs the task when no other task for the key runs. An abort ends the wait for the others at once; the task itself
   * has to watch the signal.
   */
  alone<T>(key: string, task: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    return new Promise((resolve, reject) => {
      const giveUp = () => reject(signal?.reason);
      signal?.addEventListener('abort', giveUp, { once: true });
      const started = async () => {
        signal?.removeEventListener('abort', giveUp);
        signal?.throwIfAborted();
        return await task();
      };
      if (signal?.aborted) giveUp();
      this.#queue.run(key, started).then(resolve, reject);
    });
  }
}

/** The digests that one operation needs until it ends. */
export class Lease implements Disposable {
  readonly #held: Map<Digest, number>;
  readonly #mine = new Set<Digest>();

  constructor(held: Map<Digest, number>) {
    this.#held = held;
  }

  add(digest: Digest): void {
    if (this.#mine.has(digest)) return;
    this.#mine.add(digest);
    this.#held.set(digest, (this.#held.get(digest) ?? 0) + 1);
  }

  digests(): readonly Digest[] {
    return [...this.#mine];
  }

  [Symbol.dispose](): void {
    for (const digest of this.#mine) {
      const count = this.#held.get(digest)! - 1;
      if (count === 0) this.#held.delete(digest);
      else this.#held.set(digest, count);
    }
    this.#mine.clear();
  }
}
