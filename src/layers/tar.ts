import { EngineError } from '../base/errors.ts';

export type TarEntryType = 'file' | 'directory' | 'symlink' | 'hardlink' | 'char' | 'block' | 'fifo';

/**
 * One entry of a tar stream. Names are bytes, not text: here each character of a string is one byte (latin1), so that
 * names in any encoding come through unchanged. `nameText` makes them readable.
 */
export interface TarEntry {
  readonly type: TarEntryType;
  readonly name: string;
  readonly linkName: string;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Of the file when it is read: for a sparse file with its holes. */
  readonly size: number;
  /** Seconds, and nanoseconds 0..999,999,999 to be added. */
  readonly mtime: number;
  readonly mtimeNsec: number;
  readonly major: number;
  readonly minor: number;
  readonly xattrs: ReadonlyMap<string, Buffer> | undefined;
  /** Where its data begins, counted from the first byte of the archive; a multiple of 512. */
  readonly dataOffset: number;
  /** Bytes of data in the archive. */
  readonly storedSize: number;
  /** The parts of a sparse file that are in the archive, one after the other from `dataOffset`. */
  readonly sparse: readonly SparsePart[] | undefined;
}

export interface SparsePart {
  readonly offset: number;
  readonly length: number;
}

export interface TarHandler {
  entry(entry: TarEntry): void;
  /** The data of the last entry, in pieces. Left out, it is skipped. */
  data?(piece: Buffer): void;
  /** After the last byte of an entry's data. */
  end?(): void;
}

/** A name as text for people. */
export function nameText(name: string): string {
  const text = Buffer.from(name.length > 200 ? `${name.slice(0, 200)}…` : name, 'latin1').toString('utf8');
  return JSON.stringify(text).slice(1, -1);
}

export function invalidTar(reason: string): EngineError {
  return new EngineError('invalid', `invalid tar archive: ${reason}`);
}

const block = 512;
/** Of one PAX header or GNU long name. The kernel takes no longer path than 4096, no attribute above 64 KiB. */
const metaLimit = 1024 * 1024;

interface Overrides {
  path?: string;
  linkpath?: string;
  size?: number;
  uid?: number;
  gid?: number;
  mtime?: readonly [number, number];
  xattrs?: Map<string, Buffer>;
  sparseName?: string;
  sparseSize?: number;
  sparseMap?: SparsePart[];
  sparseVersion?: string;
  sparseOffset?: number;
}

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

const sparsePartsLimit = 1_000_000;

function paddingOf(size: number): number {
  return (block - (size % block)) % block;
}

function isZero(header: Buffer): boolean {
  for (let i = 0; i < block; i += 8) if (header.readDoubleLE(i) !== 0) return isAllZeroBytes(header);
  return isAllZeroBytes(header);
}

function isAllZeroBytes(header: Buffer): boolean {
  for (let i = 0; i < block; i++) if (header[i] !== 0) return false;
  return true;
}

function checksumFits(header: Buffer): boolean {
  let unsigned = 8 * 32;
  let signed = 8 * 32;
  for (let i = 0; i < block; i++) {
    if (i >= 148 && i < 156) continue;
    const byte = header[i]!;
    unsigned += byte;
    signed += byte < 128 ? byte : byte - 256;
  }
  // Some old writers summed signed characters.
  const stored = numberAt(header, 148, 8, 'checksum');
  return stored === unsigned || stored === signed;
}

const types: Readonly<Record<string, TarEntryType>> = {
  '\0': 'file',
  '0': 'file',
  '7': 'file',
  S: 'file',
  '1': 'hardlink',
  '2': 'symlink',
  '3': 'char',
  '4': 'block',
  '5': 'directory',
  '6': 'fifo',
};

function typeOf(header: Buffer, name: string): TarEntryType {
  const flag = String.fromCharCode(header[156]!);
  const type = types[flag];
  if (!type) throw invalidTar(`${nameText(name)} is of unknown type ${JSON.stringify(flag)}`);
  // Before POSIX a directory was a file whose name ends in a slash.
  return type === 'file' && flag === '\0' && name.endsWith('/') ? 'directory' : type;
}

