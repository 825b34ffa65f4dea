import { Agent, type AgentOptions, type RequestOptions, request as sendHttp } from 'node:http';
import { Agent as TlsAgent, type AgentOptions as TlsAgentOptions } from 'node:https';
import { isIP, type LookupFunction, connect as openTcp, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { connect as openTls, type SecureContext } from 'node:tls';
import { proxyError, proxyRefusal } from './errors.ts';
import { proxyAuthorization } from './proxies.ts';

/** How a proxy is spoken to. */
export interface ProxyRoute {
  readonly proxy: URL;
  /** For a proxy that is itself spoken to over TLS. */
  readonly context: SecureContext | undefined;
  readonly lookup: LookupFunction;
  /** Milliseconds for the proxy to make the connection. */
  readonly patience: number;
}

type Connected = (error: Error | null, socket: Duplex) => void;

/** TLS to `target` through a proxy that passes the bytes on (CONNECT, RFC 9110 section 9.3.6). */
export class TunnelAgent extends TlsAgent {
  readonly #route: ProxyRoute;
  readonly #target: URL;

  constructor(route: ProxyRoute, target: URL, options: TlsAgentOptions) {
    super(options);
    this.#route = route;
    this.#target = target;
  }

  override createConnection(options: RequestOptions, connected?: Connected): undefined {
    openTunnel(this.#route, this.#target).then(
      (socket) => connected?.(null, super.createConnection({ ...options, socket } as RequestOptions)!),
      (error: Error) => connected?.(error, undefined as unknown as Duplex),
    );
  }
}

/** Connections to the proxy itself, which is asked with the whole URL (RFC 9112, section 3.2.2). */
export class ForwardAgent extends Agent {
  readonly #route: ProxyRoute;

  constructor(route: ProxyRoute, options: AgentOptions) {
    super(options);
    this.#route = route;
  }

  override createConnection(): Duplex {
    return openProxy(this.#route);
  }
}

function openProxy({ proxy, context, lookup }: ProxyRoute): Socket {
  const host = proxy.hostname.replace(/^\[|\]$/g, '');
  const secure = proxy.protocol === 'https:';
  const at = { host, port: Number(proxy.port) || (secure ? 443 : 80), lookup };
  if (!secure) return openTcp(at);
  return openTls({
    ...at,
    ...(context ? { secureContext: context } : {}),
    ...(isIP(host) === 0 ? { servername: host } : {}),
  });
}

/** Throws RegistryError, in the words that Go has. */
function openTunnel(route: ProxyRoute, target: URL): Promise<Socket> {
  const { proxy, patience } = route;
  const authorization = proxyAuthorization(proxy);
  const authority = `${target.hostname}:${target.port || 443}`;
  return new Promise((resolve, reject) => {
    const request = sendHttp({
      method: 'CONNECT',
      path: authority,
      headers: { host: authority, ...(authorization ? { 'proxy-authorization': authorization } : {}) },
      createConnection: () => openProxy(route),
    });
    const late = setTimeout(
      () => request.destroy(Object.assign(new Error('the proxy did not connect in time'), { code: 'ETIMEDOUT' })),
      patience,
    );
    request.once('connect', (response, socket: Socket, head: Buffer) => {
      clearTimeout(late);
      if (response.statusCode === 200) {
        if (head.length > 0) socket.unshift(head);
        resolve(socket);
        return;
      }
      socket.destroy();
      reject(proxyRefusal(target, response.statusCode ?? 0));
    });
    request.once('error', (error) => {
      clearTimeout(late);
      reject(proxyError(target, proxy, error));
    });
    request.end();
  });
}
