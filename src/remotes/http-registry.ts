import { lookup as systemLookup } from 'node:dns';
import type { LookupFunction } from 'node:net';
import type { Readable } from 'node:stream';
import { EngineError, messageOf } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import { type Digest, Digester, DigestMismatch, digestOf, isDigest } from '../oci/digest.ts';
import { type Descriptor, isIndexType, isManifestType, mediaTypes } from '../oci/manifest.ts';
import { familiarName, type Reference, withDefaultTag } from '../oci/reference.ts';
import { imageLimits, readIndex, readManifest, refuseSchema1, sniffMediaType } from '../oci/validate.ts';
import { bodyOf, readBody } from './body.ts';
import { HostCertificates } from './certificates.ts';
import { download } from './download.ts';
import { type Answer, canceled, pushRefusal, RegistryError, readWireErrors, refusal } from './errors.ts';
import { type Endpoint, Hosts } from './hosts.ts';
import { login } from './login.ts';
import { noProxies, Proxies } from './proxies.ts';
import { type PushDeps, pushBlob } from './push-blob.ts';
import { pushManifest } from './push-manifest.ts';
import type {
  BlobArrival,
  Credentials,
  Download,
  Fetched,
  PushedBlob,
  PushOptions,
  Registry,
  RegistryConfig,
  RegistryOptions,
  SearchResult,
} from './registry.ts';
import { withRetries } from './retry.ts';
import { search } from './search.ts';
import { type Ask, Refused, Sessions, scrubbed } from './session.ts';
import { listTags } from './tags.ts';
import { Tokens } from './tokens.ts';
import { discard, type Reply, type Timing, Transport } from './transport.ts';

export interface HttpRegistryDeps {
  readonly config: RegistryConfig;
  readonly log: Log;
  /** Sent as User-Agent. */
  readonly userAgent?: string;
  readonly timing?: Partial<Timing>;
  /** How names become addresses; the system's way when not given. */
  readonly lookup?: LookupFunction;
}

const usual: Timing = { connect: 15_000, stall: 30_000, backoff: 500, longestWait: 30_000, attempts: 5 };
const accepted = [mediaTypes.ociIndex, mediaTypes.dockerIndex, mediaTypes.ociManifest, mediaTypes.dockerManifest];

/** Registries over HTTP. Mirrors first, then the registry itself; each answer verified before it is handed on. */
export class HttpRegistry implements Registry, Disposable {
  #config: RegistryConfig;
  readonly #hosts: Hosts;
  readonly #transport: Transport;
  readonly #tokens: Tokens;
  readonly #sessions: Sessions;
  readonly #timing: Timing;
  readonly #log: Log;

