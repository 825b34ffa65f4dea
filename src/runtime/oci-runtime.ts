import { mkdirSync, writeFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Semaphore } from '../base/async.ts';
import { codeOf, EngineError } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import { removeDirectory } from '../base/remove-directory.ts';
import type { Process as OciProcess, Resources, Spec } from '../oci/runtime-spec.ts';
import { Cgroups } from './cgroups.ts';
import { type ConfiguredRuntime, type DetectedRuntime, detectRuntime } from './detect.ts';
import { openPathOf } from './masks.ts';
import { connectMonitor, type Monitor, MonitorFailure, readExit, type Started, startMonitor } from './monitor.ts';
import type {
  AttachStream,
  ExecRequest,
  LogTarget,
  Runtime,
  RuntimeInfo,
  Task,
  TaskExit,
  TaskRequest,
  TerminalSize,
} from './runtime.ts';
import { defaultCgroup, RuntimeState } from './runtime-state.ts';
import { SealedPrograms } from './sealed-programs.ts';
import { SeccompCache, withoutRuntimeAnnotations, withProgram } from './seccomp-cache.ts';
import { specJson } from './spec/json.ts';
import { StartError, startError } from './start-error.ts';
import { killGroup, MonitoredTask, startTicks } from './task.ts';
import { updateResources } from './update.ts';

export interface OciRuntimeDeps {
  /** The runtimes' state, exec sessions and compiled filters; ours alone. */
  readonly root: string;
  readonly runtimes: readonly ConfiguredRuntime[];
  /** The runtime's name that is used where none is asked for. Undefined: crun where it works, else the first that does. */
  readonly default: string | undefined;
  /** The monitor's binary (build-monitor.ts). */
  readonly monitor: string;
  /** The control group above the containers': it goes with the engine when it is empty. */
  readonly cgroupParent?: string;
  /** How long a runtime may take to start a process: one that hangs must not hold up the others for ever. */
  readonly startWithinMs?: number;
  readonly log: Log;
}

/** What hangs in a start that an engine before began; nobody was told of it. */
const adoptWithinMs = 5_000;

/** Directories of the exec sessions that end with their engine. */
const boundPrefix = 'bound-';

/** Containers by an OCI runtime, each behind a monitor of its own (docs/decisions/monitor.md). */
export class OciRuntime implements Runtime {
  readonly default: string;
  readonly #deps: OciRuntimeDeps;
  readonly #runtimes: readonly DetectedRuntime[];
  readonly #cgroups: Cgroups;
  readonly #state: RuntimeState;
  readonly #seccomp: SeccompCache;
  readonly #programs: SealedPrograms;
  readonly #starts = new Semaphore(Math.max(2, availableParallelism() * 2));
  readonly #monitors = new Set<Monitor>();
  /** Of these, those whose runtime has not said yet whether it runs. */
  readonly #starting = new Set<Monitor>();
  #disposed = false;

