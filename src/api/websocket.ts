import { createHash } from 'node:crypto';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { EngineError } from '../base/errors.ts';
import type { ApiRequest } from './request.ts';
import { watchHangUp } from './taken-client.ts';

/** WebSocket (RFC 6455), as much of it as attach needs: binary messages both ways, ping, close. */

const magic = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';
const largestFrame = 16 * 1024 * 1024;
/** What a client has left lying before its pings are passed over. */
const mostUnread = 64 * 1024;

export const opcodes = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const;

export function encodeFrame(opcode: number, payload: Uint8Array): Buffer {
  const { length } = payload;
  const head =
    length < 126
      ? Buffer.from([0x80 | opcode, length])
      : length < 65536
        ? Buffer.from([0x80 | opcode, 126, length >> 8, length & 0xff])
        : Buffer.alloc(10);
  if (length >= 65536) {
    head[0] = 0x80 | opcode;
    head[1] = 127;
    head.writeBigUInt64BE(BigInt(length), 2);
  }
  return Buffer.concat([head, payload]);
}

/** Takes a client's frames apart. `push` throws when they break the protocol. */
export class FrameParser {
  readonly #each: (opcode: number, payload: Buffer) => void;
  #kept: Buffer = Buffer.alloc(0);

  constructor(each: (opcode: number, payload: Buffer) => void) {
    this.#each = each;
  }

  push(chunk: Buffer): void {
    this.#kept = this.#kept.length === 0 ? chunk : Buffer.concat([this.#kept, chunk]);
    for (;;) {
      const kept = this.#kept;
      if (kept.length < 2) return;
      const short = kept[1]! & 0x7f;
      const at = short === 126 ? 4 : short === 127 ? 10 : 2;
      if (kept.length < at + 4) return;
      const length = short === 126 ? kept.readUInt16BE(2) : short === 127 ? Number(kept.readBigUInt64BE(2)) : short;
      if (length > largestFrame) throw new EngineError('invalid', 'WebSocket frame too large');
      // Section 5.1: a client masks, and nothing that was not agreed on is set.
      if ((kept[1]! & 0x80) === 0 || (kept[0]! & 0x70) !== 0)
        throw new EngineError('invalid', 'malformed WebSocket frame');
      if (kept.length < at + 4 + length) return;
      const mask = kept.subarray(at, at + 4);
      const payload = Buffer.from(kept.subarray(at + 4, at + 4 + length));
      for (let i = 0; i < payload.length; i++) payload[i]! ^= mask[i & 3]!;
      this.#kept = kept.subarray(at + 4 + length);
      this.#each(kept[0]! & 0x0f, payload);
    }
  }
}

export async function serveWebSocket(
  request: ApiRequest,
  socket: Socket,
  head: Buffer,
  open: () => Promise<Duplex>,
): Promise<void> {
  const key = request.header('sec-websocket-key') ?? '';
  if (Buffer.from(key, 'base64').length !== 16 || request.header('sec-websocket-version') !== '13')
    throw new EngineError('invalid', 'malformed WebSocket handshake');
  const attached = await open();
  const accept = createHash('sha1')
    .update(key + magic)
    .digest('base64');
  socket.write(
    `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`,
  );
  const bye = (code: number) => {
    if (socket.writable) socket.end(encodeFrame(opcodes.close, Buffer.from([code >> 8, code & 0xff])));
    setTimeout(() => socket.destroy(), 1000).unref();
  };
  const parser = new FrameParser((opcode, payload) => {
    if (opcode === opcodes.close) {
      attached.destroy();
      bye(1000);
    } else if (opcode === opcodes.ping) {
      // Section 5.5.3: the last of several may be all that is answered. Who never reads is not answered for ever.
      if (socket.writableLength < mostUnread) socket.write(encodeFrame(opcodes.pong, payload));
    } else if (opcode <= opcodes.binary && attached.writable && !attached.write(payload)) {
      socket.pause();
      attached.once('drain', () => socket.resume());
    }
  });
  const take = (chunk: Buffer) => {
    try {
      parser.push(chunk);
    } catch {
      attached.destroy();
      bye(1002);
    }
  };
  attached.on('error', () => bye(1011));
  attached.on('data', (chunk: Buffer) => {
    if (socket.writable && !socket.write(encodeFrame(opcodes.binary, chunk))) {
      attached.pause();
      socket.once('drain', () => attached.resume());
    }
  });
  attached.once('end', () => bye(1000));
  attached.once('close', () => socket.resume());
  socket.once('close', () => attached.destroy());
  // While its input waits for the process nothing is read, and its end would not be seen.
  watchHangUp(socket);
  socket.once('end', () => attached.destroy());
  socket.on('data', take);
  if (head.length > 0) take(head);
  if (socket.destroyed) attached.destroy();
}
