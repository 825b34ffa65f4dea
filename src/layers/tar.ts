import { checkSparse, type Overrides, readPax, readSparseLines, sparsePartsLimit } from './pax.ts';
import { invalidTar, nameText, type SparsePart, type TarEntry } from './tar-entry.ts';
import {
  block,
  checksumFits,
  headerName,
  idAt,
  isZero,
  numberAt,
  paddingOf,
  readOldParts,
  sizeOf,
  stringAt,
  timeAt,
  typeOf,
  untilNul,
} from './tar-header.ts';

export type { TarEntry };

export interface TarHandler {
  entry(entry: TarEntry): void;
  /** The data of the last entry, in pieces. Left out, it is skipped. */
  data?(piece: Buffer): void;
  /** After the last byte of an entry's data. */
  end?(): void;
}

/** Of one PAX header or GNU long name. The kernel takes no longer path than 4096, no attribute above 64 KiB. */
const metaLimit = 1024 * 1024;

type State = 'header' | 'meta' | 'old-sparse' | 'pax-sparse' | 'data' | 'padding' | 'ended';

/**
 * Reads a tar stream as it comes: POSIX ustar, PAX (extended attributes and sparse files too), GNU long names, base-256
 * numbers and old GNU sparse files, V7. Bytes are pushed in pieces of any size; nothing is copied but headers that lie
 * across two pieces. Throws `invalid` naming the entry and the reason.
 */
export class TarReader {
  readonly #handler: TarHandler;
  /** Of the next byte that `push` will see. */
  #position = 0;
  #state: State = 'header';
  #remaining = 0;
  #padding = 0;
  readonly #carry = Buffer.allocUnsafe(block);
  #carried = 0;
  #zeroBlocks = 0;

  #metaType = '';
  #meta: Buffer = Buffer.alloc(0);
  #metaFilled = 0;
  #overrides: Overrides = {};

  /** The header of a sparse entry whose map is still being read. */
  #pending: { header: Buffer; parts: SparsePart[]; realSize: number; stored: number } | undefined;
  #sparseText = '';

  constructor(handler: TarHandler) {
    this.#handler = handler;
  }

  push(piece: Buffer): void {
    let at = 0;
    while (at < piece.length) at += this.#take(piece, at);
  }

