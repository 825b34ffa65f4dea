import { EngineError } from '../base/errors.ts';
import { dial, type EngineAddress, type Line } from './address.ts';

const largestHead = 128 * 1024;

export interface Head {
  readonly status: number;
  /** Names in lower case. */
  readonly headers: ReadonlyMap<string, string>;
}

/** The server closed a connection that had been idle, before it said anything: the request may be sent again. */
export class ConnectionWasClosed extends Error {}

/** One connection to the engine, read by pulling: HTTP/1.1 as much as this API needs, without the weight of node:http. */
export class Connection {
  readonly socket: Line;
  /** Requests that were answered on it. */
  served = 0;
  readonly spoil = (): void => {
    this.socket.destroy();
  };

  private constructor(socket: Line) {
    this.socket = socket;
  }

  static async open(address: EngineAddress): Promise<Connection> {
    const line = await dial(address);
    // Errors are seen where one reads.
    line.on('error', () => {});
    return new Connection(line);
  }

  /** What came, or undefined at the end. Throws when the connection broke. */
  read(): Promise<Buffer | undefined> {
    const { socket } = this;
    const ready = socket.read() as Buffer | null;
    if (ready !== null) return Promise.resolve(ready);
    if (socket.readableEnded) return Promise.resolve(undefined);
    if (socket.destroyed) return Promise.reject(broken(socket.errored));
    return new Promise((resolve, reject) => {
      const settle = (act: () => void) => {
        socket.off('readable', readable);
        socket.off('end', ended);
        socket.off('close', closed);
        act();
      };
      const readable = () => {
        const chunk = socket.read() as Buffer | null;
        if (chunk !== null) settle(() => resolve(chunk));
      };
      const ended = () => settle(() => resolve(undefined));
      const closed = () => settle(() => reject(broken(socket.errored)));
      socket.on('readable', readable);
      socket.on('end', ended);
      socket.on('close', closed);
    });
  }

  /** Gives back what was read too far. */
  unread(chunk: Buffer): void {
    if (chunk.length > 0) this.socket.unshift(chunk);
  }

  /** The head of the answer; interim ones (100) are passed over. */
  async readHead(): Promise<Head> {
    for (;;) {
      const head = await this.#readOneHead();
      if (head.status >= 200 || head.status === 101) return head;
    }
  }

  async #readOneHead(): Promise<Head> {
    let all: Buffer = Buffer.alloc(0);
    for (;;) {
      let chunk: Buffer | undefined;
      try {
        chunk = await this.read();
      } catch (error) {
        if (all.length === 0 && this.served > 0) throw new ConnectionWasClosed();
        throw error;
      }
      if (chunk === undefined) {
        if (all.length === 0 && this.served > 0) throw new ConnectionWasClosed();
        throw broken(undefined);
      }
      all = all.length === 0 ? chunk : Buffer.concat([all, chunk]);
      const end = all.indexOf('\r\n\r\n');
      if (end >= 0) {
        this.unread(all.subarray(end + 4));
        return parseHead(all.toString('latin1', 0, end));
      }
      if (all.length > largestHead) throw new EngineError('corrupt', 'the engine sent headers that are too large');
    }
  }

  /** The body of an answer, decoded, as it comes. `done` is called when all of it was read. */
  async *body(method: string, { status, headers }: Head, done: () => void): AsyncGenerator<Buffer, void, undefined> {
    const length = headers.get('content-length');
    if (method === 'HEAD' || status === 204 || status === 304) done();
    else if (/\bchunked\b/i.test(headers.get('transfer-encoding') ?? '')) yield* this.#chunks(done);
    else if (length !== undefined) yield* this.#counted(Number(length), done);
    else {
      for (let chunk = await this.read(); chunk !== undefined; chunk = await this.read()) yield chunk;
      this.socket.destroy();
    }
  }

  async *#counted(length: number, done: () => void): AsyncGenerator<Buffer, void, undefined> {
    let left = length;
    while (left > 0) {
      const chunk = await this.read();
      if (chunk === undefined) throw broken(undefined);
      const taken = chunk.subarray(0, left);
      this.unread(chunk.subarray(taken.length));
      left -= taken.length;
      yield taken;
    }
    done();
  }

  async *#chunks(done: () => void): AsyncGenerator<Buffer, void, undefined> {
    for (;;) {
      const size = Number.parseInt(await this.#line(), 16);
      if (!Number.isSafeInteger(size) || size < 0)
        throw new EngineError('corrupt', 'the engine sent a malformed chunk');
      if (size === 0) break;
      yield* this.#counted(size, () => {});
      await this.#line();
    }
    // Trailers, which nobody sends, up to the empty line.
    while ((await this.#line()) !== '');
    done();
  }

  async #line(): Promise<string> {
    let text = '';
    for (;;) {
      const chunk = await this.read();
      if (chunk === undefined) throw broken(undefined);
      const end = chunk.indexOf(10);
      if (end >= 0) {
        this.unread(chunk.subarray(end + 1));
        return (text + chunk.toString('latin1', 0, end)).replace(/\r$/, '');
      }
      text += chunk.toString('latin1');
      if (text.length > 4096) throw new EngineError('corrupt', 'the engine sent a malformed chunk');
    }
  }
}

function parseHead(text: string): Head {
  const [first = '', ...lines] = text.split('\r\n');
  const status = /^HTTP\/1\.[01] ([0-9]{3})/.exec(first)?.[1];
  if (!status) throw new EngineError('corrupt', 'the answer is no HTTP: is this the socket of an engine?');
  const headers = new Map<string, string>();
  for (const line of lines) {
    const colon = line.indexOf(':');
    if (colon > 0) headers.set(line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim());
  }
  return { status: Number(status), headers };
}

function broken(cause: Error | null | undefined): EngineError {
  // ssh has said why.
  if (cause instanceof EngineError) return cause;
  return new EngineError('unavailable', 'the engine closed the connection before its answer was whole', { cause });
}
