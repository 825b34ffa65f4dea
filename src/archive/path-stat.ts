import type { BigIntStats } from 'node:fs';
import { posix } from 'node:path';
import { fileType } from '../layers/tree.ts';

const S_IFSOCK = 0o140000;

/** os.FileMode of Go: bits of its own for the type, and for set-user-ID and the like. */
export function goMode(mode: number): number {
  let bits = mode & 0o777;
  const type = mode & fileType.S_IFMT;
  if (type === fileType.S_IFDIR) bits += 2 ** 31;
  if (type === fileType.S_IFLNK) bits += 2 ** 27;
  if (type === fileType.S_IFBLK || type === fileType.S_IFCHR) bits += 2 ** 26;
  if (type === fileType.S_IFIFO) bits += 2 ** 25;
  if (type === S_IFSOCK) bits += 2 ** 24;
  if (mode & 0o4000) bits += 2 ** 23;
  if (mode & 0o2000) bits += 2 ** 22;
  if (type === fileType.S_IFCHR) bits += 2 ** 21;
  if (mode & 0o1000) bits += 2 ** 20;
  return bits;
}

/** filepath.Base of Go: `/` of the root, `.` of nothing. */
export function baseName(path: string): string {
  if (path === '') return '.';
  const trimmed = path.replace(/\/+$/, '');
  return trimmed === '' ? '/' : trimmed.slice(trimmed.lastIndexOf('/') + 1);
}

/**
 * A path as clients mean it: from the root, `..` taken with the name before it, link or not. What tells of a directory at
 * its end stays, `/` or `/.`.
 */
export function cleanPath(path: string): string {
  const clean = posix.normalize(`/${path}`);
  return /(^|\/)\.$/.test(path) ? `${clean.replace(/\/$/, '')}/.` : clean;
}

/** RFC 3339 with as many digits of a second as it has. */
export function timeText(mtimeNs: bigint): string {
  const second = 1_000_000_000n;
  const part = ((mtimeNs % second) + second) % second;
  const whole = new Date(Number((mtimeNs - part) / second) * 1000).toISOString().slice(0, 19);
  const digits = part === 0n ? '' : `.${String(part).padStart(9, '0').replace(/0+$/, '')}`;
  return `${whole}${digits}Z`;
}

export const typeOf = ({ mode }: BigIntStats): number => Number(mode) & fileType.S_IFMT;
export const isDirectory = (stat: BigIntStats): boolean => typeOf(stat) === fileType.S_IFDIR;
export const isLink = (stat: BigIntStats): boolean => typeOf(stat) === fileType.S_IFLNK;
export const isFile = (stat: BigIntStats): boolean => typeOf(stat) === fileType.S_IFREG;

/** Text as bytes, one to a character, as names are kept here; and back. */
export const bytesOfText = (text: string): string => Buffer.from(text, 'utf8').toString('latin1');
export const textOfBytes = (bytes: string): string => Buffer.from(bytes, 'latin1').toString('utf8');