function stringAt(header: Buffer, at: number, length: number): string {
  let end = at;
  while (end < at + length && header[end] !== 0) end++;
  return header.toString('latin1', at, end);
}

function headerName(header: Buffer): string {
  const name = stringAt(header, 0, 100);
  // The prefix field is POSIX's; GNU puts times there and writes another magic.
  if (header.toString('latin1', 257, 263) !== 'ustar\0') return name;
  const prefix = stringAt(header, 345, 155);
  return prefix === '' ? name : `${prefix}/${name}`;
}

function untilNul(text: string): string {
  const nul = text.indexOf('\0');
  return nul < 0 ? text : text.slice(0, nul);
}

/** Octal with blanks around it, or base-256 when the first bit is set. */
function numberAt(header: Buffer, at: number, length: number, what: string): number {
  const first = header[at]!;
  if (first & 0x80) return base256(header, at, length, what);
  let value = 0;
  let i = at;
  const end = at + length;
  while (i < end && (header[i] === 32 || header[i] === 0)) i++;
  for (; i < end; i++) {
    const byte = header[i]!;
    if (byte === 32 || byte === 0) break;
    if (byte < 48 || byte > 55)
      throw invalidTar(`a ${what} is not a number: ${nameText(stringAt(header, at, length))}`);
    value = value * 8 + (byte - 48);
  }
  return value;
}

function base256(header: Buffer, at: number, length: number, what: string): number {
  const negative = (header[at]! & 0x40) !== 0;
  let value = negative ? BigInt((header[at]! | 0x80) - 256) : BigInt(header[at]! & 0x3f);
  for (let i = at + 1; i < at + length; i++) value = value * 256n + BigInt(header[i]!);
  if (value > BigInt(Number.MAX_SAFE_INTEGER) || value < BigInt(Number.MIN_SAFE_INTEGER)) {
    throw invalidTar(`a ${what} is too large: ${value}`);
  }
  return Number(value);
}

function sizeOf(header: Buffer): number {
  const size = numberAt(header, 124, 12, 'size');
  if (size < 0) throw invalidTar(`the size of ${nameText(headerName(header))} is negative: ${size}`);
  return size;
}

function idAt(header: Buffer, at: number, name: string): number {
  return checkedId(numberAt(header, at, 8, 'user or group'), name);
}

function checkedId(id: number, name: string): number {
  // The last one means "leave it" to chown(2).
  if (!Number.isInteger(id) || id < 0 || id >= 0xffffffff) throw invalidTar(`the owner of ${nameText(name)} is ${id}`);
  return id;
}

function timeAt(header: Buffer): number {
  return numberAt(header, 136, 12, 'time');
}

function readOldParts(from: Buffer, at: number, count: number, into: SparsePart[]): void {
  for (let i = 0; i < count; i++) {
    const here = at + i * 24;
    if (from[here] === 0) return;
    into.push({
      offset: numberAt(from, here, 12, 'sparse offset'),
      length: numberAt(from, here + 12, 12, 'sparse length'),
    });
  }
}

/** Undefined while the text does not hold the whole map yet. */
function readSparseLines(text: string): SparsePart[] | undefined {
  const end = text.indexOf('\n');
  if (end < 0) return undefined;
  const count = decimal(text.slice(0, end), 'sparse map');
  if (count > sparsePartsLimit) throw invalidTar('a sparse file has too many parts');
  const numbers: number[] = [];
  let from = end + 1;
  while (numbers.length < count * 2) {
    const line = text.indexOf('\n', from);
    if (line < 0) return undefined;
    numbers.push(decimal(text.slice(from, line), 'sparse map'));
    from = line + 1;
  }
  return Array.from({ length: count }, (_, i) => ({ offset: numbers[i * 2]!, length: numbers[i * 2 + 1]! }));
}

function decimal(text: string, what: string): number {
  const value = /^\d{1,16}$/.test(text) ? Number(text) : Number.NaN;
  if (!Number.isSafeInteger(value)) throw invalidTar(`a ${what} is not a number: ${nameText(text)}`);
  return value;
}

