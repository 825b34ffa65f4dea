import { readSync } from 'node:fs';
import { aclAccess, aclDefault } from './names.ts';
import { invalidTar } from './tar-entry.ts';
import { fileType, type Node } from './tree.ts';

/*
 * An EROFS file system without file data (kernel: fs/erofs/erofs_fs.h): superblock, one device slot, inodes, directory
 * blocks. Files are chunks on a second device, the layer's plain tar, in blocks of 512 bytes, the tar's own unit.
 */
const block = 512;
const blockBits = 9;
const superblockAt = 1024;
const deviceSlotAt = 1152;
const inodesAt = 1280;
const inodeSize = 64;
const slot = 32;
const layouts = { plain: 0, inline: 2, chunks: 4 } as const;
const magic = 0xe0f5e1e2;
const incompatChunkedFile = 0x4;
const incompatDeviceTable = 0x8;
const chunkIndexes = 0x20;
/** A file of one chunk: 2^(9+31) bytes are more than a tar can hold. */
const wholeFile = 31;
const hole = 0xffffffff;
const tarDevice = 1;
/** Of one sparse file: 32 MiB of index. */
const chunksLimit = 4 * 1024 * 1024;

const xattrPrefixes: readonly (readonly [prefix: string, index: number])[] = [
  ['user.', 1],
  [aclAccess, 2],
  [aclDefault, 3],
  ['trusted.', 4],
  ['security.', 6],
];

const direntTypes: Readonly<Record<number, number>> = {
  [fileType.S_IFREG]: 1,
  [fileType.S_IFDIR]: 2,
  [fileType.S_IFCHR]: 3,
  [fileType.S_IFBLK]: 4,
  [fileType.S_IFIFO]: 5,
  [fileType.S_IFLNK]: 7,
};

/** Where an inode and what belongs to it are put. */
interface Place {
  readonly node: Node;
  readonly offset: number;
  readonly xattrs: Buffer | undefined;
  readonly layout: number;
  /** Directories: the parent's offset and the entries in order. */
  readonly parent: number;
  names: readonly string[];
  /** First block of directory data, or of a long symbolic link. */
  dataBlock: number;
  subdirectories: number;
  /** Names that lead here; directories count otherwise. */
  links: number;
  readonly chunks: Chunks | undefined;
}

interface Chunks {
  readonly bits: number;
  /** Block on the tar for each chunk, or `hole`, or, with `copied`, a block of the index. */
  readonly blocks: readonly number[];
  /** Parts that do not begin on a block of the tar: written out into the index, one after the other. */
  readonly copied: {
    readonly chunk: number;
    readonly parts: readonly (readonly [at: number, from: number, length: number])[];
  }[];
}

/** Builds the index over a tar of `tarSize` bytes, which is open for reading as `tar`. */
export function buildIndex(root: Node, { tarSize, tar }: { tarSize: number; tar: number }): Buffer {
  const places = new Map<Node, Place>();
  const inodesEnd = placeInodes(root, places, tarSize);
  let blocks = Math.ceil(inodesEnd / block);
  for (const place of places.values()) {
    place.dataBlock = blocks;
    blocks += dataBlocks(place);
  }
  const index = Buffer.alloc(blocks * block);
  writeSuperblock(index, places.size, tarSize);
  for (const place of places.values()) {
    writeInode(index, place);
    if (place.node.children) writeDirectory(index, place, places);
    if (place.chunks) writeChunks(index, place, tar);
  }
  return index;
}

/** Gives every inode its offset, the root first: its number must fit 16 bits. Gives the end of the inodes. */
function placeInodes(root: Node, places: Map<Node, Place>, tarSize: number): number {
  let next = inodesAt;
  const put = (node: Node, parent: number): Place => {
    const xattrs = encodeXattrs(node);
    const head = inodeSize + (xattrs?.length ?? 0);
    const type = node.mode & fileType.S_IFMT;
    let layout: number = layouts.plain;
    let size = head;
    let chunks: Chunks | undefined;
    if (type === fileType.S_IFREG && node.size > 0) {
      layout = layouts.chunks;
      chunks = chunksOf(node, tarSize);
      size = align(head, 8) + 8 * chunks.blocks.length;
    } else if (type === fileType.S_IFLNK && node.size <= block) {
      layout = layouts.inline;
      size = head + node.size;
      // The inline part must lie within one block.
      const start = next + head;
      if (Math.floor(start / block) !== Math.floor((start + node.size - 1) / block)) {
        next = align(start, block) - head;
        next = align(next, slot);
        while (Math.floor((next + head) / block) !== Math.floor((next + head + node.size - 1) / block)) next += slot;
      }
    }
    const place = {
      node,
      offset: next,
      xattrs,
      layout,
      parent,
      names: [],
      dataBlock: 0,
      subdirectories: 0,
      links: 1,
      chunks,
    };
    places.set(node, place);
    next = align(next + size, slot);
    return place;
  };

  const queue: Place[] = [put(root, inodesAt)];
  for (let place = queue.pop(); place; place = queue.pop()) {
    const { children } = place.node;
    const names = [...children!.keys(), '.', '..'];
    // latin1 strings sort as their bytes do.
    names.sort((a, b) => (a < b ? -1 : a > b ? 1 : 0));
    place.names = names;
    for (const node of children!.values()) {
      const linked = places.get(node);
      if (linked) {
        linked.links++;
        continue;
      }
      const placed = put(node, place.offset);
      if (node.children) {
        place.subdirectories++;
        queue.push(placed);
      }
    }
  }
  return next;
}

