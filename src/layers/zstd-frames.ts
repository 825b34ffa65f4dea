import { closeSync, createReadStream, fstatSync, openSync, readSync } from 'node:fs';
import { constants, createZstdDecompress, zstdDecompressSync } from 'node:zlib';
import { codeOf, EngineError } from '../base/errors.ts';

/** 2^27 = 128 MiB, what zstd itself takes without being asked. An attacker may announce 2 GiB. */
export const zstdWindowLog = 27;
const params = { [constants.ZSTD_d_windowLogMax]: zstdWindowLog };
const pieceSize = 512 * 1024;
/** Frames up to this size are decompressed in one call: some writers make one for each file. */
export const smallFrame = 256 * 1024;
export const smallOutput = 16 * 1024 * 1024;

/**
 * The content of a file of zstd frames (RFC 8878). Node's decompressor stops behind the first frame without a word, and
 * layers have many: frames are found here by their block headers, skippable ones passed over.
 */
export async function* readZstd(path: string, onRead: (bytes: number) => void): AsyncGenerator<Buffer> {
  const fd = openSync(path, 'r');
  try {
    const { size } = fstatSync(fd);
    for (let at = 0; at < size; ) {
      const { length, skip } = frameAt(fd, at, size);
      if (skip) onRead(length);
      else yield* readFrame(fd, { path, at, length, onRead });
      at += length;
    }
  } finally {
    closeSync(fd);
  }
}

interface Frame {
  readonly path: string;
  readonly at: number;
  readonly length: number;
  readonly onRead: (bytes: number) => void;
}

async function* readFrame(fd: number, { path, at, length, onRead }: Frame): AsyncGenerator<Buffer> {
  if (length <= smallFrame) {
    try {
      const content = zstdDecompressSync(readAt(fd, at, length), { params, maxOutputLength: smallOutput });
      onRead(length);
      yield content;
      return;
    } catch (error) {
      if (codeOf(error) !== 'ERR_BUFFER_TOO_LARGE') throw error;
    }
  }
  const input = createReadStream(path, { start: at, end: at + length - 1, highWaterMark: pieceSize });
  const output = createZstdDecompress({ chunkSize: pieceSize, params });
  input.on('data', (piece) => onRead(piece.length));
  input.on('error', (error) => output.destroy(error));
  try {
    for await (const piece of input.pipe(output)) yield piece as Buffer;
  } finally {
    input.destroy();
    output.destroy();
  }
}

/** RFC 8878, 3.1: how long the frame at `at` is, and whether it is one to skip. */
function frameAt(fd: number, at: number, size: number): { readonly length: number; readonly skip: boolean } {
  const { length, skip, checksum } = frameHeader(readAt(fd, at, 8));
  let next = at + length;
  for (let last = skip; !last; ) {
    const block = blockOf(readAt(fd, next, 3), 0);
    last = block.last;
    next += 3 + block.length;
  }
  if (checksum) next += 4;
  if (next > size) throw cutOff();
  return { length: next - at, skip };
}

/** RFC 8878, 3.1.1: what a frame's first eight bytes say. Its header's length; of one to skip, that of all of it. */
export function frameHeader(head: Buffer): {
  readonly length: number;
  readonly skip: boolean;
  readonly checksum: boolean;
} {
  const magic = head.readUInt32LE(0);
  if ((magic & 0xfffffff0) >>> 0 === 0x184d2a50)
    return { length: 8 + head.readUInt32LE(4), skip: true, checksum: false };
  if (magic !== 0xfd2fb528) throw damaged('there is something else where a frame should begin');
  const descriptor = head[4]!;
  const single = (descriptor & 0x20) !== 0;
  const dictionary = [0, 1, 2, 4][descriptor & 3]!;
  const contentSize = [single ? 1 : 0, 2, 4, 8][descriptor >> 6]!;
  return {
    length: 5 + (single ? 0 : 1) + dictionary + contentSize,
    skip: false,
    checksum: (descriptor & 4) !== 0,
  };
}

/** RFC 8878, 3.1.1.2: how many bytes follow a block's header, and whether another block does. */
export function blockOf(bytes: Buffer, at: number): { readonly length: number; readonly last: boolean } {
  const block = bytes.readUIntLE(at, 3);
  const type = (block >> 1) & 3;
  if (type === 3) throw damaged('there is something else where a block should begin');
  return { length: type === 1 ? 1 : block >> 3, last: (block & 1) === 1 };
}

function readAt(fd: number, at: number, length: number): Buffer {
  const bytes = Buffer.allocUnsafe(length);
  for (let got = 0; got < length; ) {
    const more = readSync(fd, bytes, got, length - got, at + got);
    if (more === 0) throw cutOff();
    got += more;
  }
  return bytes;
}

export function cutOff(): EngineError {
  return new EngineError('invalid', 'unexpected end of archive: the zstd data is cut off');
}

function damaged(reason: string): EngineError {
  return new EngineError('invalid', `the zstd data is damaged: ${reason}`);
}