  private constructor(deps: OciRuntimeDeps, found: { runtimes: readonly DetectedRuntime[]; cgroups: Cgroups }) {
    this.#deps = deps;
    this.#runtimes = found.runtimes;
    this.#cgroups = found.cgroups;
    this.#state = new RuntimeState({
      root: deps.root,
      names: found.runtimes.map(({ name }) => name),
      cgroups: found.cgroups,
      monitors: dirname(deps.monitor),
      log: deps.log,
    });
    this.#seccomp = new SeccompCache({ directory: join(deps.root, 'seccomp') });
    this.#programs = new SealedPrograms({ log: deps.log });
    for (const runtime of found.runtimes) void this.#programs.add(runtime);
    const works = found.runtimes.filter((runtime) => !runtime.broken);
    const best = works.find((runtime) => runtime.family === 'crun') ?? works[0] ?? found.runtimes[0];
    this.default = deps.default ?? best?.name ?? 'runc';
  }

  /** Looks at each runtime once. Without one that works it opens all the same, and starting says why. Throws `invalid`. */
  static async open(deps: OciRuntimeDeps): Promise<OciRuntime> {
    const names = deps.runtimes.map(({ name }) => name);
    if (deps.default !== undefined && !names.includes(deps.default))
      throw new EngineError('invalid', `the default runtime ${deps.default} does not exist`, {
        hint: `one of ${names.join(', ')}, or add it to runtimes in the engine's configuration`,
      });
    await mkdir(deps.root, { recursive: true, mode: 0o700 });
    const cgroups = new Cgroups();
    const scratch = join(deps.root, 'probe');
    const runtimes = await Promise.all(deps.runtimes.map((runtime) => detectRuntime(runtime, { cgroups, scratch })));
    for (const { name, broken } of runtimes) if (broken) deps.log.warn('runtime does not work here', { name, broken });
    return new OciRuntime(deps, { runtimes, cgroups });
  }

  list(): readonly RuntimeInfo[] {
    return this.#runtimes.map(({ name, path, version, broken }) => ({ name, path, version, broken }));
  }

  start(request: TaskRequest): Promise<Task> {
    return this.#starts.run(() => this.#start(request));
  }

  async #start({
    id,
    bundle,
    runtime: name,
    spec: asked,
    stdin,
    size,
    log,
    attach,
    signal,
  }: TaskRequest): Promise<Task> {
    signal?.throwIfAborted();
    checkId(id);
    const runtime = this.#runtime(name);
    const spec = withCgroup({ ...withoutRuntimeAnnotations(asked), process: sized(asked.process, size) }, id);
    const cgroupsPath = spec.linux.cgroupsPath!;
    const profile = runtime.family === 'crun' ? spec.linux.seccomp : undefined;
    const key = profile && this.#seccomp.key(profile, runtime);
    const program = key && (await this.#seccomp.get(key));
    writeFileSync(join(bundle, 'config.json'), specJson(program ? withProgram(spec, program) : spec), { mode: 0o600 });
    const oom = this.#cgroups.oomFile(cgroupsPath);
    const remove = (swept = false) => this.#state.remove({ id, bundle, cgroupsPath: swept ? undefined : cgroupsPath });
    try {
      const { monitor, attached } = startMonitor({
        path: this.#deps.monitor,
        directory: bundle,
        options: {
          root: this.#deps.root,
          id,
          pid: 'pid',
          exit: 1,
          stdin,
          ...terminal(spec.process.terminal, size),
          ...(oom ? { oom } : {}),
          ...(spec.linux.uidMappings ? { 'no-null': 1 } : {}),
          ...(log ? logOptions(log) : {}),
        },
        command: [
          ...this.#command(runtime, bundle),
          'run',
          '--detach',
          '--bundle',
          bundle,
          '--pid-file',
          join(bundle, 'pid'),
          ...(spec.process.terminal ? ['--console-socket', '@console'] : []),
          id,
        ],
        cgroups: this.#cgroups.directories(cgroupsPath),
        program: this.#programs.descriptor(runtime),
        attach,
      });
      const task = await this.#await({
        id,
        directory: bundle,
        monitor,
        attached,
        cgroupsPath,
        container: true,
        remove,
        signal,
      });
      await this.#holdClosed(runtime, task, spec);
      if (key && !program) await this.#learn(key, join(this.#state.of(runtime.name), id, 'seccomp.bpf'));
      return task;
    } catch (error) {
      await this.#abandon(remove, id);
      if (signal?.aborted) throw signal.reason;
      if (error instanceof MonitorFailure)
        throw startError({ kind: 'run', program: spec.process.args[0] ?? '', cwd: spec.process.cwd }, error.said);
      throw error;
    }
  }

  exec(task: Task, request: ExecRequest): Promise<Task> {
    return this.#starts.run(() => this.#exec(task, request));
  }

  async #exec(
    task: Task,
    { id: given, process: asked, stdin, size, attach, bound = false }: ExecRequest,
  ): Promise<Task> {
    const id = bound ? `${boundPrefix}${given}` : given;
    checkId(id);
    const { runtime, cgroupsPath } = await this.#whatRuns(task, 'exec in');
    const directory = join(this.#deps.root, 'exec', id);
    const remove = () => removeDirectory(directory);
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    try {
      writeFileSync(join(directory, 'process.json'), processJson(sized(asked, size)), { mode: 0o600 });
      const { monitor, attached } = startMonitor({
        path: this.#deps.monitor,
        directory,
        options: {
          root: this.#deps.root,
          id: task.id,
          session: id,
          pid: 'pid',
          stdin: stdin ? 'once' : 'none',
          ...terminal(asked.terminal, size),
        },
        command: [
          ...this.#command(runtime, directory),
          'exec',
          '--detach',
          '--process',
          join(directory, 'process.json'),
          '--pid-file',
          join(directory, 'pid'),
          ...(asked.terminal ? ['--console-socket', '@console'] : []),
          task.id,
        ],
        program: this.#programs.descriptor(runtime),
        attach,
      });
      const started = await this.#await({ id, directory, monitor, attached, cgroupsPath, container: false, remove });
      // Nobody asks for a session that ended; the monitor may still be giving its output away.
      void started.exited
        .then(remove)
        .catch((error) => this.#deps.log.warn('exec directory left behind', { id, error }));
      return started;
    } catch (error) {
      await this.#abandon(remove, id);
      if (error instanceof MonitorFailure)
        throw startError({ kind: 'exec', program: asked.args[0] ?? '', cwd: asked.cwd }, error.said);
      throw error;
    }
  }

  async update(task: Task, resources: Resources): Promise<void> {
    const { runtime, directory, cgroupsPath } = await this.#whatRuns(task, 'update');
    const { pids, ...others } = resources;
    // crun 1.8 writes the number that stands for no limit as it is, which the kernel does not know.
    const lift = pids !== undefined && pids.limit < 0;
    const asked = lift ? others : resources;
    if (Object.keys(asked).length > 0)
      await updateResources({ runtime, state: this.#state.of(runtime.name), directory, id: task.id, resources: asked });
    if (lift) await this.#cgroups.liftPidsLimit(cgroupsPath);
  }

  async #whatRuns(task: Task, what: string) {
    if (!(task instanceof MonitoredTask))
      throw new EngineError('invalid', `${what} task ${task.id}: it was not started by this runtime`);
    if (task.ended) throw new EngineError('conflict', `${what} task ${task.id}: it has ended`);
    const name = this.#state.runtimeOf(task.id);
    if (!name) throw new EngineError('conflict', `${what} task ${task.id}: its runtime knows nothing of it`);
    return { runtime: this.#runtime(name), directory: task.directory, cgroupsPath: task.cgroupsPath };
  }

  async adopt(
    id: string,
    bundle: string,
  ): Promise<{ state: 'running'; task: Task } | { state: 'exited'; exit: TaskExit } | { state: 'none' }> {
    const cgroupsPath = await this.#state.cgroupsPathIn(bundle, id);
    const ran = this.#state.runtimeOf(id) !== undefined;
    const remove = (swept = false) => this.#state.remove({ id, bundle, cgroupsPath: swept ? undefined : cgroupsPath });
    let exit = await readExit(bundle);
    const monitor = exit ? undefined : await connectMonitor(bundle);
    if (monitor) {
      try {
        const task = await this.#await({
          id,
          directory: bundle,
          monitor,
          attached: [],
          cgroupsPath,
          container: true,
          remove,
          within: adoptWithinMs,
        });
        return { state: 'running', task };
      } catch (error) {
        if (!(error instanceof MonitorFailure)) throw error;
        monitor.close();
      }
    }
    // The file is written before the socket goes.
    exit ??= await readExit(bundle);
    // With a runtime's state and no monitor the container ran, and nobody is left who knows how it ended.
    if (!exit && !monitor && ran) exit = { code: 255, oomKilled: false, at: timestamp() };
    await remove();
    return exit ? { state: 'exited', exit } : { state: 'none' };
  }

  async recover(known: ReadonlySet<string>): Promise<void> {
    for (const directory of await this.#state.recover(known)) await this.#watchSession(directory);
  }

  /** An exec session of an engine before: nobody can ask for it any more, but what it leaves is still ours to remove. */
  async #watchSession(directory: string): Promise<void> {
    const remove = () => removeDirectory(directory);
    const monitor = await connectMonitor(directory);
    if (!monitor) return remove();
    this.#monitors.add(monitor);
    if (basename(directory).startsWith(boundPrefix))
      void monitor.started.then(
        (started) => endLeader(started),
        () => {},
      );
    void monitor.exited
      .then(() => {
        this.#monitors.delete(monitor);
        monitor.close();
        return this.#disposed ? undefined : remove();
      })
      .catch((error) => this.#deps.log.warn('exec directory left behind', { directory, error }));
  }

  /** Lets go of every monitor. The containers go on. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#disposed = true;
    for (const monitor of this.#starting) monitor.send('abort');
    // A runtime that does not take it is found by the next engine.
    if (this.#starting.size > 0) {
      const ended = Promise.allSettled([...this.#starting].map(({ started }) => started));
      await Promise.race([ended, sleep(1000)]);
    }
    for (const monitor of this.#monitors) monitor.close();
    this.#monitors.clear();
    this.#programs[Symbol.dispose]();
    if (this.#deps.cgroupParent) await this.#cgroups.prune(this.#deps.cgroupParent);
  }

  /** Waits until the process runs. Throws MonitorFailure when it will not. */
  async #await({
    id,
    directory,
    monitor,
    attached,
    cgroupsPath,
    container,
    remove,
    signal,
    within = this.#deps.startWithinMs ?? 120_000,
  }: {
    readonly id: string;
    readonly directory: string;
    readonly monitor: Monitor;
    readonly attached: readonly AttachStream[];
    readonly cgroupsPath: string;
    readonly container: boolean;
    readonly remove: (swept: boolean) => Promise<void>;
    readonly signal?: AbortSignal | undefined;
    readonly within?: number;
  }): Promise<MonitoredTask> {
    this.#monitors.add(monitor);
    this.#starting.add(monitor);
    void monitor.exited.then(() => this.#monitors.delete(monitor));
    const abort = () => monitor.send('abort');
    signal?.addEventListener('abort', abort);
    if (signal?.aborted) abort();
    let isLate = false;
    let worse: NodeJS.Timeout | undefined;
    const late = setTimeout(() => {
      isLate = true;
      abort();
      // A monitor takes its runtime along.
      worse = setTimeout(() => void this.#state.endMonitor({ id, container }), 2_000);
    }, within);
    try {
      const started = await monitor.started;
      const lost = () => this.#lost({ id, directory, started, cgroupsPath, container });
      return new MonitoredTask({
        id,
        monitor,
        started,
        attached,
        directory,
        cgroups: this.#cgroups,
        cgroupsPath,
        lost,
        remove,
      });
    } catch (error) {
      for (const stream of attached) stream.destroy();
      monitor.close();
      if (error instanceof MonitorFailure && error.isCut) await this.#state.endRuntime(directory);
      if (!isLate) throw error;
      this.#deps.log.error('a runtime that hung was ended', { id, afterMs: within });
      throw new MonitorFailure(`the runtime did not start it within ${within / 1000} s`);
    } finally {
      this.#starting.delete(monitor);
      clearTimeout(late);
      clearTimeout(worse);
      signal?.removeEventListener('abort', abort);
    }
  }

  /** The program runs by now, but a runtime that was led astray must not be what it goes on with (S12). */
  async #holdClosed({ name }: DetectedRuntime, task: MonitoredTask, spec: Spec): Promise<void> {
    const open = openPathOf(task.pid, spec);
    if (open === undefined || !task.isThere) return;
    this.#deps.log.error('a container that its runtime left open was ended', {
      id: task.id,
      runtime: name,
      path: open,
    });
    for (const stream of task.attached) stream.destroy();
    await this.#cgroups.killAll(task.cgroupsPath);
    await task.exited;
    throw new StartError(125, `runtime ${name} left ${open} of the container open: it was ended`, {
      hint: 'berth doctor, which names the holes of runtimes and what closes them',
    });
  }

  /** The connection ended without an exit. What nobody watches any more must not go on. */
  async #lost({
    id,
    directory,
    started,
    cgroupsPath,
    container,
  }: {
    readonly id: string;
    readonly directory: string;
    readonly started: Started;
    readonly cgroupsPath: string;
    readonly container: boolean;
  }): Promise<TaskExit> {
    // Let go of by ourselves: the process is well, and nobody will look at this any more.
    if (this.#disposed) return new Promise(() => {});
    const exit = container ? await readExit(directory) : undefined;
    if (exit) return exit;
    this.#deps.log.error('container monitor died', { id, pid: started.pid });
    try {
      if (container) await this.#cgroups.killAll(cgroupsPath);
      if (startTicks(started.pid) === started.ticks) process.kill(started.pid, 'SIGKILL');
    } catch (error) {
      const code = codeOf(error);
      if (code !== 'ESRCH' && code !== 'ENOENT')
        this.#deps.log.error('kill a container without a monitor', { id, error });
    }
    return { code: 255, oomKilled: false, at: timestamp() };
  }

  /** After a start that failed: the runtime tidies up itself, unless it was ended in the middle. */
  async #abandon(remove: () => Promise<void>, id: string): Promise<void> {
    await remove().catch((error) => this.#deps.log.error('clean up after a failed start', { id, error }));
  }

  async #learn(key: string, path: string): Promise<void> {
    try {
      await this.#seccomp.learn(key, path);
    } catch (error) {
      // The next start compiles it again.
      this.#deps.log.warn('keep a compiled seccomp filter', { path, error });
    }
  }

  #runtime(name: string): DetectedRuntime {
    const runtime = this.#runtimes.find((candidate) => candidate.name === name);
    if (!runtime) throw new EngineError('invalid', `unknown or invalid runtime name: ${name}`);
    if (runtime.broken) throw new StartError(125, `runtime ${name} cannot be used on this machine: ${runtime.broken}`);
    return runtime;
  }

  #command(runtime: DetectedRuntime, directory: string): string[] {
    return [
      runtime.path,
      '--root',
      this.#state.of(runtime.name),
      '--log',
      join(directory, 'runtime.log'),
      // crun writes what happens after the start to the container's stderr in the same format: for people, then.
      ...(runtime.family === 'crun' ? ['--cgroup-manager', 'cgroupfs'] : ['--log-format', 'json']),
    ];
  }
}

