import { STATUS_CODES } from 'node:http';
import type { ErrorCode } from '../base/error-codes.ts';
import { codeOf, EngineError, type ErrorKind, messageOf } from '../base/errors.ts';
import { familiarName, familiarRepository, type Reference } from '../oci/reference.ts';

export interface RegistryErrorOptions {
  readonly status?: number;
  readonly cause?: unknown;
  readonly hint?: string;
  readonly code?: ErrorCode;
  readonly temporary?: boolean;
  readonly retryAfter?: number;
}

/** A registry, or the way to it, did not do what was asked. The status is there when the registry answered. */
export class RegistryError extends EngineError {
  readonly status: number | undefined;
  /** It may well work when it is tried again. */
  readonly temporary: boolean;
  /** Milliseconds that the registry asks to wait before that. */
  readonly retryAfter: number | undefined;

  constructor(
    kind: ErrorKind,
    message: string,
    { status, cause, hint, code, temporary = false, retryAfter }: RegistryErrorOptions = {},
  ) {
    super(kind, message, { cause, ...(hint ? { hint } : {}), ...(code && { code }) });
    this.status = status;
    this.temporary = temporary;
    this.retryAfter = retryAfter;
  }
}

/** The `errors` of an answer (distribution-spec, error codes). */
export interface WireError {
  readonly code: string;
  readonly message: string;
}

/** Reads what a registry says went wrong; nothing when it says it in no known form. */
export function readWireErrors(body: Buffer): readonly WireError[] {
  let parsed: unknown;
  try {
    parsed = JSON.parse(body.toString('utf8'));
  } catch {
    return [];
  }
  if (typeof parsed !== 'object' || parsed === null) return [];
  const listed = 'errors' in parsed && Array.isArray(parsed.errors) ? parsed.errors : [];
  const errors = listed.flatMap((entry: unknown): WireError[] => {
    if (typeof entry !== 'object' || entry === null) return [];
    const code = 'code' in entry && typeof entry.code === 'string' ? entry.code : 'UNKNOWN';
    const message = 'message' in entry && typeof entry.message === 'string' ? entry.message : '';
    return [{ code: plain(code), message: plain(message) }];
  });
  // Token servers answer { "details": "incorrect username or password" }, or { "message": ... }.
  for (const key of ['details', 'message', 'error_description'])
    if (errors.length === 0 && key in parsed) {
      const value = (parsed as Record<string, unknown>)[key];
      if (typeof value === 'string') errors.push({ code: 'UNAUTHORIZED', message: plain(value) });
    }
  return errors.slice(0, 5);
}

/** `manifest unknown: manifest unknown`: as Docker prints the registry's words. */
export function formatWireErrors(errors: readonly WireError[]): string {
  return errors
    .map(({ code, message }) => `${code.toLowerCase().replaceAll('_', ' ')}: ${message || 'unknown error'}`)
    .join(', ');
}

/** What a stranger wrote, fit for a terminal and a log line (S28). */
function plain(text: string): string {
  const short = text.length > 300 ? `${text.slice(0, 300)}...` : text;
  return short.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]+/g, ' ');
}

export interface Answer {
  readonly status: number;
  readonly url: URL;
  readonly errors: readonly WireError[];
  /** The Retry-After header. */
  readonly retryAfter?: string | undefined;
}

/** What a registry's refusal of a manifest, a blob or a tag list means, in Docker's words. */
export function refusal(reference: Reference, { status, url, errors, retryAfter }: Answer): RegistryError {
  const said = formatWireErrors(errors);
  const has = (code: string) => errors.some((error) => error.code === code);
  if (status === 401 || status === 403 || has('DENIED') || has('UNAUTHORIZED')) return accessDenied(reference, status);
  if (status === 404 && has('NAME_UNKNOWN'))
    return new RegistryError('not-found', `repository ${familiarRepository(reference)} not found: ${said}`, {
      status,
      code: 'E_NOT_IN_REGISTRY',
    });
  if (status === 404 && url.pathname.includes('/blobs/'))
    return new RegistryError(
      'not-found',
      `blob ${lastOf(url)} of ${familiarName(reference)} not found: ${said || 'blob unknown: blob unknown to registry'}`,
      {
        status,
      },
    );
  if (status === 404)
    return new RegistryError(
      'not-found',
      `manifest for ${familiarName(reference)} not found: ${said || 'manifest unknown: manifest unknown'}`,
      { status, code: 'E_NOT_IN_REGISTRY' },
    );
  if (status === 429)
    return new RegistryError('unavailable', `Get "${shown(url)}": ${said || 'toomanyrequests: too many requests'}`, {
      status,
      ...waiting(retryAfter),
      hint: 'the registry limits how often it may be asked: sign in with docker login, use a mirror, or try again later',
    });
  const kind = status >= 500 ? 'unavailable' : status >= 400 ? 'invalid' : 'internal';
  return new RegistryError(kind, `Get "${shown(url)}": ${said || `unexpected HTTP status: ${status}`}`, {
    status,
    ...(status >= 500 || status === 408 ? waiting(retryAfter) : {}),
  });
}

