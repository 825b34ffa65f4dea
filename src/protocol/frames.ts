/** Docker's framing of the output of a process without a terminal: `[stream,0,0,0,length be32]payload`. */
export type StreamType = 0 | 1 | 2 | 3;

export const headerSize = 8;

export function frame(type: StreamType, payload: Uint8Array | string): Buffer {
  const bytes = typeof payload === 'string' ? Buffer.from(payload) : payload;
  const framed = Buffer.allocUnsafe(headerSize + bytes.length);
  framed.writeUInt32BE(type * 0x1000000, 0);
  framed.writeUInt32BE(bytes.length, 4);
  framed.set(bytes, headerSize);
  return framed;
}

/** Takes frames apart again, however they were cut on the way. Payloads are handed on as they come, in parts. */
export class FrameReader {
  readonly #each: (type: StreamType, payload: Buffer) => void;
  readonly #header = Buffer.alloc(headerSize);
  #have = 0;
  #left = 0;

  constructor(each: (type: StreamType, payload: Buffer) => void) {
    this.#each = each;
  }

  /** Whether the stream may end here. */
  get whole(): boolean {
    return this.#have === 0 && this.#left === 0;
  }

  /** Throws when it is no frame: the stream is then lost. */
  push(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length) {
      if (this.#left > 0) {
        const end = Math.min(chunk.length, at + this.#left);
        this.#left -= end - at;
        this.#each(this.#header[0] as StreamType, chunk.subarray(at, end));
        at = end;
        continue;
      }
      const taken = Math.min(headerSize - this.#have, chunk.length - at);
      chunk.copy(this.#header, this.#have, at, at + taken);
      this.#have += taken;
      at += taken;
      if (this.#have < headerSize) return;
      this.#have = 0;
      if (this.#header[0]! > 3) throw new Error(`unrecognized stream: ${this.#header[0]}`);
      this.#left = this.#header.readUInt32BE(4);
    }
  }
}
