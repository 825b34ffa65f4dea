import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync, rmSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { entryUrl } from '../base/entry.ts';
import { EngineError, messageOf } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import { HelperConnection, HelperLost, type HelperQuestion } from './helper-connection.ts';
import {
  type HelperAnswer,
  helperVersion,
  type NameSockets,
  type NamesRecord,
  type Reservation,
} from './helper-protocol.ts';
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
  /** There are names that a helper must know. */
  readonly hasNames: () => boolean;
  /** Tells another helper, which has the sockets of these containers, all names. */
  readonly restoreNames: (served: readonly string[]) => Promise<void>;
}

/** The engine's side of the network helper: finds the one that runs, or starts one, and tells it what to hold. */
export class NetworkHelper implements AsyncDisposable {
  readonly #deps: NetworkHelperDeps;
  readonly #wanted = new Map<string, Reservation>();
  #connection: Promise<HelperConnection> | undefined;
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

  async tellNames(record: NamesRecord & { readonly sockets?: NameSockets }): Promise<void> {
    const { error } = await this.#ask({ op: 'names', ...record });
    if (error) throw new EngineError('internal', `network helper: ${error.message}`);
  }

  async forgetNames(owner: string): Promise<void> {
    await this.#ask({ op: 'forget-names', owner });
  }

  /** Starts it ahead of the first container that waits for it. */
  warm(): void {
    if (!this.#closed)
      this.#connected().catch((error) =>
        this.#deps.log.warn('the network helper could not be started ahead', { reason: messageOf(error) }),
      );
  }

  /** After a start of the engine: exactly these, whatever a helper that was found holds. */
  async recover(reservations: readonly Reservation[]): Promise<void> {
    for (const reservation of reservations) this.#wanted.set(reservation.owner, reservation);
    if (reservations.length === 0 && !this.#deps.hasNames()) {
      const found = await this.#find();
      if (!found) return;
      this.#adopt(found);
      this.#connection = Promise.resolve(found);
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
    const { served = [] } = await this.#ask({ op: 'hello' });
    if (served.length > 0 || this.#deps.hasNames()) await this.#deps.restoreNames(served);
  }

  /** Asked again of the next helper when this one ends meanwhile: every request may be repeated. */
  async #ask(question: HelperQuestion): Promise<HelperAnswer> {
    if (this.#closed) throw new EngineError('unavailable', 'network helper: the engine is shutting down');
    try {
      return await (await this.#connected()).ask(question);
    } catch (error) {
      if (!(error instanceof HelperLost) || this.#closed) throw error;
      return (await this.#connected()).ask(question);
    }
  }

  #connected(): Promise<HelperConnection> {
    this.#connection ??= this.#open().catch((error) => {
      this.#connection = undefined;
      throw error;
    });
    return this.#connection;
  }

  async #open(): Promise<HelperConnection> {
    let connection = await this.#find();
    let helper: ChildProcess | undefined;
    const until = performance.now() + startTimeoutMs;
    for (let starts = 0; !connection && performance.now() < until; connection = await this.#find()) {
      // One that was killed before it could answer is no reason to wait for the end of time.
      if (!helper || helper.exitCode !== null || helper.signalCode !== null) {
        if (++starts > mostStarts) break;
        helper = this.#spawn();
      }
      await sleep(3);
    }
    if (!connection)
      throw new EngineError('unavailable', `the network helper did not start: see ${this.#deps.logPath}`);
    this.#adopt(connection);
    return connection;
  }

  /**
   * The helper that runs, or undefined; also when it ends just now, as one does that holds nothing. One that an engine of
   * another version left is told to end.
   */
  async #find(): Promise<HelperConnection | undefined> {
    const connection = await HelperConnection.open(this.#deps.socketPath);
    if (!connection) return undefined;
    try {
      const { version } = await connection.ask({ op: 'hello' });
      if (version === helperVersion) return connection;
      await connection.ask({ op: 'quit' });
    } catch (error) {
      if (!(error instanceof HelperLost)) throw error;
    }
    await connection.closed;
    return undefined;
  }

  /** When it ends, killed by a person or for want of memory, another one takes its place at once. */
  #adopt(connection: HelperConnection): void {
    void connection.closed.then(() => {
      this.#connection = undefined;
      if (this.#closed || (this.#wanted.size === 0 && !this.#deps.hasNames())) return;
      this.#deps.log.warn('the network helper ended; another one is started');
      this.#restore().catch((error) =>
        this.#deps.log.error('published ports could not be held, or names not be told', { reason: messageOf(error) }),
      );
    });
  }

  #spawn(): ChildProcess {
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
      return child;
    } finally {
      closeSync(log);
    }
  }

  /** The helper goes on holding what it holds; one that holds nothing ends. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    const connection = await this.#connection?.catch(() => undefined);
    if (connection && this.#wanted.size === 0 && !this.#deps.hasNames())
      await connection.ask({ op: 'quit' }).catch(() => {});
    connection?.close();
  }
}

const startTimeoutMs = 10_000;
const mostStarts = 20;
