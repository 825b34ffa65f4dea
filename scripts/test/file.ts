/** Runs one test file in a process group of its own, for as long as it may take and not a moment longer. */
import { spawn } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestEvent } from './reporter.ts';

export interface Outcome {
  readonly passed: number;
  /** First line `file: name`, then what went wrong. */
  readonly failed: string[];
  readonly skipped: string[];
}

export interface FileRun {
  /** Absolute. */
  readonly file: string;
  /** As the outcome names it. */
  readonly name: string;
  readonly cwd: string;
  /** For the whole file, seconds; a single test that sets no limit of its own has the same. */
  readonly seconds: number;
  readonly onFailure?: (title: string) => void;
}

/** What counts of a file that failed and was run again, with the names of what failed the first time only. */
export function secondTime(first: Outcome, second: Outcome): Outcome {
  const titleOf = (text: string) => text.split('\n')[0]!;
  const still = new Set(second.failed.map(titleOf));
  const once = first.failed.map(titleOf).filter((title) => !still.has(title));
  return {
    ...second,
    skipped: [...second.skipped, ...once.map((title) => `${title}: failed once, passed when run again`)],
  };
}

const reporter = new URL('./reporter.ts', import.meta.url).href;

/**
 * What passed, failed and was not run. A file that takes too long is ended with everything that it started in its group
 * or that carries its mark; what it had counted stands, and the file itself has failed. So has a file that ends
 * badly without saying which test did.
 */
export async function runFile({ file, name, cwd, seconds, onFailure }: FileRun): Promise<Outcome> {
  const place = mkdtempSync(join(tmpdir(), 'berth-test-'));
  const events = join(place, 'events');
  const output = join(place, 'output');
  const fd = openSync(output, 'a');
  const args = [
    '--disable-warning=ExperimentalWarning',
    `--test-timeout=${seconds * 1000}`,
    // A handle that a test forgot must not keep a file going that is done.
    '--test-force-exit',
    `--test-reporter=${reporter}`,
    `--test-reporter-destination=${events}`,
    file,
  ];
  const child = spawn(process.execPath, args, {
    cwd,
    detached: true,
    stdio: ['ignore', fd, fd],
    env: { ...process.env, BERTH_TEST_RUN: place },
  });
  closeSync(fd);
  const stop = () => endAll(child.pid!, place);
  process.once('exit', stop);
  let late = false;
  const limit = setTimeout(() => {
    late = true;
    stop();
  }, seconds * 1000);
  // "exit", not "close": whoever holds the output open must not hold up the run.
  const { code, signal } = await new Promise<{ code: number | null; signal: string | null }>((resolve) => {
    child.once('exit', (code, signal) => resolve({ code, signal }));
    child.once('error', () => resolve({ code: -1, signal: null }));
  });
  clearTimeout(limit);
  process.off('exit', stop);
  try {
    const outcome = count(name, readEvents(events), onFailure);
    const bad = (what: string) => {
      onFailure?.(name);
      outcome.failed.push(`${name}: ${what}\n${tail(output)}`);
    };
    if (late) bad(`took longer than ${seconds} s and was ended${outcome.last ? `, last begun: ${outcome.last}` : ''}`);
    else if (code !== 0 && outcome.failed.length === 0 && outcome.known === 0)
      bad(`ended with ${signal ?? `code ${code}`} and no failed test`);
    return { passed: outcome.passed, failed: outcome.failed, skipped: outcome.skipped };
  } finally {
    rmSync(place, { recursive: true, force: true });
  }
}

function count(file: string, events: readonly TestEvent[], onFailure?: (title: string) => void) {
  const outcome = { passed: 0, failed: [] as string[], skipped: [] as string[], last: '', known: 0 };
  for (const event of events) {
    const title = `${file}: ${event.name}`;
    if (event.type === 'start') outcome.last = event.name;
    else if (event.type === 'fail' && event.todo !== undefined) {
      // Known and written down at the test: told by name, not counted as news.
      outcome.known++;
      outcome.skipped.push(`${title}: a known failure${event.todo ? `: ${event.todo}` : ''}`);
    } else if (event.type === 'fail') {
      outcome.failed.push(`${title}\n${event.error}`);
      onFailure?.(title);
    } else if (event.skip !== undefined) outcome.skipped.push(`${title}${event.skip ? `: ${event.skip}` : ''}`);
    else outcome.passed++;
  }
  return outcome;
}

function readEvents(path: string): TestEvent[] {
  let text = '';
  try {
    text = readFileSync(path, 'utf8');
  } catch {
    // It did not come as far as its first event.
  }
  // The last line may be half a line of a file that was ended.
  return text
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line) as TestEvent);
}

function tail(path: string, bytes = 4000): string {
  try {
    return readFileSync(path, 'utf8').slice(-bytes);
  } catch {
    return '';
  }
}

/** Ends a process group, and what left it but carries the mark in its environment. */
function endAll(pid: number, mark: string): void {
  const kill = (target: number) => {
    try {
      process.kill(target, 'SIGKILL');
    } catch {
      // It is gone.
    }
  };
  kill(-pid);
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    try {
      if (readFileSync(`/proc/${name}/environ`, 'latin1').includes(`BERTH_TEST_RUN=${mark}\0`)) kill(Number(name));
    } catch {
      // It is gone, or not ours to look at.
    }
  }
}
