import { Semaphore } from '../base/async.ts';
import { type HealthTiming, healthAfter, probeCommand, timingOf, untilNextProbe } from './health.ts';
import { endUnhealthy, unhealthyAction } from './on-unhealthy.ts';
import { probe } from './probe.ts';
import { type Room, recordKind } from './room.ts';
import { now } from './time.ts';

interface Watch {
  readonly timing: HealthTiming;
  readonly command: readonly string[];
  /** By the steady clock, in milliseconds: a clock that is set does not move the start period. */
  readonly startedAt: number;
  /** Undefined while it is paused. */
  round: AbortController | undefined;
  timer: NodeJS.Timeout | undefined;
}

/**
 * Asks after the health of the containers that run: one timer for each, and the process of the probe while it runs. What
 * is found goes into the record; only a change of status or streak is worth a write, the log comes along with it.
 */
export class HealthChecks {
  readonly #room: Room;
  readonly #watches = new Map<string, Watch>();
  readonly #ending = new Set<string>();
  /** Probes that are being started: many that are due at once do not stand before a `docker start`. */
  readonly #starts = new Semaphore(2);

  constructor(room: Room) {
    this.#room = room;
  }

  /** It was started, or adopted. */
  begin(id: string): void {
    this.end(id);
    const container = this.#room.store.byId(id);
    const command = container && probeCommand(container.config);
    if (!command || !container.state.health) return;
    this.#watches.set(id, {
      timing: timingOf(container.config.Healthcheck ?? {}),
      command,
      startedAt: performance.now() - (this.#room.live.get(id)?.task.age() ?? 0),
      round: undefined,
      timer: undefined,
    });
    if (container.state.status === 'running') this.resume(id);
  }

  /** Ends the probe that runs. */
  pause(id: string): void {
    const watch = this.#watches.get(id);
    clearTimeout(watch?.timer);
    watch?.round?.abort();
    if (watch) watch.round = undefined;
  }

  resume(id: string): void {
    const watch = this.#watches.get(id);
    if (!watch || watch.round) return;
    watch.round = new AbortController();
    this.#schedule(id, watch, watch.round.signal);
  }

  end(id: string): void {
    this.pause(id);
    this.#watches.delete(id);
  }

  close(): void {
    for (const id of [...this.#watches.keys()]) this.end(id);
  }

  #schedule(id: string, watch: Watch, stop: AbortSignal): void {
    const health = this.#room.store.byId(id)?.state.health;
    if (!health || stop.aborted) return;
    const delay = untilNextProbe(watch.timing, health, performance.now() - watch.startedAt);
    // A timer counts at most 24 days at once, and who asks for more has been told the same for a while.
    watch.timer = setTimeout(
      () =>
        // Not among what is waited for: a probe may take as long as it is allowed to.
        void this.#ask(id, watch, stop)
          .catch((error: unknown) =>
            this.#room.deps.log.error('the health of a container could not be asked for', { id, error }),
          )
          .finally(() => this.#schedule(id, watch, stop)),
      Math.min(delay, 2 ** 31 - 1),
    );
  }

  /** One at a time: the next probe comes while it is being stopped. */
  async #end(id: string, action: 'restart' | 'stop'): Promise<void> {
    if (this.#ending.has(id)) return;
    this.#ending.add(id);
    try {
      await endUnhealthy(this.#room, id, action);
    } finally {
      this.#ending.delete(id);
    }
  }

  async #ask(id: string, watch: Watch, stop: AbortSignal): Promise<void> {
    const room = this.#room;
    const container = room.store.byId(id);
    const live = room.live.get(id);
    if (!container || !live) return;
    const { timing, command, startedAt } = watch;
    const start = now();
    const inStartPeriod = performance.now() - startedAt < timing.startPeriod;
    const found = await probe(room, container, {
      task: live.task,
      command,
      timeout: timing.timeout,
      starts: this.#starts,
      stop,
    });
    const before = room.store.byId(id)?.state.health;
    if (!stop.aborted && before) {
      const { exitCode, output } = found;
      const health = healthAfter(
        before,
        { start, end: now(), exitCode, output },
        { retries: timing.retries, inStartPeriod },
      );
      const after = room.update(id, { state: { health } }, { save: false })!;
      const changed = health.status !== before.status;
      if (changed || health.failingStreak !== before.failingStreak)
        room.writeSoon({ kind: recordKind, key: id, value: after });
      if (changed) room.emit(after, `health_status: ${health.status}`);
      // Not only when it changes: an engine that was killed before it acted finds it so.
      const action = unhealthyAction(after);
      if (action) room.inBackground('an unhealthy container could not be ended', id, this.#end(id, action));
    }
    // The next one only when this one is gone: those that cannot be ended must not pile up.
    await found.gone;
  }
}
