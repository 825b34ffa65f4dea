import type { IncomingMessage } from 'node:http';
import { PassThrough, type Readable } from 'node:stream';
import { EngineError } from '../base/errors.ts';
import { parseJson } from '../protocol/decode.ts';
import type { ApiVersion } from '../protocol/version.ts';
import { HttpError } from './errors.ts';

/** JSON is read whole, so it is kept small; archives are streams and have no limit here. */
export const maxJsonBytes = 4 * 1024 * 1024;

export interface RequestParts {
  readonly message: IncomingMessage;
  readonly version: ApiVersion;
  readonly params: Readonly<Record<string, string>>;
  readonly queryText: string;
  readonly signal: () => AbortSignal;
}

/** A request as a handler sees it: routed, its version known, its body not read yet. */
export class ApiRequest {
  readonly message: IncomingMessage;
  readonly version: ApiVersion;
  readonly params: Readonly<Record<string, string>>;
  readonly queryText: string;
  readonly #signal: () => AbortSignal;
  #query: URLSearchParams | undefined;

  constructor({ message, version, params, queryText, signal }: RequestParts) {
    this.message = message;
    this.version = version;
    this.params = params;
    this.queryText = queryText;
    this.#signal = signal;
  }

  get query(): URLSearchParams {
    this.#query ??= new URLSearchParams(this.queryText);
    return this.#query;
  }

  /** Aborted when the client goes before it has its answer, and when the engine stops. */
  get signal(): AbortSignal {
    return this.#signal();
  }

  header(name: string): string | undefined {
    const value = this.message.headers[name];
    return Array.isArray(value) ? value[0] : value;
  }

  get hasBody(): boolean {
    const { headers } = this.message;
    return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0;
  }

  /**
   * The body as a stream of its own. Whoever reads it may tear it down: the connection stays, so that the client hears
   * why, and what else it sends is dropped.
   */
  upload(): Readable {
    const { message } = this;
    const upload = new PassThrough();
    message.pipe(upload);
    const cut = (cause?: unknown) => {
      if (message.complete) return;
      upload.destroy(new EngineError('canceled', 'the client went away before its upload was whole', { cause }));
    };
    message.once('error', cut);
    message.once('close', () => cut());
    upload.on('error', () => {});
    upload.once('close', () => {
      message.unpipe(upload);
      message.resume();
    });
    return upload;
  }

  /** The body, decoded; undefined when there is none. Throws in Docker's words. */
  async json(): Promise<unknown> {
    if (!this.hasBody) return undefined;
    this.checkJson();
    const chunks: Buffer[] = [];
    let size = 0;
    const announced = Number(this.message.headers['content-length'] ?? 0);
    if (announced > maxJsonBytes) throw tooLarge();
    try {
      // The connection stays, so that the client hears what was wrong.
      for await (const chunk of this.message.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
        size += chunk.length;
        if (size > maxJsonBytes) throw tooLarge();
        chunks.push(chunk);
      }
    } catch (error) {
      if (error instanceof HttpError) throw error;
      throw new EngineError('canceled', 'the client went away before its request was whole', { cause: error });
    }
    return size === 0 ? undefined : parseJson(Buffer.concat(chunks).toString());
  }

  checkJson(): void {
    const type = this.header('content-type') ?? '';
    if (type.split(';')[0]!.trim().toLowerCase() !== 'application/json')
      throw new EngineError('invalid', `unsupported Content-Type header (${type}): must be 'application/json'`);
    const encoding = this.header('content-encoding') ?? 'identity';
    if (encoding !== 'identity')
      throw new EngineError('invalid', `unsupported Content-Encoding header (${encoding}): send the JSON as it is`);
  }
}

export function tooLarge(): HttpError {
  return new HttpError(413, `request body is larger than ${maxJsonBytes / 1024 / 1024} MiB, the most that is taken`);
}
