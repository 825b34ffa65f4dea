import type { ContainerConfig, Healthcheck } from '../protocol/container.ts';
import type { Health, HealthResult } from './containers.ts';

const second = 1_000_000_000;

/** The timing of a health check with Docker's defaults, in milliseconds. */
export interface HealthTiming {
  readonly interval: number;
  readonly timeout: number;
  readonly startPeriod: number;
  /** While it is starting and the start period lasts. */
  readonly startInterval: number;
  readonly retries: number;
}

export function timingOf(check: Healthcheck): HealthTiming {
  const milliseconds = (value: number | undefined, otherwise: number) => (value || otherwise) / 1_000_000;
  return {
    interval: milliseconds(check.Interval, 30 * second),
    timeout: milliseconds(check.Timeout, 30 * second),
    startPeriod: milliseconds(check.StartPeriod, 0),
    startInterval: milliseconds(check.StartInterval, 5 * second),
    retries: check.Retries && check.Retries > 0 ? check.Retries : 3,
  };
}

/** The command that asks after a container's health; undefined when nobody asks. */
export function probeCommand({ Healthcheck, Shell }: ContainerConfig): readonly string[] | undefined {
  const [kind, ...rest] = Healthcheck?.Test ?? [];
  if (kind === 'CMD') return rest;
  return kind === 'CMD-SHELL' ? [...(Shell?.length ? Shell : ['/bin/sh', '-c']), ...rest] : undefined;
}

/** At a start: what was seen in the run before stays to be read. */
export function healthAtStart(config: ContainerConfig, before: Health | undefined): Health | undefined {
  if (!probeCommand(config)) return undefined;
  return { status: 'starting', failingStreak: 0, log: before?.log ?? [] };
}

/** Nobody asks any more: it has ended or was paused. Docker calls that unhealthy. */
export function healthUnwatched(before: Health | undefined): Health | undefined {
  return before && { ...before, status: 'unhealthy' };
}

const mostResults = 5;

export function healthAfter(
  before: Health,
  result: HealthResult,
  { retries, inStartPeriod }: { readonly retries: number; readonly inStartPeriod: boolean },
): Health {
  const log = [...before.log, result].slice(-mostResults);
  if (result.exitCode === 0) return { status: 'healthy', failingStreak: 0, log };
  // What never was well may fail for as long as the start period lasts.
  if (before.status === 'starting' && inStartPeriod) return { ...before, log };
  const failingStreak = before.failingStreak + 1;
  return { status: failingStreak >= retries ? 'unhealthy' : before.status, failingStreak, log };
}

/** Milliseconds until the next probe. */
export function untilNextProbe(timing: HealthTiming, { status }: Health, ran: number): number {
  return status === 'starting' && ran < timing.startPeriod ? timing.startInterval : timing.interval;
}
