import { randomBytes } from 'node:crypto';
import { Duplex } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { EngineError, messageOf } from '../base/errors.ts';
import { parseDetachKeys } from '../protocol/detach-keys.ts';
import { frame } from '../protocol/frames.ts';
import { parseSignal } from '../protocol/signals.ts';
import type { AttachStream, Task, TerminalSize } from '../runtime/runtime.ts';
import { workingDirectory } from '../runtime/spec/build.ts';
import { resolveUser } from '../runtime/spec/user.ts';
import { type AttachedClient, AttachPoint } from './attach-point.ts';
import type { ExecCreate, ExecStart, ExecState } from './containers.ts';
import { defaultDetachKeys } from './detach-keys.ts';
import { commandText, execProcess } from './exec-process.ts';
import { signalSession } from './exec-session.ts';
import type { ContainerRecord } from './record.ts';
import type { Room } from './room.ts';
import { notRunning, running } from './stop.ts';

interface Exec {
  state: ExecState;
  started: boolean;
  task: Task | undefined;
  /** Ends when its start has, however that went. */
  readonly begun: PromiseWithResolvers<void>;
}

/** Answered for that long after the exit: clients ask for the exit code when the stream has closed. */
const keptAfterExit = 300_000;
/** How long a new size waits for a start. */
const startsWithin = 10_000;
/** From SIGHUP to SIGKILL, for an exec without its client. */
const graceToEnd = 2000;

/** Commands run in containers, by exec. In memory only: they end with the monitor's word, not with the engine's. */
export class Execs {
  readonly #room: Room;
  readonly #execs = new Map<string, Exec>();

  constructor(room: Room) {
    this.#room = room;
  }

  async create(name: string, request: ExecCreate): Promise<string> {
    const room = this.#room;
    const container = room.store.get(name);
    this.#mayExec(container, name);
    if (request.Cmd.length === 0) throw new EngineError('invalid', 'No exec command specified');
    workingDirectory(request.WorkingDir);
    checkKeys(request.DetachKeys);
    // Told at once, as Docker does; who it is then is looked up when it starts.
    if (request.User) resolveUser(room.rootfs(container.id), request.User);
    const id = randomBytes(32).toString('hex');
    const state: ExecState = {
      id,
      containerId: container.id,
      request,
      user: request.User || container.config.User,
      running: false,
      exitCode: null,
      pid: 0,
    };
    this.#execs.set(id, { state, started: false, task: undefined, begun: Promise.withResolvers() });
    room.emit(container, `exec_create: ${commandText(request.Cmd)}`, { execID: id });
    return id;
  }

  async start(id: string, { detach, size, client }: ExecStart): Promise<AttachStream | undefined> {
    const exec = this.#get(id);
    const { request } = exec.state;
    const isFirst = !exec.started;
    try {
      return await this.#start(exec, { detach, size, client });
    } catch (error) {
      // A second start says nothing about the process of the first.
      if (isFirst) {
        const code = error instanceof EngineError && 'exitCode' in error ? error.exitCode : undefined;
        if (code === 126 || code === 127) exec.state = { ...exec.state, exitCode: code };
        else if (!exec.task) exec.state = { ...exec.state, exitCode: 126 };
        this.#forgetLater(id);
      }
      client?.through();
      // The client's connection is a stream by now: it hears there, and of a detached one by the status.
      if (detach) throw error;
      return textStream(`${messageOf(error)}\r\n`, request.Tty);
    } finally {
      if (isFirst) exec.begun.resolve();
    }
  }

  inspect(id: string): ExecState {
    return this.#get(id).state;
  }

  /** Clients send the size of their terminal beside the start: it waits until the terminal is there. */
  async resize(id: string, size: TerminalSize): Promise<void> {
    const exec = this.#get(id);
    this.#mayExec(this.#room.store.get(exec.state.containerId));
    const late = new AbortController();
    const waited = await Promise.race([
      exec.begun.promise.then(() => true),
      sleep(startsWithin, false, { ref: false, signal: late.signal }).catch(() => false),
    ]);
    late.abort();
    if (!waited) throw new EngineError('internal', 'timeout waiting for exec session ready');
    if (!exec.task) throw new EngineError('invalid', 'exec process is not started');
    if (!exec.state.running)
      throw new EngineError('not-found', `NotFound: process does not exist ${id}: not found`, {
        code: 'E_NOT_RUNNING',
      });
    await exec.task.resize(size);
  }

