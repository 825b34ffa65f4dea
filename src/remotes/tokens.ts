import { createHash } from 'node:crypto';
import { checkLiteral, guardFor } from './addresses.ts';
import { readBody } from './body.ts';
import type { Challenge } from './challenge.ts';
import { RegistryError, readWireErrors, shown, unauthorized, waiting } from './errors.ts';
import type { Hosts } from './hosts.ts';
import type { Credentials } from './registry.ts';
import { follow, type Reply, type Timing, type Transport } from './transport.ts';

export interface TokenRequest {
  readonly challenge: Challenge;
  /** The registry that asks for the token, and the address where it answered. */
  readonly base: URL;
  readonly address: string | undefined;
  readonly scope: string | undefined;
  readonly credentials: Credentials | undefined;
  readonly signal: AbortSignal | undefined;
  /** Also asks for a token to keep in place of the password. */
  readonly offline?: boolean;
}

export interface Token {
  readonly token: string;
  readonly identityToken: string | undefined;
}

export interface TokensDeps {
  readonly transport: Transport;
  readonly hosts: Hosts;
  readonly timing: Timing;
}

const clientId = 'berth';

/** Tokens from the servers that registries name (distribution's token and OAuth2 protocols), kept while they live. */
export class Tokens {
  readonly #deps: TokensDeps;
  readonly #kept = new Map<string, { readonly token: string; readonly until: number }>();

  constructor(deps: TokensDeps) {
    this.#deps = deps;
  }

  /** A token that is still good; known by registry, scope and who asks. */
  kept(base: URL, scope: string, credentials: Credentials | undefined): string | undefined {
    const key = keyOf(base, scope, credentials);
    const found = this.#kept.get(key);
    if (found && found.until > performance.now()) return found.token;
    this.#kept.delete(key);
    return undefined;
  }

  forget(base: URL, scope: string, credentials: Credentials | undefined): void {
    this.#kept.delete(keyOf(base, scope, credentials));
  }

  /** A new token; undefined when nobody without credentials gets one. Throws `unauthorized` when they are refused. */
  async fetch(request: TokenRequest): Promise<Token | undefined> {
    const { base, credentials, scope } = request;
    const realm = await this.#realmOf(request);
    const reply = await this.#ask(realm, request);
    const body = await readBody(reply, 1024 * 1024, { stall: this.#deps.timing.stall, signal: request.signal });
    if (reply.status === 401 || reply.status === 403 || (reply.status === 400 && credentials?.identityToken)) {
      if (!hasCredentials(credentials)) return undefined;
      throw unauthorized(base, readWireErrors(body), reply.status);
    }
    if (reply.status !== 200)
      throw new RegistryError(
        'unavailable',
        `get a token from ${shown(realm)}: unexpected HTTP status: ${reply.status}`,
        {
          status: reply.status,
          ...(reply.status >= 500 || reply.status === 429 ? waiting(reply.headers['retry-after']) : {}),
        },
      );
    const { token, seconds, identityToken } = readToken(realm, body);
    if (scope !== undefined) this.#keep(keyOf(base, scope, credentials), token, seconds);
    return { token, identityToken };
  }

  /** Where the registry sends its clients to sign in; refused when credentials would go there in the clear (S32, S37). */
  async #realmOf({ challenge, base, address }: TokenRequest): Promise<URL> {
    const realm = URL.parse(challenge.parameters.realm ?? '');
    if (!realm || !/^https?:$/.test(realm.protocol))
      throw new RegistryError(
        'unavailable',
        `Get "${base.origin}/v2/": the registry names no server to get a token from`,
      );
    if (realm.protocol === 'http:' && !(await this.#deps.hosts.isInsecure(realm.host)))
      throw new RegistryError(
        'forbidden',
        `Get "${base.origin}/v2/": the registry wants its clients to sign in at ${shown(realm)}, without TLS; refused`,
        { hint: `if that is meant, add ${realm.host} to insecureRegistries in the engine's configuration` },
      );
    // A token server on this machine may serve a registry on this machine, and no other (S33).
    checkLiteral(realm.hostname, guardFor(address));
    return realm;
  }

  async #ask(realm: URL, { challenge, scope, credentials, signal, address, offline }: TokenRequest): Promise<Reply> {
    const wanted = new URLSearchParams();
    const service = challenge.parameters.service;
    if (service) wanted.set('service', service);
    for (const part of (scope ?? '').split(' ').filter(Boolean)) wanted.append('scope', part);
    const guard = guardFor(address);
    if (credentials?.identityToken) {
      wanted.set('grant_type', 'refresh_token');
      wanted.set('client_id', clientId);
      wanted.set('refresh_token', credentials.identityToken);
      const headers = { 'content-type': 'application/x-www-form-urlencoded' };
      return await follow(this.#deps, { method: 'POST', url: realm, headers, body: wanted.toString(), signal, guard });
    }
    const headers: Record<string, string> = {};
    if (credentials?.username) {
      wanted.set('account', credentials.username);
      headers.authorization = basic(credentials);
    }
    if (offline) {
      wanted.set('offline_token', 'true');
      wanted.set('client_id', clientId);
    }
    const url = new URL(realm);
    for (const [name, value] of wanted) url.searchParams.append(name, value);
    return await follow(this.#deps, { url, headers, signal, guard });
  }

  #keep(key: string, token: string, seconds: number): void {
    // A little less than it lives, so that it doesn't end on the way; the clock is one that nobody sets (R10).
    const now = performance.now();
    const life = seconds * 1000;
    for (const [other, { until }] of this.#kept) if (until <= now || this.#kept.size > 1000) this.#kept.delete(other);
    this.#kept.set(key, { token, until: now + life - Math.min(10_000, life / 10) });
  }
}

export function basic({ username = '', password = '' }: Credentials): string {
  return `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;
}

export function hasCredentials(credentials: Credentials | undefined): boolean {
  return Boolean(credentials?.username || credentials?.identityToken || credentials?.registryToken);
}

/** Who asks, as a key that gives no secret away. */
export function whoOf(credentials: Credentials | undefined): string {
  if (!credentials || !hasCredentials(credentials)) return 'anonymous';
  const { username, password, identityToken, registryToken } = credentials;
  return createHash('sha256')
    .update(JSON.stringify([username, password, identityToken, registryToken]))
    .digest('hex');
}

function keyOf(base: URL, scope: string, credentials: Credentials | undefined): string {
  return `${base.origin} ${scope} ${whoOf(credentials)}`;
}

function readToken(realm: URL, body: Buffer): { token: string; seconds: number; identityToken: string | undefined } {
  const wrong = () => new RegistryError('unavailable', `get a token from ${shown(realm)}: the answer holds no token`);
  let parsed: unknown;
  try {
    parsed = JSON.parse(body.toString('utf8'));
  } catch {
    throw wrong();
  }
  if (typeof parsed !== 'object' || parsed === null) throw wrong();
  const member = (name: string) => (parsed as Record<string, unknown>)[name];
  const text = (name: string) => {
    const value = member(name);
    // What can't stand in a header is no token.
    return typeof value === 'string' && /^[\x21-\x7e]+$/.test(value) ? value : undefined;
  };
  const token = text('token') ?? text('access_token');
  if (token === undefined) throw wrong();
  const lives = member('expires_in');
  // 60 seconds where nothing is said (distribution, token authentication).
  const seconds = typeof lives === 'number' && lives > 0 ? lives : 60;
  return { token, seconds, identityToken: text('refresh_token') };
}
