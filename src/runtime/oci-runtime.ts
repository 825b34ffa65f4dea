import { access, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { dirname, join } from 'node:path';
import { Semaphore } from '../base/async.ts';
import { codeOf, EngineError } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import type { Process as OciProcess, Spec } from '../oci/runtime-spec.ts';
import { Cgroups } from './cgroups.ts';
import { type ConfiguredRuntime, type DetectedRuntime, detectRuntime } from './detect.ts';
import {
  connectMonitor,
  type Monitor,
  MonitorFailure,
  readExit,
  type Started,
  socketName,
  startMonitor,
} from './monitor.ts';
import type {
  AttachStream,
  ExecRequest,
  Runtime,
  RuntimeInfo,
  Task,
  TaskExit,
  TaskRequest,
  TerminalSize,
} from './runtime.ts';
import { SeccompCache, withoutRuntimeAnnotations, withProgram } from './seccomp-cache.ts';
import { specJson } from './spec/json.ts';
import { StartError, startError } from './start-error.ts';
import { MonitoredTask, startTicks } from './task.ts';

export interface OciRuntimeDeps {
  /** The runtimes' state, exec sessions and compiled filters; ours alone. */
  readonly root: string;
  readonly runtimes: readonly ConfiguredRuntime[];
  /** The runtime's name that is used where none is asked for. Undefined: crun where it works, else the first that does. */
  readonly default: string | undefined;
  /** The monitor's binary (build-monitor.ts). */
  readonly monitor: string;
  readonly log: Log;
}

/** What is written into a bundle besides the spec. */
const bundleFiles = ['config.json', 'pid', 'runtime.log', 'console', 'exit', 'exit.tmp', socketName];

/** Containers by an OCI runtime, each behind a monitor of its own (docs/decisions/monitor.md). */
export class OciRuntime implements Runtime {
  readonly default: string;
  readonly #deps: OciRuntimeDeps;
  readonly #runtimes: readonly DetectedRuntime[];
  readonly #cgroups: Cgroups;
  readonly #seccomp: SeccompCache;
  readonly #starts = new Semaphore(Math.max(2, availableParallelism() * 2));
  readonly #monitors = new Set<Monitor>();
  #disposed = false;

  private constructor(deps: OciRuntimeDeps, found: { runtimes: readonly DetectedRuntime[]; cgroups: Cgroups }) {
    this.#deps = deps;
    this.#runtimes = found.runtimes;
    this.#cgroups = found.cgroups;
    this.#seccomp = new SeccompCache({ directory: join(deps.root, 'seccomp') });
    const works = found.runtimes.filter((runtime) => !runtime.broken);
    const best = works.find((runtime) => runtime.family === 'crun') ?? works[0] ?? found.runtimes[0];
    this.default = deps.default ?? best?.name ?? 'runc';
  }

  /** Looks at each runtime once. Without one that works it opens all the same, and starting says why. */
  static async open(deps: OciRuntimeDeps): Promise<OciRuntime> {
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
    const runtime = this.#runtime(name);
    const spec = withCgroup(withoutRuntimeAnnotations(asked), id);
    const cgroupsPath = spec.linux.cgroupsPath!;
    const profile = runtime.family === 'crun' ? spec.linux.seccomp : undefined;
    const key = profile && this.#seccomp.key(profile, runtime);
    const program = key && (await this.#seccomp.get(key));
    await writeFile(join(bundle, 'config.json'), specJson(program ? withProgram(spec, program) : spec), {
      mode: 0o600,
    });
    const oom = this.#cgroups.oomFile(cgroupsPath);
    const remove = () => this.#removeContainer({ id, bundle, cgroupsPath });
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
          ...(log ? { log: log.path, 'log-size': log.maxSize, 'log-files': log.maxFiles } : {}),
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
      if (key && !program) await this.#learn(key, join(this.#stateOf(runtime.name), id, 'seccomp.bpf'));
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

  async #exec(task: Task, { id, process: asked, stdin, size, attach }: ExecRequest): Promise<Task> {
    if (!(task instanceof MonitoredTask))
      throw new EngineError('invalid', `exec in task ${task.id}: it was not started by this runtime`);
    if (task.ended) throw new EngineError('conflict', `exec in task ${task.id}: it has ended`);
    const runtime = await this.#runtimeOf(task.id);
    if (!runtime) throw new EngineError('conflict', `exec in task ${task.id}: its runtime knows nothing of it`);
    const directory = join(this.#deps.root, 'exec', id);
    const remove = () => rm(directory, { recursive: true, force: true });
    await mkdir(join(this.#deps.root, 'exec'), { recursive: true, mode: 0o700 });
    await mkdir(directory, { mode: 0o700 });
    try {
      await writeFile(join(directory, 'process.json'), processJson(asked), { mode: 0o600 });
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
        attach,
      });
      const { cgroupsPath } = task;
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

  async adopt(
    id: string,
    bundle: string,
  ): Promise<{ state: 'running'; task: Task } | { state: 'exited'; exit: TaskExit } | { state: 'none' }> {
    const cgroupsPath = await this.#cgroupsPathIn(bundle, id);
    const runtime = await this.#runtimeOf(id);
    const remove = () => this.#removeContainer({ id, bundle, cgroupsPath });
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
          remove: () => this.#removeContainer({ id, bundle, cgroupsPath }),
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
    if (!exit && !monitor && runtime) exit = { code: 255, oomKilled: false, at: timestamp() };
    await remove();
    return exit ? { state: 'exited', exit } : { state: 'none' };
  }

  async recover(known: ReadonlySet<string>): Promise<void> {
    for (const { id, pid } of await this.#running()) {
      if (known.has(id)) continue;
      this.#deps.log.info('ending a monitor that nobody knows', { id, pid });
      killIfThere(pid);
    }
    for (const { name } of this.#runtimes)
      for (const id of await namesIn(this.#stateOf(name))) {
        if (known.has(id)) continue;
        this.#deps.log.info('removing a container that nobody knows', { id, runtime: name });
        const bundle = await this.#bundleIn(name, id);
        const cgroupsPath = bundle && (await this.#cgroupsPathIn(bundle, id));
        await this.#removeContainer({ id, bundle, cgroupsPath: cgroupsPath ?? defaultCgroup(id) });
      }
    const alive = new Set((await this.#running()).map((monitor) => monitor.exec));
    for (const exec of await namesIn(join(this.#deps.root, 'exec')))
      if (!alive.has(exec)) await rm(join(this.#deps.root, 'exec', exec), { recursive: true, force: true });
    await rm(join(this.#deps.root, 'probe'), { recursive: true, force: true });
  }

  /** Lets go of every monitor. The containers go on. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#disposed = true;
    for (const monitor of this.#monitors) monitor.close();
    this.#monitors.clear();
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
  }: {
    readonly id: string;
    readonly directory: string;
    readonly monitor: Monitor;
    readonly attached: readonly AttachStream[];
    readonly cgroupsPath: string;
    readonly container: boolean;
    readonly remove: () => Promise<void>;
    readonly signal?: AbortSignal | undefined;
  }): Promise<MonitoredTask> {
    this.#monitors.add(monitor);
    void monitor.exited.then(() => this.#monitors.delete(monitor));
    const abort = () => monitor.send('abort');
    signal?.addEventListener('abort', abort);
    if (signal?.aborted) abort();
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
      throw error;
    } finally {
      signal?.removeEventListener('abort', abort);
    }
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

  /**
   * By hand and not by the runtime's delete, which is a process of 4 ms for the same: it kills what is left, removes the
   * control group and its state directory. Hooks, which it would run, are in no spec of ours.
   */
  async #removeContainer({
    id,
    bundle,
    cgroupsPath,
  }: {
    readonly id: string;
    readonly bundle: string | undefined;
    readonly cgroupsPath: string;
  }): Promise<void> {
    await this.#cgroups.remove(cgroupsPath);
    await Promise.all([
      ...this.#runtimes.map(({ name }) => rm(join(this.#stateOf(name), id), { recursive: true, force: true })),
      ...(bundle ? bundleFiles.map((name) => rm(join(bundle, name), { force: true })) : []),
    ]);
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

  async #runtimeOf(id: string): Promise<DetectedRuntime | undefined> {
    for (const runtime of this.#runtimes) if (await exists(join(this.#stateOf(runtime.name), id))) return runtime;
    return undefined;
  }

  #stateOf(name: string): string {
    return join(this.#deps.root, 'state', name);
  }

  #command(runtime: DetectedRuntime, directory: string): string[] {
    return [
      runtime.path,
      '--root',
      this.#stateOf(runtime.name),
      '--log',
      join(directory, 'runtime.log'),
      // crun writes what happens after the start to the container's stderr in the same format: for people, then.
      ...(runtime.family === 'crun' ? ['--cgroup-manager', 'cgroupfs'] : ['--log-format', 'json']),
    ];
  }

  async #cgroupsPathIn(bundle: string, id: string): Promise<string> {
    try {
      const spec = JSON.parse(await readFile(join(bundle, 'config.json'), 'utf8')) as Spec;
      return spec.linux.cgroupsPath ?? defaultCgroup(id);
    } catch (error) {
      if (codeOf(error) === 'ENOENT' || error instanceof SyntaxError) return defaultCgroup(id);
      throw error;
    }
  }

  /** Where the runtime found the spec, by its own state file: crun's `status`, runc's `state.json`. */
  async #bundleIn(name: string, id: string): Promise<string | undefined> {
    const directory = join(this.#stateOf(name), id);
    const [status, state] = await Promise.all([
      readJson(join(directory, 'status')),
      readJson(join(directory, 'state.json')),
    ]);
    const { bundle } = (status ?? {}) as { bundle?: string };
    const { config } = (state ?? {}) as { config?: { labels?: readonly string[] } };
    return bundle ?? config?.labels?.find((label) => label.startsWith('bundle='))?.slice('bundle='.length);
  }

  /** The monitors of this root that are running, by their command lines. */
  async #running(): Promise<{ pid: number; id: string; exec: string | undefined }[]> {
    const found: { pid: number; id: string; exec: string | undefined }[] = [];
    const directory = dirname(this.#deps.monitor);
    for (const name of await readdir('/proc')) {
      if (!/^\d+$/.test(name)) continue;
      const words = (await readFile(`/proc/${name}/cmdline`, 'utf8').catch(() => '')).split('\0');
      if (dirname(words[0]!) !== directory || !words.includes(`root=${this.#deps.root}`)) continue;
      const value = (key: string) => words.find((word) => word.startsWith(`${key}=`))?.slice(key.length + 1);
      const id = value('id');
      if (id) found.push({ pid: Number(name), id, exec: value('session') });
    }
    return found;
  }
}

/** As in a spec: limits may be infinite. */
const processJson = (wanted: OciProcess) => specJson(wanted as unknown as Spec);

const defaultCgroup = (id: string) => `/berth/${id}`;

function withCgroup(spec: Spec, id: string): Spec {
  return spec.linux.cgroupsPath ? spec : { ...spec, linux: { ...spec.linux, cgroupsPath: defaultCgroup(id) } };
}

function terminal(wanted: boolean | undefined, size: TerminalSize | undefined): Record<string, string | number> {
  if (!wanted) return {};
  return { tty: 1, ...(size ? { size: `${size.rows}x${size.columns}` } : {}) };
}

/** RFC 3339 with nanoseconds, of which a clock in milliseconds knows the first three digits. */
function timestamp(): string {
  return new Date().toISOString().replace('Z', '000000Z');
}

function killIfThere(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if (codeOf(error) !== 'ESRCH') throw error;
  }
}

async function readJson(path: string): Promise<unknown> {
  try {
    return JSON.parse(await readFile(path, 'utf8'));
  } catch (error) {
    if (codeOf(error) === 'ENOENT' || error instanceof SyntaxError) return undefined;
    throw error;
  }
}

async function namesIn(directory: string): Promise<string[]> {
  return readdir(directory).catch((error) => {
    if (codeOf(error) === 'ENOENT') return [];
    throw error;
  });
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
