import { EngineError } from '../base/errors.ts';
import { guardFor } from './addresses.ts';
import { readBody } from './body.ts';
import { type Challenge, parseChallenges } from './challenge.ts';
import { RegistryError, readWireErrors, shown, unauthorized, type WireError } from './errors.ts';
import type { Endpoint, Hosts } from './hosts.ts';
import type { Credentials } from './registry.ts';
import { basic, hasCredentials, type Tokens, whoOf } from './tokens.ts';
import { type Call, discard, follow, type Method, type Reply, type Timing, type Transport } from './transport.ts';

export interface Ask {
  readonly method?: Method;
  /** Below the base: `v2/library/nginx/manifests/latest?x=y`. Or where the registry said to go on, whole. */
  readonly path: string | URL;
  readonly body?: Call['body'];
  readonly headers?: Readonly<Record<string, string>>;
  /** What a token must allow: `repository:library/nginx:pull`. */
  readonly scope?: string;
  readonly credentials?: Credentials | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface SessionsDeps {
  readonly transport: Transport;
  readonly tokens: Tokens;
  readonly hosts: Hosts;
  readonly timing: Timing;
}

/** Requests to registries, signed in as far as they ask for it. Answers of any status come back, redirects followed. */
export class Sessions {
  readonly #deps: SessionsDeps;
  /** Which base of an insecure host answered: https or http. */
  readonly #bases = new Map<string, URL>();
  /** Who has to send a password with every request, where. */
  readonly #basic = new Set<string>();
  /** Where registries answered last, by host. */
  readonly #addresses = new Map<string, string>();

  constructor(deps: SessionsDeps) {
    this.#deps = deps;
  }

  async get(endpoint: Endpoint, ask: Ask): Promise<Reply> {
    if (ask.path instanceof URL) return await this.#continued(endpoint, ask, ask.path);
    const host = endpoint.bases[0]!.host;
    const known = this.#bases.get(host);
    const bases = known ? [known, ...endpoint.bases.filter((base) => base.href !== known.href)] : endpoint.bases;
    let failure: unknown;
    for (const base of bases) {
      try {
        const reply = await this.#authorized(base, ask);
        // What a TLS server answers to plain HTTP; then the failure of TLS before is the one that tells.
        if (failure && base.protocol === 'http:' && reply.status === 400) {
          discard(reply);
          throw failure;
        }
        if (bases.length > 1) this.#bases.set(host, base);
        return reply;
      } catch (error) {
        // Only what failed on the way is tried in the other way (S37): an answer, whatever it says, is the registry's.
        if (!(error instanceof RegistryError) || error.kind !== 'unavailable' || error.status !== undefined)
          throw error;
        if (error === failure) throw error;
        failure = error;
      }
    }
    this.#bases.delete(host);
    throw failure;
  }

