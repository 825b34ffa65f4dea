import { closeSync, constants, openSync, rmSync, writeSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { connect, Socket } from 'node:net';
import { join } from 'node:path';
import { codeOf, EngineError } from '../base/errors.ts';
import { endWriting, listenUnix, reap, socketPair, spawn } from '../sys/spawn.ts';
import type { AttachRequest, TaskExit } from './runtime.ts';

/** The monitor's listening socket, in the directory that it was started in. */
export const socketName = 'monitor.sock';
const exitName = 'exit';

export interface Started {
  readonly pid: number;
  readonly at: string;
  /** Start time in clock ticks since boot: with the pid it names one process. `0` when it had ended already. */
  readonly ticks: string;
}

/** The runtime would not start it; `said` is what the runtime said. */
export class MonitorFailure extends Error {
  readonly said: string;
  /** It did not come to its own end: processes that it made may go on with the start. */
  readonly isCut: boolean;

  constructor(said: string, { isCut = false }: { readonly isCut?: boolean } = {}) {
    super(said);
    this.name = 'MonitorFailure';
    this.said = said;
    this.isCut = isCut;
  }
}

/** The engine's end of a monitor's control connection. */
export class Monitor {
  /** Rejects with MonitorFailure when the runtime failed, and when the monitor was lost before it could say. */
  readonly started: Promise<Started>;
  /** The exit that the monitor told; undefined when the connection ended without one. */
  readonly exited: Promise<TaskExit | undefined>;
  /** The monitor has ended. True: it removed every directory of the control group. */
  readonly ended: Promise<boolean>;
  readonly #socket: Socket;

  constructor(socket: Socket) {
    this.#socket = socket;
    const started = Promise.withResolvers<Started>();
    const exited = Promise.withResolvers<TaskExit | undefined>();
    this.started = started.promise;
    this.exited = exited.promise;
    const ended = Promise.withResolvers<boolean>();
    this.ended = ended.promise;
    // Who waits for the exit only, or for nothing, must not bring the process down.
    this.started.catch(() => {});
    let rest = '';
    socket.setEncoding('utf8');
    socket.on('data', (text: string) => {
      const lines = (rest + text).split('\n');
      rest = lines.pop()!;
      for (const line of lines) {
        const told = JSON.parse(line) as {
          started?: Started;
          failed?: { status: number; log: string; stderr: string };
          exit?: { code: number; oom: boolean; at: string };
          swept?: true;
        };
        if (told.started) started.resolve(told.started);
        if (told.failed)
          started.reject(new MonitorFailure(whatWasSaid(told.failed), { isCut: told.failed.status >= 128 }));
        if (told.exit) exited.resolve(exitOf(told.exit));
        if (told.swept) ended.resolve(true);
      }
    });
    socket.on('error', () => {});
    socket.on('end', () => socket.destroy());
    socket.on('close', () => {
      started.reject(new MonitorFailure('the container monitor ended without a word', { isCut: true }));
      exited.resolve(undefined);
      ended.resolve(false);
    });
  }

  send(line: string): void {
    if (this.#socket.writable) this.#socket.write(`${line}\n`);
  }

  close(): void {
    this.#socket.destroy();
  }
}

export interface MonitorStart {
  /** The monitor's binary. */
  readonly path: string;
  /** The bundle, or the exec session's own directory. */
  readonly directory: string;
  readonly options: Readonly<Record<string, string | number>>;
  /** The runtime and its arguments; `@console` stands for the path of the console socket. */
  readonly command: readonly string[];
  /** The directories of the control group, which the monitor removes at the end. */
  readonly cgroups?: readonly string[];
  /** A descriptor of the runtime's program; undefined: by its path, the first word of the command. */
  readonly program?: number | undefined;
  readonly attach: readonly AttachRequest[];
}

/** Starts a monitor in a session of its own. */
export function startMonitor({ path, directory, options, command, cgroups = [], program, attach }: MonitorStart): {
  monitor: Monitor;
  attached: Socket[];
} {
  const ours: number[] = [];
  const theirs: number[] = [];
  const direct = new Set<number>();
  // What an earlier run left here would be taken for this one's.
  for (const name of [exitName, socketName]) rmSync(join(directory, name), { force: true });
  try {
    const pair = (): number => {
      const [here, there] = socketPair();
      ours.push(here);
      theirs.push(there);
      return here;
    };
    pair();
    // Made here and not by the monitor: from its first moment on an engine that comes later can connect and wait.
    theirs.push(listenUnix(directory, socketName));
    const fds = [...theirs];
    const words = attach.map((request) => {
      const stream = pair();
      fds.push(theirs.at(-1)!);
      const client = request.client?.();
      if (!client) return modes(request);
      // Whole and ended before there is anybody to read it: an engine that dies cannot leave a gap in it.
      if (client.early.length > 0) writeSync(stream, client.early);
      endWriting(stream);
      direct.add(stream);
      fds.push(client.fd);
      return `d${modes(request)}`;
    });
    if (program !== undefined) fds.push(program);
    const pid = spawn({
      path,
      argv: [
        path,
        ...Object.entries({ dir: directory, ...options }).map(([key, value]) => `${key}=${value}`),
        ...(words.length > 0 ? [`attach=${words.join(',')}`] : []),
        ...cgroups.map((path) => `cgroup=${path}`),
        ...(program === undefined ? [] : [`program=${2 + fds.length}`]),
        '--',
        ...command,
      ],
      env: ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'],
      fds,
    });
    const sockets = ours
      .splice(0)
      .map((fd) => new Socket({ fd, readable: true, writable: !direct.has(fd), allowHalfOpen: !direct.has(fd) }));
    for (const stream of sockets.slice(1)) endWhole(stream);
    const monitor = new Monitor(sockets[0]!);
    void monitor.exited.then(() => reapSoon(pid));
    return { monitor, attached: sockets.slice(1) };
  } finally {
    for (const fd of [...ours, ...theirs]) closeSync(fd);
  }
}

/** Connects to the monitor of a directory; undefined when there is none. */
export async function connectMonitor(directory: string): Promise<Monitor | undefined> {
  const socket = await dial(directory);
  if (!socket) return undefined;
  socket.write('control\n');
  return new Monitor(socket);
}

/** A stream to a running process. Throws `conflict` when its monitor is gone. */
export async function attachTo(directory: string, request: AttachRequest): Promise<Socket> {
  const socket = await ask(directory, `attach ${modes(request)}`);
  if (!socket) throw new EngineError('conflict', `attach to ${directory}: the process has ended`);
  return socket;
}

/**
 * Until the connection is closed the monitor keeps files that the log's rotation would remove. Undefined: it has ended, or
 * an older one knows nothing of it, or too many follow.
 */
export function followLog(directory: string): Promise<Socket | undefined> {
  return ask(directory, 'follow');
}

/**
 * A rotated file of the log, by its inode: gone, or (`packed`) replaced by `<log>.packed`, in one step with the monitor's
 * own rotations. False: it was not there any more. Undefined: there is no monitor, or an older one that cannot do it.
 */
export async function replaceLogFile(
  directory: string,
  { inode, how }: { readonly inode: bigint; readonly how: 'packed' | 'drop' },
): Promise<boolean | undefined> {
  const answer: { byte?: string } = {};
  const socket = await ask(directory, `${how} ${inode}`, answer);
  socket?.destroy();
  return answer.byte === undefined ? undefined : answer.byte === '+';
}

/** The connection once the monitor said with one byte that it is what was asked for. */
async function ask(directory: string, what: string, answer: { byte?: string } = {}): Promise<Socket | undefined> {
  const socket = await dial(directory);
  if (!socket) return undefined;
  socket.write(`${what}\n`);
  return new Promise((resolve) => {
    const look = () => {
      const byte = socket.read(1) as Buffer | null;
      if (byte === null) return;
      answer.byte = byte.toString('latin1');
      socket.off('readable', look);
      socket.off('close', lost);
      socket.off('end', lost);
      resolve(socket);
    };
    const lost = () => {
      socket.destroy();
      resolve(undefined);
    };
    socket.on('readable', look);
    socket.on('close', lost);
    socket.on('end', lost);
  });
}

/** What the monitor wrote down when the process ended; undefined when it did not (yet). */
export async function readExit(directory: string): Promise<TaskExit | undefined> {
  try {
    return exitOf(JSON.parse(await readFile(join(directory, exitName), 'utf8')));
  } catch (error) {
    if (codeOf(error) === 'ENOENT' || error instanceof SyntaxError) return undefined;
    throw error;
  }
}

async function dial(directory: string): Promise<Socket | undefined> {
  let parent: number;
  try {
    parent = openSync(directory, constants.O_RDONLY | constants.O_DIRECTORY);
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined;
    throw error;
  }
  try {
    return await new Promise((resolve, reject) => {
      const socket = connect({ path: `/proc/self/fd/${parent}/${socketName}`, allowHalfOpen: true });
      const failed = (error: Error) => {
        const code = codeOf(error);
        if (code === 'ENOENT' || code === 'ECONNREFUSED') resolve(undefined);
        else reject(error);
      };
      socket.once('error', failed);
      socket.once('connect', () => {
        socket.off('error', failed);
        endWhole(socket);
        resolve(socket);
      });
    });
  } finally {
    closeSync(parent);
  }
}

/** When the output has ended nobody takes input any more either. */
function endWhole(stream: Socket): void {
  stream.on('error', () => {});
  if (stream.writable) stream.on('end', () => stream.end());
}

function modes({ stdin, stdout, stderr }: AttachRequest): string {
  return `${stdin ? 'i' : ''}${stdout ? 'o' : ''}${stderr ? 'e' : ''}`;
}

function exitOf({ code, oom, at }: { code: number; oom: boolean; at: string }): TaskExit {
  return { code, oomKilled: oom, at };
}

/** The last thing in the runtime's log, or else on its stderr. */
function whatWasSaid({ status, log, stderr }: { status: number; log: string; stderr: string }): string {
  const lines = (log.trim() || stderr.trim()).split('\n').filter((line) => line !== '');
  const messages = lines.map((line) => {
    try {
      const entry = JSON.parse(line) as { level?: string; msg?: string };
      return entry.level === 'error' || entry.level === 'fatal' ? (entry.msg ?? '') : '';
    } catch {
      return line;
    }
  });
  return messages.findLast((message) => message !== '') ?? `the runtime exited with status ${status}`;
}

/** A monitor closes its connection a moment before it ends. */
function reapSoon(pid: number, wait = 1): void {
  try {
    if (reap(pid) !== undefined) return;
  } catch {
    return; // not our child (any more)
  }
  setTimeout(() => reapSoon(pid, Math.min(wait * 2, 1000)), wait).unref();
}