function dataBlocks(place: Place): number {
  const { node } = place;
  if (node.children) return directoryBlocks(place.names).length;
  if (place.chunks) return place.chunks.copied.length << place.chunks.bits;
  if ((node.mode & fileType.S_IFMT) === fileType.S_IFLNK && place.layout === layouts.plain) {
    return Math.ceil(node.size / block);
  }
  return 0;
}

/** How many entries go into each block. */
function directoryBlocks(names: readonly string[]): number[] {
  const counts: number[] = [];
  let used = 0;
  let count = 0;
  for (const name of names) {
    const needed = 12 + name.length;
    if (used + needed > block) {
      counts.push(count);
      used = 0;
      count = 0;
    }
    used += needed;
    count++;
  }
  if (count > 0) counts.push(count);
  return counts;
}

function writeDirectory(index: Buffer, place: Place, places: ReadonlyMap<Node, Place>): void {
  const { names, node } = place;
  let first = 0;
  let at = place.dataBlock * block;
  for (const count of directoryBlocks(names)) {
    let nameAt = count * 12;
    for (let i = 0; i < count; i++) {
      const name = names[first + i]!;
      const child = name === '.' || name === '..' ? undefined : node.children!.get(name)!;
      const offset = name === '.' ? place.offset : name === '..' ? place.parent : places.get(child!)!.offset;
      const entry = at + i * 12;
      writeU64(index, offset / slot, entry);
      index.writeUInt16LE(nameAt, entry + 8);
      index[entry + 10] = child ? direntTypes[child.mode & fileType.S_IFMT]! : 2;
      index.write(name, at + nameAt, 'latin1');
      nameAt += name.length;
    }
    first += count;
    at += block;
  }
}

function writeSuperblock(index: Buffer, inodes: number, tarSize: number): void {
  const at = superblockAt;
  index.writeUInt32LE(magic, at);
  index[at + 12] = blockBits;
  index.writeUInt16LE(inodesAt / slot, at + 14);
  writeU64(index, inodes, at + 16);
  index.writeUInt32LE(index.length / block, at + 36);
  index.writeUInt32LE(incompatChunkedFile | incompatDeviceTable, at + 80);
  index.writeUInt16LE(1, at + 86);
  index.writeUInt16LE(deviceSlotAt / 128, at + 88);
  const tarBlocks = Math.floor(tarSize / block);
  if (tarBlocks >= hole) throw invalidTar(`the layer has ${tarSize} bytes, more than an index can address`);
  index.writeUInt32LE(tarBlocks, deviceSlotAt + 64);
}

function writeInode(index: Buffer, place: Place): void {
  const { node, offset: at, xattrs } = place;
  const type = node.mode & fileType.S_IFMT;
  index.writeUInt16LE(1 | (place.layout << 1), at);
  if (xattrs) index.writeUInt16LE((xattrs.length - 12) / 4 + 1, at + 2);
  index.writeUInt16LE(node.mode, at + 4);
  const size = node.children ? directoryBlocks(place.names).length * block : node.size;
  writeU64(index, size, at + 8);
  if (place.chunks) index.writeUInt16LE(chunkIndexes | place.chunks.bits, at + 16);
  else if (type === fileType.S_IFCHR || type === fileType.S_IFBLK) index.writeUInt32LE(deviceOf(node), at + 16);
  else if (place.layout === layouts.plain && size > 0) index.writeUInt32LE(place.dataBlock, at + 16);
  index.writeUInt32LE((at / slot) >>> 0, at + 20);
  index.writeUInt32LE(node.uid, at + 24);
  index.writeUInt32LE(node.gid, at + 28);
  index.writeBigInt64LE(BigInt(node.mtime), at + 32);
  index.writeUInt32LE(node.mtimeNsec, at + 40);
  index.writeUInt32LE(node.children ? 2 + place.subdirectories : place.links, at + 44);
  xattrs?.copy(index, at + inodeSize);
  if (type === fileType.S_IFLNK) {
    const inline = place.layout === layouts.inline;
    index.write(node.target, inline ? at + inodeSize + (xattrs?.length ?? 0) : place.dataBlock * block, 'latin1');
  }
}

/** The kernel's new_encode_dev(). */
function deviceOf({ major, minor }: Node): number {
  return ((minor & 0xff) | (major << 8) | ((minor & ~0xff) << 12)) >>> 0;
}

