/** ctrl-p ctrl-q */
export const defaultDetachKeys = Buffer.from([16, 17]);

/**
 * Finds the detach sequence in what a client types, also when it comes in pieces. Bytes that may be its start are held
 * back until it is clear, and forwarded when it was not.
 */
export class DetachScanner {
  readonly #keys: Buffer;
  #matched = 0;

  constructor(keys: Buffer) {
    this.#keys = keys;
  }

  /** What goes on to the container, and whether the sequence is complete; what follows it is dropped. */
  scan(chunk: Buffer): { readonly forward: Buffer; readonly detached: boolean } {
    const keys = this.#keys;
    // Nothing typed so far matches and the first key is not in here: the whole chunk as it is.
    if (keys.length === 0 || (this.#matched === 0 && !chunk.includes(keys[0]!)))
      return { forward: chunk, detached: false };
    const out = Buffer.allocUnsafe(chunk.length + this.#matched);
    let length = 0;
    for (const byte of chunk) {
      if (byte === keys[this.#matched]) {
        if (++this.#matched < keys.length) continue;
        this.#matched = 0;
        return { forward: out.subarray(0, length), detached: true };
      }
      if (this.#matched > 0) {
        // Of what was held, the longest end that may still start the sequence stays held.
        const held = Buffer.concat([keys.subarray(0, this.#matched), Buffer.of(byte)]);
        let keep = this.#matched;
        while (keep > 0 && !held.subarray(held.length - keep).equals(keys.subarray(0, keep))) keep--;
        length += held.copy(out, length, 0, held.length - keep);
        this.#matched = keep;
        continue;
      }
      out[length++] = byte;
    }
    return { forward: out.subarray(0, length), detached: false };
  }

  /** The bytes that are held back, when the input ends. */
  rest(): Buffer {
    const held = this.#keys.subarray(0, this.#matched);
    this.#matched = 0;
    return held;
  }
}
