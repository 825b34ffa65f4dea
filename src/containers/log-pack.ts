import type { FileHandle } from 'node:fs/promises';
import { promisify } from 'node:util';
import { crc32, deflateRaw, inflateRaw } from 'node:zlib';

/** Bytes of the log in one member of the file: what is unpacked at once to read any of it. */
const blockSize = 1024 * 1024;
/** Bytes of our subfield, in the extra field of each header (RFC 1952, 2.3). */
const fieldSize = 24;
const headerSize = 10 + 2 + 4 + fieldSize;
const trailerSize = 8;
const subfield = 'BL';

const deflate = promisify(deflateRaw);
const inflate = promisify(inflateRaw);

/** The file that a packed one was made of. The inode alone may be another's by now. */
export interface PackedSource {
  readonly inode: bigint;
  /** Of its last change, nanoseconds since 1970. */
  readonly changed: bigint;
}

/**
 * Writes a log as a gzip file of several members, which `zcat` reads as any other. Each says how long it is and of which
 * file it was made: so a part of it is read without the rest, and a reader of that file goes on behind it.
 */
export async function packLog(from: FileHandle, to: FileHandle, source: PackedSource): Promise<void> {
  const block = Buffer.allocUnsafe(blockSize);
  for (let position = 0; ; ) {
    const { bytesRead } = await from.read(block, 0, blockSize, position);
    if (bytesRead === 0 && position > 0) break;
    position += bytesRead;
    const plain = block.subarray(0, bytesRead);
    const packed = (await deflate(plain, { level: 6 })) as Buffer;
    const header = Buffer.alloc(headerSize);
    // Deflate, with an extra field, made on Unix.
    header.set([0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 3]);
    header.writeUInt16LE(4 + fieldSize, 10);
    header.write(subfield, 12, 'latin1');
    header.writeUInt16LE(fieldSize, 14);
    header.writeUInt32LE(packed.length, 16);
    header.writeUInt32LE(plain.length, 20);
    header.writeBigUInt64LE(source.inode, 24);
    header.writeBigUInt64LE(source.changed, 32);
    const trailer = Buffer.alloc(trailerSize);
    trailer.writeUInt32LE(crc32(plain), 0);
    trailer.writeUInt32LE(plain.length, 4);
    for (const part of [header, packed, trailer]) await writeAll(to, part);
    if (bytesRead === 0) break;
  }
}

async function writeAll(to: FileHandle, bytes: Buffer): Promise<void> {
  for (let done = 0; done < bytes.length; ) done += (await to.write(bytes, done)).bytesWritten;
}

interface Member {
  /** Of the compressed bytes, in the file. */
  readonly at: number;
  readonly packed: number;
  /** Of what it holds, in the log. */
  readonly start: number;
  readonly length: number;
}

/** A log that `packLog` wrote, to be read at any place. */
export class PackedLog {
  readonly source: PackedSource;
  /** Bytes of the log. */
  readonly size: number;
  readonly #file: FileHandle;
  readonly #members: readonly Member[];
  #current: { readonly member: Member; readonly bytes: Buffer } | undefined;

  private constructor(file: FileHandle, source: PackedSource, members: readonly Member[]) {
    this.#file = file;
    this.source = source;
    this.#members = members;
    const last = members.at(-1)!;
    this.size = last.start + last.length;
  }

  /** Undefined when it is another kind of gzip file, or was cut. */
  static async open(file: FileHandle, size: number): Promise<PackedLog | undefined> {
    const header = Buffer.alloc(headerSize);
    const members: Member[] = [];
    let source: PackedSource = { inode: 0n, changed: 0n };
    for (let at = 0, start = 0; at < size; ) {
      const { bytesRead } = await file.read(header, 0, headerSize, at);
      const isOurs =
        bytesRead === headerSize &&
        header.readUInt32BE(0) === 0x1f8b0804 &&
        header.readUInt16LE(10) === 4 + fieldSize &&
        header.toString('latin1', 12, 14) === subfield;
      if (!isOurs) return undefined;
      const member = { at: at + headerSize, packed: header.readUInt32LE(16), start, length: header.readUInt32LE(20) };
      members.push(member);
      source = { inode: header.readBigUInt64LE(24), changed: header.readBigUInt64LE(32) };
      start += member.length;
      at += headerSize + member.packed + trailerSize;
      if (at > size) return undefined;
    }
    return members.length > 0 ? new PackedLog(file, source, members) : undefined;
  }

  /** Bytes read; 0 at the end. */
  async read(into: Buffer, position: number): Promise<number> {
    const member = this.#members.find(({ start, length }) => position >= start && position < start + length);
    if (!member) return 0;
    if (this.#current?.member !== member) {
      const packed = Buffer.allocUnsafe(member.packed);
      await this.#file.read(packed, 0, packed.length, member.at);
      const bytes = (await inflate(packed, { maxOutputLength: Math.max(1, member.length) })) as Buffer;
      this.#current = { member, bytes };
    }
    return this.#current.bytes.copy(into, 0, position - member.start);
  }
}
