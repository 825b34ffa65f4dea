import type { Duplex, Readable } from 'node:stream';
import { isErrorCode } from '../base/error-codes.ts';
import { EngineError, type ErrorKind, type ErrorOptions } from '../base/errors.ts';
import { type ApiVersion, formatVersion, maxVersion, negotiate } from '../protocol/version.ts';
import type { EngineAddress } from './address.ts';
import { Connection, ConnectionWasClosed, type Head } from './connection.ts';

export interface EngineClientDeps {
  /** Path of the engine's socket, or where else it is. */
  readonly socket: string | EngineAddress;
  /** Undefined: the highest that this client and the engine both speak, asked for once. */
  readonly version?: ApiVersion;
}

export interface RequestOptions {
  readonly query?: Readonly<Record<string, string | number | boolean | readonly string[] | undefined>>;
  readonly json?: unknown;
  /** Bytes to send; a stream is sent in chunks. */
  readonly body?: Uint8Array | Readable;
  readonly contentType?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal;
}

export interface EngineResponse {
  readonly status: number;
  readonly headers: ReadonlyMap<string, string>;
  /** To be read, or left with `return()`: the connection is free again only then. */
  readonly body: AsyncGenerator<Buffer, void, undefined>;
}

/** What the engine refused: its message, and the status that it gave. */
export class ResponseError extends EngineError {
  readonly status: number;

  constructor(status: number, message: string, options: ErrorOptions = {}) {
    super(kindOf(status), message, options);
    this.status = status;
  }
}

/** Connections that are kept for the next request. */
const mostIdle = 4;

/** The Engine API as a client. */
export class EngineClient implements AsyncDisposable {
  readonly #address: EngineAddress;
  readonly #idle: Connection[] = [];
  #version: Promise<ApiVersion> | undefined;

  constructor({ socket, version }: EngineClientDeps) {
    this.#address = typeof socket === 'string' ? { kind: 'unix', path: socket } : socket;
    if (version !== undefined) this.#version = Promise.resolve(version);
  }

  /** Any answer below 400. Throws `ResponseError` for the others. */
  async request(method: string, path: string, options: RequestOptions = {}): Promise<EngineResponse> {
    if (options.signal?.aborted) throw new EngineError('canceled', 'the request was given up');
    const target = await this.#target(path, options);
    for (;;) {
      const connection = this.#takeIdle() ?? (await Connection.open(this.#address));
      try {
        return await this.#exchange(connection, method, target, options);
      } catch (error) {
        connection.socket.destroy();
        if (!(error instanceof ConnectionWasClosed)) throw error;
        // Sent again only when it does no harm to be done twice.
        if (method !== 'GET' && method !== 'HEAD')
          throw new EngineError('unavailable', 'the engine closed the connection before it answered', { cause: error });
      }
    }
  }

  /** The body of the answer as JSON; undefined when it has none. */
  async json<T>(method: string, path: string, options: RequestOptions = {}): Promise<T> {
    const { body } = await this.request(method, path, options);
    const text = await readAll(body);
    return (text.trim() === '' ? undefined : JSON.parse(text)) as T;
  }

  /** Objects, one a line, as they come: progress, events, the end of a wait. */
  async *stream<T>(method: string, path: string, options: RequestOptions = {}): AsyncGenerator<T, void, undefined> {
    const { body } = await this.request(method, path, options);
    const decoder = new TextDecoder();
    let rest = '';
    for await (const chunk of body) {
      const lines = (rest + decoder.decode(chunk, { stream: true })).split('\n');
      rest = lines.pop()!;
      for (const line of lines) if (line.trim() !== '') yield JSON.parse(line) as T;
    }
    if (rest.trim() !== '') yield JSON.parse(rest) as T;
  }

