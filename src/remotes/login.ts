import { readBody } from './body.ts';
import { parseChallenges } from './challenge.ts';
import { apiRoot, RegistryError, readWireErrors, unauthorized } from './errors.ts';
import type { Hosts } from './hosts.ts';
import type { Credentials } from './registry.ts';
import { basic, hasCredentials, type Tokens } from './tokens.ts';
import { discard, follow, type Reply, type Timing, type Transport } from './transport.ts';

export interface LoginDeps {
  readonly hosts: Hosts;
  readonly transport: Transport;
  readonly tokens: Tokens;
  readonly timing: Timing;
}

/** Whether the registry takes the credentials; and a token to keep instead of the password where it gives one. */
export async function login(
  deps: LoginDeps,
  serverAddress: string,
  credentials: Credentials,
): Promise<{ identityToken: string }> {
  const endpoint = await deps.hosts.originOf(domainOf(serverAddress));
  let failure: unknown;
  for (const base of endpoint.bases) {
    try {
      return await signIn(deps, new URL('v2/', base), credentials, failure);
    } catch (error) {
      // As for other requests: the second base is for when there was no answer from the first.
      if (!(error instanceof RegistryError) || error.kind !== 'unavailable' || error.status !== undefined) throw error;
      failure = error;
    }
  }
  throw failure;
}

async function signIn(
  deps: LoginDeps,
  url: URL,
  credentials: Credentials,
  failure: unknown,
): Promise<{ identityToken: string }> {
  const first = await follow(deps, { url, headers: {} });
  // What a TLS server answers to plain HTTP.
  if (failure && url.protocol === 'http:' && first.status === 400) {
    discard(first);
    throw failure;
  }
  if (first.status === 200) {
    discard(first);
    return { identityToken: '' };
  }
  if (first.status !== 401 || first.url.origin !== url.origin) throw await unexpected(deps, url, first);
  const challenges = parseChallenges(first.headers['www-authenticate'] ?? '');
  discard(first);
  if (!hasCredentials(credentials))
    throw new RegistryError('unauthorized', `Get "${apiRoot(url)}": no basic auth credentials`, { status: 401 });

  const challenge = challenges.find(({ scheme }) => scheme === 'bearer');
  let authorization = basic(credentials);
  let identityToken: string | undefined;
  if (challenge) {
    const { address } = first;
    const scope = challenge.parameters.scope;
    const request = { challenge, base: url, address, scope, credentials, signal: undefined, offline: true };
    const token = await deps.tokens.fetch(request);
    if (!token) throw unauthorized(url, []);
    authorization = `Bearer ${token.token}`;
    identityToken = token.identityToken;
  }
  const second = await follow(deps, { url, headers: { authorization } });
  if (second.status === 200) {
    discard(second);
    return { identityToken: identityToken ?? '' };
  }
  if (second.status === 401 || second.status === 403)
    throw unauthorized(url, await errorsOf(deps, second), second.status);
  throw await unexpected(deps, url, second);
}

async function unexpected(deps: LoginDeps, url: URL, reply: Reply): Promise<RegistryError> {
  await errorsOf(deps, reply).catch(() => []);
  const { status } = reply;
  return new RegistryError('unavailable', `login attempt to ${apiRoot(url)} failed with status: ${status}`, {
    status,
    ...(status === 404 ? { hint: `check that ${url.host} is a registry: it answers nothing at /v2/` } : {}),
  });
}

async function errorsOf({ timing }: LoginDeps, reply: Reply) {
  return readWireErrors(await readBody(reply, 1024 * 1024, { stall: timing.stall }));
}

/** `https://index.docker.io/v1/`, which clients send for Docker Hub, `http://localhost:5000`, `localhost:5000`. */
function domainOf(serverAddress: string): string {
  const host = serverAddress.replace(/^https?:\/\//, '').split('/')[0]!;
  if (['', 'docker.io', 'index.docker.io', 'registry-1.docker.io'].includes(host)) return 'docker.io';
  if (!URL.canParse(`https://${host}/`))
    throw new RegistryError('invalid', `invalid registry address ${JSON.stringify(serverAddress)}`);
  return host;
}
