import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { codeOf, EngineError } from '../base/errors.ts';
import { Pidfd } from '../sys/pidfd.ts';
import type { Cgroups } from './cgroups.ts';
import { attachTo, followLog, type Monitor, replaceLogFile, type Started } from './monitor.ts';
import type { AttachRequest, AttachStream, Task, TaskExit, TerminalSize } from './runtime.ts';
import type { TaskUsage } from './usage.ts';

export interface TaskDeps {
  readonly id: string;
  readonly monitor: Monitor;
  readonly started: Started;
  readonly attached: readonly AttachStream[];
  /** Where the monitor's socket is. */
  readonly directory: string;
  readonly cgroups: Cgroups;
  /** The container's, also for an exec session. */
  readonly cgroupsPath: string;
  /** What to make of a monitor that ended without telling an exit. */
  readonly lost: () => Promise<TaskExit>;
  /** `swept`: the monitor removed the control group. */
  readonly remove: (swept: boolean) => Promise<void>;
}

/** Of times that the kernel tells to programs: USER_HZ, the same on every machine that we run on. */
const ticksPerSecond = 100;

/** Milliseconds that a monitor has to remove the control group after it told the exit, and to take a follower of the log. */
const patience = 100;

/** A process behind a monitor. */
export class MonitoredTask implements Task {
  readonly id: string;
  readonly pid: number;
  readonly startedAt: string;
  readonly attached: readonly AttachStream[];
  readonly exited: Promise<TaskExit>;
  readonly #deps: TaskDeps;
  #ended = false;

  constructor(deps: TaskDeps) {
    this.#deps = deps;
    this.id = deps.id;
    this.pid = deps.started.pid;
    this.startedAt = deps.started.at;
    this.attached = deps.attached;
    this.exited = deps.monitor.exited.then(async (exit) => {
      this.#ended = true;
      return exit ?? (await deps.lost());
    });
  }

  get ended(): boolean {
    return this.#ended;
  }

  /** As exact as the ticks that the kernel counts, 10 ms. */
  age(): number {
    const ticks = Number(this.#deps.started.ticks);
    if (!(ticks > 0)) return 0;
    const uptime = Number(readFileSync('/proc/uptime', 'utf8').split(' ')[0]) * 1000;
    return Math.max(0, uptime - ticks * (1000 / ticksPerSecond));
  }

  get directory(): string {
    return this.#deps.directory;
  }

  /** Whether the pid is still this process's. */
  get isThere(): boolean {
    try {
      return !this.#ended && startTicks(this.pid) === this.#deps.started.ticks;
    } catch {
      return false;
    }
  }

  get cgroupsPath(): string {
    return this.#deps.cgroupsPath;
  }

  attach(request: AttachRequest): Promise<AttachStream> {
    return attachTo(this.#deps.directory, request);
  }

  async keepLog(): Promise<Disposable> {
    const asked = followLog(this.#deps.directory).catch(() => undefined);
    // What it says after that is that it ends, which is nothing to wait for.
    void asked.then((kept) => kept?.resume().unref());
    // A log can be read whatever its monitor hangs in.
    await Promise.race([asked, sleep(patience, undefined, { ref: false })]);
    return { [Symbol.dispose]: () => void asked.then((kept) => kept?.destroy()) };
  }

  replaceLogFile(inode: bigint, how: 'packed' | 'drop'): Promise<boolean | undefined> {
    return replaceLogFile(this.#deps.directory, { inode, how }).catch(() => undefined);
  }

  async resize({ rows, columns }: TerminalSize): Promise<void> {
    this.#deps.monitor.send(`resize ${rows} ${columns}`);
  }

  async kill(signal: number, { group = false }: { readonly group?: boolean } = {}): Promise<void> {
    const gone = (cause?: unknown) =>
      new EngineError('conflict', `signal ${signal} to process ${this.pid}: it has ended`, { cause });
    if (this.#ended) throw gone();
    try {
      // Held first and looked at then: what is signalled is what was looked at.
      using leader = new Pidfd(this.pid);
      if (startTicks(this.pid) !== this.#deps.started.ticks) throw gone();
      // Before the process itself, by which its group is found.
      if (group) killGroup(this.pid, signal);
      leader.kill(signal);
    } catch (error) {
      if (codeOf(error) === 'ESRCH' || codeOf(error) === 'ENOENT') throw gone(error);
      throw error;
    }
  }

  pids(): Promise<readonly number[]> {
    return this.#deps.cgroups.pids(this.#deps.cgroupsPath);
  }

  usage(): TaskUsage | undefined {
    return this.#deps.cgroups.usage(this.#deps.cgroupsPath, this.pid);
  }

  pause(): Promise<void> {
    return this.#deps.cgroups.freeze(this.#deps.cgroupsPath, true);
  }

  resume(): Promise<void> {
    return this.#deps.cgroups.freeze(this.#deps.cgroupsPath, false);
  }

  async delete(): Promise<void> {
    if (!this.#ended) throw new EngineError('conflict', `delete task ${this.id}: process ${this.pid} is still running`);
    // A client that takes nothing holds the monitor; an older one removes nothing.
    const late = Promise.withResolvers<boolean>();
    const timer = setTimeout(() => late.resolve(false), patience);
    const swept = await Promise.race([this.#deps.monitor.ended, late.promise]);
    clearTimeout(timer);
    this.#deps.monitor.close();
    await this.#deps.remove(swept);
  }
}

/**
 * The process group that it is in: its own with runc, that of the runtime (which has ended) with crun, and in both cases
 * in a session that the monitor made for it.
 */
export function killGroup(pid: number, signal: number): void {
  const group = Number(statOf(pid)[2]);
  if (!(group > 1)) return;
  try {
    process.kill(-group, signal);
  } catch (error) {
    if (codeOf(error) !== 'ESRCH') throw error;
  }
}

/** Start time in clock ticks since boot: field 22 of proc_pid_stat(5). */
export function startTicks(pid: number): string {
  return statOf(pid)[19]!;
}

/** From the third field on. The name before it is in brackets and may hold anything. */
function statOf(pid: number): readonly string[] {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ');
}
