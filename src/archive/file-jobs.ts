import { Worker } from 'node:worker_threads';
import { entryUrl } from '../base/entry.ts';
import { EngineError } from '../base/errors.ts';
import type { LayerPair } from './differences.ts';
import type { Job, Reply, Request, WireError } from './protocol.ts';
import type { UnpackOptions } from './unpack.ts';
import type { Change, PathStat, RootView } from './view.ts';

/** A thread has some 10 MB. Jobs share them, and a file system that hangs holds up no more than one. */
const mostThreads = 4;
/** Pieces of an archive that are asked for, or sent, ahead. */
const ahead = 2;
/** What is sent to a thread at a time. */
const pieceSize = 256 * 1024;

/** An archive as it is made. Whoever got it ends it, whether it was read or not; then nothing is held for it any more. */
export interface TarOut extends AsyncDisposable {
  /** Throws when the archive did not come to its end. */
  readonly pieces: AsyncGenerator<Buffer, void, void>;
}

interface Thread {
  readonly worker: Worker;
  readonly jobs: Map<number, Waiting>;
  timer: NodeJS.Timeout | undefined;
}

interface Waiting {
  /** For the replies to come, in the order of the requests. */
  readonly steps: { resolve(step: Step): void; reject(error: unknown): void }[];
}

type Step = { readonly done: false; readonly value: unknown } | { readonly done: true };

/** Reads and writes the files of containers, in threads: none of it blocks the engine's own. */
export class FileJobs implements AsyncDisposable {
  readonly #lingerMs: number;
  readonly #threads: Thread[] = [];
  #next = 0;
  #closed = false;

  constructor({ lingerMs = 10_000 }: { readonly lingerMs?: number } = {}) {
    this.#lingerMs = lingerMs;
  }

  /** Throws FileError's `not-found` when there is nothing. */
  async stat(view: RootView, path: string): Promise<PathStat> {
    await using session = this.#begin({ kind: 'stat', view, path });
    return (await session.value()) as PathStat;
  }

  /** The facts of a path, and it and all below it. Throws FileError's `not-found` when there is nothing. */
  async pack(view: RootView, path: string): Promise<TarOut & { readonly stat: PathStat }> {
    const session = this.#begin({ kind: 'pack', view, path });
    try {
      const stat = (await session.value()) as PathStat;
      return { stat, ...session.out() };
    } catch (error) {
      await session[Symbol.asyncDispose]();
      throw error;
    }
  }

  export(view: RootView): TarOut {
    return this.#begin({ kind: 'export', view }).out();
  }

  /** Reads the archive to its end. When it throws, what was unpacked before stays. */
  async unpack(view: RootView, path: string, tar: AsyncIterable<Buffer>, options: UnpackOptions): Promise<void> {
    await using session = this.#begin({ kind: 'unpack', view, path, options });
    // Its first step tells whether the place will do, before any of the archive is read.
    let step = await session.next();
    // Reading goes on while a piece is written.
    const sent: Promise<Step>[] = [];
    for await (const piece of inPieces(tar)) {
      if (step.done) return;
      sent.push(awaitedLater(session.next(piece)));
      if (sent.length > ahead) step = await sent.shift()!;
    }
    for (const later of sent) step = await later;
    if (!step.done) await session.next();
  }

  async changes(pair: LayerPair): Promise<readonly Change[]> {
    await using session = this.#begin({ kind: 'changes', pair });
    const changes: Change[] = [];
    for (let step = await session.next(); !step.done; step = await session.next())
      changes.push(...(step.value as readonly Change[]));
    return changes;
  }

