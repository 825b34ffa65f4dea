import { STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex, Readable, Writable } from 'node:stream';
import { EngineError } from '../base/errors.ts';
import { parseJson } from '../protocol/decode.ts';
import { codeOfError, errorHeader, HttpError, statusOfError, textOfError } from './errors.ts';
import { type ApiRequest, maxJsonBytes, tooLarge } from './request.ts';
import { type TakenClient, watchHangUp } from './taken-client.ts';

export const rawStream = 'application/vnd.docker.raw-stream';
export const multiplexedStream = 'application/vnd.docker.multiplexed-stream';

export function streamType(request: ApiRequest, tty: boolean): string {
  return !tty && request.version >= 1042 ? multiplexedStream : rawStream;
}

export function switchProtocols(socket: Socket, type: string): void {
  socket.write(`HTTP/1.1 101 UPGRADED\r\nContent-Type: ${type}\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n`);
}

/** Docker answers a failed attach in plain text, with the stream's content type. */
export function refuseAttach(socket: Socket, error: unknown): void {
  const status = statusOfError(error);
  socket.resume();
  socket.end(
    `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? 'Error'}\r\nContent-Type: ${rawStream}\r\n${errorHeader}: ${codeOfError(error)}\r\nConnection: close\r\n\r\n${textOfError(error)}\r\n`,
  );
}

/**
 * The JSON body of a request whose connection was taken over: node gives it as the first bytes of the stream. What comes
 * behind it stays on the socket.
 */
export async function readTakenBody(request: ApiRequest, socket: Socket, head: Buffer): Promise<unknown> {
  if (request.header('transfer-encoding') !== undefined)
    throw new HttpError(411, 'a request that is upgraded must give the Content-Length of its body');
  if (lengthOf(request) > 0) request.checkJson();
  const body = await takeBody(request, socket, head);
  return body.length === 0 ? undefined : parseJson(body.toString());
}

/** Some clients (dockerode) send their options as a body with an attach too: that is not stdin. */
export async function skipTakenBody(request: ApiRequest, socket: Socket, head: Buffer): Promise<void> {
  await takeBody(request, socket, head);
}

function lengthOf(request: ApiRequest): number {
  return Number(request.header('content-length') ?? 0);
}

async function takeBody(request: ApiRequest, socket: Socket, head: Buffer): Promise<Buffer> {
  const length = lengthOf(request);
  if (length > maxJsonBytes) throw tooLarge();
  const chunks = [head];
  let size = head.length;
  while (size < length) {
    const chunk = (socket.read() as Buffer | null) ?? (await more(socket));
    if (chunk === undefined) throw new EngineError('invalid', 'invalid JSON: got EOF while reading request body');
    chunks.push(chunk);
    size += chunk.length;
  }
  const all = Buffer.concat(chunks);
  if (size > length) socket.unshift(all.subarray(length));
  return all.subarray(0, length);
}

function more(socket: Socket): Promise<Buffer | undefined> {
  return new Promise((resolve) => {
    const done = () => {
      socket.off('readable', readable);
      socket.off('end', done);
      socket.off('close', done);
      resolve(undefined);
    };
    const readable = () => {
      const chunk = socket.read() as Buffer | null;
      if (chunk === null) return;
      socket.off('readable', readable);
      socket.off('end', done);
      socket.off('close', done);
      resolve(chunk);
    };
    socket.on('readable', readable);
    socket.once('end', done);
    socket.once('close', done);
  });
}

/** How long a client may leave its side open once there is nothing more to come. */
const lingerTime = 10_000;

/** Joins what a client attached with its connection until the output has ended, or the client has gone. */
export function join(
  stream: Duplex,
  socket: Socket,
  { stdin, client }: { readonly stdin: boolean; readonly client: TakenClient },
): void {
  // A client that was quick has said its last word while the stream was being opened, and a socket says `end` only once.
  if (socket.readableEnded) watchHangUp(socket);
  else socket.once('end', () => watchHangUp(socket));
  client.onRead(() => {
    if (stdin) forward(socket, stream);
    // Read and dropped: else the end of a client that goes would never be seen.
    else socket.resume();
  });
  stream.on('error', () => socket.destroySoon());
  socket.once('close', () => stream.destroy());
  stream.once('end', () => {
    // Closing with something unread would reach the client as a reset connection behind the output.
    socket.unpipe(stream);
    socket.resume();
    const timer = setTimeout(() => socket.destroy(), lingerTime);
    timer.unref();
    socket.once('close', () => clearTimeout(timer));
    socket.once('end', () => socket.destroySoon());
    socket.end();
  });
  // Without an end of its own, a stream that was torn down must not leave the client waiting.
  stream.once('close', () => {
    if (!stream.readableEnded) socket.destroySoon();
  });
  stream.pipe(socket, { end: false });
  // Gone while the stream was being opened.
  if (socket.destroyed) stream.destroy();
}

/** Source to stdin with half-close. What comes after the process has closed its side is dropped. */
export function forward(source: Readable, stdin: Writable): void {
  const end = () => {
    if (!stdin.destroyed && !stdin.writableEnded) stdin.end();
  };
  if (source.readableEnded) end();
  else {
    source.pipe(stdin, { end: false });
    source.once('end', end);
  }
  const drop = () => {
    source.unpipe(stdin);
    source.resume();
  };
  stdin.once('close', drop);
  stdin.once('finish', drop);
  stdin.on('error', drop);
}
