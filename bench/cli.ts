import { spawnSync } from 'node:child_process';
import { dockerCli } from '../test/lib/engines.ts';

/**
 * The docker CLI that rows are measured with, the same for every engine: the machine's own where it is a 28 or later (a CLI
 * that starts slowly hides the engines behind it), else the newest that can be had.
 */
export function benchCli(): string {
  const { stdout } = spawnSync('sh', ['-c', 'command -v docker && docker --version'], { encoding: 'utf8' });
  const [path, version] = stdout.split('\n');
  return path && Number(/version (\d+)/.exec(version ?? '')?.[1] ?? 0) >= 28 ? path : dockerCli();
}
