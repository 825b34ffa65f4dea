import type { EngineEvent, Events, NewEvent } from './bus.ts';

const kept = 1024;

export interface EventBusDeps {
  /** A listener threw. It loses this event, the others do not. */
  readonly failed?: (error: unknown) => void;
}

/** The events of one engine, in memory: listeners are called in the order in which they came. */
export class EventBus implements Events {
  readonly #failed: (error: unknown) => void;
  readonly #ring: EngineEvent[] = [];
  readonly #listeners = new Set<(event: EngineEvent) => void>();
  /** Where the oldest event is once the ring is full. */
  #oldest = 0;
  #last = 0n;

  constructor({ failed = () => {} }: EventBusDeps = {}) {
    this.#failed = failed;
  }

  get listeners(): number {
    return this.#listeners.size;
  }

  emit({ type, action, actor }: NewEvent): void {
    const event: EngineEvent = { type, action, actor, timeNano: this.#now() };
    if (this.#ring.length < kept) this.#ring.push(event);
    else {
      this.#ring[this.#oldest] = event;
      this.#oldest = (this.#oldest + 1) % kept;
    }
    // A copy, so that a listener that comes or goes meanwhile changes nothing for this event.
    for (const listener of [...this.#listeners]) {
      try {
        listener(event);
      } catch (error) {
        this.#failed(error);
      }
    }
  }

  history(): readonly EngineEvent[] {
    return [...this.#ring.slice(this.#oldest), ...this.#ring.slice(0, this.#oldest)];
  }

  listen(listener: (event: EngineEvent) => void): Disposable {
    // A wrapper of its own, so that the same function may listen twice.
    const own = (event: EngineEvent) => listener(event);
    this.#listeners.add(own);
    return { [Symbol.dispose]: () => void this.#listeners.delete(own) };
  }

  /** The clock of the system is only good for microseconds here, and may step back: never the same time twice. */
  #now(): bigint {
    const clock = BigInt(Math.round((performance.timeOrigin + performance.now()) * 1000)) * 1000n;
    const wall = BigInt(Date.now()) * 1_000_000n;
    // performance.now() does not follow when the system's clock is set.
    const drift = clock > wall ? clock - wall : wall - clock;
    const now = drift < 5_000_000n ? clock : wall;
    this.#last = now > this.#last ? now : this.#last + 1n;
    return this.#last;
  }
}