  /**
   * Where the registry said to go on. Only at its own origin does that get credentials (S32); elsewhere it is a stranger's
   * address, which must be one that the registry may send its clients to (S33).
   */
  async #continued(endpoint: Endpoint, ask: Ask, url: URL): Promise<Reply> {
    const own = endpoint.bases.find(({ origin }) => origin === url.origin);
    if (own) return await this.#authorized(own, ask);
    const { method, headers = {}, body, signal } = ask;
    const address = this.#addresses.get(endpoint.bases[0]!.host);
    const secure = this.#bases.get(endpoint.bases[0]!.host)?.protocol !== 'http:';
    if (secure && url.protocol === 'http:' && !(await this.#deps.hosts.isInsecure(url.host)))
      throw new RegistryError(
        'forbidden',
        `the registry sends its client from https to http://${url.host}, which is not listed as insecure; refused`,
      );
    return await follow(this.#deps, { ...callOf({ method, body }), url, headers, signal, guard: guardFor(address) });
  }

  async #authorized(base: URL, ask: Ask): Promise<Reply> {
    const { credentials, scope } = ask;
    const url = new URL(ask.path, base);
    const send = (authorization: string | undefined) =>
      follow(this.#deps, {
        ...callOf(ask),
        url,
        headers: { ...ask.headers, ...(authorization ? { authorization } : {}) },
        signal: ask.signal,
      });
    const reply = await send(this.#remembered(base, ask));
    if (reply.address !== undefined) this.#addresses.set(base.host, reply.address);
    // A 401 from where a redirect led is not the registry's, and gets no credentials (S32).
    if (reply.status !== 401 || reply.url.origin !== base.origin) return reply;

    const challenges = parseChallenges(reply.headers['www-authenticate'] ?? '');
    const errors = await this.#errorsOf(reply, ask.signal);
    if (scope) this.#deps.tokens.forget(base, scope, credentials);
    if (credentials?.registryToken) throw scrubbed(unauthorized(base, errors), credentials);
    const fresh = await this.#signIn(base, reply, challenges, ask).catch((error) => {
      throw scrubbed(error, credentials);
    });
    if (fresh === undefined) {
      if (challenges.some(({ scheme }) => scheme === 'basic') && !hasCredentials(credentials))
        throw new RegistryError('unauthorized', `Get "${shown(url)}": no basic auth credentials`, {
          status: 401,
          hint: `sign in first: docker login ${base.host}`,
        });
      return refusedReply(reply, errors);
    }
    const again = await send(fresh);
    if (again.status !== 401 || again.url.origin !== base.origin) {
      if (fresh.startsWith('Basic ')) this.#basic.add(`${base.origin} ${whoOf(credentials)}`);
      return again;
    }
    const told = await this.#errorsOf(again, ask.signal);
    if (fresh.startsWith('Basic ')) throw scrubbed(unauthorized(base, told), credentials);
    return refusedReply(again, told);
  }

  #remembered(base: URL, { credentials, scope }: Ask): string | undefined {
    if (credentials?.registryToken) return `Bearer ${credentials.registryToken}`;
    if (credentials && this.#basic.has(`${base.origin} ${whoOf(credentials)}`)) return basic(credentials);
    const token = scope === undefined ? undefined : this.#deps.tokens.kept(base, scope, credentials);
    return token === undefined ? undefined : `Bearer ${token}`;
  }

  async #signIn(
    base: URL,
    reply: Reply,
    challenges: readonly Challenge[],
    { scope, credentials, signal }: Ask,
  ): Promise<string | undefined> {
    const bearer = challenges.find(({ scheme }) => scheme === 'bearer');
    if (bearer) {
      const { address } = reply;
      const token = await this.#deps.tokens.fetch({ challenge: bearer, base, address, scope, credentials, signal });
      return token && `Bearer ${token.token}`;
    }
    const offered = challenges.some(({ scheme }) => scheme === 'basic');
    return offered && credentials?.username ? basic(credentials) : undefined;
  }

  async #errorsOf(reply: Reply, signal: AbortSignal | undefined): Promise<readonly WireError[]> {
    return readWireErrors(await readBody(reply, 1024 * 1024, { stall: this.#deps.timing.stall, signal }));
  }
}

function callOf({ method, body }: { readonly method?: Method | undefined; readonly body?: Call['body'] }) {
  return { ...(method ? { method } : {}), ...(body === undefined ? {} : { body }) };
}

/** A refusal whose body was read already. */
export class Refused extends Error {
  readonly reply: Reply;
  readonly errors: readonly WireError[];

  constructor(reply: Reply, errors: readonly WireError[]) {
    super(`refused with status ${reply.status}`);
    this.reply = reply;
    this.errors = errors;
  }
}

function refusedReply(reply: Reply, errors: readonly WireError[]): never {
  throw new Refused(reply, errors);
}

/** A server may repeat what it was sent; what it says must not bring a secret into a message or the log (S29). */
export function scrubbed(error: unknown, credentials: Credentials | undefined): unknown {
  if (!(error instanceof EngineError) || !credentials) return error;
  const { password, identityToken, registryToken } = credentials;
  for (const secret of [password, identityToken, registryToken])
    if (secret && error.message.includes(secret)) error.message = error.message.replaceAll(secret, '[redacted]');
  return error;
}
