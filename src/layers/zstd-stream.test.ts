import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { constants, zstdCompressSync } from 'node:zlib';
import { decompressZstd } from './zstd-stream.ts';

async function* inPieces(bytes: Buffer, size: number) {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

async function content(bytes: Buffer, size = 65_536): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const part of decompressZstd(inPieces(bytes, size))) parts.push(part);
  return Buffer.concat(parts);
}

const skippable = (length: number) => {
  const frame = Buffer.alloc(8 + length, 7);
  frame.writeUInt32LE(0x184d2a53);
  frame.writeUInt32LE(length, 4);
  return frame;
};
const checked = { params: { [constants.ZSTD_c_checksumFlag]: 1 } };

test('every frame of a stream is read, however the stream is cut', async () => {
  const parts = [Buffer.from('first'), Buffer.alloc(0), Buffer.alloc(300_000, 'abc'), randomBytes(1000)];
  const frames = parts.map((part, at) => zstdCompressSync(part, at % 2 === 0 ? checked : {}));
  const stream = Buffer.concat([skippable(0), frames[0]!, skippable(5000), ...frames.slice(1), skippable(3)]);
  for (const size of [1, 2, 3, 7, 1000, stream.length])
    assert.deepEqual(await content(stream, size), Buffer.concat(parts), `in pieces of ${size}`);
});

test('large frames and those that grow much are read too', async () => {
  const parts = [randomBytes(700_000), Buffer.alloc(40_000_000), randomBytes(300_000)];
  const stream = Buffer.concat(parts.map((part) => zstdCompressSync(part, checked)));
  assert.ok((await content(stream)).equals(Buffer.concat(parts)));
});

test('a stream that ends inside a frame, or goes on with something else, is refused', async () => {
  const frame = zstdCompressSync(randomBytes(400_000), checked);
  for (const length of [3, 7, 9, 100, 200_000, frame.length - 1])
    await assert.rejects(content(Buffer.concat([frame, frame.subarray(0, length)])), {
      kind: 'invalid',
      message: /cut off/,
    });
  await assert.rejects(content(Buffer.concat([frame, Buffer.from('something else')])), { kind: 'invalid' });
  await assert.rejects(content(Buffer.concat([skippable(10).subarray(0, 12)])), {
    kind: 'invalid',
    message: /cut off/,
  });
});
