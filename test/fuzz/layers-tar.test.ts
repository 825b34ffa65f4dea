import assert from 'node:assert/strict';
import { closeSync, mkdirSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { EngineError } from '../../src/base/errors.ts';
import { readDecompressed } from '../../src/layers/decompress.ts';
import { buildIndex } from '../../src/layers/erofs.ts';
import { extractTree } from '../../src/layers/extract.ts';
import { TarReader } from '../../src/layers/tar.ts';
import { packTar, tarEnd, tarHeader, tarPadding } from '../../src/layers/tar-writer.ts';
import { LayerTree } from '../../src/layers/tree.ts';

/** Seconds for each test; more for a longer search: BERTH_FUZZ_SECONDS=600. */
const seconds = Number(process.env.BERTH_FUZZ_SECONDS ?? 3);
const asRoot = process.getuid?.() === 0;

/** Repeatable: a failure names its seed. */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

const seedTars: readonly Buffer[] = [
  packTar([
    { name: 'd/', type: 'directory' },
    { name: 'd/f', content: 'x'.repeat(700), mtime: 5, mtimeNsec: 7, xattrs: new Map([['user.a', Buffer.from('b')]]) },
    { name: 'd/l', type: 'symlink', linkName: '../../..' },
    { name: 'd/l/up', content: 'through' },
    { name: 'd/h', type: 'hardlink', linkName: 'd/f' },
    { name: '.wh.gone' },
    { name: 'd/.wh..wh..opq' },
    { name: 'c', type: 'char', major: 1, minor: 3 },
    { name: 'p', type: 'fifo' },
    { name: 'n'.repeat(120), content: 'long' },
    { name: 'a', type: 'symlink', linkName: '/tmp' },
    { name: 'a/x', content: 'absolute' },
  ]),
  Buffer.concat([
    sparse('GNU.sparse.size=9000\n', 'GNU.sparse.map=0,512,4096,512\n'),
    tarHeader({ name: 's', size: 1024 }),
    Buffer.alloc(1024, 's'),
    tarEnd(),
  ]),
];

function sparse(...records: string[]): Buffer {
  const content = Buffer.from(records.map((text) => `${text.length + 3} ${text}`).join(''));
  const header = Buffer.from(tarHeader({ name: 'x', size: content.length }));
  header.write('x', 156);
  fixChecksum(header, 0);
  return Buffer.concat([header, content, tarPadding(content.length)]);
}

function fixChecksum(tar: Buffer, at: number): void {
  tar.write('        ', at + 148, 'latin1');
  let sum = 0;
  for (let i = at; i < at + 512; i++) sum += tar[i]!;
  tar.write(`${sum.toString(8).padStart(6, '0')}\0 `, at + 148, 'latin1');
}

const interesting = [
  '../',
  '/',
  '\0',
  '.wh.',
  '.wh..wh..opq',
  '7777777',
  '\x80\0\0\0',
  '\xff\xff\xff\xff',
  'x',
  'L',
  'S',
  '1',
  '2',
  '5',
];

function mutate(original: Buffer, next: () => number): Buffer {
  let tar = Buffer.from(original);
  const rounds = 1 + Math.floor(next() * 4);
  for (let i = 0; i < rounds; i++) {
    const at = Math.floor(next() * tar.length);
    const kind = next();
    if (kind < 0.3) tar[at] = Math.floor(next() * 256);
    else if (kind < 0.6) {
      const word = interesting[Math.floor(next() * interesting.length)]!;
      // Often into the fields that matter.
      const field = [0, 100, 108, 124, 136, 156, 157, 257, 329, 345, 386][Math.floor(next() * 11)]!;
      tar.write(word, Math.min((at & ~511) + field, tar.length - word.length), 'latin1');
    } else if (kind < 0.75) {
      const from = at & ~511;
      tar = Buffer.concat([tar.subarray(0, from), tar.subarray(from, from + 512), tar.subarray(from)]);
    } else if (kind < 0.9) {
      const from = at & ~511;
      tar = Buffer.concat([tar.subarray(0, from), tar.subarray(from + 512)]);
    } else tar = tar.subarray(0, at);
    if (tar.length < 512) return tar;
  }
  // Else most would end at the checksum.
  for (let at = 0; at + 512 <= tar.length; at += 512) if (next() < 0.9 && tar[at + 257] === 0x75) fixChecksum(tar, at);
  return tar;
}

function readTree(tar: Buffer, next: () => number): LayerTree | undefined {
  const tree = new LayerTree({ maxEntries: 1000 });
  const reader = new TarReader({ entry: (entry) => tree.add(entry) });
  try {
    for (let at = 0; at < tar.length; ) {
      const length = 1 + Math.floor(next() * 1500);
      reader.push(tar.subarray(at, at + length));
      at += length;
    }
    reader.finish();
  } catch (error) {
    if (error instanceof EngineError && error.kind === 'invalid') return undefined;
    throw error;
  }
  return tree;
}

test('whatever a tar holds, it is refused as invalid or gives an index and a tree inside its place (S05, S16)', () => {
  const place = mkdtempSync(join(tmpdir(), 'berth-fuzz-'));
  const path = join(place, 'tar');
  const outside = readdirSync('/tmp').filter((name) => name === 'x' || name === 'up');
  let taken = 0;
  let seed = Number(process.env.BERTH_FUZZ_SEED ?? Date.now() % 1_000_000);
  const end = Date.now() + seconds * 1000;
  try {
    for (; Date.now() < end; seed++) {
      const next = random(seed);
      const tar = mutate(seedTars[Math.floor(next() * seedTars.length)]!, next);
      try {
        const tree = readTree(tar, next);
        if (!tree) continue;
        taken++;
        writeFileSync(path, tar);
        const fd = openSync(path, 'r');
        try {
          const index = buildIndex(tree.root, { tarSize: tar.length, tar: fd });
          assert.equal(index.length % 512, 0);
          if (asRoot && taken % 5 === 0 && sizesBelow(tree.root) < 10_000_000) {
            const into = join(place, 'into');
            mkdirSync(into);
            extractTree(tree.root, { tar: fd, into });
            rmSync(into, { recursive: true });
          }
        } catch (error) {
          if (!(error instanceof EngineError && error.kind === 'invalid')) throw error;
          rmSync(join(place, 'into'), { recursive: true, force: true });
        } finally {
          closeSync(fd);
        }
      } catch (error) {
        throw new Error(`seed ${seed}`, { cause: error });
      }
    }
    assert.ok(taken > 0);
    assert.deepEqual(readdirSync(place), ['tar']);
    assert.deepEqual(
      readdirSync('/tmp').filter((name) => name === 'x' || name === 'up'),
      outside,
    );
  } finally {
    rmSync(place, { recursive: true, force: true });
  }
});

function sizesBelow(node: LayerTree['root']): number {
  let sum = node.size;
  for (const child of node.children?.values() ?? []) sum += sizesBelow(child);
  return sum;
}

test('a tar reads the same in pieces of any size', () => {
  const entriesOf = (tar: Buffer, size: number) => {
    const seen: unknown[] = [];
    const reader = new TarReader({
      entry: (entry) => seen.push(entry),
      data: (piece) => {
        const last = seen.at(-1);
        if (typeof last === 'string') seen[seen.length - 1] = last + piece.toString('latin1');
        else if (piece.length > 0) seen.push(piece.toString('latin1'));
      },
    });
    for (let at = 0; at < tar.length; at += size) reader.push(tar.subarray(at, at + size));
    reader.finish();
    return seen;
  };
  for (const tar of seedTars) {
    const whole = entriesOf(tar, tar.length);
    for (const size of [1, 7, 511, 512, 513, 1000]) assert.deepEqual(entriesOf(tar, size), whole);
  }
});

test('whatever compressed data holds, it is refused as invalid or gives bytes (S06, S16)', async () => {
  const place = mkdtempSync(join(tmpdir(), 'berth-fuzz-'));
  const path = join(place, 'blob');
  const content = readFileSync(import.meta.filename);
  const blobs = [
    gzipSync(content),
    zstdCompressSync(content),
    Buffer.concat([zstdCompressSync(content), zstdCompressSync(content)]),
  ];
  let seed = Number(process.env.BERTH_FUZZ_SEED ?? Date.now() % 1_000_000);
  const end = Date.now() + seconds * 1000;
  try {
    for (; Date.now() < end; seed++) {
      const next = random(seed);
      const blob = Buffer.from(blobs[Math.floor(next() * blobs.length)]!);
      for (let i = 0; i < 3; i++) blob[Math.floor(next() ** 3 * blob.length)] = Math.floor(next() * 256);
      writeFileSync(path, next() < 0.2 ? blob.subarray(0, Math.floor(next() * blob.length)) : blob);
      try {
        let size = 0;
        for await (const piece of readDecompressed(path, () => {})) if ((size += piece.length) > 10_000_000) break;
      } catch (error) {
        if (error instanceof EngineError && error.kind === 'invalid') continue;
        throw new Error(`seed ${seed}`, { cause: error });
      }
    }
    assert.deepEqual(readdirSync(place), ['blob']);
  } finally {
    rmSync(place, { recursive: true, force: true });
  }
});