function checkSparse(name: string, parts: readonly SparsePart[], size: number, stored: number): void {
  let end = 0;
  let total = 0;
  for (const { offset, length } of parts) {
    if (offset < end || length < 0) throw invalidTar(`the parts of sparse file ${nameText(name)} overlap`);
    end = offset + length;
    total += length;
  }
  if (end > size) throw invalidTar(`a part of sparse file ${nameText(name)} lies behind its end`);
  if (total !== stored)
    throw invalidTar(`sparse file ${nameText(name)} has ${stored} bytes of data, its map says ${total}`);
}

/** PAX records, `length key=value\n` (POSIX.1-2024 pax, "pax Extended Header"). A later record overrides. */
function readPax(content: Buffer, into: Overrides): void {
  let at = 0;
  let sparseOffset: number | undefined;
  while (at < content.length) {
    // Some writers pad the header with zeros.
    if (content[at] === 0) return;
    const space = content.indexOf(32, at);
    const length =
      space < 0 || space - at > 10 ? Number.NaN : decimal(content.toString('latin1', at, space), 'PAX length');
    const end = at + length;
    if (!(end <= content.length) || end <= space + 1 || content[end - 1] !== 10)
      throw invalidTar('a PAX record is damaged');
    const equals = content.indexOf(61, space);
    if (equals < 0 || equals >= end) throw invalidTar('a PAX record has no value');
    const key = content.toString('latin1', space + 1, equals);
    const value = content.subarray(equals + 1, end - 1);
    at = end;
    if (key.startsWith('SCHILY.xattr.')) {
      into.xattrs ??= new Map();
      into.xattrs.set(key.slice(13), Buffer.from(value));
      continue;
    }
    const text = value.toString('latin1');
    switch (key) {
      case 'path':
        if (text !== '') into.path = text;
        break;
      case 'linkpath':
        if (text !== '') into.linkpath = text;
        break;
      case 'size':
        into.size = decimal(text, 'size');
        break;
      case 'uid':
        into.uid = checkedId(decimal(text, 'owner'), into.path ?? 'an entry');
        break;
      case 'gid':
        into.gid = checkedId(decimal(text, 'owner'), into.path ?? 'an entry');
        break;
      case 'mtime':
        into.mtime = readTime(text);
        break;
      case 'GNU.sparse.name':
        into.sparseName = text;
        break;
      case 'GNU.sparse.size':
      case 'GNU.sparse.realsize':
        into.sparseSize = decimal(text, 'sparse size');
        break;
      case 'GNU.sparse.major':
        into.sparseVersion = `${text}.${(into.sparseVersion ?? '.').split('.')[1]}`;
        break;
      case 'GNU.sparse.minor':
        into.sparseVersion = `${(into.sparseVersion ?? '.').split('.')[0]}.${text}`;
        break;
      case 'GNU.sparse.map': {
        const numbers = text === '' ? [] : text.split(',').map((part) => decimal(part, 'sparse map'));
        if (numbers.length % 2 !== 0) throw invalidTar('a sparse map has an odd number of numbers');
        into.sparseMap = Array.from({ length: numbers.length / 2 }, (_, i) => ({
          offset: numbers[i * 2]!,
          length: numbers[i * 2 + 1]!,
        }));
        break;
      }
      case 'GNU.sparse.offset':
        sparseOffset = decimal(text, 'sparse offset');
        break;
      case 'GNU.sparse.numbytes':
        if (sparseOffset === undefined) throw invalidTar('a sparse map has a length without offset');
        into.sparseMap ??= [];
        into.sparseMap.push({ offset: sparseOffset, length: decimal(text, 'sparse length') });
        sparseOffset = undefined;
        break;
    }
  }
}

/** Seconds as a decimal fraction, perhaps negative: -1.25 is two seconds before the epoch and 750,000,000 ns. */
function readTime(text: string): readonly [number, number] {
  const match = /^(-?)(\d{1,15})(?:\.(\d*))?$/.exec(text);
  if (!match) throw invalidTar(`a time is not a number: ${nameText(text)}`);
  const seconds = Number(match[2]);
  const nanoseconds = Number((match[3] ?? '').slice(0, 9).padEnd(9, '0'));
  if (match[1] === '') return [seconds, nanoseconds];
  return nanoseconds === 0 ? [seconds === 0 ? 0 : -seconds, 0] : [-seconds - 1, 1_000_000_000 - nanoseconds];
}
