import { spawn } from 'node:child_process';
import { createReadStream, existsSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { PassThrough, type Readable } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { codeOf, EngineError, messageOf } from '../base/errors.ts';
import { readZstd, zstdWindowLog } from './zstd-frames.ts';

export type Compression = 'none' | 'gzip' | 'zstd' | 'xz' | 'bzip2';

const magics: readonly (readonly [Compression, readonly number[]])[] = [
  ['gzip', [0x1f, 0x8b]],
  ['zstd', [0x28, 0xb5, 0x2f, 0xfd]],
  ['xz', [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00]],
  ['bzip2', [0x42, 0x5a, 0x68]],
];

/** What the first bytes say, whatever a media type claims. */
export function compressionOf(start: Uint8Array): Compression {
  for (const [compression, magic] of magics) {
    if (magic.every((byte, i) => start[i] === byte)) return compression;
  }
  // zstd may begin with a skippable frame, 0x184D2A50 to 5F.
  const skippable = (start[0]! & 0xf0) === 0x50 && start[1] === 0x2a && start[2] === 0x4d && start[3] === 0x18;
  return skippable ? 'zstd' : 'none';
}

const pieceSize = 512 * 1024;
/** By absolute path and with an empty environment: nothing that an image brings is ever looked up (S02). */
const helpers = {
  xz: ['/usr/bin/xz', ['--decompress', '--stdout', '--memlimit-decompress=256MiB']],
  bzip2: ['/usr/bin/bzip2', ['--decompress', '--stdout']],
} as const;

/**
 * The uncompressed content of a file, in large pieces. `onRead` gets the number of compressed bytes as they are read.
 * Throws `invalid` when they are damaged or end early.
 */
export async function* readDecompressed(path: string, onRead: (bytes: number) => void): AsyncGenerator<Buffer> {
  const compression = compressionOf(await startOf(path));
  if (compression === 'zstd') {
    try {
      yield* readZstd(path, onRead);
    } catch (error) {
      throw explain(error, compression);
    }
    return;
  }
  const file = createReadStream(path, { highWaterMark: pieceSize });
  file.on('data', (piece) => onRead(piece.length));
  const stream = compression === 'none' ? file : decompressor(compression, file);
  try {
    for await (const piece of stream) yield piece as Buffer;
  } catch (error) {
    throw explain(error, compression);
  } finally {
    file.destroy();
    stream.destroy();
  }
}

async function startOf(path: string): Promise<Buffer> {
  await using file = await open(path, 'r');
  const { buffer, bytesRead } = await file.read(Buffer.alloc(6), 0, 6, 0);
  return buffer.subarray(0, bytesRead);
}

function decompressor(compression: Exclude<Compression, 'none' | 'zstd'>, input: Readable): Readable {
  if (compression === 'xz' || compression === 'bzip2') return throughHelper(compression, input);
  const stream = createGunzip({ chunkSize: pieceSize });
  input.on('error', (error) => stream.destroy(error));
  return input.pipe(stream);
}

function throughHelper(compression: 'xz' | 'bzip2', input: Readable): Readable {
  const [program, args] = helpers[compression];
  if (!existsSync(program)) {
    throw new EngineError('unsupported', `the archive is compressed with ${compression}, and there is no ${program}`, {
      hint: `install ${compression === 'xz' ? 'xz-utils' : 'bzip2'}`,
    });
  }
  const child = spawn(program, args, { env: {}, cwd: '/', stdio: ['pipe', 'pipe', 'pipe'] });
  const output = new PassThrough();
  let said = '';
  child.stderr.on('data', (text: Buffer) => {
    said = (said + text.toString()).slice(0, 500);
  });
  child.on('error', (error) => output.destroy(error));
  child.on('close', (code) => {
    if (code === 0) output.end();
    else output.destroy(new EngineError('invalid', `the ${compression} archive is damaged: ${said.trim()}`));
  });
  child.stdout.pipe(output, { end: false });
  output.on('close', () => child.kill('SIGKILL'));
  // The helper may end before it has read everything.
  child.stdin.on('error', () => {});
  input.on('error', (error) => output.destroy(error));
  input.pipe(child.stdin);
  return output;
}

function explain(error: unknown, compression: Compression): unknown {
  const code = codeOf(error) ?? '';
  if (code === 'Z_BUF_ERROR' || code === 'ZSTD_error_srcSize_wrong') {
    return new EngineError('invalid', `unexpected end of archive: the ${compression} data is cut off`, {
      cause: error,
    });
  }
  if (code === 'ZSTD_error_frameParameter_windowTooLarge') {
    return new EngineError('invalid', `the zstd data asks for a window of more than ${2 ** zstdWindowLog} bytes`, {
      cause: error,
    });
  }
  if (code.startsWith('Z_') || code.startsWith('ZSTD_') || code.startsWith('ERR_ZSTD')) {
    return new EngineError('invalid', `the ${compression} data is damaged: ${messageOf(error)}`, { cause: error });
  }
  return error;
}
