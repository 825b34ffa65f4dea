import { Readable } from 'node:stream';
import { constants, createZstdDecompress, zstdDecompressSync } from 'node:zlib';
import { codeOf } from '../base/errors.ts';
import { blockOf, cutOff, frameHeader, smallFrame, smallOutput, zstdWindowLog } from './zstd-frames.ts';

const params = { [constants.ZSTD_d_windowLogMax]: zstdWindowLog };
const outputPiece = 512 * 1024;

/**
 * The content of a stream of zstd frames, for what cannot be read twice. Node's decompressor stops behind the first frame
 * without a word, and parallel compressors write many. Throws `invalid` when the data ends inside a frame.
 */
export async function* decompressZstd(source: AsyncIterable<Buffer>): AsyncGenerator<Buffer, void, void> {
  const input = new Input(source);
  while (await input.has(1)) {
    const frame = nextFrame(input);
    // Small frames whole, in one call: some writers make one for each file.
    const begun: Buffer[] = [];
    let length = 0;
    let whole = false;
    while (!whole && length <= smallFrame) {
      const { value, done } = await frame.next();
      if (done) whole = true;
      else {
        begun.push(value);
        length += value.length;
      }
    }
    // Of one that is skipped nothing comes.
    if (length === 0) continue;
    const content = whole ? decompressWhole(Buffer.concat(begun, length)) : undefined;
    if (content) yield content;
    else yield* decompressFrame(begun, frame);
  }
}

function decompressWhole(frame: Buffer): Buffer | undefined {
  try {
    return zstdDecompressSync(frame, { params, maxOutputLength: smallOutput });
  } catch (error) {
    if (codeOf(error) === 'ERR_BUFFER_TOO_LARGE') return undefined;
    throw error;
  }
}

async function* decompressFrame(begun: readonly Buffer[], rest: AsyncIterable<Buffer>) {
  const frame = async function* () {
    yield* begun;
    yield* rest;
  };
  const input = Readable.from(frame());
  const output = createZstdDecompress({ chunkSize: outputPiece, params });
  input.on('error', (error) => output.destroy(error));
  try {
    for await (const piece of input.pipe(output)) yield piece as Buffer;
  } finally {
    input.destroy();
    output.destroy();
  }
}

/** The bytes of the frame that comes next, of whatever lengths; of a skippable one, none. */
async function* nextFrame(input: Input): AsyncGenerator<Buffer, void, void> {
  await input.need(8);
  const header = frameHeader(input.chunk);
  if (header.skip) {
    for (let left = header.length; left > 0; ) left -= (await input.take(left)).length;
    return;
  }
  // How far behind the chunk's first byte the next block begins.
  let at = header.length;
  for (let last = false; !last; ) {
    while (at > 0 && at + 3 > input.chunk.length) {
      const piece = await input.take(at);
      at -= piece.length;
      yield piece;
    }
    await input.need(at + 3);
    const block = blockOf(input.chunk, at);
    last = block.last;
    at += 3 + block.length + (last && header.checksum ? 4 : 0);
  }
  while (at > 0) {
    const piece = await input.take(at);
    at -= piece.length;
    yield piece;
  }
}

/** A stream that can be looked at before it is taken. */
class Input {
  readonly #source: AsyncIterator<Buffer>;
  /** What came and is not taken yet. */
  chunk: Buffer = Buffer.alloc(0);

  constructor(source: AsyncIterable<Buffer>) {
    this.#source = source[Symbol.asyncIterator]();
  }

  async has(length: number): Promise<boolean> {
    while (this.chunk.length < length) {
      const { value, done } = await this.#source.next();
      if (done) return false;
      this.chunk = this.chunk.length === 0 ? value : Buffer.concat([this.chunk, value]);
    }
    return true;
  }

  async need(length: number): Promise<void> {
    if (!(await this.has(length))) throw cutOff();
  }

  /** At least one byte, at most so many. */
  async take(most: number): Promise<Buffer> {
    await this.need(1);
    const taken = this.chunk.subarray(0, most);
    this.chunk = this.chunk.subarray(taken.length);
    return taken;
  }
}
