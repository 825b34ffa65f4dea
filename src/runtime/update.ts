import { execFile } from 'node:child_process';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { EngineError, messageOf } from '../base/errors.ts';
import type { Resources } from '../oci/runtime-spec.ts';
import type { RuntimeInfo } from './runtime.ts';

const run = promisify(execFile);
const withinMs = 20_000;

export interface ResourceUpdate {
  readonly runtime: RuntimeInfo;
  /** The runtime's state root. */
  readonly state: string;
  /** The bundle, for the file that the runtime reads. */
  readonly directory: string;
  readonly id: string;
  readonly resources: Resources;
}

/**
 * By the runtime's own `update`: it knows both versions of control groups, in which order limits of memory and swap can
 * be written, and keeps its state true. Throws `internal` with its words.
 */
export async function updateResources({ runtime, state, directory, id, resources }: ResourceUpdate): Promise<void> {
  const file = join(directory, 'resources.json');
  writeFileSync(file, JSON.stringify(resources), { mode: 0o600 });
  try {
    await run(runtime.path, ['--root', state, 'update', '--resources', file, id], {
      timeout: withinMs,
      killSignal: 'SIGKILL',
    });
  } catch (cause) {
    const { stderr = '', killed = false } = cause as { stderr?: string; killed?: boolean };
    const why = killed ? `it did not end within ${withinMs / 1000} s` : whatWasSaid(stderr) || messageOf(cause);
    throw new EngineError('internal', `${runtime.name} did not terminate successfully: ${why}`, { cause });
  } finally {
    rmSync(file, { force: true });
  }
}

/** The last line: crun puts the time before it, runc writes `time=... level=error msg="..."`. */
export function whatWasSaid(stderr: string): string {
  const line = stderr.trim().split('\n').at(-1) ?? '';
  const message = /\bmsg=("(?:[^"\\]|\\.)*")/.exec(line)?.[1];
  return message ? (JSON.parse(message) as string) : line.replace(/^\d{4}-\d\d-\d\dT[\d:.]+Z?:? /, '');
}
