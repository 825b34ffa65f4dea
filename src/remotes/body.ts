import { Readable } from 'node:stream';
import { canceled, RegistryError, shown } from './errors.ts';
import type { Reply } from './transport.ts';

export interface BodyOptions {
  /** Milliseconds without a byte, while somebody wants one, that end the stream with an error. */
  readonly stall: number;
  /** Bytes that must come, no more and no less. */
  readonly expected?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** The bytes of an answer, ended with an error when they stall, are cut, or are not as many as they should be. */
export function bodyOf({ body, url }: Reply, { stall, expected, signal }: BodyOptions): Readable {
  let received = 0;
  let timer: NodeJS.Timeout | undefined;
  const broken = (why: string, cause?: unknown) =>
    new RegistryError('unavailable', `Get "${shown(url)}": ${why} after ${received} bytes`, { cause, temporary: true });
  const rest = () => {
    clearTimeout(timer);
    timer = undefined;
  };
  const stream = new Readable({
    highWaterMark: 512 * 1024,
    read() {
      timer ??= setTimeout(() => stream.destroy(broken(`no bytes came for ${stall / 1000} seconds`)), stall);
      body.resume();
    },
    destroy(error, done) {
      rest();
      if (!body.readableEnded) body.destroy();
      done(error);
    },
  });
  // It may break before anybody reads it: who reads then sees it, and until then it is nobody's failure.
  stream.on('error', () => {});
  const fail = (cause?: unknown) =>
    stream.destroy(signal?.aborted ? canceled(cause) : broken('the connection was cut', cause));
  body.on('data', (chunk: Buffer) => {
    timer?.refresh();
    received += chunk.length;
    if (expected !== undefined && received > expected) {
      stream.destroy(
        new RegistryError('corrupt', `Get "${shown(url)}": more than the expected ${expected} bytes came`),
      );
    } else if (!stream.push(chunk)) {
      // The reader is slow, not the registry: the clock stands still until it wants more.
      rest();
      body.pause();
    }
  });
  body.once('end', () => {
    rest();
    if (expected !== undefined && received < expected) fail();
    else stream.push(null);
  });
  body.once('error', fail);
  body.once('close', () => {
    if (!body.readableEnded && !stream.destroyed) fail();
  });
  return stream;
}

/** A whole answer of at most `limit` bytes; `corrupt` when it is larger. */
export async function readBody(reply: Reply, limit: number, options: BodyOptions): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of bodyOf(reply, options) as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > limit)
      throw new RegistryError('corrupt', `Get "${shown(reply.url)}": the answer is larger than ${limit} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
