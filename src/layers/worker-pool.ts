import { Worker } from 'node:worker_threads';
import { Semaphore } from '../base/async.ts';
import { entryUrl } from '../base/entry.ts';
import { EngineError, type ErrorKind } from '../base/errors.ts';
import { type Digest, DigestMismatch } from '../oci/digest.ts';
import type { LayerFacts } from '../snapshots/snapshotter.ts';
import type { LayerJob } from './write-layer.ts';

export interface WorkerRequest {
  readonly job: LayerJob;
  /** One integer: not zero when the job is to stop. */
  readonly stop: SharedArrayBuffer;
}

export interface WireError {
  readonly kind: ErrorKind;
  readonly name: string;
  readonly message: string;
  readonly hint: string | undefined;
  readonly code: string | undefined;
}

export type WorkerReply =
  | { readonly kind: 'read'; readonly bytes: number }
  | { readonly kind: 'done'; readonly facts: LayerFacts }
  | { readonly kind: 'failed'; readonly error: WireError };

export interface RunOptions {
  readonly onRead?: (bytes: number) => void;
  readonly signal?: AbortSignal;
}

interface IdleWorker {
  readonly worker: Worker;
  readonly timer: NodeJS.Timeout;
}

/** For five million entries a tree needs some 2 GiB; a layer that needs more ends its worker and not the engine. */
const maxHeapMb = 3072;

/** Threads that write layers: started when there is work, ended when there was none for a while. */
export class WorkerPool {
  readonly #turns: Semaphore;
  readonly #lingerMs: number;
  readonly #idle: IdleWorker[] = [];
  readonly #all = new Set<Worker>();
  #closed = false;

  constructor({ size, lingerMs }: { size: number; lingerMs: number }) {
    this.#turns = new Semaphore(size);
    this.#lingerMs = lingerMs;
  }

  run(job: LayerJob, options: RunOptions): Promise<LayerFacts> {
    return this.#turns.run(async () => {
      if (this.#closed) throw new EngineError('canceled', 'the engine is stopping');
      options.signal?.throwIfAborted();
      const worker = this.#take();
      try {
        return await this.#runOn(worker, job, options);
      } finally {
        this.#giveBack(worker);
      }
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    for (const { timer } of this.#idle.splice(0)) clearTimeout(timer);
    await Promise.all([...this.#all].map((worker) => worker.terminate()));
  }

  #take(): Worker {
    const idle = this.#idle.pop();
    if (idle) {
      clearTimeout(idle.timer);
      idle.worker.ref();
      return idle.worker;
    }
    const worker = new Worker(entryUrl('layers/worker'), { resourceLimits: { maxOldGenerationSizeMb: maxHeapMb } });
    this.#all.add(worker);
    worker.once('exit', () => this.#all.delete(worker));
    // Reported to the job that runs; an idle worker has nothing to fail.
    worker.on('error', () => {});
    return worker;
  }

  #giveBack(worker: Worker): void {
    if (!this.#all.has(worker) || this.#closed) return;
    const timer = setTimeout(() => {
      this.#idle.splice(
        this.#idle.findIndex((idle) => idle.worker === worker),
        1,
      );
      void worker.terminate();
    }, this.#lingerMs);
    timer.unref();
    // An idle thread does not keep the process.
    worker.unref();
    this.#idle.push({ worker, timer });
  }

  #runOn(worker: Worker, job: LayerJob, { onRead, signal }: RunOptions): Promise<LayerFacts> {
    const stop = new SharedArrayBuffer(4);
    return new Promise<LayerFacts>((resolve, reject) => {
      const abort = () => Atomics.store(new Int32Array(stop), 0, 1);
      const done = () => {
        worker.off('message', onMessage);
        worker.off('error', onError);
        worker.off('exit', onExit);
        signal?.removeEventListener('abort', abort);
      };
      const onMessage = (reply: WorkerReply) => {
        if (reply.kind === 'read') return onRead?.(reply.bytes);
        done();
        if (reply.kind === 'done') resolve(reply.facts);
        else reject(signal?.aborted ? signal.reason : thrownBy(reply.error));
      };
      const onError = (error: unknown) => {
        done();
        this.#all.delete(worker);
        const memory = error instanceof Error && 'code' in error && error.code === 'ERR_WORKER_OUT_OF_MEMORY';
        reject(
          memory
            ? new EngineError('invalid', `the layer needs more than ${maxHeapMb} MiB of memory to be read`)
            : new EngineError('internal', 'the layer worker failed', { cause: error }),
        );
      };
      const onExit = () => {
        done();
        reject(new EngineError('canceled', 'the layer worker was ended'));
      };
      worker.on('message', onMessage);
      worker.on('error', onError);
      worker.on('exit', onExit);
      signal?.addEventListener('abort', abort);
      worker.postMessage({ job, stop } satisfies WorkerRequest);
    });
  }
}

function thrownBy({ kind, name, message, hint, code }: WireError): EngineError {
  const match = name === 'DigestMismatch' && /^(.*): expected (\S+), got (\S+)$/.exec(message);
  if (match) return new DigestMismatch(match[1]!, match[2] as Digest, match[3] as Digest);
  const error = new EngineError(kind, message, hint === undefined ? {} : { hint });
  return code === undefined ? error : Object.assign(error, { code });
}
