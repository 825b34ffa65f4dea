import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fakeAttach, fakeContainer, fakeServer } from './fake-engine.ts';
import { encodeFrame, FrameParser } from './websocket.ts';

test('attach over a WebSocket carries bytes both ways', async () => {
  const { stream, output, input } = fakeAttach();
  const container = fakeContainer({}, { Image: 'x', OpenStdin: true, Tty: true });
  const folder = mkdtempSync(join(tmpdir(), 'berth-ws-'));
  const path = join(folder, 'api.sock');
  const { server } = fakeServer({ containers: { get: () => container, attach: async () => stream } });
  await server.listen(path);
  const socket = connect(path);
  socket.write(
    'GET /containers/web/attach/ws?stream=1&stdin=1&stdout=1 HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n',
  );
  const received: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => received.push(chunk));
  const mask = Buffer.from([1, 2, 3, 4]);
  const payload = Buffer.from('hello').map((byte, i) => byte ^ mask[i & 3]!);
  socket.write(Buffer.concat([Buffer.from([0x82, 0x85]), mask, payload]));
  const heard = await new Promise((resolve) => input.once('data', resolve));
  assert.equal(String(heard), 'hello');
  output.end('x'.repeat(70_000));
  await new Promise((resolve) => socket.once('close', resolve));
  const all = Buffer.concat(received);
  const head = all.indexOf('\r\n\r\n') + 4;
  // The key and its answer of RFC 6455, section 1.3.
  assert.match(all.subarray(0, head).toString(), /Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK\+xOo=\r\n/);
  let text = 0;
  let at = head;
  const opcodes: number[] = [];
  while (at < all.length) {
    const short = all[at + 1]! & 0x7f;
    const [length, skip] =
      short === 126
        ? [all.readUInt16BE(at + 2), 4]
        : short === 127
          ? [Number(all.readBigUInt64BE(at + 2)), 10]
          : [short, 2];
    opcodes.push(all[at]! & 15);
    if ((all[at]! & 15) === 2) text += length;
    at += skip + length;
  }
  assert.equal(text, 70_000);
  assert.equal(opcodes.at(-1), 8);
  await server.close();
  rmSync(folder, { recursive: true });
});

test('WebSocket frames that break the protocol are refused', () => {
  for (const bad of [
    [0x82, 0x05, 0, 0, 0, 0, 0],
    [0xf2, 0x80, 0, 0, 0, 0],
    [0x82, 0xff, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0],
  ])
    assert.throws(() => new FrameParser(() => {}).push(Buffer.from(bad)), { kind: 'invalid' });
  assert.equal(encodeFrame(2, Buffer.alloc(200)).length, 204);
});
