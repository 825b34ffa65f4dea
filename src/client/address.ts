import { connect } from 'node:net';
import type { Duplex } from 'node:stream';
import type { ConnectionOptions } from 'node:tls';
import { codeOf, EngineError, messageOf } from '../base/errors.ts';

/** Where an engine is: on this machine, on a port, or behind ssh on another machine. */
export type EngineAddress =
  | { readonly kind: 'unix'; readonly path: string }
  | { readonly kind: 'tcp'; readonly host: string; readonly port: number; readonly tls: TlsFiles | undefined }
  | SshAddress;

/** Paths of PEM files, as in DOCKER_CERT_PATH. */
export interface TlsFiles {
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}

export interface SshAddress {
  readonly kind: 'ssh';
  readonly user: string | undefined;
  readonly host: string;
  readonly port: string | undefined;
  /** The engine's socket over there; undefined is the one that the command over there takes. */
  readonly path: string | undefined;
}

/** Both ways, half-closed one by one; `unref` lets the process end while it is open. */
export type Line = Duplex & { ref(): unknown; unref(): unknown };

/**
 * `unix:///run/berth/berth.sock`, `tcp://host:2375`, `ssh://user@host:22`, or a path, as docker's `-H` takes them. `tls` is
 * what a port is spoken to with. Throws `invalid`.
 */
export function readAddress(text: string, tls?: TlsFiles): EngineAddress {
  const wrong = (why: string) =>
    new EngineError('invalid', `${JSON.stringify(text)} is no address of an engine: ${why}`, {
      hint: 'unix:///run/berth/berth.sock, tcp://host:2375, or ssh://user@host',
    });
  if (text.startsWith('/')) return { kind: 'unix', path: text };
  const [scheme, rest] = text.split(/:\/\/(.*)/s) as [string, string | undefined];
  if (rest === undefined || rest === '') throw wrong('it has no unix://, tcp:// or ssh:// before a place');
  if (scheme === 'unix') {
    if (!rest.startsWith('/')) throw wrong('the path of a socket starts with /');
    return { kind: 'unix', path: rest };
  }
  if (scheme !== 'tcp' && scheme !== 'ssh') throw wrong(`${scheme}:// is not known`);
  // The URL class knows the ports of http alone, and takes no others for hosts.
  if (!URL.canParse(`http://${rest}`)) throw wrong('this is no host');
  const { hostname, port, username, password, pathname, search } = new URL(`http://${rest}`);
  const host = hostname.replace(/^\[(.*)\]$/, '$1');
  const path = pathname === '/' ? undefined : decodeURIComponent(pathname);
  if (search !== '') throw wrong('it has a question mark');
  if (scheme === 'tcp') {
    if (username || path) throw wrong('after tcp:// stand a host and a port alone');
    return { kind: 'tcp', host, port: Number(port || (/:80$/.test(rest) ? 80 : tls ? 2376 : 2375)), tls };
  }
  // ssh would take either for an option of its own.
  if (/^-/.test(host) || /^-/.test(username)) throw wrong('a host or a user starts with a dash');
  if (password) throw wrong('a password does not belong into an address; ssh asks for it, or use a key');
  return {
    kind: 'ssh',
    user: username ? decodeURIComponent(username) : undefined,
    host,
    port: port || (/:80(\/|$)/.test(rest) ? '80' : undefined),
    path,
  };
}

/** As `readAddress` takes it. */
export function nameOf(address: EngineAddress): string {
  if (address.kind === 'unix') return `unix://${address.path}`;
  const host = address.host.includes(':') ? `[${address.host}]` : address.host;
  if (address.kind === 'tcp') return `tcp://${host}:${address.port}`;
  const { user, port, path } = address;
  return `ssh://${user ? `${user}@` : ''}${host}${port ? `:${port}` : ''}${path ?? ''}`;
}

/** A connection to the engine there. Throws `unavailable`, or `forbidden`, with what to try. */
export async function dial(address: EngineAddress): Promise<Line> {
  if (address.kind === 'ssh') return new (await import('./ssh-line.ts')).SshLine(address);
  if (address.kind === 'tcp' && address.tls) return dialTls(address, address.tls);
  const options = address.kind === 'unix' ? { path: address.path } : { host: address.host, port: address.port };
  return new Promise((resolve, reject) => {
    const socket = connect({ ...options, allowHalfOpen: true });
    socket.once('error', (error) => reject(unreachable(address, error)));
    socket.once('connect', () => {
      socket.removeAllListeners('error');
      if (address.kind === 'tcp') socket.setNoDelay(true);
      resolve(socket);
    });
  });
}

async function dialTls(address: EngineAddress & { kind: 'tcp' }, files: TlsFiles): Promise<Line> {
  const [tls, { readFileSync }] = await Promise.all([import('node:tls'), import('node:fs')]);
  const { host, port } = address;
  const read = (path: string) => {
    try {
      return readFileSync(path);
    } catch (error) {
      throw new EngineError('invalid', `${path} cannot be read: ${codeOf(error)}`, {
        cause: error,
        hint: 'the directory of BERTH_CERT_PATH holds ca.pem, cert.pem and key.pem',
      });
    }
  };
  const keys = { ca: read(files.ca), cert: read(files.cert), key: read(files.key) };
  return new Promise((resolve, reject) => {
    // A name for SNI; an address is none (RFC 6066, section 3).
    const name = /^[\d.]+$|:/.test(host) ? {} : { servername: host };
    const options = { ...keys, ...name, host, port, allowHalfOpen: true };
    const socket = tls.connect(options satisfies ConnectionOptions);
    socket.once('error', (error) => reject(unreachable(address, error)));
    socket.once('secureConnect', () => {
      socket.removeAllListeners('error');
      resolve(socket);
    });
  });
}

function unreachable(address: EngineAddress, error: Error): EngineError {
  const code = codeOf(error);
  const name = nameOf(address);
  if (code === 'EACCES' || code === 'EPERM')
    return new EngineError('forbidden', `permission denied while trying to connect to the engine at ${name}`, {
      cause: error,
      hint: "run it as root, or as a member of the socket's group",
    });
  if (code === 'ENOENT' || code === 'ECONNREFUSED')
    return new EngineError('unavailable', `cannot connect to the engine at ${name}`, {
      cause: error,
      hint:
        address.kind === 'unix'
          ? 'is it running? start it with: berth engine start'
          : 'is it running, and does its setting hosts name this port?',
      code: 'E_NO_ENGINE',
    });
  return new EngineError('unavailable', `connect to ${name}: ${messageOf(error)}`, { cause: error });
}
