import { writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { ApiServer } from '../api/server.ts';
import { groupId } from '../api/socket.ts';
import { EngineError, messageOf } from '../base/errors.ts';
import { createLog, type Log } from '../base/log.ts';
import { makeDirectories } from '../base/make-directories.ts';
import { notifyServiceManager } from '../sys/sd-notify.ts';
import { type Config, type ConfigSources, readSources, settings } from './config.ts';
import { openEngine } from './engine.ts';
import { idleMemory } from './idle-memory.ts';
import { listenPlaces, passedSockets } from './listen-places.ts';
import { isMachineGoingDown } from './machine-shutdown.ts';
import { pidFile } from './pid-file.ts';
import { place } from './places.ts';
import { lockRoot } from './root-lock.ts';
import { versions } from './version.ts';

/** Runs the engine until it is told to end. Returns the exit code. */
export async function runEngine(sources: ConfigSources): Promise<number> {
  const from = performance.now();
  const { config, docker } = readSources(sources);
  const threshold: { level: Config['logLevel'] } = { level: config.logLevel };
  const log = createLog({
    threshold,
    format: config.logFormat,
    write: (line) => process.stderr.write(line),
  });
  // Files are ours alone unless somebody says otherwise (S21).
  process.umask(0o077);
  // What comes too early, or too late, is nothing to end for.
  process.on('SIGHUP', () => {});
  watchForBugs(log);
  try {
    for (const { key, why } of docker?.unheard ?? [])
      log.warn("a key of dockerd's file does nothing here", { file: docker!.path, key, why });
    const group = socketGroup(config, log);
    const passed = passedSockets(process.env, process.pid);
    const places = listenPlaces(config, { passed, gid: group });
    await place('root', config.root, () => makeDirectories(config.root, 0o700));
    using _lock = await takeRoot(config);
    protectFromOom(log);
    const ended = endSignal();
    using _memory = idleMemory();
    const engine = await openEngine(config, log);
    const api = new ApiServer({ engine, log, versions, mostFiles: engine.mostFiles });
    try {
      // Before the sockets: in Docker's place it says whose they are.
      using _pid = pidFile(config.pidFile);
      await api.listen(config.socket, { mode: 0o660, group });
      for (const place of places) await api.listenAlso(place);
      let { shutdownTimeout } = config;
      using _reload = onHangUp(() => {
        try {
          const next = readSources(sources);
          const { config: now, later } = engine.reload(next.config, next.docker);
          threshold.level = now.logLevel;
          shutdownTimeout = now.shutdownTimeout;
          log.info('configuration was read again', later.length > 0 ? { atTheNextStart: later.join(',') } : {});
        } catch (error) {
          log.error(`configuration was not read again, and nothing has changed: ${messageOf(error)}`);
        }
      });
      log.info('engine is ready', {
        version: versions.berth,
        socket: config.socket,
        ...(config.hosts.length > 0 && { hosts: config.hosts.join(',') }),
        root: config.root,
        runtime: engine.runtime.default,
        containers: engine.containers.list().length,
        ms: Math.round(performance.now() - from),
      });
      tell('READY=1', log);
      const signal = await ended;
      if (await isMachineGoingDown()) {
        log.info('engine and containers end with the machine', { signal });
        tell('STOPPING=1', log);
        await engine.containers.endWithMachine({ longest: shutdownTimeout });
      } else {
        log.info('engine ends; containers run on', { signal });
        tell('STOPPING=1', log);
      }
    } finally {
      // Whatever hangs in here, the engine is gone in time: crash and shutdown end in the same state.
      const late = setTimeout(
        () => {
          log.warn('engine ends before all of it was closed');
          process.exit(0);
        },
        config.drainTimeout * 1000 + 1800,
      );
      await api.close({ graceMs: config.drainTimeout * 1000 });
      await engine[Symbol.asyncDispose]();
      clearTimeout(late);
    }
    log.info('engine has ended');
    return 0;
  } catch (error) {
    log.error(
      `engine cannot run: ${messageOf(error)}`,
      error instanceof EngineError && error.hint ? { try: error.hint } : {},
    );
    if (config.logLevel === 'debug' && error instanceof Error) process.stderr.write(`${error.stack}\n`);
    return 1;
  }
}

/** Another engine that is just ending, or somebody who looks whether one runs, holds the lock for a moment. */
async function takeRoot({ root, socket }: Config): Promise<Disposable> {
  for (let attempt = 0; ; attempt++) {
    try {
      return await place('root', root, () => lockRoot(root, { pid: process.pid, socket }));
    } catch (error) {
      if (attempt === 5 || !(error instanceof EngineError) || error.kind !== 'conflict') throw error;
      await sleep(50);
    }
  }
}

function socketGroup({ group }: Config, log: Log): number | undefined {
  if (group === '') return undefined;
  try {
    return groupId(group);
  } catch (error) {
    // Somebody meant a group that was named; the usual one need not be there.
    if (group !== settings.group.default) throw error;
    log.debug('there is no such group: the socket is for root alone', { group });
    return undefined;
  }
}

/** The first SIGTERM or SIGINT. A second one ends the process at once, as always. */
function endSignal(): Promise<string> {
  return new Promise((resolve) => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => resolve(signal));
  });
}

/** Ends no engine before there is one to read anew, and none after. */
function onHangUp(act: () => void): Disposable {
  process.on('SIGHUP', act);
  return { [Symbol.dispose]: () => void process.off('SIGHUP', act) };
}

/** An engine that stays is worth more to its users than one that ends on a bug of a single request; it is told loudly. */
function watchForBugs(log: Log): void {
  process.on('uncaughtException', (error) =>
    log.error('bug: an error that nobody caught', { error, stack: error.stack }),
  );
  process.on('unhandledRejection', (reason) => {
    log.error('bug: a failure that nobody waited for', {
      error: messageOf(reason),
      stack: reason instanceof Error ? reason.stack : undefined,
    });
  });
}

function protectFromOom(log: Log): void {
  try {
    writeFileSync('/proc/self/oom_score_adj', '-500');
  } catch (error) {
    log.debug('the engine is not protected from the OOM killer', { error: messageOf(error) });
  }
}

function tell(state: string, log: Log): void {
  const socket = process.env.NOTIFY_SOCKET;
  if (!socket) return;
  try {
    notifyServiceManager(socket, state);
  } catch (error) {
    log.warn('the service manager could not be told', { state, error: messageOf(error) });
  }
}
