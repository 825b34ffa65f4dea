import { Worker } from 'node:worker_threads';
import { entryUrl } from '../base/entry.ts';
import { EngineError } from '../base/errors.ts';
import type { OperationName, Operations, WorkerAnswer, WorkerConfig, WorkerRequest } from './worker-protocol.ts';

/** A refusal that came from the network worker, with the errno's name where it was one. */
export class NetworkWorkerError extends EngineError {
  readonly code: string | undefined;

  constructor(message: string, code: string | undefined) {
    super('internal', message);
    this.code = code;
  }
}

interface Waiting {
  readonly resolve: (output: never) => void;
  readonly reject: (error: Error) => void;
}

/** The main thread's side of the network worker. The thread starts with the first call. */
export class Kernel implements AsyncDisposable {
  readonly #config: WorkerConfig;
  readonly #waiting = new Map<number, Waiting>();
  #worker: Worker | undefined;
  #next = 1;
  #closed = false;

  constructor(config: WorkerConfig) {
    this.#config = config;
  }

  call<N extends OperationName>(name: N, input: Operations[N]['in']): Promise<Operations[N]['out']> {
    if (this.#closed)
      return Promise.reject(new NetworkWorkerError(`network ${name}: the engine is shutting down`, undefined));
    const worker = this.#started();
    const request: WorkerRequest<N> = { id: this.#next++, name, input };
    return new Promise<Operations[N]['out']>((resolve, reject) => {
      this.#waiting.set(request.id, { resolve, reject });
      worker.ref();
      worker.postMessage(request);
    });
  }

  /** Starts the thread ahead of the first call, which otherwise waits until it has loaded. */
  warm(): void {
    if (!this.#closed) this.#started().unref();
  }

  #started(): Worker {
    if (this.#worker) return this.#worker;
    const worker = new Worker(entryUrl('networks/worker'), {
      workerData: this.#config,
      name: 'network',
      resourceLimits: { maxYoungGenerationSizeMb: 2, maxOldGenerationSizeMb: 64 },
    });
    worker.on('message', (answer: WorkerAnswer) => this.#settle(answer));
    worker.on('error', (error) => this.#lost(error));
    worker.on('exit', () => this.#lost(new Error('the network worker ended')));
    this.#worker = worker;
    return worker;
  }

  #settle({ id, output, error }: WorkerAnswer): void {
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    // An idle worker does not keep a process alive.
    if (this.#waiting.size === 0) this.#worker?.unref();
    if (error) waiting?.reject(new NetworkWorkerError(error.message, error.code));
    else waiting?.resolve(output as never);
  }

  /** The next call starts another worker. */
  #lost(error: Error): void {
    this.#worker = undefined;
    const waiting = [...this.#waiting.values()];
    this.#waiting.clear();
    for (const { reject } of waiting) reject(new NetworkWorkerError(`network worker: ${error.message}`, undefined));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    await this.#worker?.terminate();
  }
}