  /**
   * Takes the connection over: what is written goes to stdin, ending it half-closes, what is read is the output.
   * `multiplexed` says whether that is framed (`protocol/frames.ts`).
   */
  async hijack(
    path: string,
    options: RequestOptions = {},
  ): Promise<{ readonly stream: Duplex; readonly multiplexed: boolean }> {
    const target = await this.#target(path, options);
    const connection = await Connection.open(this.#address);
    const { socket } = connection;
    using _abort = onAbort(options.signal, () => socket.destroy());
    try {
      await this.#send(connection, 'POST', target, {
        ...options,
        headers: { ...options.headers, Connection: 'Upgrade', Upgrade: 'tcp' },
      });
      const head = await connection.readHead();
      if (head.status !== 101) throw await refusal(connection, 'POST', head);
      return {
        stream: socket,
        multiplexed: head.headers.get('content-type') === 'application/vnd.docker.multiplexed-stream',
      };
    } catch (error) {
      socket.destroy();
      throw error;
    }
  }

  /** The version that requests are made in. */
  async version(): Promise<ApiVersion> {
    this.#version ??= this.#ask();
    try {
      return await this.#version;
    } catch (error) {
      this.#version = undefined;
      throw error;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { socket } of this.#idle.splice(0)) socket.destroy();
  }

  async #ask(): Promise<ApiVersion> {
    const { headers, body } = await this.request('HEAD', '/_ping');
    await readAll(body);
    return negotiate(maxVersion, headers.get('api-version'));
  }

  async #exchange(
    connection: Connection,
    method: string,
    target: string,
    options: RequestOptions,
  ): Promise<EngineResponse> {
    const { socket } = connection;
    const abort = onAbort(options.signal, () => socket.destroy());
    try {
      await this.#send(connection, method, target, options);
      const head = await connection.readHead();
      if (head.status >= 400) throw await refusal(connection, method, head);
      const free = () => {
        connection.served++;
        const closes = /\bclose\b/i.test(head.headers.get('connection') ?? '');
        // What was not sent would be taken for the next request.
        if (!closes && socket.writable && !isReadable(options.body) && this.#idle.length < mostIdle)
          this.#keep(connection);
        else socket.destroy();
      };
      return { status: head.status, headers: head.headers, body: guarded(connection, method, head, free, abort) };
    } catch (error) {
      abort[Symbol.dispose]();
      if (options.signal?.aborted) throw new EngineError('canceled', 'the request was given up', { cause: error });
      throw error;
    }
  }

  async #target(path: string, { query }: RequestOptions): Promise<string> {
    const prefix = path === '/_ping' ? '' : `/v${formatVersion(await this.version())}`;
    return prefix + path + queryText(query);
  }

  #keep(connection: Connection): void {
    const { socket } = connection;
    this.#idle.push(connection);
    // An idle connection is no reason for the process to stay. Whatever comes on it is its end.
    socket.unref();
    socket.once('readable', connection.spoil);
  }

  #takeIdle(): Connection | undefined {
    for (let connection = this.#idle.pop(); connection; connection = this.#idle.pop()) {
      connection.socket.off('readable', connection.spoil);
      if (!connection.socket.destroyed) return connection;
    }
    return undefined;
  }

  async #send(
    connection: Connection,
    method: string,
    target: string,
    { json, body, contentType, headers = {}, signal }: RequestOptions,
  ): Promise<void> {
    const { socket } = connection;
    socket.ref();
    const bytes = json === undefined ? body : Buffer.from(JSON.stringify(json));
    const type = contentType ?? (json === undefined ? 'application/x-tar' : 'application/json');
    let head = `${method} ${target} HTTP/1.1\r\nHost: berth\r\nUser-Agent: berth\r\n`;
    for (const [name, value] of Object.entries(headers)) head += `${name}: ${value.replace(/[\r\n]/g, '')}\r\n`;
    if (bytes !== undefined) head += `Content-Type: ${type}\r\n`;
    if (bytes instanceof Uint8Array) {
      head += `Content-Length: ${bytes.length}\r\n\r\n`;
      socket.write(Buffer.concat([Buffer.from(head), bytes]));
    } else if (bytes !== undefined) {
      socket.write(`${head}Transfer-Encoding: chunked\r\n\r\n`);
      // Beside the answer: an engine that refuses says so before it has read all.
      void upload(bytes, connection, signal);
    } else socket.write(`${head}${method === 'POST' || method === 'PUT' ? 'Content-Length: 0\r\n' : ''}\r\n`);
  }
}

async function upload(source: Readable, { socket }: Connection, signal: AbortSignal | undefined): Promise<void> {
  try {
    for await (const chunk of source as AsyncIterable<Buffer>) {
      if (socket.destroyed || signal?.aborted) return;
      if (chunk.length === 0) continue;
      socket.cork();
      socket.write(`${chunk.length.toString(16)}\r\n`);
      socket.write(chunk);
      const room = socket.write('\r\n');
      socket.uncork();
      if (!room)
        await new Promise<void>((resolve) => {
          const done = () => {
            socket.off('drain', done);
            socket.off('close', done);
            resolve();
          };
          socket.on('drain', done);
          socket.on('close', done);
        });
    }
    socket.write('0\r\n\r\n');
  } catch (error) {
    // The engine must not take half of it for whole.
    socket.destroy(error instanceof Error ? error : undefined);
  }
}

async function* guarded(
  connection: Connection,
  method: string,
  head: Head,
  free: () => void,
  abort: Disposable,
): AsyncGenerator<Buffer, void, undefined> {
  let whole = false;
  try {
    yield* connection.body(method, head, () => {
      whole = true;
    });
  } finally {
    abort[Symbol.dispose]();
    if (whole) free();
    else connection.socket.destroy();
  }
}

async function refusal(connection: Connection, method: string, head: Head): Promise<ResponseError> {
  const text = await readAll(connection.body(method, head, () => {})).catch(() => '');
  connection.socket.destroy();
  let message = text.trim();
  try {
    const parsed: unknown = JSON.parse(text);
    if (typeof parsed === 'object' && parsed !== null && 'message' in parsed) message = String(parsed.message);
  } catch {
    // Attach is refused in plain text.
  }
  const code: unknown = head.headers.get('berth-error');
  return new ResponseError(
    head.status,
    message || `the engine answered ${head.status}`,
    isErrorCode(code) ? { code } : {},
  );
}

async function readAll(body: AsyncIterable<Buffer>): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of body) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

function queryText(query: RequestOptions['query']): string {
  if (!query) return '';
  const params = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value === undefined || value === false) continue;
    if (Array.isArray(value)) for (const one of value as string[]) params.append(name, one);
    else params.append(name, value === true ? '1' : String(value));
  }
  const text = params.toString();
  return text === '' ? '' : `?${text}`;
}

function isReadable(body: RequestOptions['body']): body is Readable {
  return body !== undefined && !(body instanceof Uint8Array);
}

function onAbort(signal: AbortSignal | undefined, act: () => void): Disposable {
  signal?.addEventListener('abort', act, { once: true });
  return { [Symbol.dispose]: () => signal?.removeEventListener('abort', act) };
}

const kinds: Readonly<Record<number, ErrorKind>> = {
  400: 'invalid',
  401: 'unauthorized',
  403: 'forbidden',
  404: 'not-found',
  409: 'conflict',
  413: 'invalid',
  501: 'unsupported',
  503: 'unavailable',
};

function kindOf(status: number): ErrorKind {
  return kinds[status] ?? 'internal';
}
