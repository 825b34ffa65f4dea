import { execFile, execFileSync, spawn, spawnSync } from 'node:child_process';
import { createSign, X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { type AddressInfo, connect, createServer as createTcpServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { type TestImage, writeLayout } from './images.ts';

/** Real registries for system tests: Debian's docker-registry, on a port of loopback, with a folder of its own. */

export interface User {
  readonly username: string;
  readonly password: string;
}

export interface RegistryOptions {
  /** Basic authentication, by htpasswd. */
  readonly user?: User;
  readonly tls?: ServerCertificate;
  /** Path of the authority whose client certificates are the only ones let in. */
  readonly clientAuthority?: string;
  readonly tokens?: TokenServer;
  /** The network namespace to run in, where only what is in it finds the registry. */
  readonly netns?: string;
}

export interface TestRegistry extends AsyncDisposable {
  readonly port: number;
  /** `127.0.0.1:port` */
  readonly host: string;
  readonly pid: number;
  /** Puts an image there, under `name:tag`; `certificates` is a folder with ca.crt, client.cert and client.key. */
  push(image: TestImage, name: string, certificates?: string): Promise<void>;
  stop(): Promise<void>;
}

export async function startRegistry({
  user,
  tls,
  clientAuthority,
  tokens,
  netns,
}: RegistryOptions = {}): Promise<TestRegistry> {
  const inside = (command: string, ...args: string[]): [string, string[]] =>
    netns ? ['nsenter', [`--net=/run/netns/${netns}`, command, ...args]] : [command, args];
  const folder = mkdtempSync(join(tmpdir(), 'test-registry-'));
  const port = await freePort();
  const host = `127.0.0.1:${port}`;
  const file = (name: string) => join(folder, name);
  if (user)
    writeFileSync(file('htpasswd'), execFileSync('htpasswd', ['-Bbn', '-C', '4', user.username, user.password]));
  const auth = {
    ...(user ? { htpasswd: { realm: 'test', path: file('htpasswd') } } : {}),
    ...(tokens
      ? {
          token: {
            realm: tokens.realm,
            service: tokens.service,
            issuer: tokens.issuer,
            rootcertbundle: tokens.certificate,
          },
        }
      : {}),
  };
  // JSON is YAML.
  const config = {
    version: 0.1,
    log: { level: 'error', accesslog: { disabled: true } },
    storage: { filesystem: { rootdirectory: file('data') }, delete: { enabled: true } },
    http: {
      addr: host,
      ...(tls
        ? {
            tls: {
              certificate: tls.certificate,
              key: tls.key,
              ...(clientAuthority ? { clientcas: [clientAuthority] } : {}),
            },
          }
        : {}),
    },
    ...(user || tokens ? { auth } : {}),
  };
  writeFileSync(file('config.yml'), JSON.stringify(config));
  const child = spawn(...inside('docker-registry', 'serve', file('config.yml')), { stdio: 'ignore' });
  const exited = once(child, 'exit');
  const stop = async () => {
    if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL');
    await exited;
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    const open = netns
      ? async () => spawnSync(...inside('bash', '-c', `: > /dev/tcp/127.0.0.1/${port}`)).status === 0
      : () => isOpen(port);
    await answering(port, open, () => child.exitCode !== null);
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    port,
    host,
    pid: child.pid!,
    async push(image, name, certificates) {
      const layout = mkdtempSync(join(folder, 'layout-'));
      writeLayout(image, layout, 'latest');
      const who = user ?? tokens?.user;
      const credentials = who ? ['--dest-creds', `${who.username}:${who.password}`] : [];
      const to = `docker://${host}/${name}`;
      // --all: every platform of an index.
      const copy = ['copy', '--quiet', '--all', '--preserve-digests', '--dest-tls-verify=false', ...credentials];
      // Not execFileSync: the token server may live in this process.
      const shown = certificates ? ['--dest-cert-dir', certificates] : [];
      await promisify(execFile)(...inside('skopeo', ...copy, ...shown, `oci:${layout}:latest`, to));
    },
    stop,
    [Symbol.asyncDispose]: stop,
  };
}

export interface TokenServer extends AsyncDisposable {
  readonly realm: string;
  readonly service: string;
  readonly issuer: string;
  /** Path of the certificate that the registry trusts tokens by. */
  readonly certificate: string;
  readonly user: User;
  /** What was asked: method, query or body, Authorization. */
  readonly seen: {
    readonly method: string;
    readonly form: URLSearchParams;
    readonly authorization: string | undefined;
  }[];
  /** Seconds that its tokens live; what it says and what is so. */
  life: number;
}

export const offlineToken = 'a-refresh-token-of-the-test';

/** Signs tokens for whoever knows the password or the refresh token; for nobody else. */
export async function startTokenServer(user: User): Promise<TokenServer> {
  const folder = mkdtempSync(join(tmpdir(), 'test-tokens-'));
  const { certificate, key } = makeAuthority(folder, 'test token server');
  const signingKey = readFileSync(key, 'utf8');
  const x5c = [new X509Certificate(readFileSync(certificate)).raw.toString('base64')];
  const seen: TokenServer['seen'] = [];
  const service = 'test registry';
  const issuer = 'test issuer';
  const server = createServer((request, response) => {
    void (async () => {
      let body = '';
      for await (const chunk of request) body += String(chunk);
      const url = new URL(request.url!, 'http://x');
      const form = request.method === 'POST' ? new URLSearchParams(body) : url.searchParams;
      const { authorization } = request.headers;
      seen.push({ method: request.method!, form, authorization });
      const basic = `Basic ${Buffer.from(`${user.username}:${user.password}`).toString('base64')}`;
      const known = request.method === 'POST' ? form.get('refresh_token') === offlineToken : authorization === basic;
      if (!known && (authorization !== undefined || request.method === 'POST')) {
        response.writeHead(401, { 'content-type': 'application/json' });
        response.end('{"details":"incorrect username or password"}');
        return;
      }
      const access = form.getAll('scope').map((scope) => {
        const [type, name, actions = ''] = scope.split(':');
        return { type, name, actions: known ? actions.split(',') : [] };
      });
      const now = Math.floor(Date.now() / 1000);
      const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');
      const claims = {
        iss: issuer,
        sub: user.username,
        aud: service,
        nbf: now - 60,
        iat: now,
        exp: now + tokens.life,
        jti: `${now}`,
        access,
      };
      const signed = `${part({ typ: 'JWT', alg: 'RS256', x5c })}.${part(claims)}`;
      const token = `${signed}.${createSign('SHA256').update(signed).sign(signingKey, 'base64url')}`;
      response.writeHead(200, { 'content-type': 'application/json' });
      response.end(
        JSON.stringify({
          token,
          expires_in: tokens.life,
          ...(form.get('offline_token') === 'true' ? { refresh_token: offlineToken } : {}),
        }),
      );
    })();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const tokens: TokenServer = {
    realm: `http://127.0.0.1:${(server.address() as AddressInfo).port}/token`,
    service,
    issuer,
    certificate,
    user,
    seen,
    life: 300,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      rmSync(folder, { recursive: true, force: true });
    },
  };
  return tokens;
}

export interface ServerCertificate {
  /** Paths of PEM files. */
  readonly certificate: string;
  readonly key: string;
  readonly authority: string;
}

/** A CA and a certificate of it for these names and addresses; a client's is made the same way. */
export function makeServerCertificate(folder: string, names: readonly string[]): ServerCertificate {
  const authority = makeAuthority(folder, 'test authority');
  const file = (name: string) => join(folder, name);
  const alternatives = names.map((name) => (/^[\d.]+$/.test(name) ? `IP:${name}` : `DNS:${name}`)).join(',');
  writeFileSync(file('extensions'), `subjectAltName=${alternatives}\n`);
  openssl([
    'req',
    '-newkey',
    'rsa:2048',
    '-nodes',
    '-keyout',
    file('server.key'),
    '-out',
    file('server.csr'),
    '-subj',
    '/CN=test registry',
  ]);
  openssl([
    'x509',
    '-req',
    '-in',
    file('server.csr'),
    '-CA',
    authority.certificate,
    '-CAkey',
    authority.key,
    '-CAcreateserial',
    '-days',
    '2',
    '-extfile',
    file('extensions'),
    '-out',
    file('server.crt'),
  ]);
  return { certificate: file('server.crt'), key: file('server.key'), authority: authority.certificate };
}

function makeAuthority(folder: string, name: string): { certificate: string; key: string } {
  mkdirSync(folder, { recursive: true });
  const paths = { certificate: join(folder, 'ca.crt'), key: join(folder, 'ca.key') };
  openssl([
    'req',
    '-x509',
    '-newkey',
    'rsa:2048',
    '-nodes',
    '-days',
    '2',
    '-keyout',
    paths.key,
    '-out',
    paths.certificate,
    '-subj',
    `/CN=${name}`,
  ]);
  return paths;
}

function openssl(args: readonly string[]): void {
  execFileSync('openssl', args, { stdio: ['ignore', 'ignore', 'pipe'] });
}

async function freePort(): Promise<number> {
  const server = createTcpServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

async function answering(port: number, open: () => Promise<boolean>, dead: () => boolean): Promise<void> {
  for (const deadline = Date.now() + 20_000; Date.now() < deadline && !dead(); await sleep(20))
    if (await open()) return;
  throw new Error(`the registry on port ${port} does not answer`);
}

async function isOpen(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1');
  const opened = await Promise.race([
    once(socket, 'connect').then(() => true),
    once(socket, 'error').then(() => false),
  ]).catch(() => false);
  socket.destroy();
  return opened;
}
