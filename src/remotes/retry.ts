import { setTimeout as sleep } from 'node:timers/promises';
import { codeOf } from '../base/errors.ts';
import { canceled, RegistryError } from './errors.ts';
import type { Timing } from './transport.ts';

/**
 * There was nobody to ask, which seldom passes within seconds: people want to hear of a slip in a name at once, and a
 * host that says nothing at all costs a long wait each time.
 */
const nobody: ReadonlySet<string | undefined> = new Set([
  'ETIMEDOUT',
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
]);

/** Tries again what failed for a reason that passes, with longer waits each time. */
export async function withRetries<T>(
  timing: Timing,
  signal: AbortSignal | undefined,
  attempt: () => Promise<T>,
): Promise<T> {
  for (let attempts = 1; ; attempts++) {
    try {
      return await attempt();
    } catch (error) {
      if (!(error instanceof RegistryError) || !error.temporary) throw error;
      const most = nobody.has(codeOf(error.cause)) ? Math.min(2, timing.attempts) : timing.attempts;
      if (attempts >= most) throw error;
      await pause(timing, attempts, signal, error.retryAfter);
    }
  }
}

/** The wait before attempt number `attempts + 1`; shortened at random, so that many clients don't come back at once. */
export async function pause(
  timing: Pick<Timing, 'backoff' | 'longestWait'>,
  attempts: number,
  signal: AbortSignal | undefined,
  asked?: number,
): Promise<void> {
  const grown = timing.backoff * 2 ** (attempts - 1) * (0.75 + Math.random() / 4);
  const wait = Math.min(asked ?? grown, timing.longestWait);
  await sleep(wait, undefined, signal ? { signal } : {}).catch((error) => {
    throw canceled(error);
  });
}
