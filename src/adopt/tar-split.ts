import { createReadStream, read } from 'node:fs';
import { promisify } from 'node:util';
import { createGunzip } from 'node:zlib';
import { codeOf, EngineError } from '../base/errors.ts';
import type { ForeignRoot, Opened } from './foreign-root.ts';
import type { ObservedLayer } from './observed.ts';

/** What a layer's tar is made of, in order: bytes as they were, and contents that are files of the layer's tree. */
type Piece = { readonly bytes: Buffer } | { readonly file: string; readonly size: number };

const longestLine = 64 * 1024 * 1024;
const chunkSize = 256 * 1024;
const readAsync = promisify(read);

/** The length of the layer's tar. */
export async function tarSize(root: ForeignRoot, layer: ObservedLayer): Promise<number> {
  let size = 0;
  for await (const piece of pieces(root, layer)) size += 'bytes' in piece ? piece.bytes.length : piece.size;
  return size;
}

/**
 * The tar that the layer was unpacked from, byte for byte. Docker keeps what stood between the contents of its files
 * (tar-split, a JSON object a line) beside the layer, and the contents in the layer's folder. Whether it is still the same is
 * for the reader to see, by its digest.
 */
export async function* tarBytes(root: ForeignRoot, layer: ObservedLayer): AsyncGenerator<Buffer, void, void> {
  using tree = root.open(layer.tree, { directory: true });
  let small: Buffer[] = [];
  let held = 0;
  for await (const piece of pieces(root, layer)) {
    if ('bytes' in piece) {
      if (piece.bytes.length === 0) continue;
      small.push(piece.bytes);
      held += piece.bytes.length;
      if (held < chunkSize) continue;
    }
    if (held > 0) yield Buffer.concat(small);
    small = [];
    held = 0;
    if ('file' in piece) yield* contentOf(root, tree, piece);
  }
  if (held > 0) yield Buffer.concat(small);
}

async function* contentOf(
  root: ForeignRoot,
  tree: Opened,
  { file, size }: { readonly file: string; readonly size: number },
): AsyncGenerator<Buffer, void, void> {
  const shown = JSON.stringify(file);
  let opened: Opened;
  try {
    opened = root.openIn(tree, file);
  } catch (cause) {
    throw new EngineError('corrupt', `the file ${shown} of a layer cannot be read: ${codeOf(cause) ?? cause}`, {
      cause,
    });
  }
  using _open = opened;
  if (!opened.stat.isFile()) throw new EngineError('corrupt', `${shown} of a layer is not the file that it was`);
  for (let at = 0; at < size; ) {
    const buffer = Buffer.allocUnsafe(Math.min(chunkSize, size - at));
    const { bytesRead } = await readAsync(opened.fd, buffer, 0, buffer.length, at);
    if (bytesRead === 0) throw new EngineError('corrupt', `the file ${shown} of a layer is shorter than it was`);
    at += bytesRead;
    yield buffer.subarray(0, bytesRead);
  }
}

async function* pieces(root: ForeignRoot, { tarSplit }: ObservedLayer): AsyncGenerator<Piece, void, void> {
  using packed = root.open(tarSplit);
  const source = createReadStream(packed.path);
  const unpacked = createGunzip();
  // pipe() hands on neither an error nor an end that comes too soon.
  source.on('error', (error) => unpacked.destroy(error));
  source.pipe(unpacked);
  // Put together only once its end is here: a long line would be copied for each of its chunks otherwise.
  let line: Buffer[] = [];
  let length = 0;
  try {
    for await (const chunk of unpacked as AsyncIterable<Buffer>) {
      let from = 0;
      for (let end = chunk.indexOf(10); end >= 0; end = chunk.indexOf(10, from)) {
        line.push(chunk.subarray(from, end));
        if (length + end - from > 0) yield pieceOf(Buffer.concat(line), tarSplit);
        line = [];
        length = 0;
        from = end + 1;
      }
      line.push(chunk.subarray(from));
      length += chunk.length - from;
      if (length > longestLine) throw damaged(tarSplit, 'a line is too long');
    }
    if (length > 0) yield pieceOf(Buffer.concat(line), tarSplit);
  } catch (cause) {
    if (cause instanceof EngineError) throw cause;
    throw damaged(tarSplit, cause instanceof Error ? cause.message : String(cause), cause);
  } finally {
    source.destroy();
    unpacked.destroy();
  }
}

function pieceOf(line: Buffer, what: string): Piece {
  let entry: unknown;
  try {
    entry = JSON.parse(line.toString('utf8'));
  } catch (cause) {
    throw damaged(what, 'a line is no JSON', cause);
  }
  if (typeof entry !== 'object' || entry === null) throw damaged(what, 'a line is no object');
  const { type, name, name_raw: raw, size = 0, payload } = entry as Readonly<Record<string, unknown>>;
  if (type === 2) {
    if (typeof payload !== 'string') throw damaged(what, 'a part has no bytes');
    return { bytes: Buffer.from(payload, 'base64') };
  }
  if (type !== 1 || typeof size !== 'number' || !Number.isSafeInteger(size) || size < 0)
    throw damaged(what, 'a line is of an unknown kind');
  if (size === 0) return { bytes: Buffer.alloc(0) };
  if (typeof raw === 'string' && raw !== '')
    throw new EngineError('unsupported', `a layer has a file whose name is no UTF-8: ${Buffer.from(raw, 'base64')}`, {
      hint: 'start Docker once more, docker save -o FILE IMAGE, and berth load -i FILE',
    });
  return { file: String(name ?? ''), size };
}

function damaged(what: string, why: string, cause?: unknown): EngineError {
  return new EngineError('corrupt', `${what} is damaged: ${why}`, { cause });
}
