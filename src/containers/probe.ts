import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Semaphore } from '../base/async.ts';
import { messageOf } from '../base/errors.ts';
import { FrameReader } from '../protocol/frames.ts';
import { goDuration } from '../protocol/time.ts';
import type { AttachStream, Task } from '../runtime/runtime.ts';
import { commandText, execProcess } from './exec-process.ts';
import type { ContainerRecord } from './record.ts';
import type { Room } from './room.ts';

export interface ProbeRequest {
  readonly task: Task;
  readonly command: readonly string[];
  /** Milliseconds, from when the process runs. */
  readonly timeout: number;
  /** Held while the process is being started. */
  readonly starts: Semaphore;
  /** The answer is of no interest any more. */
  readonly stop: AbortSignal;
}

export interface ProbeFound {
  readonly exitCode: number;
  readonly output: string;
  /** Resolves when the process has ended. */
  readonly gone: Promise<void>;
}

/** Milliseconds that a start may keep the next one waiting: one that hangs holds up nobody. */
const longestTurn = 2_000;
/** What the process wrote is here when its exit is; who inherited its output from it is not waited for. */
const longestRest = 1_000;

/** Runs the command in the container, as Docker runs a health check. Never rejects for what the command did. */
export async function probe(
  room: Room,
  container: ContainerRecord,
  { task, command, timeout, starts, stop }: ProbeRequest,
): Promise<ProbeFound> {
  const execID = randomBytes(32).toString('hex');
  room.emit(container, `exec_create: ${commandText(command)}`, { execID });
  let session: Task;
  try {
    session = await startInTurn(starts, stop, () =>
      room.deps.runtime.exec(task, {
        id: execID,
        process: execProcess(room, container, {
          Cmd: command,
          Env: [],
          Privileged: false,
          Tty: false,
          User: '',
          WorkingDir: '',
        }),
        stdin: false,
        size: undefined,
        attach: [{ stdin: false, stdout: true, stderr: true }],
        bound: true,
      }),
    );
  } catch (error) {
    return { exitCode: -1, output: messageOf(error), gone: Promise.resolve() };
  }
  room.emit(container, `exec_start: ${commandText(command)}`, { execID });
  const output = new ProbeOutput(session.attached[0]!);
  const gone = session.exited.then(({ code }) => {
    room.emit(room.store.byId(container.id) ?? container, 'exec_die', { execID, exitCode: String(code) });
    room.inBackground('a health check could not be cleaned up', container.id, session.delete());
  });
  const exit = await endsWithin(session, timeout, stop);
  if (exit) await output.whole();
  else await session.kill(9, { group: true }).catch(() => {});
  const said = output.close();
  if (exit) return { exitCode: exit.code, output: said, gone };
  const late = `Health check exceeded timeout (${goDuration(timeout)})`;
  return { exitCode: -1, output: said === '' ? late : `${late}: ${said}`, gone };
}

async function startInTurn(starts: Semaphore, stop: AbortSignal, start: () => Promise<Task>): Promise<Task> {
  let starting: Promise<Task> | undefined;
  await starts.run(async () => {
    if (stop.aborted) return;
    starting = start();
    const done = new AbortController();
    const late = sleep(longestTurn, undefined, { signal: done.signal }).catch(() => {});
    await Promise.race([starting.catch(() => {}), late]);
    done.abort();
  });
  // Also when nobody wants it any more: it is ended as what ran too long is.
  if (!starting) throw stop.reason;
  return starting;
}

/** Undefined when it does not, or when nobody wants to know any more. */
async function endsWithin({ exited }: Task, milliseconds: number, stop: AbortSignal) {
  const over = Promise.withResolvers<undefined>();
  const leave = () => over.resolve(undefined);
  const timer = setTimeout(leave, Math.min(milliseconds, 2 ** 31 - 1));
  stop.addEventListener('abort', leave, { once: true });
  if (stop.aborted) leave();
  try {
    return await Promise.race([exited, over.promise]);
  } finally {
    clearTimeout(timer);
    stop.removeEventListener('abort', leave);
  }
}

const mostOutput = 4096;

/** The beginning of what a probe writes. The rest is left to the monitor, which throws away what nobody reads. */
class ProbeOutput {
  readonly #stream: AttachStream;
  readonly #ended: Promise<unknown>;
  readonly #kept: Buffer[] = [];
  #size = 0;
  #cut = false;

  constructor(stream: AttachStream) {
    this.#stream = stream;
    const frames = new FrameReader((_type, payload) => this.#keep(payload));
    const ended = Promise.withResolvers<void>();
    this.#ended = ended.promise;
    stream.on('data', (chunk: Buffer) => {
      if (!this.#cut) frames.push(chunk);
      if (this.#cut) stream.destroy();
    });
    stream.on('error', () => {});
    stream.once('close', ended.resolve);
    stream.once('end', ended.resolve);
  }

  /** Until all of it is here. */
  async whole(): Promise<void> {
    const done = new AbortController();
    const late = sleep(longestRest, undefined, { signal: done.signal }).catch(() => {});
    await Promise.race([this.#ended, late]);
    done.abort();
  }

  close(): string {
    this.#stream.destroy();
    return `${Buffer.concat(this.#kept).toString()}${this.#cut ? '...' : ''}`;
  }

  #keep(payload: Buffer): void {
    const room = mostOutput - this.#size;
    const kept = payload.subarray(0, room);
    this.#size += kept.length;
    this.#kept.push(kept);
    if (payload.length > room) this.#cut = true;
  }
}
