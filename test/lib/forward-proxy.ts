import { createServer, type IncomingMessage, request as sendHttp } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { type AddressInfo, connect, type Socket } from 'node:net';

/** What a proxy was asked for: `CONNECT registry.test:443` or `GET http://registry.test/v2/`, and with what. */
export interface Forwarded {
  readonly line: string;
  readonly authorization: string | undefined;
  readonly proxyAuthorization: string | undefined;
}

export interface ForwardProxy extends AsyncDisposable {
  readonly port: number;
  readonly seen: Forwarded[];
}

/**
 * A forward proxy in this process, for tests: CONNECT and whole URLs, every name leads to 127.0.0.1. With `user` it answers
 * 407 to who does not say `user:password`; with `answers` it says that status to every CONNECT.
 */
export async function startForwardProxy({
  user,
  answers,
  tls,
}: {
  user?: string;
  answers?: number;
  tls?: { readonly cert: Buffer; readonly key: Buffer };
} = {}): Promise<ForwardProxy> {
  const seen: Forwarded[] = [];
  const sockets = new Set<Socket>();
  const wanted = user && `Basic ${Buffer.from(user).toString('base64')}`;
  const note = ({ method, url, headers }: IncomingMessage) => {
    const { authorization, 'proxy-authorization': proxyAuthorization } = headers;
    seen.push({ line: `${method} ${url}`, authorization, proxyAuthorization });
    return wanted === undefined || proxyAuthorization === wanted;
  };
  const server = tls ? createTlsServer(tls) : createServer();
  server.on('request', (request: IncomingMessage, response) => {
    if (!note(request)) return response.writeHead(407, { 'proxy-authenticate': 'Basic' }).end();
    const { port, pathname, search } = new URL(request.url!);
    const { 'proxy-authorization': _, ...headers } = request.headers;
    const onward = sendHttp(
      { host: '127.0.0.1', port, path: pathname + search, method: request.method, headers },
      (answer) => {
        response.writeHead(answer.statusCode!, answer.headers);
        answer.pipe(response);
      },
    );
    onward.on('error', () => response.writeHead(502).end());
    request.pipe(onward);
  });
  server.on('connect', (request: IncomingMessage, socket: Socket) => {
    socket.on('error', () => {});
    if (!note(request)) return socket.end('HTTP/1.1 407 Proxy Authentication Required\r\n\r\n');
    if (answers) return socket.end(`HTTP/1.1 ${answers} No\r\n\r\n`);
    const onward = connect(Number(request.url!.split(':').at(-1)), '127.0.0.1', () => {
      socket.write('HTTP/1.1 200 Connection established\r\n\r\n');
      socket.pipe(onward).pipe(socket);
    });
    sockets.add(onward);
    onward.on('error', () => socket.destroy());
  });
  server.on('connection', (socket) => sockets.add(socket));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    port: (server.address() as AddressInfo).port,
    seen,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
