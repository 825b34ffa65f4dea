import { BlockList, isIP } from 'node:net';
import { RegistryError } from './errors.ts';

/** Which proxy leads to which host; what the usual environment variables say, each '' where there is none. */
export interface ProxyConfig {
  readonly http: string;
  readonly https: string;
  /** Hosts that are reached without, comma-separated, as Go reads NO_PROXY. */
  readonly none: string;
}

export const noProxies: ProxyConfig = { http: '', https: '', none: '' };

type Exception = (host: string, port: string) => boolean;

/** Chooses the proxy of a request as Go's httpproxy does: by the scheme asked for, never for this machine. */
export class Proxies {
  readonly #config: ProxyConfig;
  readonly #exceptions: readonly Exception[];

  constructor(config: ProxyConfig) {
    this.#config = config;
    this.#exceptions = config.none.split(',').flatMap(readException);
  }

  /** The proxy to go through; undefined when the host is reached directly. Throws when the setting is no proxy's URL. */
  of(url: URL): URL | undefined {
    const text = url.protocol === 'https:' ? this.#config.https : this.#config.http;
    if (text === '') return undefined;
    const host = url.hostname.replace(/^\[|\]$/g, '').toLowerCase();
    const port = url.port || (url.protocol === 'https:' ? '443' : '80');
    if (host === 'localhost' || loopback(host)) return undefined;
    if (this.#exceptions.some((matches) => matches(host, port))) return undefined;
    const proxy = readProxy(text);
    if (proxy) return proxy;
    // Without the text, which may hold a password.
    throw new RegistryError(
      'unavailable',
      `Get "${url.origin}/v2/": the proxy for ${url.protocol.slice(0, -1)} is not one that can be used`,
      {
        hint: 'set httpProxy and httpsProxy, or HTTP_PROXY and HTTPS_PROXY, to http://host:port or https://host:port',
      },
    );
  }
}

/** `http://user:password@host:port`, or without the scheme; undefined for what is no proxy of HTTP. */
export function readProxy(text: string): URL | undefined {
  const url = URL.parse(text.includes('://') ? text : `http://${text}`);
  return url && /^https?:$/.test(url.protocol) && url.hostname !== '' ? url : undefined;
}

/** The value of Proxy-Authorization; undefined where the URL has no user. */
export function proxyAuthorization({ username, password }: URL): string | undefined {
  if (username === '' && password === '') return undefined;
  return `Basic ${Buffer.from(`${unescaped(username)}:${unescaped(password)}`).toString('base64')}`;
}

function unescaped(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** A host, `.domain` (what is below it), `domain` (and itself), an address, a block of them, each with a port; or `*`. */
function readException(entry: string): Exception[] {
  const text = entry.trim().toLowerCase();
  if (text === '') return [];
  if (text === '*') return [() => true];
  const block = readBlock(text);
  if (block) return [(host) => isIP(host) !== 0 && block.check(host, isIP(host) === 6 ? 'ipv6' : 'ipv4')];
  const [name, port] = splitPort(text);
  const there: Exception = (_, asked) => port === undefined || port === '' || port === asked;
  if (name === '') return [];
  if (isIP(name) !== 0) {
    const only = new BlockList();
    only.addAddress(name, isIP(name) === 6 ? 'ipv6' : 'ipv4');
    return [
      (host, asked) => isIP(host) !== 0 && only.check(host, isIP(host) === 6 ? 'ipv6' : 'ipv4') && there(host, asked),
    ];
  }
  const domain = name.startsWith('*.') ? name.slice(1) : name;
  if (domain.startsWith('.')) return [(host, asked) => host.endsWith(domain) && there(host, asked)];
  return [(host, asked) => (host === domain || host.endsWith(`.${domain}`)) && there(host, asked)];
}

function readBlock(text: string): BlockList | undefined {
  const [, net = '', prefix = ''] = /^([^/]+)\/(\d+)$/.exec(text) ?? [];
  const family = isIP(net);
  if (family === 0 || Number(prefix) > (family === 6 ? 128 : 32)) return undefined;
  const block = new BlockList();
  block.addSubnet(net, Number(prefix), family === 6 ? 'ipv6' : 'ipv4');
  return block;
}

/** `host:port`, `[v6]:port`, or a host alone, which an IPv6 address without brackets is. */
function splitPort(text: string): [string, string | undefined] {
  const bracketed = /^\[([^\]]*)\](?::(\d*))?$/.exec(text);
  if (bracketed) return [bracketed[1]!, bracketed[2]];
  const plain = /^([^:]*):(\d*)$/.exec(text);
  return plain ? [plain[1]!, plain[2]] : [text, undefined];
}

function loopback(host: string): boolean {
  return host === '::1' || (isIP(host) === 4 && host.startsWith('127.')) || /^::ffff:7f[0-9a-f]{2}:/.test(host);
}
