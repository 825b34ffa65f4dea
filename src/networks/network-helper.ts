import { spawn } from 'node:child_process';
import { closeSync, openSync, rmSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { entryUrl } from '../base/entry.ts';
import { codeOf, EngineError, messageOf } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import { type HelperAnswer, type HelperRequest, helperVersion, type Reservation } from './helper-protocol.ts';
import type { PublishedPort } from './networks.ts';

/** The host refused to give a port to the helper: EADDRINUSE, EADDRNOTAVAIL, EACCES. */
export class PortRefused extends EngineError {
  readonly code: string;
  readonly port: PublishedPort;

  constructor(code: string, message: string, port: PublishedPort) {
    super('conflict', message);
    this.code = code;
    this.port = port;
  }
}

export interface NetworkHelperDeps {
  readonly socketPath: string;
  readonly logPath: string;
  /** How long a helper that holds nothing waits for an engine. */
  readonly lingerMs: number;
  readonly log: Log;
}

type Request = HelperRequest extends infer R ? (R extends { id: number } ? Omit<R, 'id'> : never) : never;

interface Waiting {
  readonly resolve: (answer: HelperAnswer) => void;
  readonly reject: (error: Error) => void;
}

/** The engine's side of the network helper: finds the one that runs, or starts one, and tells it what to hold. */
export class NetworkHelper implements AsyncDisposable {
  readonly #deps: NetworkHelperDeps;
  readonly #wanted = new Map<string, Reservation>();
  readonly #waiting = new Map<number, Waiting>();
  #socket: Promise<Socket> | undefined;
  #next = 1;
  #closed = false;

  constructor(deps: NetworkHelperDeps) {
    this.#deps = deps;
  }

  /** Holds the ports, all or none. Throws `PortRefused` for the one that the host would not give. */
  async hold(reservation: Reservation): Promise<void> {
    const answer = await this.#ask({ op: 'set', ...reservation });
    if (answer.error?.port) throw new PortRefused(answer.error.code, answer.error.message, answer.error.port);
    if (answer.error) throw new EngineError('internal', `network helper: ${answer.error.message}`);
    this.#wanted.set(reservation.owner, reservation);
  }

  async release(owner: string): Promise<void> {
    if (!this.#wanted.delete(owner)) return;
    await this.#ask({ op: 'release', owner });
  }

  /** After a start of the engine: exactly these, whatever a helper that was found holds. */
  async recover(reservations: readonly Reservation[]): Promise<void> {
    for (const reservation of reservations) this.#wanted.set(reservation.owner, reservation);
    if (reservations.length === 0) {
      const found = await this.#find();
      if (!found) return;
      this.#socket = Promise.resolve(found);
    }
    await this.#restore();
  }

  async #restore(): Promise<void> {
    await this.#ask({ op: 'keep', owners: [...this.#wanted.keys()] });
    for (const reservation of this.#wanted.values()) {
      const { error } = await this.#ask({ op: 'set', ...reservation });
      // The kernel goes on translating the container's port; only the claim on it is missing.
      if (error) this.#deps.log.warn('a published port could not be held', { port: error.port, reason: error.message });
    }
  }

  async #ask(request: Request): Promise<HelperAnswer> {
    if (this.#closed) throw new EngineError('unavailable', 'network helper: the engine is shutting down');
    this.#socket ??= this.#open();
    const socket = await this.#socket;
    const id = this.#next++;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      socket.ref();
      socket.write(`${JSON.stringify({ id, ...request })}\n`);
    });
  }

  async #open(): Promise<Socket> {
    try {
      const found = await this.#find();
      if (found) return found;
      this.#spawn();
      const until = Date.now() + 10_000;
      while (Date.now() < until) {
        await sleep(3);
        const socket = await this.#find();
        if (socket) return socket;
      }
      throw new EngineError('unavailable', `the network helper did not start: see ${this.#deps.logPath}`);
    } catch (error) {
      this.#socket = undefined;
      throw error;
    }
  }

  /** A connection to the helper that runs, or undefined. One of another version is told to end. */
  async #find(): Promise<Socket | undefined> {
    const socket = await dial(this.#deps.socketPath);
    if (!socket) return undefined;
    this.#listen(socket);
    const id = this.#next++;
    const { version } = await new Promise<HelperAnswer>((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      socket.write(`${JSON.stringify({ id, op: 'hello' })}\n`);
    });
    if (version === helperVersion) return socket;
    socket.end(`${JSON.stringify({ id: this.#next++, op: 'quit' })}\n`);
    await new Promise((resolve) => socket.once('close', resolve));
    return undefined;
  }

  #listen(socket: Socket): void {
    let rest = '';
    socket.setEncoding('utf8');
    socket.on('data', (data: string) => {
      const lines = (rest + data).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) {
        const answer: HelperAnswer = JSON.parse(line);
        const waiting = this.#waiting.get(answer.id);
        this.#waiting.delete(answer.id);
        if (this.#waiting.size === 0) socket.unref();
        waiting?.resolve(answer);
      }
    });
    socket.on('error', () => {});
    socket.on('close', () => this.#lost());
  }

  /** It was killed, by a person or for want of memory: another one takes its place at once. */
  #lost(): void {
    this.#socket = undefined;
    const waiting = [...this.#waiting.values()];
    this.#waiting.clear();
    for (const { reject } of waiting) reject(new EngineError('unavailable', 'the network helper ended'));
    if (this.#closed || this.#wanted.size === 0) return;
    this.#deps.log.warn('the network helper ended; another one is started');
    this.#restore().catch((error) =>
      this.#deps.log.error('published ports could not be held', { reason: messageOf(error) }),
    );
  }

  #spawn(): void {
    const { logPath, socketPath, lingerMs } = this.#deps;
    // One that was killed leaves its socket's name behind. Nobody answered there: it is free.
    rmSync(socketPath, { force: true });
    const log = openSync(logPath, 'a', 0o600);
    try {
      const flags = ['--max-semi-space-size=1', '--max-old-space-size=64', '--v8-pool-size=0', '--no-warnings'];
      const child = spawn(
        process.execPath,
        [...flags, fileURLToPath(entryUrl('networks/helper')), socketPath, String(lingerMs)],
        {
          detached: true,
          stdio: ['ignore', log, log],
          cwd: '/',
          env: { UV_THREADPOOL_SIZE: '1', PATH: process.env.PATH },
        },
      );
      child.on('error', (error) =>
        this.#deps.log.error('the network helper could not be started', { reason: error.message }),
      );
      child.unref();
    } finally {
      closeSync(log);
    }
  }

  /** The helper goes on holding what it holds. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    const socket = await this.#socket?.catch(() => undefined);
    socket?.destroy();
  }
}

function dial(path: string): Promise<Socket | undefined> {
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    socket.once('connect', () => {
      socket.removeAllListeners('error');
      resolve(socket);
    });
    socket.once('error', (error) => {
      if (codeOf(error) === 'ENOENT' || codeOf(error) === 'ECONNREFUSED') resolve(undefined);
      else reject(error);
    });
  });
}
