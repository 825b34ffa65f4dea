import type { Progress } from './images.ts';

/** Where an operation says how far it is. Never waits, never throws. */
export type Report = (progress: Progress) => void;

/**
 * Runs `work` and yields what it reports, in order; throws what it throws after everything that came before. Who stops
 * listening aborts the work, and the generator ends when the work has: nothing runs on behind it.
 */
export async function* progressOf(
  work: (report: Report, signal: AbortSignal) => Promise<void>,
  outer?: AbortSignal,
): AsyncGenerator<Progress, void, void> {
  const stop = new AbortController();
  const signal = outer ? AbortSignal.any([outer, stop.signal]) : stop.signal;
  const pending: Progress[] = [];
  let wake: () => void = () => {};
  let done = false;
  const report: Report = (progress) => {
    pending.push(progress);
    wake();
  };
  const running = work(report, signal).finally(() => {
    done = true;
    wake();
  });
  // Until it is awaited below, a failure must not count as unhandled.
  running.catch(() => {});
  try {
    while (true) {
      const next = pending.shift();
      if (next) yield next;
      else if (done) break;
      else await new Promise<void>((resolve) => (wake = resolve));
    }
    await running;
  } finally {
    stop.abort();
    await running.catch(() => {});
  }
}

/** What one layer goes through on its way in. Docker's words for it differ between pull and load. */
export interface LayerSteps {
  here(): void;
  queued(waiting: boolean): void;
  fetching(current: number, total: number): void;
  verifying(): void;
  fetched(): void;
  applying(current: number, total: number): void;
  done(): void;
}

const interval = 100;

/** A layer's lines in `docker pull`. Numbers come at most ten times a second. */
export function pullSteps(report: Report, id: string): LayerSteps {
  const say = (status: string) => report({ status, progressDetail: {}, id });
  const numbers = throttled(report, id);
  return {
    here: () => say('Already exists'),
    queued: (waiting) => {
      say('Pulling fs layer');
      if (waiting) say('Waiting');
    },
    fetching: (current, total) => numbers('Downloading', current, total),
    verifying: () => say('Verifying Checksum'),
    fetched: () => say('Download complete'),
    applying: (current, total) => numbers('Extracting', current, total),
    done: () => say('Pull complete'),
  };
}

/** A layer's lines in `docker load`: only that it is being loaded. */
export function loadSteps(report: Report, id: string): LayerSteps {
  const numbers = throttled(report, id);
  return { ...silentSteps, applying: (current, total) => numbers('Loading layer', current, total) };
}

export const silentSteps: LayerSteps = {
  here: () => {},
  queued: () => {},
  fetching: () => {},
  verifying: () => {},
  fetched: () => {},
  applying: () => {},
  done: () => {},
};

/** A layer's lines in `docker push`. */
export function pushSteps(report: Report, id: string) {
  const say = (status: string) => report({ status, progressDetail: {}, id });
  const numbers = throttled(report, id);
  return {
    queued: (waiting: boolean) => {
      say('Preparing');
      if (waiting) say('Waiting');
    },
    there: () => say('Layer already exists'),
    mounted: (repository: string) => say(`Mounted from ${repository}`),
    sending: (current: number, total: number) => numbers('Pushing', current, total),
    sent: () => say('Pushed'),
  };
}

/** Numbers that come at most ten times a second; of the whole, when that is known. */
export function throttled(report: Report, id: string | undefined) {
  let last = 0;
  let shown = '';
  return (now: string, current: number, total: number) => {
    const time = performance.now();
    const begun = shown.startsWith(now);
    if (current === 0 || shown === `${now} ${current}` || (begun && time - last < interval && current < total)) return;
    last = time;
    shown = `${now} ${current}`;
    report({
      status: now,
      progressDetail: total < 0 ? { current } : { current, total },
      progress: progressBar(current, total),
      ...(id === undefined ? {} : { id }),
    });
  };
}

/** Docker's bar: `[=====>          ]  1.2MB/60MB`. */
export function progressBar(current: number, total: number): string {
  const numbers = humanSize(current).padStart(8);
  if (total <= 0) return numbers;
  const filled = Math.min(50, Math.floor((current / total) * 50));
  const bar = `[${'='.repeat(filled)}>${' '.repeat(50 - filled)}]`;
  return current > total ? `${bar} ${numbers}` : `${bar} ${numbers}/${humanSize(total)}`;
}

/** Decimal units, four significant digits, as Docker writes them. */
export function humanSize(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB', 'PB'];
  let value = bytes;
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${Number(value.toPrecision(4))}${units[unit]}`;
}