function logOptions({ path, maxSize, maxFiles, attributes }: LogTarget): Record<string, string | number> {
  return {
    log: path,
    'log-size': maxSize,
    'log-files': maxFiles,
    ...(attributes && { 'log-attrs': `,"attrs":${JSON.stringify(attributes)}` }),
  };
}

/** Kills a session's process, with its group, if it is still the one that was started. */
function endLeader({ pid, ticks }: Started): void {
  try {
    if (startTicks(pid) !== ticks) return;
    killGroup(pid, 9);
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if (codeOf(error) !== 'ESRCH' && codeOf(error) !== 'ENOENT') throw error;
  }
}

/** Ids become names of directories and arguments of programs. */
function checkId(id: string): void {
  if (!/^[A-Za-z0-9][\w.-]*$/.test(id)) throw new EngineError('invalid', `start ${JSON.stringify(id)}: not an id`);
}

/** As in a spec: limits may be infinite. */
const processJson = (wanted: OciProcess) => specJson(wanted as unknown as Spec);

function withCgroup(spec: Spec, id: string): Spec {
  return spec.linux.cgroupsPath ? spec : { ...spec, linux: { ...spec.linux, cgroupsPath: defaultCgroup(id) } };
}

/** The runtime sets it before the program runs; the monitor, which gets the terminal from the runtime, might be late. */
function sized(wanted: OciProcess, size: TerminalSize | undefined): OciProcess {
  return wanted.terminal && size ? { ...wanted, consoleSize: { height: size.rows, width: size.columns } } : wanted;
}

function terminal(wanted: boolean | undefined, size: TerminalSize | undefined): Record<string, string | number> {
  if (!wanted) return {};
  return { tty: 1, ...(size ? { size: `${size.rows}x${size.columns}` } : {}) };
}

/** RFC 3339 with nanoseconds, of which a clock in milliseconds knows the first three digits. */
function timestamp(): string {
  return new Date().toISOString().replace('Z', '000000Z');
}
