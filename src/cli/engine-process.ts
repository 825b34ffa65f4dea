import { spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync, statSync } from 'node:fs';
import { connect } from 'node:net';
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { entryUrl } from '../base/entry.ts';
import { codeOf, EngineError } from '../base/errors.ts';
import { makeDirectories } from '../base/make-directories.ts';
import { type Config, flagOf, type Setting, settings, variableOf } from '../daemon/config.ts';
import { readDaemonJson } from '../daemon/daemon-json.ts';
import { isRootLocked, lockOwner } from '../daemon/root-lock.ts';

export interface EngineStatus {
  readonly running: boolean;
  readonly pid: number | undefined;
  readonly socket: string;
}

/** Whether an engine holds the root. The kernel's lock says so, not a pid file. */
export function engineStatus(config: Config): EngineStatus {
  const running = isRootLocked(config.root);
  const owner = running ? lockOwner(config.root) : undefined;
  return { running, pid: owner?.pid, socket: owner?.socket ?? config.socket };
}

/** Node's own limits for the engine: a heap that stays small pays in memory and costs nothing measurable. */
export const engineNodeFlags: readonly string[] = ['--max-semi-space-size=4', '--disable-warning=ExperimentalWarning'];

/**
 * Starts the engine in the background, where there is no service manager to do it, and returns once it answers. Throws with
 * the last lines of its log when it ends before.
 */
export async function startInBackground(config: Config, configFile: string | undefined): Promise<EngineStatus> {
  const before = engineStatus(config);
  if (before.running) return before;
  const log = await openLog(config.logFile);
  const from = statSync(config.logFile).size;
  // What the flags and the environment said here is said again to the engine: it may not inherit this environment for ever.
  // What dockerd's file says the engine reads itself, now and when it is told to read it again.
  const file = config.daemonJson === '' ? undefined : readDaemonJson(config.daemonJson, { required: false });
  const fromFile = (key: string, read: (value: unknown) => unknown) =>
    file?.settings[key] !== undefined &&
    JSON.stringify(read(file.settings[key])) === JSON.stringify(config[key as keyof Config]);
  const own = Object.values(settings).filter(({ key, read }: Setting<unknown>) => !fromFile(key, read));
  const said = own.map((setting: Setting<unknown>) => ({
    setting,
    value: textOf(config[setting.key as keyof Config]),
  }));
  const flags = said.flatMap(({ setting: { key, secret }, value }) => (secret ? [] : [flagOf(key), value]));
  // Everybody may read a command line. What is of no proxy's form came from a variable that the engine inherits as it is.
  const secrets = said.flatMap(({ setting: { key, secret, read }, value }) =>
    secret && read(value) !== undefined ? [[variableOf(key), value]] : [],
  );
  const child = spawn(
    process.execPath,
    [
      ...engineNodeFlags,
      fileURLToPath(entryUrl('daemon/main')),
      ...(configFile ? ['--config', configFile] : []),
      '--settled',
      ...flags,
    ],
    {
      detached: true,
      stdio: ['ignore', log, log],
      cwd: '/',
      env: { ...process.env, ...Object.fromEntries(secrets) },
    },
  );
  closeSync(log);
  let ended: string | undefined;
  child.once('exit', (code, signal) => {
    ended = signal ?? `exit ${code}`;
  });
  child.once('error', (error) => {
    ended = error.message;
  });
  const deadline = Date.now() + 30_000;
  while (!(await answers(config.socket))) {
    if (ended !== undefined || Date.now() > deadline) {
      const said = readFileSync(config.logFile, 'utf8').slice(from).trim().split('\n').slice(-8).join('\n  ');
      throw new EngineError(
        'unavailable',
        `the engine did not start (${ended ?? 'no answer for 30 s'}):\n  ${said || 'it said nothing'}`,
        { hint: 'berth doctor' },
      );
    }
    await sleep(10);
  }
  child.unref();
  return { running: true, pid: child.pid, socket: config.socket };
}

/** SIGTERM, and back when it has ended. Containers run on. Returns false when none was running. */
export async function stopEngine(config: Config): Promise<boolean> {
  const { running, pid } = engineStatus(config);
  if (!running) return false;
  if (pid === undefined)
    throw new EngineError('unavailable', `an engine holds ${config.root}, but it did not say which process it is`);
  process.kill(pid, 'SIGTERM');
  const deadline = Date.now() + (config.drainTimeout + 12) * 1000;
  while (isRootLocked(config.root)) {
    if (Date.now() > deadline)
      throw new EngineError('unavailable', `the engine (pid ${pid}) has not ended yet`, {
        hint: `kill -9 ${pid}: containers are not touched`,
      });
    await sleep(20);
  }
  return true;
}

async function openLog(path: string): Promise<number> {
  try {
    await makeDirectories(dirname(path), 0o755);
    return openSync(path, 'a', 0o640);
  } catch (error) {
    throw new EngineError('unavailable', `the engine's log ${path} cannot be written: ${codeOf(error)}`, {
      cause: error,
      hint: 'run this as root, or give --log-file',
    });
  }
}

function textOf(value: Config[keyof Config]): string {
  // As JSON, which commas and equals signs in a value leave whole.
  if (typeof value === 'object') return JSON.stringify(value);
  return String(value);
}

/** Whether something accepts connections there. */
function answers(socket: string): Promise<boolean> {
  return new Promise((resolve) => {
    const connection = connect(socket);
    connection.once('connect', () => {
      connection.destroy();
      resolve(true);
    });
    connection.once('error', () => resolve(false));
  });
}
