import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { access, chmod, mkdir, readdir, readFile, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { EngineError, messageOf } from '../base/errors.ts';

const run = promisify(execFile);

/**
 * Best first. A static binary starts without the dynamic loader and shares every page with the other monitors;
 * where there is no static libc the shared one will do.
 */
const compilers: readonly (readonly string[])[] = [
  ['gcc', '-O2', '-static'],
  ['cc', '-O2', '-static'],
  ['gcc', '-O2'],
  ['cc', '-O2'],
  ['tcc'],
];

/** Where the monitor's source is: beside this file, in the sources as in the bundle. */
export const monitorSource = (): string => fileURLToPath(new URL('./monitor.c', import.meta.url));

/**
 * The path of the monitor for this source, compiled into `directory` when it is not there yet. The name carries the
 * source's hash: an upgrade compiles a new one, and running containers keep theirs. Throws `unavailable` without a compiler.
 */
export async function buildMonitor({
  directory,
  source = monitorSource(),
}: {
  readonly directory: string;
  readonly source?: string;
}): Promise<string> {
  const hash = createHash('sha256')
    .update(await readFile(source))
    .digest('hex')
    .slice(0, 16);
  const path = join(directory, `monitor-${hash}`);
  if (await exists(path)) return path;
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const beside = `${path}.${process.pid}.tmp`;
  const failures: string[] = [];
  try {
    for (const [compiler, ...flags] of compilers) {
      try {
        await run(compiler!, [...flags, '-o', beside, source]);
        await chmod(beside, 0o755);
        await rename(beside, path);
        await removeOlder(directory, path);
        return path;
      } catch (error) {
        failures.push(`${compiler}: ${messageOf(error).split('\n').slice(0, 3).join(' ')}`);
      }
    }
  } finally {
    await rm(beside, { force: true });
  }
  throw new EngineError('unavailable', `compile the container monitor into ${dirname(path)}: ${failures.join('; ')}`, {
    hint: 'apt-get install tcc libc6-dev',
  });
}

/** Running monitors keep the file that they were started from: unlinking takes only its name. */
async function removeOlder(directory: string, current: string): Promise<void> {
  for (const name of await readdir(directory))
    if (/^monitor-[0-9a-f]{16}$/.test(name) && join(directory, name) !== current)
      await rm(join(directory, name), { force: true });
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
