import type { TarEntryType } from './tar-entry.ts';

/** What is said about a file in an archive. Text is written as UTF-8; bytes as they are. */
export interface TarMember {
  readonly name: string | Uint8Array;
  /** `file` when left out. */
  readonly type?: TarEntryType;
  readonly linkName?: string | Uint8Array;
  /** Permissions; 0644, and 0755 for directories, when left out. */
  readonly mode?: number;
  readonly uid?: number;
  readonly gid?: number;
  /** Of the data that follows; only files have any. */
  readonly size?: number;
  /** Seconds. */
  readonly mtime?: number;
  readonly mtimeNsec?: number;
  readonly major?: number;
  readonly minor?: number;
  readonly xattrs?: ReadonlyMap<string, Uint8Array>;
}

const block = 512;
const typeFlags: Readonly<Record<TarEntryType, string>> = {
  file: '0',
  hardlink: '1',
  symlink: '2',
  char: '3',
  block: '4',
  directory: '5',
  fifo: '6',
};

/**
 * The header of a member: POSIX ustar, with a PAX header before it for what does not fit (long and non-ASCII names,
 * sizes from 8 GiB, large owners, parts of seconds, extended attributes). The same member always gives the same bytes.
 */
export function tarHeader(member: TarMember): Buffer {
  const name = bytesOf(member.name);
  const linkName = bytesOf(member.linkName ?? '');
  const type = member.type ?? 'file';
  const size = type === 'file' ? (member.size ?? 0) : 0;
  const { mtime = 0, mtimeNsec = 0, uid = 0, gid = 0 } = member;
  const split = splitName(name);

  const records: Buffer[] = [];
  if (!split) records.push(record('path', name));
  if (linkName.length > 100 || !isAscii(linkName)) records.push(record('linkpath', linkName));
  if (size > 0o77777777777) records.push(record('size', size));
  if (uid > 0o7777777) records.push(record('uid', uid));
  if (gid > 0o7777777) records.push(record('gid', gid));
  if (mtimeNsec !== 0 || mtime < 0 || mtime > 0o77777777777) records.push(record('mtime', timeText(mtime, mtimeNsec)));
  for (const [key, value] of [...(member.xattrs ?? [])].sort(([a], [b]) => (a < b ? -1 : 1))) {
    records.push(record(`SCHILY.xattr.${key}`, value));
  }

  const header = ustar({
    name: split?.name ?? name.subarray(0, 100),
    prefix: split?.prefix ?? Buffer.alloc(0),
    linkName: linkName.subarray(0, 100),
    flag: typeFlags[type],
    mode: member.mode ?? (type === 'directory' ? 0o755 : 0o644),
    uid: Math.min(uid, 0o7777777),
    gid: Math.min(gid, 0o7777777),
    size: size > 0o77777777777 ? 0 : size,
    mtime: Math.min(Math.max(mtime, 0), 0o77777777777),
    major: member.major ?? 0,
    minor: member.minor ?? 0,
  });
  if (records.length === 0) return header;
  const pax = Buffer.concat(records);
  const before = ustar({
    name: Buffer.from('PaxHeaders/0'),
    prefix: Buffer.alloc(0),
    linkName: Buffer.alloc(0),
    flag: 'x',
    mode: 0o644,
    uid: 0,
    gid: 0,
    size: pax.length,
    mtime: 0,
    major: 0,
    minor: 0,
  });
  return Buffer.concat([before, pax, tarPadding(pax.length), header]);
}

/** What follows `size` bytes of data. */
export function tarPadding(size: number): Buffer {
  return Buffer.alloc((block - (size % block)) % block);
}

/** What ends an archive. */
export function tarEnd(): Buffer {
  return Buffer.alloc(2 * block);
}

/** A whole archive of members whose content is at hand. */
export function packTar(members: Iterable<TarMember & { readonly content?: string | Uint8Array }>): Buffer {
  const parts: Buffer[] = [];
  for (const { content, ...member } of members) {
    const data = bytesOf(content ?? '');
    parts.push(tarHeader({ ...member, size: data.length }), data, tarPadding(data.length));
  }
  return Buffer.concat([...parts, tarEnd()]);
}

interface UstarFields {
  readonly name: Uint8Array;
  readonly prefix: Uint8Array;
  readonly linkName: Uint8Array;
  readonly flag: string;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly size: number;
  readonly mtime: number;
  readonly major: number;
  readonly minor: number;
}

function ustar(fields: UstarFields): Buffer {
  const header = Buffer.alloc(block);
  const octal = (value: number, at: number, length: number) =>
    header.write(`${value.toString(8).padStart(length - 1, '0')}\0`, at, 'latin1');
  header.set(fields.name, 0);
  octal(fields.mode & 0o7777, 100, 8);
  octal(fields.uid, 108, 8);
  octal(fields.gid, 116, 8);
  octal(fields.size, 124, 12);
  octal(fields.mtime, 136, 12);
  header.write('        ', 148, 'latin1');
  header.write(fields.flag, 156, 'latin1');
  header.set(fields.linkName, 157);
  header.write('ustar\x0000', 257, 'latin1');
  octal(fields.major, 329, 8);
  octal(fields.minor, 337, 8);
  header.set(fields.prefix, 345);
  let sum = 0;
  for (const byte of header) sum += byte;
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return header;
}

/** Into ustar's prefix and name, or undefined when they cannot hold it. */
function splitName(name: Buffer): { readonly prefix: Buffer; readonly name: Buffer } | undefined {
  if (!isAscii(name)) return undefined;
  if (name.length <= 100) return { prefix: Buffer.alloc(0), name };
  for (let slash = name.indexOf(47); slash >= 0 && slash <= 155; slash = name.indexOf(47, slash + 1)) {
    const rest = name.length - slash - 1;
    if (slash > 0 && rest > 0 && rest <= 100) {
      return { prefix: name.subarray(0, slash), name: name.subarray(slash + 1) };
    }
  }
  return undefined;
}

/** A PAX record counts its own length in. */
function record(key: string, value: string | number | Uint8Array): Buffer {
  const rest = Buffer.concat([
    Buffer.from(` ${key}=`),
    bytesOf(typeof value === 'number' ? String(value) : value),
    Buffer.from('\n'),
  ]);
  let length = rest.length;
  while (String(length).length + rest.length !== length) length = String(length).length + rest.length;
  return Buffer.concat([Buffer.from(String(length)), rest]);
}

function timeText(seconds: number, nanoseconds: number): string {
  // Nanoseconds count forwards, also before the epoch; the decimal text counts from zero.
  const [sign, whole, part] =
    seconds < 0 && nanoseconds > 0 ? ['-', -seconds - 1, 1_000_000_000 - nanoseconds] : ['', seconds, nanoseconds];
  return part === 0 ? `${sign}${whole}` : `${sign}${whole}.${String(part).padStart(9, '0').replace(/0+$/, '')}`;
}

function isAscii(bytes: Uint8Array): boolean {
  return bytes.every((byte) => byte < 128);
}

function bytesOf(text: string | Uint8Array): Buffer {
  return typeof text === 'string' ? Buffer.from(text) : Buffer.from(text.buffer, text.byteOffset, text.byteLength);
}