  constructor({ config, log, userAgent = 'berth', timing, lookup = systemLookup }: HttpRegistryDeps) {
    this.#log = log;
    this.#timing = { ...usual, ...timing };
    const hosts = new Hosts({ config, lookup });
    const certificates = new HostCertificates(config.certificates);
    const proxies = new Proxies(config.proxies ?? noProxies);
    const transport = new Transport({ hosts, certificates, proxies, lookup, timing: this.#timing, userAgent });
    const tokens = new Tokens({ transport, hosts, timing: this.#timing });
    this.#config = config;
    this.#hosts = hosts;
    this.#transport = transport;
    this.#tokens = tokens;
    this.#sessions = new Sessions({ transport, tokens, hosts, timing: this.#timing });
  }

  /** Other mirrors and other insecure registries from now on. Throws `invalid`, and nothing has changed then. */
  configure(config: Pick<RegistryConfig, 'insecure' | 'mirrors'>): void {
    const next = { ...this.#config, ...config };
    this.#hosts.configure(next);
    this.#config = next;
  }

  async resolve(reference: Reference, options: RegistryOptions): Promise<Fetched> {
    const wanted = withDefaultTag(reference);
    return await this.#manifest(wanted, undefined, options);
  }

  async fetchManifest(reference: Reference, descriptor: Descriptor, options: RegistryOptions): Promise<Fetched> {
    if (descriptor.size > imageLimits.manifestBytes)
      throw new RegistryError(
        'corrupt',
        `manifest ${descriptor.digest} of ${familiarName(reference)}: ${descriptor.size} bytes are more than a manifest may have`,
      );
    return await this.#manifest(reference, descriptor, options);
  }

  async openBlob(
    reference: Reference,
    descriptor: Descriptor,
    offset: number,
    options: RegistryOptions,
  ): Promise<{ stream: Readable; from: number }> {
    const path = `v2/${reference.path}/blobs/${descriptor.digest}`;
    return await this.#each(reference, options, async (ask) => {
      const headers = { accept: '*/*', 'accept-encoding': 'identity' };
      const ranged = offset > 0 ? { ...headers, range: `bytes=${offset}-` } : headers;
      let reply = await ask({ path, headers: ranged });
      if (reply.status === 416) {
        discard(reply);
        reply = await ask({ path, headers });
      }
      if (reply.status !== 200 && reply.status !== 206)
        throw await this.#refusal(reply, options, (answer) => refusal(reference, answer));
      const from = reply.status === 206 ? offset : 0;
      const wrong = wrongPart(reply, from, descriptor.size);
      if (wrong) {
        discard(reply);
        throw new RegistryError('corrupt', `blob ${descriptor.digest} of ${familiarName(reference)}: ${wrong}`);
      }
      const expected = descriptor.size - from;
      return { stream: bodyOf(reply, { stall: this.#timing.stall, expected, signal: options.signal }), from };
    });
  }

  async tags(reference: Reference, options: RegistryOptions): Promise<readonly string[]> {
    return await this.#each(reference, options, (ask) =>
      listTags(reference, {
        ask,
        read: (reply) => this.#read(reply, options),
        refusal: (reply) => this.#refusal(reply, options, (answer) => refusal(reference, answer)),
      }),
    );
  }

  async pushBlob(reference: Reference, blob: PushedBlob, options: PushOptions): Promise<BlobArrival> {
    return await this.#pushing(reference, options, (deps) => pushBlob(reference, blob, options, deps));
  }

  async pushManifest(reference: Reference, manifest: Fetched, options: RegistryOptions): Promise<void> {
    await this.#pushing(reference, options, (deps) =>
      withRetries(this.#timing, options.signal, () => pushManifest(reference, manifest, deps)),
    );
  }

  async search(
    term: string,
    limit: number,
    { credentials, signal }: RegistryOptions,
  ): Promise<readonly SearchResult[]> {
    const deps = { hosts: this.#hosts, transport: this.#transport, timing: this.#timing };
    try {
      return await search(deps, { term, limit, credentials, signal });
    } catch (error) {
      throw scrubbed(error, credentials);
    }
  }

  async download(url: URL, { signal }: Pick<RegistryOptions, 'signal'>): Promise<Download> {
    return await download({ hosts: this.#hosts, transport: this.#transport, timing: this.#timing }, url, signal);
  }

  async login(serverAddress: string, credentials: Credentials): Promise<{ identityToken: string }> {
    const deps = { hosts: this.#hosts, transport: this.#transport, tokens: this.#tokens, timing: this.#timing };
    try {
      return await login(deps, serverAddress, credentials);
    } catch (error) {
      throw scrubbed(error, credentials);
    }
  }

  /** Closes the connections that are kept for the next request. */
  [Symbol.dispose](): void {
    this.#transport[Symbol.dispose]();
  }

  async #manifest(
    reference: Reference,
    descriptor: Descriptor | undefined,
    options: RegistryOptions,
  ): Promise<Fetched> {
    const path = `v2/${reference.path}/manifests/${descriptor?.digest ?? reference.digest ?? reference.tag}`;
    return await this.#each(reference, options, async (ask) => {
      const reply = await ask({ path, headers: { accept: accepted.join(', ') } });
      if (reply.status !== 200) throw await this.#refusal(reply, options, (answer) => refusal(reference, answer));
      const bytes = await this.#read(reply, options);
      return verified(reference, descriptor, reply, bytes);
    });
  }

  /** One endpoint after the other, until one does it. The last one, the registry itself, has the last word. */
  async #each<T>(
    reference: Reference,
    { credentials, signal, direct = false }: RegistryOptions,
    run: (ask: (ask: Ask) => Promise<Reply>) => Promise<T>,
  ): Promise<T> {
    const all = await this.#hosts.endpointsOf(reference.domain);
    const endpoints = direct ? all.slice(-1) : all;
    for (const endpoint of endpoints) {
      try {
        return await withRetries(this.#timing, signal, () =>
          run((ask) =>
            this.#ask(
              endpoint,
              { scope: `repository:${reference.path}:pull`, ...ask },
              { credentials, signal },
              (answer) => refusal(reference, answer),
            ),
          ),
        );
      } catch (error) {
        const last = endpoint === endpoints.at(-1);
        if (last || signal?.aborted || (error instanceof EngineError && error.kind === 'canceled'))
          throw scrubbed(error, credentials);
        this.#log.info('a mirror could not be used, trying the next', {
          mirror: endpoint.bases[0]!.host,
          image: familiarName(reference),
          error: scrubbed(error, credentials),
        });
      }
    }
    throw new RegistryError('internal', `no endpoint for ${reference.domain}`);
  }

  /** What is pushed goes to the registry itself, never to a mirror of it. */
  async #pushing<T>(reference: Reference, options: RegistryOptions, run: (deps: PushDeps) => Promise<T>): Promise<T> {
    const endpoint = await this.#hosts.originOf(reference.domain);
    const own = `repository:${reference.path}:pull,push`;
    const refused = (answer: Answer) => pushRefusal(reference, answer);
    try {
      return await run({
        ask: (ask, from) =>
          this.#ask(
            endpoint,
            { ...ask, scope: from === undefined ? own : `${own} repository:${from}:pull` },
            options,
            refused,
          ),
        refusal: (reply) => this.#refusal(reply, options, refused),
        timing: this.#timing,
      });
    } catch (error) {
      throw scrubbed(error, options.credentials);
    }
  }

