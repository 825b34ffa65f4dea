import { invalidTar, nameText, type SparsePart } from './tar-entry.ts';

/** What an extended header says about the entry after it. */
export interface Overrides {
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
export const sparsePartsLimit = 1_000_000;

/** PAX records, `length key=value\n` (POSIX.1-2024 pax, "pax Extended Header"). A later record overrides. */
export function readPax(content: Buffer, into: Overrides): void {
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

/** Undefined while the text does not hold the whole map yet. */
export function readSparseLines(text: string): SparsePart[] | undefined {
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

export function checkSparse(name: string, parts: readonly SparsePart[], size: number, stored: number): void {
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

export function checkedId(id: number, name: string): number {
  // The last one means "leave it" to chown(2).
  if (!Number.isInteger(id) || id < 0 || id >= 0xffffffff) throw invalidTar(`the owner of ${nameText(name)} is ${id}`);
  return id;
}
