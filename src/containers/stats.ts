import { readFileSync } from 'node:fs';
import type { TaskUsage } from '../runtime/usage.ts';
import type { Room } from './room.ts';
import { now } from './time.ts';

/** What a container used at one moment. */
export interface Sample {
  /** RFC 3339 with nanoseconds. */
  readonly at: string;
  /** Undefined while it does not run. */
  readonly usage: TaskUsage | undefined;
  /** Nanoseconds that all processors of the machine were at work or idle. */
  readonly system: number;
  readonly processors: number;
}

export interface SampleListener {
  /** At once with what is known, then every second. */
  readonly sample: (sample: Sample) => void;
  /** The container was removed: nothing more comes. */
  readonly removed: () => void;
}

interface Watched {
  readonly listeners: Set<SampleListener>;
  latest: Sample;
  timer: NodeJS.Timeout | undefined;
}

const every = 1000;

/** One look a second at each container that somebody watches, for all who do; none at the others. */
export class Sampler {
  readonly #room: Room;
  readonly #watched = new Map<string, Watched>();

  constructor(room: Room) {
    this.#room = room;
  }

  /** Now, once. */
  take(id: string): Sample {
    const container = this.#room.store.byId(id);
    const usage = this.#room.live.get(id)?.task.usage();
    const { nanoseconds, processors } = parseStat(readFileSync('/proc/stat', 'utf8'));
    const hostNetwork = container?.hostConfig.NetworkMode === 'host';
    return {
      at: now(),
      // The host's own traffic is not the container's.
      usage: usage && hostNetwork ? { ...usage, networks: {} } : usage,
      system: nanoseconds,
      processors,
    };
  }

  watch(id: string, listener: SampleListener): Disposable {
    let watched = this.#watched.get(id);
    if (!watched) {
      watched = { listeners: new Set(), latest: this.take(id), timer: undefined };
      this.#watched.set(id, watched);
      this.#continue(id, watched);
    }
    const { listeners } = watched;
    listeners.add(listener);
    listener.sample(watched.latest);
    return { [Symbol.dispose]: () => this.#leave(id, listener) };
  }

  close(): void {
    for (const { timer } of this.#watched.values()) clearTimeout(timer);
    this.#watched.clear();
  }

  #continue(id: string, watched: Watched): void {
    watched.timer = setTimeout(() => {
      if (!this.#room.store.byId(id)) {
        this.#watched.delete(id);
        for (const { removed } of watched.listeners) removed();
        return;
      }
      watched.latest = this.take(id);
      this.#continue(id, watched);
      for (const { sample } of [...watched.listeners]) sample(watched.latest);
    }, every);
  }

  #leave(id: string, listener: SampleListener): void {
    const watched = this.#watched.get(id);
    if (!watched?.listeners.delete(listener) || watched.listeners.size > 0) return;
    clearTimeout(watched.timer);
    this.#watched.delete(id);
  }
}

/** Nanoseconds in a clock tick of proc_stat(5). */
const tick = 10_000_000;

export function parseStat(text: string): { readonly nanoseconds: number; readonly processors: number } {
  const lines = text.split('\n').filter((line) => line.startsWith('cpu'));
  const all = lines.find((line) => line.startsWith('cpu ')) ?? '';
  // Without guests, which are in the first two already, and what was stolen: as Docker counts.
  const ticks = all.trim().split(/\s+/).slice(1, 8).map(Number);
  return {
    nanoseconds: ticks.reduce((sum, value) => sum + value, 0) * tick,
    processors: lines.length - (all === '' ? 0 : 1),
  };
}
