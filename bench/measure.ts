import { spawnSync } from 'node:child_process';
import { benchCli } from './cli.ts';
import type { Contestant } from './engines.ts';

/** Milliseconds that it took. */
export async function timed(work: () => unknown): Promise<number> {
  const from = performance.now();
  await work();
  return performance.now() - from;
}

let chosenCli: string | undefined;

export function cli(
  { engine }: Contestant,
  args: readonly string[],
  stdio: 'ignore' | ['ignore' | number, number, 'ignore'] = 'ignore',
): void {
  const { status, error } = spawnSync((chosenCli ??= benchCli()), args, { env: engine.env, stdio, timeout: 300_000 });
  if (status !== 0) throw error ?? new Error(`docker ${args.join(' ')}: exit ${status}`);
}

export async function call({ engine }: Contestant, method: string, path: string, body?: unknown): Promise<string> {
  const answer = await engine.api(method, path, body);
  if (answer.status >= 400) throw new Error(`${method} ${path}: ${answer.status} ${answer.body}`);
  return answer.body;
}

export const numbers = (count: number) => Array.from({ length: count }, (_, index) => index);

export async function inParallel(
  count: number,
  width: number,
  work: (index: number) => Promise<unknown>,
): Promise<void> {
  const left = numbers(count);
  await Promise.all(
    numbers(width).map(async () => {
      for (let index = left.shift(); index !== undefined; index = left.shift()) await work(index);
    }),
  );
}

/** A container that has written 50 MB of log. */
export function withTalker({ engine }: Contestant): void {
  if (engine.docker(['inspect', 'talker']).status !== 0)
    engine.must(
      ...['run', '--name', 'talker', '--log-opt', 'max-size=1g', '-d', 'bb:1', 'sh', '-c'],
      "yes 'the quick brown fox jumps over the lazy dog' | head -c 50000000",
    );
  engine.must('wait', 'talker');
}
