import {
  Agent,
  type ClientRequest,
  type IncomingHttpHeaders,
  type IncomingMessage,
  request as sendHttp,
} from 'node:http';
import { request as sendHttps, Agent as TlsAgent } from 'node:https';
import { isIP, type LookupFunction, type Socket } from 'node:net';
import type { SecureContext } from 'node:tls';
import { codeOf } from '../base/errors.ts';
import { type AddressGuard, checkLiteral, guardedLookup, guardFor } from './addresses.ts';
import type { HostCertificates } from './certificates.ts';
import { canceled, proxyError, proxyRefusal, RegistryError, transportError } from './errors.ts';
import type { Hosts } from './hosts.ts';
import { type Proxies, proxyAuthorization } from './proxies.ts';
import { ForwardAgent, type ProxyRoute, TunnelAgent } from './proxy-agents.ts';
import { isSent, type SentBody, SourceFailed, sendBody } from './sent-body.ts';

/** How long things may take, in milliseconds. */
export interface Timing {
  readonly connect: number;
  /** Without a byte, in the middle of an answer or before it. */
  readonly stall: number;
  /** The first wait before another attempt; it doubles. */
  readonly backoff: number;
  /** The longest wait before another attempt, whatever the registry asks for. */
  readonly longestWait: number;
  readonly attempts: number;
}

/** So many times the usual patience for the answer to what took long to send. */
const afterBody = 4;

export type Method = 'GET' | 'HEAD' | 'POST' | 'PUT' | 'PATCH';

export interface Call {
  readonly method?: Method;
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array | SentBody;
  readonly signal?: AbortSignal | undefined;
  /** For hosts that a registry named, not the user. */
  readonly guard?: AddressGuard | undefined;
}

export interface Reply {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: IncomingMessage;
  /** Where the answer came from, after redirects. */
  readonly url: URL;
  /** The address of the host that answered first: the registry's own; not known where a proxy found it. */
  readonly address: string | undefined;
}

export interface TransportDeps {
  readonly hosts: Hosts;
  readonly certificates: HostCertificates;
  readonly proxies: Proxies;
  readonly lookup: LookupFunction;
  readonly timing: Timing;
  readonly userAgent: string;
}

/** One request and its answer. Connections are kept for the next one. Throws RegistryError in Docker's words. */
export class Transport implements Disposable {
  readonly #deps: TransportDeps;
  readonly #agents = new Map<string, { readonly agent: Agent; readonly context: SecureContext | undefined }>();

  constructor(deps: TransportDeps) {
    this.#deps = deps;
  }

  async send(call: Call): Promise<Reply> {
    const { url, guard, signal } = call;
    // All that can be guarded behind a proxy, which looks names up itself, where it stands.
    if (guard) checkLiteral(url.hostname, guard);
    const proxy = this.#deps.proxies.of(url);
    const agent = await this.#agentFor(url, guard, proxy);
    if (signal?.aborted) throw canceled(signal.reason);
    try {
      return await this.#exchange(call, agent, proxy);
    } catch (error) {
      if (signal?.aborted) throw canceled(error);
      if (error instanceof SourceFailed) throw error.cause;
      throw proxy && url.protocol === 'http:' ? proxyError(url, proxy, error) : transportError(url, error);
    }
  }

  /** Closes the connections that are kept. */
  [Symbol.dispose](): void {
    for (const { agent } of this.#agents.values()) agent.destroy();
    this.#agents.clear();
  }

  #exchange(call: Call, agent: Agent, proxy: URL | undefined): Promise<Reply> {
    const { method = 'GET', url, headers, body, signal } = call;
    const { timing, userAgent } = this.#deps;
    const streamed = isSent(body) ? body : undefined;
    const length = isSent(body) ? body.length : body === undefined ? 0 : Buffer.byteLength(body);
    const send = url.protocol === 'https:' ? sendHttps : sendHttp;
    // Without user and password, which a Location may carry: Node would make an Authorization of them.
    const plain = new URL(url.origin + url.pathname + url.search);
    // Only a request that the proxy reads itself says who asks; in a tunnel it would reach the registry.
    const forwarded =
      proxy && url.protocol === 'http:' ? { path: plain.href, as: proxyAuthorization(proxy) } : undefined;
    return new Promise((resolve, reject) => {
      let over = false;
      const request = send(
        plain,
        {
          method,
          agent,
          ...(forwarded ? { path: forwarded.path } : {}),
          headers: {
            ...headers,
            ...(forwarded?.as ? { 'proxy-authorization': forwarded.as } : {}),
            'user-agent': userAgent,
            ...(method === 'GET' || method === 'HEAD' ? {} : { 'content-length': length }),
          },
          ...(signal ? { signal } : {}),
        },
        (response) => {
          over = true;
          clearTimeout(timer);
          response.on('error', () => {}); // whoever reads the body sees it again
          if (forwarded && response.statusCode === 407) {
            response.destroy();
            return reject(proxyRefusal(url, 407));
          }
          // Answered before all was sent: what is left of it would be taken for the next request.
          if (!request.writableEnded) response.once('close', () => request.destroy());
          resolve({
            status: response.statusCode ?? 0,
            headers: response.headers,
            body: response,
            url,
            address: proxy ? literalOf(url) : response.socket.remoteAddress,
          });
        },
      );
      const late = (code: string, message: string) => () =>
        request.destroy(Object.assign(new Error(message), { code }));
      let timer = setTimeout(late('ETIMEDOUT', 'the connection was not made in time'), timing.connect);
      whenConnected(request, url.protocol === 'https:', () => {
        clearTimeout(timer);
        timer = setTimeout(late('ETIMEDOUT', 'no answer came in time'), timing.stall);
        if (streamed)
          void sendBody(request, streamed, () => timer.refresh()).then((whole) => {
            // The registry hashes and stores what it has got before it says so.
            if (!whole || over) return;
            clearTimeout(timer);
            timer = setTimeout(late('ETIMEDOUT', 'no answer came in time'), afterBody * timing.stall);
          });
      });
      request.on('error', (error) => {
        over = true;
        clearTimeout(timer);
        // A kept connection that the server closed in the same moment says nothing about the server.
        const stale = request.reusedSocket && codeOf(error) === 'ECONNRESET' && !signal?.aborted;
        if (stale && (method === 'GET' || method === 'HEAD')) this.#exchange(call, agent, proxy).then(resolve, reject);
        else reject(error);
      });
      // A body that is streamed begins when there is a connection: nothing is read for a host that is not there.
      if (!streamed) request.end(body);
    });
  }