  async #ask(
    endpoint: Endpoint,
    ask: Ask,
    { credentials, signal }: RegistryOptions,
    refused: (answer: Answer) => RegistryError,
  ): Promise<Reply> {
    if (signal?.aborted) throw canceled(signal.reason);
    try {
      return await this.#sessions.get(endpoint, {
        ...ask,
        credentials: endpoint.mirror ? undefined : credentials,
        signal,
      });
    } catch (error) {
      if (error instanceof Refused) throw refused({ ...error.reply, errors: error.errors });
      throw error;
    }
  }

  #read(reply: Reply, { signal }: RegistryOptions): Promise<Buffer> {
    return readBody(reply, imageLimits.manifestBytes, { stall: this.#timing.stall, signal });
  }

  async #refusal(
    reply: Reply,
    options: RegistryOptions,
    refused: (answer: Answer) => RegistryError,
  ): Promise<RegistryError> {
    const body = await this.#read(reply, options).catch(() => Buffer.alloc(0));
    const retryAfter = reply.headers['retry-after'];
    return refused({ status: reply.status, url: reply.url, errors: readWireErrors(body), retryAfter });
  }
}

/** What is wrong with the answer as the part of a blob that begins at `from`; undefined when it may be that. */
function wrongPart({ status, headers }: Reply, from: number, size: number): string | undefined {
  if (headers['content-encoding'] && headers['content-encoding'] !== 'identity')
    return `it came with the content encoding ${headers['content-encoding']}, which was not asked for`;
  if (status === 206) {
    const range = /^bytes (\d+)-(\d+)\/(\d+|\*)$/.exec(headers['content-range'] ?? '');
    if (!range || Number(range[1]) !== from) return `asked for the bytes from ${from} on, got others`;
    if (range[3] !== '*' && Number(range[3]) !== size)
      return `it has ${range[3]} bytes at the registry, expected ${size}`;
    if (Number(range[2]) !== size - 1) return `asked for the bytes to the end, got fewer`;
    return undefined;
  }
  const length = headers['content-length'];
  if (length !== undefined && Number(length) !== size)
    return `it has ${length} bytes at the registry, expected ${size}`;
  return undefined;
}

/** The manifest that was asked for, and nothing else (S34): digest, size, media type, and the body's own word for it. */
function verified(reference: Reference, wanted: Descriptor | undefined, reply: Reply, bytes: Buffer): Fetched {
  const name = `manifest for ${familiarName(reference)}`;
  const expected = wanted?.digest ?? reference.digest ?? announced(reply);
  const digest: Digest = expected ? new Digester(expected).update(bytes).digest() : digestOf(bytes);
  if (expected && digest !== expected) throw new DigestMismatch(name, expected, digest);
  if (wanted && bytes.length !== wanted.size)
    throw new RegistryError('corrupt', `${name}: expected ${wanted.size} bytes, got ${bytes.length}`);
  const mediaType = mediaTypeOf(reply, bytes);
  const refused = refuseSchema1(mediaType, name);
  if (refused) throw refused;
  if (wanted?.mediaType && wanted.mediaType !== mediaType)
    throw new RegistryError('corrupt', `${name}: expected media type ${wanted.mediaType}, got ${mediaType}`);
  try {
    if (isIndexType(mediaType)) readIndex(bytes, mediaType);
    else if (isManifestType(mediaType)) readManifest(bytes, mediaType);
    else throw new RegistryError('unsupported', `${name}: media type ${mediaType} is not that of an image`);
  } catch (cause) {
    if (cause instanceof EngineError && cause.kind === 'unsupported') throw cause;
    throw new RegistryError('corrupt', `${name}: ${messageOf(cause)}`, { cause });
  }
  return { descriptor: { mediaType, digest, size: bytes.length }, bytes };
}

function announced({ headers }: Reply): Digest | undefined {
  const digest = headers['docker-content-digest'];
  return typeof digest === 'string' && isDigest(digest) ? digest : undefined;
}

/** The Content-Type; where a plain file server gives a general one, what the body says. */
function mediaTypeOf({ headers }: Reply, bytes: Buffer): string {
  const type = (headers['content-type'] ?? '').split(';')[0]!.trim().toLowerCase();
  const general = ['', 'application/json', 'application/octet-stream', 'text/plain'];
  return general.includes(type) ? sniffMediaType(bytes) : type;
}
