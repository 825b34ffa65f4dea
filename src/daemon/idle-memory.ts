import { performance } from 'node:perf_hooks';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { trimMalloc } from '../sys/malloc.ts';

export interface IdleMemoryDeps {
  /** Bytes of memory that are resident. */
  readonly resident: () => number;
  /** How much of the time since the last call there was something to do: 0 to 1. */
  readonly busy: () => number;
  readonly collect: () => void;
  readonly giveBack: () => Promise<void>;
  readonly intervalMs?: number;
}

/** Less than this since the last time is not worth the work. */
const worthwhile = 4 * 1024 ** 2;
const idleShare = 0.05;

/** More than this is worth a collection of garbage, which stops the engine for some tens of milliseconds. */
const worthStopping = 16 * 1024 ** 2;

/**
 * Gives memory back once there is little to do. V8 collects what is garbage when it needs room, not when it has time; the C
 * library keeps what was freed, a third of an engine that has worked.
 */
export class IdleMemory implements Disposable {
  readonly #deps: IdleMemoryDeps;
  readonly #timer: NodeJS.Timeout;
  #least = 0;

  constructor(deps: IdleMemoryDeps) {
    this.#deps = deps;
    this.#timer = setInterval(() => void this.#look(), deps.intervalMs ?? 5000);
    this.#timer.unref();
  }

  async #look(): Promise<void> {
    const { resident, busy, collect, giveBack } = this.#deps;
    if (busy() > idleShare || resident() < this.#least + worthwhile) return;
    if (resident() >= this.#least + worthStopping) collect();
    await giveBack().catch(() => {});
    this.#least = resident();
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }
}

/** This process's. */
export function idleMemory(): IdleMemory {
  let before = performance.eventLoopUtilization();
  return new IdleMemory({
    resident: () => process.memoryUsage.rss(),
    busy: () => {
      const now = performance.eventLoopUtilization();
      const { utilization } = performance.eventLoopUtilization(now, before);
      before = now;
      return utilization;
    },
    collect: collector(),
    giveBack: trimMalloc,
  });
}

/** V8's own `gc`, for which the process needs no flag at its start. */
function collector(): () => void {
  setFlagsFromString('--expose-gc');
  const collect: () => void = runInNewContext('gc');
  setFlagsFromString('--no-expose-gc');
  return collect;
}