function encodeXattrs(node: Node): Buffer | undefined {
  if (!node.xattrs && !node.opaque) return undefined;
  const entries: (readonly [name: string, value: Buffer])[] = [...(node.xattrs ?? [])];
  if (node.opaque) entries.push(['trusted.overlay.opaque', Buffer.from('y')]);
  const parts: Buffer[] = [Buffer.alloc(12)];
  for (const [name, value] of entries) {
    const [prefix, index] = xattrPrefixes.find(([start]) => name.startsWith(start))!;
    const rest = name.slice(prefix.length);
    const entry = Buffer.alloc(align(4 + rest.length + value.length, 4));
    entry[0] = rest.length;
    entry[1] = index;
    entry.writeUInt16LE(value.length, 2);
    entry.write(rest, 4, 'latin1');
    value.copy(entry, 4 + rest.length);
    parts.push(entry);
  }
  const whole = Buffer.concat(parts);
  if ((whole.length - 12) / 4 + 1 > 0xffff)
    throw invalidTar('the extended attributes of a file have more than 256 KiB');
  return whole;
}

function chunksOf(node: Node, tarSize: number): Chunks {
  const beyond = align(node.data + storedSize(node), block) > tarSize;
  if (!node.sparse) return beyond ? withoutPadding(node) : { bits: wholeFile, blocks: [node.data / block], copied: [] };
  const parts = node.sparse.filter((part) => part.length > 0);
  // The largest chunk on whose borders every part begins and ends; the last one may end anywhere.
  let bits = wholeFile;
  let aligned = !beyond;
  let end = 0;
  for (const [i, { offset, length }] of parts.entries()) {
    const stop = offset + length;
    end = i === parts.length - 1 ? align(stop, block) : stop;
    aligned &&= offset % block === 0 && end % block === 0;
    bits = Math.min(bits, trailingZeros(offset) - blockBits, trailingZeros(end) - blockBits);
  }
  if (!aligned || bits < 0) bits = 3;
  const size = 2 ** (bits + blockBits);
  const count = Math.ceil(node.size / size);
  if (count > chunksLimit) throw invalidTar(`a sparse file has ${node.size} bytes in parts too small to be addressed`);
  const blocks = new Array<number>(count).fill(hole);
  const copied: Chunks['copied'] = [];
  let from = node.data;
  for (const { offset, length } of parts) {
    if (aligned) {
      for (let at = offset; at < offset + length; at += size) blocks[at / size] = (from + at - offset) / block;
    } else copyPart(copied, { offset, length, from, size });
    from += length;
  }
  return { bits, blocks, copied };
}

/**
 * The last file of a tar that ends in the middle of a block, without padding: the device ends before it, so the last
 * chunk is copied.
 */
function withoutPadding(node: Node): Chunks {
  let bits = 0;
  while (node.size / 2 ** (bits + blockBits) > 65_536) bits++;
  const size = 2 ** (bits + blockBits);
  const last = Math.ceil(node.size / size) - 1;
  const blocks = Array.from({ length: last + 1 }, (_, i) => (node.data + i * size) / block);
  return { bits, blocks, copied: [{ chunk: last, parts: [[0, node.data + last * size, node.size - last * size]] }] };
}

function storedSize(node: Node): number {
  return node.sparse ? node.sparse.reduce((sum, { length }) => sum + length, 0) : node.size;
}

function copyPart(
  copied: { chunk: number; parts: readonly (readonly [number, number, number])[] }[],
  { offset, length, from, size }: { offset: number; length: number; from: number; size: number },
): void {
  for (let at = offset; at < offset + length; ) {
    const chunk = Math.floor(at / size);
    const stop = Math.min((chunk + 1) * size, offset + length);
    const piece = [at - chunk * size, from + at - offset, stop - at] as const;
    const last = copied.at(-1);
    if (last?.chunk === chunk) last.parts = [...last.parts, piece];
    else copied.push({ chunk, parts: [piece] });
    at = stop;
  }
}

function writeChunks(index: Buffer, place: Place, tar: number): void {
  const { blocks, copied, bits } = place.chunks!;
  let at = align(place.offset + inodeSize + (place.xattrs?.length ?? 0), 8);
  const indexOf = new Map(copied.map(({ chunk }, i) => [chunk, place.dataBlock + i * 2 ** bits]));
  for (const [chunk, onTar] of blocks.entries()) {
    const inIndex = indexOf.get(chunk);
    index.writeUInt16LE(inIndex === undefined && onTar !== hole ? tarDevice : 0, at + 2);
    index.writeUInt32LE(inIndex ?? onTar, at + 4);
    at += 8;
  }
  for (const { chunk, parts } of copied) {
    for (const [into, from, length] of parts) {
      const position = indexOf.get(chunk)! * block + into;
      if (readSync(tar, index, position, length, from) !== length) throw invalidTar('unexpected end of archive');
    }
  }
}

function trailingZeros(value: number): number {
  if (value === 0) return 52;
  let zeros = 0;
  while (value % 2 === 0) {
    value /= 2;
    zeros++;
  }
  return zeros;
}

function align(value: number, to: number): number {
  return Math.ceil(value / to) * to;
}

function writeU64(into: Buffer, value: number, at: number): void {
  into.writeUInt32LE(value % 2 ** 32, at);
  into.writeUInt32LE(Math.floor(value / 2 ** 32), at + 4);
}
