import { chmodSync, chownSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse, STATUS_CODES } from 'node:http';
import type { Server as NetServer, Socket } from 'node:net';
import { EngineError, messageOf } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import {
  type ApiVersion,
  acceptVersion,
  formatVersion,
  maxVersion,
  minVersion,
  parseVersion,
} from '../protocol/version.ts';
import { Crowd, isOutOfFiles } from './crowd.ts';
import { codeOfError, errorHeader, errorReply, HttpError, statusOfError } from './errors.ts';
import { headerLines } from './flat-headers.ts';
import { type FurtherPlace, listenAt } from './further-sockets.ts';
import { isStream, jsonText, type Reply, type StreamReply, text } from './reply.ts';
import { ApiRequest } from './request.ts';
import { type Match, type Route, Router } from './router.ts';
import { type EngineRooms, routesOf } from './routes/all.ts';
import { clearSocketPath, groupId } from './socket.ts';
import type { Versions } from './system.ts';

export interface ApiServerDeps {
  readonly engine: EngineRooms;
  readonly log: Log;
  readonly versions: Versions;
  /** How many files this process may have open. */
  readonly mostFiles: number;
}

export interface ListenOptions {
  readonly mode?: number;
  /** Name or number; undefined is our own. */
  readonly group?: string | number | undefined;
}

const headerBytes = 64 * 1024;
const headerTime = 10_000;
/** Clients keep connections and use them again much later; closing one under them is a failed request. */
const idleTime = 300_000;
const mostConnections = 8192;
/** Of a body that is refused for its size, so much is read all the same, for so long. */
const mostDropped = 64 * 1024 * 1024;
const longestDrop = 5000;

/** The Engine API on a Unix socket. */
export class ApiServer {
  readonly #log: Log;
  readonly #router: Router;
  readonly #server: Server;
  readonly #common: readonly string[];
  readonly #crowd: Crowd;
  /** Answers on their way that have an end of their own. */
  readonly #running = new Set<ServerResponse>();
  /** Streams and connections that were taken over: these are told to end when the engine stops. */
  readonly #streaming = new Set<AbortController>();
  readonly #taken = new Set<Socket>();
  readonly #further: NetServer[] = [];
  #closing = false;
  #drained: (() => void) | undefined;

