import { connect, type Socket } from 'node:net';
import { codeOf, EngineError } from '../base/errors.ts';
import type { HelperAnswer, HelperRequest } from './helper-protocol.ts';

/** The helper ended, or was never there, before it answered. What was asked can be asked again of the next one. */
export class HelperLost extends EngineError {
  constructor() {
    super('unavailable', 'the network helper ended');
  }
}

export type HelperQuestion = HelperRequest extends infer R ? (R extends { id: number } ? Omit<R, 'id'> : never) : never;

interface Waiting {
  readonly resolve: (answer: HelperAnswer) => void;
  readonly reject: (error: Error) => void;
}

/** One connection to a network helper. An idle one does not keep the process alive. */
export class HelperConnection {
  readonly #socket: Socket;
  readonly #waiting = new Map<number, Waiting>();
  readonly closed: Promise<void>;
  #next = 1;

  /** A connection to the helper at `path`, or undefined when none is there. */
  static open(path: string): Promise<HelperConnection | undefined> {
    return new Promise((resolve, reject) => {
      const socket = connect(path);
      socket.once('connect', () => resolve(new HelperConnection(socket)));
      socket.once('error', (error) => {
        if (codeOf(error) === 'ENOENT' || codeOf(error) === 'ECONNREFUSED') resolve(undefined);
        else reject(error);
      });
    });
  }

  private constructor(socket: Socket) {
    this.#socket = socket;
    let rest = '';
    socket.setEncoding('utf8');
    socket.on('data', (data: string) => {
      const lines = (rest + data).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) this.#settle(JSON.parse(line));
    });
    // The closing that follows says it all.
    socket.on('error', () => {});
    this.closed = new Promise((resolve) => {
      socket.once('close', () => {
        for (const { reject } of this.#waiting.values()) reject(new HelperLost());
        this.#waiting.clear();
        resolve();
      });
    });
    socket.unref();
  }

  ask(question: HelperQuestion): Promise<HelperAnswer> {
    if (this.#socket.destroyed) return Promise.reject(new HelperLost());
    const id = this.#next++;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#socket.ref();
      this.#socket.write(`${JSON.stringify({ id, ...question })}\n`);
    });
  }

  #settle(answer: HelperAnswer): void {
    const waiting = this.#waiting.get(answer.id);
    this.#waiting.delete(answer.id);
    if (this.#waiting.size === 0) this.#socket.unref();
    waiting?.resolve(answer);
  }

  close(): void {
    this.#socket.destroy();
  }
}
