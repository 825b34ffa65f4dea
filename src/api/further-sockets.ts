import { chmodSync, chownSync, readFileSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { createServer as createTlsServer, type TlsOptions } from 'node:tls';
import { codeOf, EngineError, messageOf } from '../base/errors.ts';
import { clearSocketPath } from './socket.ts';

/** A place beside the engine's own socket where clients may come. */
export type FurtherPlace =
  | { readonly kind: 'unix'; readonly path: string; readonly mode: number; readonly gid: number | undefined }
  | { readonly kind: 'tcp'; readonly host: string; readonly port: number; readonly tls: ServerTls }
  /** A socket that listens already: the service manager opened it. */
  | { readonly kind: 'descriptor'; readonly fd: number };

/** Paths of PEM files. With `ca` only clients whose certificate it signed come in. */
export interface ServerTls {
  readonly cert: string;
  readonly key: string;
  readonly ca: string | undefined;
}

/** Listens there and hands every connection on. Throws `conflict` when somebody else answers there. */
export async function listenAt(place: FurtherPlace, arrived: (socket: Socket) => void): Promise<Server> {
  if (place.kind === 'unix') await clearSocketPath(place.path);
  const server = place.kind === 'tcp' ? tlsServer(place.tls, arrived) : createServer({ allowHalfOpen: true }, arrived);
  const name =
    place.kind === 'unix'
      ? place.path
      : place.kind === 'tcp'
        ? `${place.host}:${place.port}`
        : `descriptor ${place.fd}`;
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error) =>
      reject(
        new EngineError(
          codeOf(error) === 'EADDRINUSE' ? 'conflict' : 'internal',
          `listen on ${name}: ${messageOf(error)}`,
          {
            cause: error,
          },
        ),
      ),
    );
    const options =
      place.kind === 'unix'
        ? { path: place.path, backlog: 1024 }
        : place.kind === 'tcp'
          ? { host: place.host, port: place.port }
          : { fd: place.fd };
    // Binding happens inside the call. Nobody may connect before mode and group are right.
    const before = process.umask(0o177);
    try {
      server.listen(options, resolve);
    } finally {
      process.umask(before);
    }
  });
  if (place.kind === 'unix') {
    if (place.gid !== undefined) chownSync(place.path, process.getuid?.() ?? 0, place.gid);
    chmodSync(place.path, place.mode);
  }
  return server;
}

function tlsServer({ cert, key, ca }: ServerTls, arrived: (socket: Socket) => void): Server {
  const options: TlsOptions = {
    cert: read(cert, 'tlsCert'),
    key: read(key, 'tlsKey'),
    minVersion: 'TLSv1.2',
    handshakeTimeout: 10_000,
    allowHalfOpen: true,
    ...(ca !== undefined && { ca: read(ca, 'tlsCaCert'), requestCert: true, rejectUnauthorized: true }),
  };
  let server: Server;
  try {
    server = createTlsServer(options, arrived);
  } catch (error) {
    throw new EngineError('invalid', `${cert} and ${key} are no certificate and its key: ${messageOf(error)}`, {
      cause: error,
    });
  }
  // Whoever speaks no TLS, or has no certificate, is cut off.
  server.on('tlsClientError', () => {});
  return server;
}

function read(path: string, setting: string): Buffer {
  try {
    return readFileSync(path);
  } catch (error) {
    throw new EngineError('invalid', `${setting}: ${path} cannot be read: ${codeOf(error)}`, {
      cause: error,
      hint: 'a port without TLS keys would give the machine to whoever reaches it; docker -H ssh://user@host needs none',
    });
  }
}