/** What a registry's refusal to take a blob or a manifest means: its own words, as Docker prints them. */
export function pushRefusal(reference: Reference, { status, url, errors, retryAfter }: Answer): RegistryError {
  const said = formatWireErrors(errors);
  const has = (code: string) => errors.some((error) => error.code === code);
  const hint = `sign in with an account that may push there: docker login ${reference.domain}`;
  if (status === 401 || has('UNAUTHORIZED'))
    return new RegistryError('unauthorized', said || 'unauthorized: authentication required', { status, hint });
  if (status === 403 || has('DENIED'))
    return new RegistryError('forbidden', said || 'denied: requested access to the resource is denied', {
      status,
      hint,
    });
  const kind = status === 404 ? 'not-found' : status >= 500 || status === 429 ? 'unavailable' : 'invalid';
  return new RegistryError(kind, said || `unexpected HTTP status from ${shown(url)}: ${status}`, {
    status,
    ...(status >= 500 || status === 429 || status === 408 ? waiting(retryAfter) : {}),
  });
}

/** Retry-After is a number of seconds or a date (RFC 9110, section 10.2.3). */
export function waiting(retryAfter: string | undefined): { temporary: true; retryAfter?: number } {
  if (retryAfter === undefined) return { temporary: true };
  const wait = /^\d+$/.test(retryAfter) ? Number(retryAfter) * 1000 : Date.parse(retryAfter) - Date.now();
  return wait > 0 ? { temporary: true, retryAfter: wait } : { temporary: true };
}

export function accessDenied(reference: Reference, status: number): RegistryError {
  return new RegistryError(
    'not-found',
    `pull access denied for ${familiarRepository(reference)}, repository does not exist or may require 'docker login': denied: requested access to the resource is denied`,
    { status, code: 'E_NOT_IN_REGISTRY' },
  );
}

export function unauthorized(base: URL, errors: readonly WireError[], status = 401): RegistryError {
  const said = errors.find(({ message }) => message !== '')?.message ?? 'incorrect username or password';
  return new RegistryError('unauthorized', `Get "${apiRoot(base)}": unauthorized: ${said}`, {
    status,
    hint: `sign in again: docker login ${base.host}`,
  });
}

export function canceled(cause?: unknown): RegistryError {
  return new RegistryError('canceled', 'context canceled', { cause });
}

/** A URL for a message: without user, password and query, where signed URLs carry their secrets (S29). */
export function shown(url: URL): string {
  return url.origin + url.pathname;
}

/** `https://host/v2/`: what Docker names when a registry can't be reached. */
export function apiRoot(url: URL): string {
  const at = url.pathname.indexOf('/v2/');
  return `${url.origin}${at < 0 ? '' : url.pathname.slice(0, at)}/v2/`;
}

function lastOf(url: URL): string {
  return url.pathname.slice(url.pathname.lastIndexOf('/') + 1);
}

const temporaryCodes = new Set(['ECONNRESET', 'EPIPE', 'ETIMEDOUT', 'EAI_AGAIN', 'HPE_INVALID_EOF_STATE']);
const unknownAuthority = new Set([
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'CERT_UNTRUSTED',
]);

/** TLS alerts that Go has other words for than OpenSSL. */
const alertWords: Readonly<Record<string, string>> = {
  CERTIFICATE_UNKNOWN: 'unknown certificate',
  CERTIFICATE_EXPIRED: 'expired certificate',
  CERTIFICATE_REVOKED: 'revoked certificate',
  UNKNOWN_CA: 'unknown certificate authority',
};

/** The way to the host failed, before it answered: Go's words, which are what users of Docker search for. */
export function transportError(url: URL, cause: unknown): RegistryError {
  if (cause instanceof RegistryError) return cause;
  const { what, hint, temporary } = reasonOf(url, cause);
  return new RegistryError('unavailable', `Get "${apiRoot(url)}": ${what}`, {
    cause,
    temporary,
    ...(hint ? { hint } : {}),
  });
}

/** The way to the proxy failed; the registry was not reached. */
export function proxyError(url: URL, proxy: URL, cause: unknown): RegistryError {
  if (cause instanceof RegistryError) return cause;
  const { what, temporary } = reasonOf(proxy, cause);
  return new RegistryError('unavailable', `Get "${apiRoot(url)}": proxyconnect tcp: ${what}`, {
    cause,
    temporary,
    hint: `check the proxy ${proxy.host}, or add ${url.hostname} to noProxy where no proxy is needed`,
  });
}