  constructor({ engine, log, versions, mostFiles }: ApiServerDeps) {
    this.#log = log;
    this.#common = [
      'Api-Version',
      formatVersion(maxVersion),
      'Docker-Experimental',
      'false',
      'Ostype',
      'linux',
      'Server',
      `Docker/${versions.engine} (linux)`,
    ];
    this.#router = new Router(routesOf({ ...engine, versions, log, common: this.#common }));
    this.#server = createServer(
      {
        maxHeaderSize: headerBytes,
        headersTimeout: headerTime,
        // An upload may take as long as it takes.
        requestTimeout: 0,
        keepAliveTimeout: idleTime,
        connectionsCheckingInterval: 2000,
        // Others (`h2c`, `TLS/1.2` of Java's clients) are plain requests that would like to be more.
        shouldUpgradeCallback: (message) => this.#takesOver(message),
      },
      (message, response) => this.#request(message, response),
    );
    this.#crowd = new Crowd({ limit: mostFiles, log, makeRoom: () => this.#server.closeIdleConnections() });
    this.#server.on('connection', (socket: Socket) => this.#crowd.arrive(socket));
    this.#server.maxConnections = mostConnections;
    this.#server.timeout = 0;
    this.#server.on('upgrade', (message: IncomingMessage, socket: Socket, head: Buffer) => {
      void this.#upgrade(message, socket, head);
    });
    this.#server.on('clientError', (error: NodeJS.ErrnoException, socket: Socket) => refuse(error, socket));
  }

  get connections(): number {
    return this.#running.size + this.#streaming.size;
  }

  /** Throws `conflict` when something answers on the socket already. */
  async listen(path: string, { mode = 0o660, group }: ListenOptions = {}): Promise<void> {
    const gid = group === undefined ? undefined : groupId(group);
    await clearSocketPath(path);
    await new Promise<void>((resolve, reject) => {
      const failed = (error: Error) =>
        reject(new EngineError('internal', `listen on ${path}: ${messageOf(error)}`, { cause: error }));
      this.#server.once('error', failed);
      // Binding happens inside the call. Nobody may connect before mode and group are right.
      const before = process.umask(0o177);
      try {
        this.#server.listen({ path, backlog: 1024 }, () => {
          this.#server.off('error', failed);
          resolve();
        });
      } finally {
        process.umask(before);
      }
    });
    if (gid !== undefined) chownSync(path, process.getuid?.() ?? 0, gid);
    chmodSync(path, mode);
  }

  /** Serves there too. Throws `conflict` when something else answers there. */
  async listenAlso(place: FurtherPlace): Promise<void> {
    const server = await listenAt(place, (socket) => {
      socket.on('error', () => {});
      this.#server.emit('connection', socket);
    });
    server.maxConnections = mostConnections;
    server.on('error', (error) => this.#log.error('a listening socket failed', { error }));
    this.#further.push(server);
  }

  /**
   * Takes no more connections, ends streams and what was taken over, and gives running requests `graceMs` to end.
   * Containers are not touched.
   */
  async close({ graceMs = 5000 } = {}): Promise<void> {
    if (this.#closing) return;
    this.#closing = true;
    const servers = [this.#server, ...this.#further];
    const closed = Promise.all(servers.map((one) => new Promise<void>((resolve) => one.close(() => resolve()))));
    this.#server.closeIdleConnections();
    for (const controller of this.#streaming) controller.abort();
    for (const socket of this.#taken) socket.destroySoon();
    if (this.#running.size > 0) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#drained = resolve;
      const timer = setTimeout(resolve, graceMs);
      await promise;
      clearTimeout(timer);
    }
    // Half a moment, so that what was just written leaves before the connection does.
    await new Promise((resolve) => setTimeout(resolve, 20));
    this.#server.closeAllConnections();
    for (const socket of this.#taken) socket.destroy();
    await closed;
  }

  #route(message: IncomingMessage): { match: Match | undefined; version: ApiVersion; queryText: string } {
    let url = message.url ?? '/';
    // A proxy's form, `http://host/path`.
    if (!url.startsWith('/')) url = url.replace(/^[a-z]+:\/\/[^/?]*/i, '') || '/';
    const mark = url.indexOf('?');
    let path = mark < 0 ? url : url.slice(0, mark);
    const queryText = mark < 0 ? '' : url.slice(mark + 1);
    let version = maxVersion;
    const prefix = path.startsWith('/v') ? /^\/v([0-9.]+)(?=\/)/.exec(path) : null;
    if (prefix) {
      version = acceptVersion(prefix[1]!);
      path = path.slice(prefix[0].length);
    }
    return { match: this.#router.find(message.method ?? 'GET', path), version, queryText };
  }

  #takesOver(message: IncomingMessage): boolean {
    if (this.#crowd.turnsAway(message.socket)) return false;
    const upgrade = message.headers.upgrade?.toLowerCase();
    if (upgrade !== 'tcp' && upgrade !== 'websocket') return false;
    try {
      return this.#route(message).match?.route.upgrade !== undefined;
    } catch {
      return false;
    }
  }

  #request(message: IncomingMessage, response: ServerResponse): void {
    const controller = lazyController(response);
    if (this.#crowd.turnsAway(message.socket)) {
      const refused = errorReply(this.#crowd.refusal());
      const reply = { ...refused, headers: [...(refused.headers ?? []), 'Connection', 'close'] };
      message.once('end', () => this.#send(message, response, reply, controller));
      dropRest(message);
      return;
    }
    let reply: Reply | Promise<Reply>;
    let route: Route | undefined;
    try {
      const { match, version, queryText } = this.#route(message);
      if (!match) throw new HttpError(404, 'page not found');
      route = match.route;
      reply = route.handle(
        new ApiRequest({ message, version, params: match.params, queryText, signal: () => controller.get().signal }),
      );
    } catch (error) {
      reply = this.#failed(error, message);
    }
    if (!(reply instanceof Promise)) {
      this.#send(message, response, reply, controller);
      return;
    }
    this.#running.add(response);
    reply
      .catch((error: unknown) => this.#failed(error, message))
      .then((answer) => this.#send(message, response, answer, controller))
      .catch((error: unknown) => {
        this.#log.error('a request could not be answered', { path: message.url, error });
        response.destroy();
      })
      .finally(() => {
        this.#running.delete(response);
        if (this.#running.size === 0) this.#drained?.();
      });
  }

  #failed(thrown: unknown, message: IncomingMessage): Reply {
    const error = isOutOfFiles(thrown) ? this.#crowd.refusal(thrown) : thrown;
    const status = statusOfError(error);
    if (status === 500) this.#log.error('request failed', { method: message.method, path: message.url, error });
    // Something outside that does not answer, such as a registry.
    else if (status === 503 && error instanceof Error && error.cause !== undefined)
      this.#log.warn('request failed', { method: message.method, path: message.url, error });
    const asked = /^\/v([0-9.]+)\//.exec(message.url ?? '')?.[1];
    const version = asked === undefined ? undefined : parseVersion(asked);
    if (version !== undefined && version < minVersion) return text(400, `${messageOf(error)}\n`);
    return errorReply(error);
  }

  #send(message: IncomingMessage, response: ServerResponse, reply: Reply, controller: LazyController): void {
    if (response.destroyed || response.headersSent) return;
    if (isStream(reply)) {
      void this.#stream(message, response, reply, controller.get());
      return;
    }
    const socket: Socket | null = message.socket;
    const headers = [...this.#common];
    if (reply.headers) headers.push(...reply.headers);
    if (reply.type !== undefined) headers.push('Content-Type', reply.type);
    const body = reply.body;
    const none = reply.status === 204 || reply.status === 304;
    if (!none) headers.push('Content-Length', String(body === undefined ? 0 : Buffer.byteLength(body)));
    if (this.#closing) headers.push('Connection', 'close');
    response.writeHead(reply.status, headers);
    response.end(none || message.method === 'HEAD' ? undefined : body);
    if (message.complete) return;
    if (this.#closing) setTimeout(() => socket?.destroy(), 500).unref();
    // Closed at once, a client that is still sending would get a broken pipe and never read why.
    else if (reply.status === 413) dropRest(message);
  }

  async #stream(
    message: IncomingMessage,
    response: ServerResponse,
    reply: StreamReply,
    controller: AbortController,
  ): Promise<void> {
    this.#streaming.add(controller);
    if (this.#closing) controller.abort();
    if (reply.raw) {
      response.useChunkedEncodingByDefault = false;
      response.shouldKeepAlive = false;
    }
    response.writeHead(reply.status, [...this.#common, ...(reply.headers ?? []), 'Content-Type', reply.type]);
    response.flushHeaders();
    const { signal } = controller;
    try {
      await reply.run({
        signal,
        get waiting() {
          return response.writableLength;
        },
        push: (chunk) => void response.write(chunk),
        write: async (chunk) => {
          if (response.destroyed) throw new EngineError('canceled', 'the client went away');
          if (!response.write(chunk)) await drained(response, signal);
        },
      });
      response.end();
    } catch (error) {
      if (!response.destroyed && !signal.aborted)
        this.#log.warn('a stream was cut', { method: message.method, path: message.url, error });
      response.destroy();
    } finally {
      this.#streaming.delete(controller);
    }
  }

  async #upgrade(message: IncomingMessage, socket: Socket, head: Buffer): Promise<void> {
    // Without a listener an error of the socket would end the engine.
    socket.on('error', () => {});
    const controller = new AbortController();
    this.#taken.add(socket);
    socket.once('close', () => {
      this.#taken.delete(socket);
      controller.abort();
    });
    socket.setTimeout(0);
    try {
      const { match, version, queryText } = this.#route(message);
      if (!match?.route.upgrade) throw new HttpError(404, 'page not found');
      const request = new ApiRequest({
        message,
        version,
        params: match.params,
        queryText,
        signal: () => controller.signal,
      });
      await match.route.upgrade(request, socket, head);
    } catch (thrown) {
      const error = isOutOfFiles(thrown) ? this.#crowd.refusal(thrown) : thrown;
      const status = statusOfError(error);
      if (status === 500)
        this.#log.error('request failed', { method: message.method, path: message.url, status, error });
      const body = jsonText({ message: messageOf(error) });
      socket.write(
        `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? 'Error'}\r\n${headerLines(this.#common)}Content-Type: application/json\r\n${errorHeader}: ${codeOfError(error)}\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`,
      );
      socket.resume();
      socket.end();
    }
  }
}

interface LazyController {
  get(): AbortController;
}

/** Most requests are answered before anyone could ask whether the client is still there. */
function lazyController(response: ServerResponse): LazyController {
  let controller: AbortController | undefined;
  return {
    get() {
      if (controller) return controller;
      const made = new AbortController();
      controller = made;
      if (response.destroyed) made.abort();
      else response.once('close', () => made.abort());
      return made;
    },
  };
}

function drained(response: ServerResponse, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const done = () => {
      response.off('drain', done);
      signal.removeEventListener('abort', done);
      if (signal.aborted) reject(new EngineError('canceled', 'the client went away'));
      else resolve();
    };
    response.once('drain', done);
    signal.addEventListener('abort', done, { once: true });
    if (signal.aborted) done();
  });
}

/** What the parser refused: not HTTP, or more than is taken. */
function refuse(error: NodeJS.ErrnoException, socket: Socket): void {
  if (error.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy();
    return;
  }
  const [status, message] =
    error.code === 'HPE_HEADER_OVERFLOW'
      ? [431, `request headers are larger than ${headerBytes / 1024} KiB`]
      : error.code === 'ERR_HTTP_REQUEST_TIMEOUT'
        ? [408, `request headers did not come within ${headerTime / 1000} s`]
        : [400, 'malformed HTTP request'];
  const body = jsonText({ message });
  socket.end(
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`,
  );
  setTimeout(() => socket.destroy(), 500).unref();
}

/** Reads what is left of a body and forgets it; within bounds. */
function dropRest(message: IncomingMessage): void {
  let dropped = 0;
  const { socket } = message;
  const late = setTimeout(() => socket.destroy(), longestDrop).unref();
  message.on('data', (chunk: Buffer) => {
    dropped += chunk.length;
    if (dropped > mostDropped) socket.destroy();
  });
  message.once('close', () => clearTimeout(late));
  message.resume();
}
