import { Duplex } from 'node:stream';
import type { AttachRequest, AttachStream, ClientEnd } from '../runtime/runtime.ts';
import { DetachScanner } from './detach-keys.ts';

/** The connection of the client that attaches. */
export interface AttachedClient {
  /** Nothing is read from it until it is clear who reads it: one of the others is called. */
  hold(): void;
  /** Gives it away, to be read and written by somebody else; undefined when it cannot be. */
  take(): ClientEnd | undefined;
  /** What it sends goes through the engine; after `take`, from now on. */
  through(): void;
}

export interface AttachPointOptions {
  /** Undefined: input is passed on as it is. */
  readonly detachKeys: Buffer | undefined;
  readonly onDetach: () => void;
  /** The end is not told before this: who sees it may ask for the exit code. */
  readonly endAfter?: Promise<unknown>;
  readonly client?: AttachedClient | undefined;
}

/**
 * The client's end of an attach. It is there before the process is (`docker run` attaches, then starts): what the client
 * writes until then waits. `connect` joins it to the process.
 */
export class AttachPoint extends Duplex {
  #inner: AttachStream | undefined;
  #held: { readonly chunk: Buffer; readonly done: (error?: Error | null) => void } | undefined;
  #heldEnd: (() => void) | undefined;
  #wantsData = false;
  readonly #scanner: DetachScanner | undefined;
  readonly #onDetach: () => void;
  readonly #endAfter: Promise<unknown>;
  readonly #client: AttachedClient | undefined;
  #isTaken = false;

  constructor({ detachKeys, onDetach, endAfter = Promise.resolve(), client }: AttachPointOptions) {
    super({ allowHalfOpen: true, readableHighWaterMark: 256 * 1024, writableHighWaterMark: 256 * 1024 });
    this.#scanner = detachKeys && detachKeys.length > 0 ? new DetachScanner(detachKeys) : undefined;
    this.#onDetach = onDetach;
    this.#endAfter = endAfter;
    this.#client = client;
    client?.hold();
  }

  /** What to ask a task for that is to be connected to this. */
  request(streams: AttachRequest): AttachRequest {
    const client = this.#client;
    if (!client) return streams;
    const take = () => {
      const end = client.take();
      this.#isTaken = end !== undefined;
      return end;
    };
    return { ...streams, client: take };
  }

  connect(inner: AttachStream): void {
    if (this.destroyed) {
      inner.on('error', () => {});
      inner.destroy();
      return;
    }
    this.#inner = inner;
    if (!this.#isTaken) this.#client?.through();
    else if (inner.readableEnded || inner.closed) this.#client?.through();
    else inner.once('close', () => this.#client?.through());
    // A process that said nothing may have ended before anybody could listen: a socket tells its end only once.
    if (inner.readableEnded || inner.closed) void this.#endAfter.then(() => this.push(null));
    inner.on('data', (chunk: Buffer) => {
      if (!this.push(chunk)) inner.pause();
    });
    inner.on('end', () => void this.#endAfter.then(() => this.push(null)));
    inner.on('error', (error) => this.destroy(error));
    // A stream that closes without an end: the reader must not wait for ever.
    inner.on('close', () => {
      if (!inner.readableEnded && !this.destroyed) void this.#endAfter.then(() => this.push(null));
    });
    if (!this.#wantsData) inner.pause();
    const held = this.#held;
    this.#held = undefined;
    if (held) this._write(held.chunk, 'utf8', held.done);
    this.#heldEnd?.();
    this.#heldEnd = undefined;
  }

  /** Nothing will come: the start failed or the container is gone. */
  close(): void {
    if (this.#inner) return;
    this.#client?.through();
    this.push(null);
    this.#held?.done();
    this.#held = undefined;
    this.#heldEnd?.();
    this.#heldEnd = undefined;
  }

  override _read(): void {
    this.#wantsData = true;
    this.#inner?.resume();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    if (!this.#inner) {
      this.#held = { chunk, done };
      return;
    }
    const { forward, detached } = this.#scanner?.scan(chunk) ?? { forward: chunk, detached: false };
    if (detached) {
      if (forward.length > 0) this.#inner.write(forward);
      done();
      this.#detach();
    } else if (forward.length === 0) done();
    // A process that closed its stdin is no fault of the stream: its output goes on.
    else if (!this.#inner.writable) done();
    else this.#inner.write(forward, () => done());
  }

  override _final(done: (error?: Error | null) => void): void {
    const end = () => {
      const rest = this.#scanner?.rest();
      if (this.#inner?.writable) {
        if (rest && rest.length > 0) this.#inner.write(rest);
        this.#inner.end();
      }
      done();
    };
    if (this.#inner || this.readableEnded) end();
    else this.#heldEnd = end;
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#inner?.destroy();
    this.#held = undefined;
    this.#heldEnd = undefined;
    done(error);
  }

  /** Without a half-close: the process keeps its stdin for whoever attaches next. */
  #detach(): void {
    const inner = this.#inner;
    this.#inner = undefined;
    inner?.removeAllListeners('data').destroy();
    this.push(null);
    this.#onDetach();
  }
}
