import { spawn } from 'node:child_process';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip } from 'node:zlib';
import { codeOf, EngineError, messageOf } from '../base/errors.ts';
import { type Compression, compressionOf } from '../layers/decompress.ts';
import { decompressZstd } from '../layers/zstd-stream.ts';

/** What came compressed may grow by this factor, once it is past the first 100 MB (S06). */
const ratioLimit = 1000;
const ratioFrom = 100 * 1024 * 1024;

/**
 * The bytes of a stream with its compression, whichever it has, taken off. Throws `corrupt` when the compressed data ends
 * early or is damaged, `invalid` when it grows as no real archive does.
 */
export async function* decompressed(source: Readable, signal: AbortSignal): AsyncGenerator<Buffer, void, void> {
  // Not destroyed when we stop early: it is a request's body, and the answer goes over the same connection.
  const input = source.iterator({ destroyOnReturn: false }) as AsyncIterator<Buffer>;
  const first: Buffer[] = [];
  let head = Buffer.alloc(0);
  while (head.length < 6) {
    const { value, done } = await input.next();
    if (done) break;
    first.push(value);
    head = Buffer.concat([head, value]);
  }
  let taken = 0;
  const rest = async function* () {
    for (const chunk of first) yield chunk;
    taken += head.length;
    for (let next = await input.next(); !next.done; next = await input.next()) {
      taken += next.value.length;
      yield next.value;
    }
  };
  const compression = compressionOf(head);
  if (compression === 'none') return yield* rest();
  let given = 0;
  for await (const chunk of through(compression, rest(), signal)) {
    signal.throwIfAborted();
    given += chunk.length;
    if (given > ratioFrom && given > taken * ratioLimit)
      throw new EngineError(
        'invalid',
        `the archive grows to more than ${ratioLimit} times its compressed size; it is refused as a decompression bomb`,
      );
    yield chunk;
  }
}

async function* through(
  compression: Exclude<Compression, 'none'>,
  input: AsyncIterable<Buffer>,
  signal: AbortSignal,
): AsyncGenerator<Buffer, void, void> {
  if (compression === 'xz' || compression === 'bzip2') return yield* throughProgram(compression, input, signal);
  if (compression === 'zstd') {
    try {
      yield* decompressZstd(input);
    } catch (error) {
      throw damaged(compression, error);
    }
    return;
  }
  const unpack = createGunzip({ chunkSize: 256 * 1024 });
  const feeding = pipeline(Readable.from(input), unpack, { signal });
  // It rejects with the same error that the loop below throws.
  feeding.catch(() => {});
  try {
    yield* unpack as AsyncIterable<Buffer>;
    await feeding;
  } catch (error) {
    throw damaged(compression, error);
  }
}

/** xz and bzip2 are the host's own programs, by absolute path and with an empty environment (S02). */
async function* throughProgram(
  name: 'xz' | 'bzip2',
  input: AsyncIterable<Buffer>,
  signal: AbortSignal,
): AsyncGenerator<Buffer, void, void> {
  const path = `/usr/bin/${name}`;
  const program = spawn(path, ['-dc'], { env: {}, cwd: '/', stdio: ['pipe', 'pipe', 'pipe'], signal });
  let said = '';
  program.stderr.on('data', (chunk: Buffer) => {
    if (said.length < 1000) said += chunk.toString();
  });
  const ended = new Promise<number | null>((resolve, reject) => {
    program.once('error', reject);
    program.once('close', resolve);
  });
  ended.catch(() => {});
  const feeding = pipeline(Readable.from(input), program.stdin, { signal });
  feeding.catch(() => {});
  try {
    yield* program.stdout as AsyncIterable<Buffer>;
    const status = await ended;
    if (status !== 0) throw new Error(said.trim() || `${name} ended with status ${status}`);
    await feeding;
  } catch (error) {
    if (codeOf(error) === 'ENOENT')
      throw new EngineError('unsupported', `the archive is compressed by ${name} and ${path} is not installed`, {
        hint: `apt-get install ${name === 'xz' ? 'xz-utils' : 'bzip2'}`,
      });
    throw damaged(name, error);
  } finally {
    program.kill('SIGKILL');
    await ended.catch(() => {});
  }
}

function damaged(compression: Compression, error: unknown): unknown {
  if (error instanceof EngineError || (error instanceof Error && error.name === 'AbortError')) return error;
  const message = messageOf(error);
  const why = /unexpected end|truncated|end of file|ends unexpectedly/i.test(message) ? 'unexpected EOF' : message;
  return new EngineError('corrupt', `the archive's ${compression} data is damaged: ${why}`, { cause: error });
}