  async #agentFor(url: URL, guard: AddressGuard | undefined, proxy: URL | undefined): Promise<Agent> {
    const { certificates, hosts, timing } = this.#deps;
    const secure = url.protocol === 'https:';
    const key = `${url.origin} ${guard?.key ?? ''}`;
    const verify = secure && !(await hosts.isInsecure(url.host));
    const context = secure ? await certificates.contextFor(url.host, { verify }) : undefined;
    const known = this.#agents.get(key);
    if (known && known.context === context) return known.agent;
    known?.agent.destroy();
    const lookup = guard ? guardedLookup(this.#deps.lookup, guard) : this.#deps.lookup;
    const kept = { keepAlive: true, maxFreeSockets: 8, timeout: timing.connect + 2 * timing.stall, lookup };
    const tls = { ...kept, ...(context ? { secureContext: context } : {}), rejectUnauthorized: verify };
    const route = proxy && (await this.#routeOver(proxy));
    const agent = route
      ? secure
        ? new TunnelAgent(route, url, tls)
        : new ForwardAgent(route, kept)
      : secure
        ? new TlsAgent(tls)
        : new Agent(kept);
    this.#agents.set(key, { agent, context });
    return agent;
  }

  async #routeOver(proxy: URL): Promise<ProxyRoute> {
    const { certificates, lookup, timing } = this.#deps;
    const context =
      proxy.protocol === 'https:' ? await certificates.contextFor(proxy.host, { verify: true }) : undefined;
    return { proxy, context, lookup, patience: timing.connect };
  }
}

function literalOf({ hostname }: URL): string | undefined {
  const bare = hostname.replace(/^\[|\]$/g, '');
  return isIP(bare) === 0 ? undefined : bare;
}

function whenConnected(request: ClientRequest, secure: boolean, ready: () => void): void {
  request.once('socket', (socket: Socket) => {
    if (request.reusedSocket) ready();
    else socket.once(secure ? 'secureConnect' : 'connect', ready);
  });
}

/** Ends an answer that nobody reads, and keeps its connection where that costs little. */
export function discard({ body, headers }: Reply): void {
  const length = Number(headers['content-length'] ?? Number.NaN);
  if (length <= 65_536) body.setTimeout(5000, () => body.destroy()).resume();
  else body.destroy();
}

/** Follows redirects by hand, since what may be followed, and with what, is the point (S32, S33, S37). */
export async function follow({ transport, hosts }: { transport: Transport; hosts: Hosts }, call: Call): Promise<Reply> {
  const { authorization, ...plain } = call.headers;
  let { url, guard } = call;
  let headers = call.headers;
  let secure = url.protocol === 'https:';
  let address: string | undefined;
  const refused = (why: string) =>
    new RegistryError('forbidden', `Get "${call.url.origin}${call.url.pathname}": ${why}`);
  for (let hops = 0; ; hops++) {
    const reply = await transport.send({ ...call, url, headers, guard });
    address ??= reply.address;
    const { location } = reply.headers;
    if (![301, 302, 303, 307, 308].includes(reply.status) || !location) return { ...reply, address };
    discard(reply);
    if (hops === 10) throw refused('stopped after 10 redirects');
    if (call.method && call.method !== 'GET' && call.method !== 'HEAD')
      throw refused('a redirect of what carries credentials is not followed');
    const next = URL.parse(location, url.href);
    if (!next || !/^https?:$/.test(next.protocol)) throw refused('the redirect leads to what is no web address');
    if (secure && next.protocol === 'http:' && !(await hosts.isInsecure(next.host)))
      throw refused(`the redirect leads from https to http://${next.host}, which is not listed as insecure`);
    secure ||= next.protocol === 'https:';
    // Once dropped it stays dropped, also when a later redirect leads back.
    if (authorization !== undefined && next.origin !== url.origin) headers = plain;
    guard ??= guardFor(address);
    url = next;
  }
}
