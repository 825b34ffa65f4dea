import { checkedId } from './pax.ts';
import { invalidTar, nameText, type SparsePart, type TarEntryType } from './tar-entry.ts';

export const block = 512;

export function paddingOf(size: number): number {
  return (block - (size % block)) % block;
}

export function isZero(header: Buffer): boolean {
  for (let i = 0; i < block; i += 8) if (header.readDoubleLE(i) !== 0) return isAllZeroBytes(header);
  return isAllZeroBytes(header);
}

export function isAllZeroBytes(header: Buffer): boolean {
  for (let i = 0; i < block; i++) if (header[i] !== 0) return false;
  return true;
}

export function checksumFits(header: Buffer): boolean {
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

export function typeOf(header: Buffer, name: string): TarEntryType {
  const flag = String.fromCharCode(header[156]!);
  const type = types[flag];
  if (!type) throw invalidTar(`${nameText(name)} is of unknown type ${JSON.stringify(flag)}`);
  // Before POSIX a directory was a file whose name ends in a slash.
  return type === 'file' && flag === '\0' && name.endsWith('/') ? 'directory' : type;
}

export function stringAt(header: Buffer, at: number, length: number): string {
  let end = at;
  while (end < at + length && header[end] !== 0) end++;
  return header.toString('latin1', at, end);
}

export function headerName(header: Buffer): string {
  const name = stringAt(header, 0, 100);
  // The prefix field is POSIX's; GNU puts times there and writes another magic.
  if (header.toString('latin1', 257, 263) !== 'ustar\0') return name;
  const prefix = stringAt(header, 345, 155);
  return prefix === '' ? name : `${prefix}/${name}`;
}

export function untilNul(text: string): string {
  const nul = text.indexOf('\0');
  return nul < 0 ? text : text.slice(0, nul);
}

/** Octal with blanks around it, or base-256 when the first bit is set. */
export function numberAt(header: Buffer, at: number, length: number, what: string): number {
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

export function base256(header: Buffer, at: number, length: number, what: string): number {
  const negative = (header[at]! & 0x40) !== 0;
  let value = negative ? BigInt((header[at]! | 0x80) - 256) : BigInt(header[at]! & 0x3f);
  for (let i = at + 1; i < at + length; i++) value = value * 256n + BigInt(header[i]!);
  if (value > BigInt(Number.MAX_SAFE_INTEGER) || value < BigInt(Number.MIN_SAFE_INTEGER)) {
    throw invalidTar(`a ${what} is too large: ${value}`);
  }
  return Number(value);
}

export function sizeOf(header: Buffer): number {
  const size = numberAt(header, 124, 12, 'size');
  if (size < 0) throw invalidTar(`the size of ${nameText(headerName(header))} is negative: ${size}`);
  return size;
}

export function idAt(header: Buffer, at: number, name: string): number {
  return checkedId(numberAt(header, at, 8, 'user or group'), name);
}
export function timeAt(header: Buffer): number {
  return numberAt(header, 136, 12, 'time');
}

export function readOldParts(from: Buffer, at: number, count: number, into: SparsePart[]): void {
  for (let i = 0; i < count; i++) {
    const here = at + i * 24;
    if (from[here] === 0) return;
    into.push({
      offset: numberAt(from, here, 12, 'sparse offset'),
      length: numberAt(from, here + 12, 12, 'sparse length'),
    });
  }
}