  /** Those of a container that have not ended, the ones that were not started yet too. */
  idsOf(containerId: string): readonly string[] {
    return [...this.#execs.values()]
      .filter(({ state }) => state.containerId === containerId && state.exitCode === null)
      .map(({ state }) => state.id);
  }

  async kill(id: string, text: string): Promise<void> {
    const exec = this.#get(id);
    const signal = parseSignal(text);
    // Its process may run already while its start is still to be told.
    if (exec.started) await exec.begun.promise;
    const { task, state } = exec;
    const live = this.#room.live.get(state.containerId);
    if (!task || !state.running || !live)
      throw new EngineError('conflict', `exec ${id} is not running`, { code: 'E_NOT_RUNNING' });
    await signalSession(task, live.task, signal);
  }

  /** Its client went away: asked to end, and killed when it has not in time. Nothing when it has ended. */
  async end(id: string): Promise<void> {
    const task = this.#execs.get(id)?.task;
    if (!task) return;
    for (const signal of ['SIGHUP', 'SIGKILL']) {
      try {
        await this.kill(id, signal);
      } catch (error) {
        if (error instanceof EngineError && error.kind === 'conflict') return;
        throw error;
      }
      if (await Promise.race([task.exited.then(() => true), sleep(graceToEnd, false, { ref: false })])) return;
    }
  }

  /** The container is gone. */
  forgetOf(containerId: string): void {
    for (const [id, { state }] of this.#execs) if (state.containerId === containerId) this.#execs.delete(id);
  }

  async #start(
    exec: Exec,
    { detach, size, client }: Pick<ExecStart, 'detach' | 'size'> & { readonly client: AttachedClient | undefined },
  ): Promise<AttachStream | undefined> {
    const room = this.#room;
    const { id, containerId, request } = exec.state;
    const container = room.store.get(containerId);
    this.#mayExec(container);
    if (exec.started)
      throw new EngineError(
        'conflict',
        `exec command ${id} ${exec.state.exitCode === null ? 'is already running' : 'has already run'}`,
      );
    const { live } = running(room, containerId);
    exec.started = true;
    const [rows, columns] = request.ConsoleSize ?? [0, 0];
    const terminal = size ?? (rows > 0 && columns > 0 ? { rows, columns } : undefined);
    const streams = { stdin: request.AttachStdin, stdout: request.AttachStdout, stderr: request.AttachStderr };
    const attached = !detach;
    // The end is not told before the exit is known: who sees it asks for the code.
    const ended = Promise.withResolvers<void>();
    const point = attached
      ? new AttachPoint({
          detachKeys:
            request.AttachStdin && request.Tty ? (parseDetachKeys(request.DetachKeys) ?? defaultDetachKeys) : undefined,
          onDetach: () => room.emit(container, 'exec_detach', { execID: id }),
          endAfter: ended.promise,
          client: request.Tty ? undefined : client,
        })
      : undefined;
    const task = await room.deps.runtime
      .exec(live.task, {
        id,
        process: execProcess(room, container, request, terminal),
        stdin: attached && request.AttachStdin,
        size: request.Tty ? terminal : undefined,
        attach: point ? [point.request(streams)] : [],
      })
      .catch((error: unknown) => {
        // It ended, and its exit is still to be told.
        throw error instanceof EngineError && error.kind === 'conflict' ? notRunning(container.id) : error;
      });
    exec.task = task;
    exec.state = { ...exec.state, running: true, pid: task.pid };
    room.emit(container, `exec_start: ${commandText(request.Cmd)}`, { execID: id });
    void task.exited.then((exit) => {
      exec.state = { ...exec.state, running: false, exitCode: exit.code, pid: 0 };
      const now = room.store.byId(containerId) ?? container;
      room.emit(now, 'exec_die', { execID: id, exitCode: String(exit.code) });
      room.inBackground('an exec could not be cleaned up', containerId, task.delete());
      this.#forgetLater(id);
      ended.resolve();
    });
    point?.connect(task.attached[0]!);
    return point;
  }

  #mayExec({ id, state }: ContainerRecord, name = id): void {
    if (state.status === 'paused')
      throw new EngineError('conflict', `Container ${name} is paused, unpause the container before exec`, {
        code: 'E_PAUSED',
      });
    if (state.status === 'restarting')
      throw new EngineError('conflict', `Container ${id} is restarting, wait until the container is running`);
    if (!this.#room.live.has(id)) throw notRunning(id);
  }

  #get(id: string): Exec {
    const exec = this.#execs.get(id) ?? this.#byPrefix(id);
    if (!exec) throw new EngineError('not-found', `No such exec instance: ${id}`, { code: 'E_NO_SUCH_EXEC' });
    return exec;
  }

  #byPrefix(prefix: string): Exec | undefined {
    if (!/^[0-9a-f]{12,}$/.test(prefix)) return undefined;
    const found = [...this.#execs].filter(([id]) => id.startsWith(prefix));
    return found.length === 1 ? found[0]![1] : undefined;
  }

  #forgetLater(id: string): void {
    setTimeout(() => this.#execs.delete(id), keptAfterExit).unref();
  }
}

/** In the words that Docker has for an exec alone. */
function checkKeys(keys: string): void {
  try {
    parseDetachKeys(keys);
  } catch (cause) {
    throw new EngineError('invalid', `Invalid escape keys (${keys}) provided`, { cause });
  }
}

/** A stream that says this on stdout, and nothing else. */
function textStream(text: string, tty: boolean): AttachStream {
  const stream = new Duplex({
    read() {},
    write: (_chunk, _encoding, done) => done(),
  });
  stream.push(tty ? text : frame(1, text));
  stream.push(null);
  return stream;
}