/** The proxy answered in place of the registry. */
export function proxyRefusal(url: URL, status: number): RegistryError {
  return new RegistryError(
    'unavailable',
    `Get "${apiRoot(url)}": ${STATUS_CODES[status] ?? `proxy status ${status}`}`,
    {
      temporary: status >= 500 || status === 429,
      hint:
        status === 407
          ? 'the proxy wants a user and a password: http://user:password@host:port'
          : `the proxy does not lead to ${url.host}: ask who runs it, or add ${url.hostname} to noProxy where no proxy is needed`,
    },
  );
}

interface Reason {
  readonly what: string;
  readonly hint: string | undefined;
  readonly temporary: boolean;
}

function reasonOf(url: URL, cause: unknown): Reason {
  const inner = cause instanceof AggregateError && cause.errors.length > 0 ? (cause.errors[0] as unknown) : cause;
  const code = codeOf(inner) ?? codeOf(cause) ?? '';
  const at = addressOf(inner) ?? `${url.host}${url.port ? '' : url.protocol === 'https:' ? ':443' : ':80'}`;
  const temporary = temporaryCodes.has(code);
  const error = (what: string, hint?: string): Reason => ({ what, hint, temporary });
  const tlsHint = `put the registry's CA certificate at <certificates folder>/${url.host}/ca.crt`;
  switch (code) {
    case 'ECONNREFUSED':
      return error(
        `dial tcp ${at}: connect: connection refused`,
        `check that the registry runs and listens on ${url.host}`,
      );
    case 'ENOTFOUND':
      return error(
        `dial tcp: lookup ${url.hostname}: no such host`,
        'check the name, and that this machine can resolve it',
      );
    case 'EAI_AGAIN':
      return error(
        `dial tcp: lookup ${url.hostname}: temporary failure in name resolution`,
        'check the DNS servers of this machine',
      );
    case 'EHOSTUNREACH':
      return error(`dial tcp ${at}: connect: no route to host`, 'check the network and firewalls on the way');
    case 'ENETUNREACH':
      return error(`dial tcp ${at}: connect: network is unreachable`, 'check the network of this machine');
    case 'ETIMEDOUT':
      return error(`dial tcp ${at}: i/o timeout`, 'check the network, proxies and firewalls on the way');
    case 'ECONNRESET':
    case 'EPIPE':
      return error(
        'read tcp: connection reset by peer',
        'the registry or something on the way closed the connection: try again',
      );
    case 'CERT_HAS_EXPIRED':
    case 'CERT_NOT_YET_VALID':
      return error(
        'tls: failed to verify certificate: x509: certificate has expired or is not yet valid',
        "renew the registry's certificate, and check the clock of this machine",
      );
    case 'ERR_TLS_CERT_ALTNAME_INVALID':
      return error(`tls: failed to verify certificate: x509: certificate is not valid for ${url.hostname}`);
    case 'ERR_SSL_WRONG_VERSION_NUMBER':
    case 'ERR_SSL_PACKET_LENGTH_TOO_LONG':
      return error(
        'http: server gave HTTP response to HTTPS client',
        `if this registry is meant to have no TLS, add ${url.host} to insecureRegistries in the engine's configuration`,
      );
  }
  if (code === 'EPROTO' && /wrong version number|packet length too long|http request/i.test(messageOf(inner)))
    return error(
      'http: server gave HTTP response to HTTPS client',
      `if this registry is meant to have no TLS, add ${url.host} to insecureRegistries in the engine's configuration`,
    );
  const [, alert] = /^ERR_SSL_.*_ALERT_(.+)$/.exec(code) ?? [];
  if (alert !== undefined) {
    const said = alertWords[alert] ?? alert.toLowerCase().replaceAll('_', ' ');
    return error(
      `remote error: tls: ${said}`,
      /CERT|UNKNOWN_CA/.test(alert)
        ? `the registry lets in whom it knows by certificate: put client.cert and client.key into <certificates folder>/${url.host}/`
        : undefined,
    );
  }
  if (unknownAuthority.has(code))
    return error('tls: failed to verify certificate: x509: certificate signed by unknown authority', tlsHint);
  return error(plain(code === '' ? messageOf(inner) : `${code}: ${messageOf(inner)}`));
}

/** What failed on the way to something else than a registry: named by its own address, not by the root of a registry. */
export function namingUrl<T>(error: T, url: URL): T {
  if (error instanceof RegistryError) error.message = error.message.replace(/^Get "[^"]*"/, `Get "${shown(url)}"`);
  return error;
}

function addressOf(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null) return undefined;
  if (!('address' in error) || !('port' in error)) return undefined;
  const { address, port } = error;
  if (typeof address !== 'string' || typeof port !== 'number') return undefined;
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}