  /** The stream has ended. Throws unless it ended between two entries. */
  finish(): void {
    // What is missing may be the end marker and the padding behind the last file: other readers accept that too.
    const between = this.#state === 'header' && this.#carried === 0 && Object.keys(this.#overrides).length === 0;
    if (this.#state === 'ended' || this.#state === 'padding' || between) return;
    throw invalidTar('unexpected end of archive');
  }

  #take(piece: Buffer, at: number): number {
    const available = piece.length - at;
    switch (this.#state) {
      case 'ended':
        this.#position += available;
        return available;
      case 'data': {
        const length = Math.min(available, this.#remaining);
        this.#handler.data?.(piece.subarray(at, at + length));
        this.#advance(length);
        if (this.#remaining === 0) this.#endData();
        return length;
      }
      case 'padding': {
        const length = Math.min(available, this.#remaining);
        this.#advance(length);
        if (this.#remaining === 0) this.#state = 'header';
        return length;
      }
      case 'meta': {
        const length = Math.min(available, this.#remaining);
        piece.copy(this.#meta, this.#metaFilled, at, at + length);
        this.#metaFilled += length;
        this.#advance(length);
        if (this.#remaining === 0) this.#endMeta();
        return length;
      }
      default:
        return this.#takeBlock(piece, at, available);
    }
  }

  #advance(length: number): void {
    this.#remaining -= length;
    this.#position += length;
  }

  /** Collects one 512-byte block and hands it on. */
  #takeBlock(piece: Buffer, at: number, available: number): number {
    let whole: Buffer;
    let length: number;
    if (this.#carried === 0 && available >= block) {
      whole = piece.subarray(at, at + block);
      length = block;
    } else {
      length = Math.min(available, block - this.#carried);
      piece.copy(this.#carry, this.#carried, at, at + length);
      this.#carried += length;
      if (this.#carried < block) {
        this.#position += length;
        return length;
      }
      whole = this.#carry;
      this.#carried = 0;
    }
    this.#position += length;
    if (this.#state === 'header') this.#header(whole);
    else if (this.#state === 'old-sparse') this.#oldSparse(whole);
    else this.#paxSparse(whole);
    return length;
  }

  #header(header: Buffer): void {
    if (isZero(header)) {
      this.#zeroBlocks++;
      if (this.#zeroBlocks === 2) this.#state = 'ended';
      return;
    }
    if (this.#zeroBlocks > 0) throw invalidTar(`a header follows a block of zeros at byte ${this.#position - 1024}`);
    if (!checksumFits(header)) throw invalidTar(`the header at byte ${this.#position - block} has a wrong checksum`);
    const type = String.fromCharCode(header[156]!);
    if (type === 'x' || type === 'g' || type === 'L' || type === 'K') return this.#beginMeta(type, header);
    if (type === 'S') return this.#beginOldSparse(header);
    const { sparseVersion } = this.#overrides;
    if (sparseVersion === '1.0') {
      const stored = this.#overrides.size ?? sizeOf(header);
      this.#pending = { header: Buffer.from(header), parts: [], realSize: this.#overrides.sparseSize ?? 0, stored };
      this.#sparseText = '';
      this.#state = 'pax-sparse';
      return;
    }
    if (this.#overrides.sparseMap) {
      const stored = this.#overrides.size ?? sizeOf(header);
      return this.#emit(header, stored, {
        parts: this.#overrides.sparseMap,
        size: this.#overrides.sparseSize ?? 0,
      });
    }
    this.#emit(header, this.#overrides.size ?? sizeOf(header), undefined);
  }

  #beginMeta(type: string, header: Buffer): void {
    const size = sizeOf(header);
    if (size > metaLimit) {
      throw invalidTar(
        `the extended header at byte ${this.#position - block} has ${size} bytes, more than ${metaLimit}`,
      );
    }
    this.#metaType = type;
    this.#meta = Buffer.allocUnsafe(size);
    this.#metaFilled = 0;
    this.#remaining = size;
    this.#padding = paddingOf(size);
    this.#state = 'meta';
    if (size === 0) this.#endMeta();
  }

  #endMeta(): void {
    const content = this.#meta;
    this.#meta = Buffer.alloc(0);
    if (this.#metaType === 'L') this.#overrides.path = untilNul(content.toString('latin1'));
    else if (this.#metaType === 'K') this.#overrides.linkpath = untilNul(content.toString('latin1'));
    else {
      // Global headers are checked and passed over, as Docker does.
      const found: Overrides = this.#metaType === 'x' ? this.#overrides : {};
      readPax(content, found);
    }
    this.#toPadding();
  }

  #toPadding(): void {
    this.#remaining = this.#padding;
    this.#state = this.#remaining > 0 ? 'padding' : 'header';
  }

  #endData(): void {
    this.#handler.end?.();
    this.#toPadding();
  }

  #beginOldSparse(header: Buffer): void {
    const parts: SparsePart[] = [];
    readOldParts(header, 386, 4, parts);
    this.#pending = {
      header: Buffer.from(header),
      parts,
      realSize: numberAt(header, 483, 12, 'size'),
      stored: this.#overrides.size ?? sizeOf(header),
    };
    if (header[482] !== 0) this.#state = 'old-sparse';
    else this.#emitPending(this.#pending.stored);
  }

  #oldSparse(extension: Buffer): void {
    const pending = this.#pending!;
    readOldParts(extension, 0, 21, pending.parts);
    if (pending.parts.length > sparsePartsLimit) throw invalidTar('a sparse file has too many parts');
    if (extension[504] === 0) this.#emitPending(pending.stored);
  }

  /** PAX format 1.0: the map stands before the data, as decimal numbers on lines, padded to a block. */
  #paxSparse(part: Buffer): void {
    const pending = this.#pending!;
    this.#sparseText += part.toString('latin1');
    if (this.#sparseText.length > metaLimit) throw invalidTar('the map of a sparse file is too long');
    const complete = readSparseLines(this.#sparseText);
    if (!complete) {
      if (this.#sparseText.length >= pending.stored) throw invalidTar('the map of a sparse file does not end');
      return;
    }
    pending.parts = complete;
    const stored = pending.stored - this.#sparseText.length;
    if (stored < 0) throw invalidTar('the map of a sparse file is longer than the file');
    this.#emitPending(stored);
  }

  #emitPending(stored: number): void {
    const { header, parts, realSize } = this.#pending!;
    this.#pending = undefined;
    this.#emit(header, stored, { parts, size: realSize });
  }

  #emit(header: Buffer, stored: number, sparse: { parts: SparsePart[]; size: number } | undefined): void {
    const given = this.#overrides;
    this.#overrides = {};
    const name = given.sparseName ?? given.path ?? headerName(header);
    const type = typeOf(header, name);
    const [mtime, mtimeNsec] = given.mtime ?? [timeAt(header), 0];
    const isFile = type === 'file';
    if (sparse && !isFile) throw invalidTar(`${nameText(name)} is sparse, but no file`);
    if (sparse) checkSparse(name, sparse.parts, sparse.size, stored);
    this.#handler.entry({
      type,
      name,
      linkName: given.linkpath ?? stringAt(header, 157, 100),
      mode: numberAt(header, 100, 8, 'mode') & 0o7777,
      uid: given.uid ?? idAt(header, 108, name),
      gid: given.gid ?? idAt(header, 116, name),
      size: isFile ? (sparse?.size ?? stored) : 0,
      mtime,
      mtimeNsec,
      major: type === 'char' || type === 'block' ? numberAt(header, 329, 8, 'device number') : 0,
      minor: type === 'char' || type === 'block' ? numberAt(header, 337, 8, 'device number') : 0,
      xattrs: given.xattrs,
      dataOffset: this.#position,
      // Links, directories and devices have no data, whatever size their header says.
      storedSize: isFile ? stored : 0,
      sparse: sparse?.parts,
    });
    this.#remaining = isFile ? stored : 0;
    this.#padding = paddingOf(this.#remaining);
    this.#state = 'data';
    if (this.#remaining === 0) this.#endData();
  }
}
