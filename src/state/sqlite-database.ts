import { mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { Worker } from 'node:worker_threads';
import { entryUrl } from '../base/entry.ts';
import { EngineError } from '../base/errors.ts';
import type { Change, Database } from './database.ts';
import type { Failure, FromWorker, ToWorker } from './protocol.ts';

interface Waiting<T> {
  readonly resolve: (value: T) => void;
  readonly reject: (error: EngineError) => void;
}

/** Records in one SQLite file, written by a worker. Open it with `SqliteDatabase.open`. */
export class SqliteDatabase implements Database {
  readonly path: string;
  readonly #worker: Worker;
  readonly #writes = new Map<number, Waiting<void>>();
  readonly #loads = new Map<number, Waiting<ReadonlyMap<string, unknown>>>();
  #sequence = 0;
  #closing: Promise<void> | undefined;
  #dead: EngineError | undefined;

  private constructor(path: string, worker: Worker) {
    this.path = path;
    this.#worker = worker;
  }

  /** Throws `corrupt` or `unsupported` when the file cannot be used as it is; nothing is ever made anew in its place. */
  static async open({ path }: { readonly path: string }): Promise<SqliteDatabase> {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    const worker = new Worker(entryUrl('state/worker'), { workerData: { path }, name: 'state' });
    const database = new SqliteDatabase(path, worker);
    await new Promise<void>((resolve, reject) => {
      worker.on('message', (message: FromWorker) => {
        if ('opened' in message) resolve();
        else if ('failed' in message) reject(errorOf(message.failed));
        else database.#receive(message);
      });
      worker.on('error', (error) => {
        const failure = new EngineError('internal', `database ${path}: the writer died: ${error.message}`, {
          cause: error,
        });
        reject(failure);
        database.#die(failure);
      });
      worker.on('exit', () => {
        const failure = new EngineError('unavailable', `database ${path} is closed`);
        reject(failure);
        database.#die(failure);
      });
    });
    return database;
  }

  load(kind: string): Promise<ReadonlyMap<string, unknown>> {
    return new Promise((resolve, reject) => {
      if (this.#dead) return reject(this.#dead);
      const sequence = ++this.#sequence;
      this.#loads.set(sequence, { resolve, reject });
      this.#post({ sequence, load: kind });
    });
  }

  write(changes: readonly Change[], { durable = true }: { readonly durable?: boolean } = {}): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#dead) return reject(this.#dead);
      const sequence = ++this.#sequence;
      const flat: (string | undefined)[] = [];
      for (const { kind, key, value } of changes)
        flat.push(kind, key, value === undefined ? undefined : JSON.stringify(value));
      this.#writes.set(sequence, { resolve, reject });
      this.#post({ sequence, durable, changes: flat });
    });
  }

  /** Everything that was written before is committed. */
  [Symbol.asyncDispose](): Promise<void> {
    this.#closing ??= new Promise((resolve) => {
      if (this.#dead) return resolve();
      this.#worker.once('exit', () => resolve());
      this.#post({ sequence: ++this.#sequence, close: true });
      this.#dead = new EngineError('unavailable', `database ${this.path} is closed`);
    });
    return this.#closing;
  }

  #post(message: ToWorker): void {
    this.#worker.postMessage(message);
  }

  #receive(message: FromWorker): void {
    if ('written' in message) {
      const error = message.failure && errorOf(message.failure);
      for (const sequence of message.written) {
        const waiting = this.#writes.get(sequence);
        this.#writes.delete(sequence);
        if (error) waiting?.reject(error);
        else waiting?.resolve();
      }
    } else if ('loaded' in message) {
      const waiting = this.#loads.get(message.loaded);
      this.#loads.delete(message.loaded);
      try {
        waiting?.resolve(new Map(message.records.map(([key, value]): [string, unknown] => [key, JSON.parse(value)])));
      } catch (error) {
        waiting?.reject(new EngineError('corrupt', `database ${this.path}: a record is not JSON`, { cause: error }));
      }
    } else if ('loadFailed' in message) {
      const waiting = this.#loads.get(message.loadFailed);
      this.#loads.delete(message.loadFailed);
      waiting?.reject(errorOf(message.failure));
    }
  }

  #die(failure: EngineError): void {
    this.#dead ??= failure;
    for (const waiting of [...this.#writes.values(), ...this.#loads.values()]) waiting.reject(failure);
    this.#writes.clear();
    this.#loads.clear();
  }
}

function errorOf({ kind, message, hint }: Failure): EngineError {
  return new EngineError(kind, message, hint ? { hint } : {});
}