  /** As a layer's tar; nothing when nothing was changed. */
  layer(pair: LayerPair): TarOut {
    return this.#begin({ kind: 'layer', pair }).out();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    await Promise.all(
      this.#threads.map((thread) => {
        clearTimeout(thread.timer);
        return thread.worker.terminate();
      }),
    );
  }

  #begin(job: Job): Session {
    if (this.#closed) throw new EngineError('canceled', 'the engine is stopping');
    const thread = this.#thread();
    const id = this.#next++;
    clearTimeout(thread.timer);
    thread.worker.ref();
    thread.jobs.set(id, { steps: [] });
    thread.worker.postMessage({ kind: 'begin', id, job } satisfies Request);
    return new Session(thread, id, () => this.#ended(thread, id));
  }

  /** The one with the least to do; another while all have something and there may be one. */
  #thread(): Thread {
    const [first] = this.#threads.toSorted((a, b) => a.jobs.size - b.jobs.size);
    return first && (first.jobs.size === 0 || this.#threads.length === mostThreads) ? first : this.#start();
  }

  #start(): Thread {
    const worker = new Worker(entryUrl('archive/worker'), { name: 'archive' });
    const thread: Thread = { worker, jobs: new Map(), timer: undefined };
    this.#threads.push(thread);
    worker.on('message', (reply: Reply) => {
      const waiting = thread.jobs.get(reply.id)?.steps.shift();
      if (reply.kind === 'failed') waiting?.reject(thrownBy(reply.error));
      else waiting?.resolve(reply.kind === 'end' ? { done: true } : { done: false, value: reply.value });
    });
    const fail = (error: EngineError) => {
      const at = this.#threads.indexOf(thread);
      if (at >= 0) this.#threads.splice(at, 1);
      const left = [...thread.jobs.values()];
      // Whoever asks for more is refused.
      thread.jobs.clear();
      for (const { steps } of left) for (const { reject } of steps.splice(0)) reject(error);
    };
    worker.on('error', (cause) =>
      fail(new EngineError('internal', 'the thread for files of containers failed', { cause })),
    );
    worker.on('exit', () => fail(new EngineError('canceled', 'the thread for files of containers was ended')));
    return thread;
  }

  #ended(thread: Thread, id: number): void {
    thread.jobs.delete(id);
    if (thread.jobs.size > 0 || this.#closed) return;
    // An idle thread does not keep the process.
    thread.worker.unref();
    thread.timer = setTimeout(() => {
      const at = this.#threads.indexOf(thread);
      if (at >= 0) this.#threads.splice(at, 1);
      void thread.worker.terminate();
    }, this.#lingerMs);
    thread.timer.unref();
  }
}

/** One job, from its first step to its end. */
class Session implements AsyncDisposable {
  readonly #thread: Thread;
  readonly #id: number;
  readonly #ended: () => void;
  #over = false;

  constructor(thread: Thread, id: number, ended: () => void) {
    this.#thread = thread;
    this.#id = id;
    this.#ended = ended;
  }

  next(bytes?: Uint8Array<ArrayBuffer>): Promise<Step> {
    return this.#ask({ kind: 'next', id: this.#id, bytes }, bytes ? [bytes.buffer] : []);
  }

  async value(): Promise<unknown> {
    const step = await this.next();
    if (step.done) throw new EngineError('internal', 'a job on the files of a container gave nothing');
    return step.value;
  }

  /** Its steps are pieces of bytes. */
  out(): TarOut {
    return { pieces: this.#pieces(), [Symbol.asyncDispose]: () => this[Symbol.asyncDispose]() };
  }

  async *#pieces(): AsyncGenerator<Buffer, void, void> {
    const asked: Promise<Step>[] = [];
    const ask = () => {
      asked.push(awaitedLater(this.next()));
    };
    try {
      for (let i = 0; i < ahead; i++) ask();
      for (let step = await asked.shift()!; !step.done; step = await asked.shift()!) {
        ask();
        const { buffer, byteOffset, byteLength } = step.value as Uint8Array;
        yield Buffer.from(buffer, byteOffset, byteLength);
      }
      if (this.#over) throw new EngineError('canceled', 'the archive was given up');
    } finally {
      await this[Symbol.asyncDispose]();
    }
  }

  /** Once the job holds nothing any more. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#over) return;
    this.#over = true;
    await this.#ask({ kind: 'give-up', id: this.#id }, []).catch(() => {});
    this.#ended();
  }

  #ask(request: Request, transfer: ArrayBuffer[]): Promise<Step> {
    return new Promise((resolve, reject) => {
      const waiting = this.#thread.jobs.get(this.#id);
      if (!waiting) return reject(new EngineError('canceled', 'the job was given up'));
      waiting.steps.push({ resolve, reject });
      this.#thread.worker.postMessage(request, transfer);
    });
  }
}

/** Awaited in its turn, or not at all when an earlier one fails. */
function awaitedLater(step: Promise<Step>): Promise<Step> {
  step.catch(() => {});
  return step;
}

/** Buffers of their own that can be handed over, of one size but for the last. */
async function* inPieces(source: AsyncIterable<Buffer>): AsyncGenerator<Uint8Array<ArrayBuffer>, void, void> {
  let piece = new Uint8Array(pieceSize);
  let filled = 0;
  for await (const chunk of source) {
    for (let at = 0; at < chunk.length; ) {
      const part = chunk.subarray(at, at + pieceSize - filled);
      piece.set(part, filled);
      at += part.length;
      filled += part.length;
      if (filled < pieceSize) continue;
      yield piece;
      piece = new Uint8Array(pieceSize);
      filled = 0;
    }
  }
  if (filled > 0) yield piece.subarray(0, filled);
}

function thrownBy({ kind, message, code }: WireError): EngineError {
  const error = new EngineError(kind, message);
  return code === undefined ? error : Object.assign(error, { code });
}
