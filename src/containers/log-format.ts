import { millisecondsOf } from './time.ts';

export interface LogFormat {
  /** Raw bytes instead of frames. */
  readonly tty: boolean;
  readonly stdout: boolean;
  readonly stderr: boolean;
  /** Nanoseconds since 1970. */
  readonly since: bigint | undefined;
  readonly until: bigint | undefined;
  readonly timestamps: boolean;
  /** In front of each line, `undefined` nothing. */
  readonly details: string | undefined;
}

const quote = 0x22;
const backslash = 0x5c;
const newline = 0x0a;
const lineStart = Buffer.from('{"log":"');
const streamKey = Buffer.from('","stream":"std');
const timeKey = Buffer.from('","time":"');
/** `2026-11-23T07:50:29.013684318Z` */
const fixedTimeLength = 30;

/**
 * Turns Docker's json-file lines into what `docker logs` gets. Bytes are copied without a string in between: this is
 * what a read of the whole log costs. A line in another form than ours (escapes, attributes, other time zones) takes the
 * slow way through JSON.parse; one that is no JSON is left out, as after a crash in the middle of it.
 */
export class LogFormatter {
  readonly #format: LogFormat;
  readonly #since: Buffer | undefined;
  readonly #until: Buffer | undefined;
  readonly #details: Buffer;
  readonly #time = Buffer.alloc(fixedTimeLength);
  #carry: Buffer = Buffer.alloc(0);
  #out: Buffer = Buffer.alloc(0);
  #length = 0;
  /** A line after `until` was seen: what follows is later still. */
  done = false;

  constructor(format: LogFormat) {
    this.#format = format;
    this.#since = format.since === undefined ? undefined : Buffer.from(fixedTime(format.since));
    this.#until = format.until === undefined ? undefined : Buffer.from(fixedTime(format.until));
    this.#details = Buffer.from(format.details === undefined ? '' : `${format.details} `);
  }

  /** What the complete lines in here become. A half line at the end waits for its rest. */
  feed(chunk: Buffer): Buffer {
    const data = this.#carry.length > 0 ? Buffer.concat([this.#carry, chunk]) : chunk;
    // A line's JSON is longer than frame header and time: without details the output never outgrows the input.
    const extra = this.#details.length > 0 ? this.#details.length * (1 + Math.ceil(data.length / 50)) : 0;
    this.#out = Buffer.allocUnsafe(data.length + extra + 64);
    this.#length = 0;
    let from = 0;
    for (;;) {
      const end = data.indexOf(newline, from);
      if (end < 0 || this.done) break;
      if (!this.#fast(data, from, end)) this.#slow(data.subarray(from, end));
      from = end + 1;
    }
    this.#carry = from < data.length ? Buffer.from(data.subarray(from)) : Buffer.alloc(0);
    return this.#out.subarray(0, this.#length);
  }

  /** The other file goes on with a line of its own. */
  endOfFile(): void {
    this.#carry = Buffer.alloc(0);
  }

  #fast(data: Buffer, from: number, end: number): boolean {
    if (end - from < 60 || data[end - 1] !== 0x7d || data[end - 2] !== quote) return false;
    if (!matches(data, from, lineStart)) return false;
    const timeEnd = end - 2;
    let timeStart = timeEnd - 1;
    while (data[timeStart - 1] !== quote) if (timeEnd - --timeStart > 36) return false;
    const keyStart = timeStart - timeKey.length;
    // `"stdout"` and `"stderr"` are of one length.
    const logEnd = keyStart - 3 - streamKey.length;
    const logStart = from + lineStart.length;
    if (logEnd < logStart || !matches(data, keyStart, timeKey) || !matches(data, logEnd, streamKey)) return false;
    const error = data[keyStart - 3] === 0x65;
    if (!error && data[keyStart - 3] !== 0x6f) return false;
    if (!this.#readTime(data, timeStart, timeEnd)) return false;
    if (!this.#wanted(error)) return true;
    const head = this.#startFrame(error);
    if (!this.#copyText(data, logStart, logEnd)) {
      this.#length = head;
      return false;
    }
    this.#endFrame(head);
    return true;
  }

  /** Copies the inside of a JSON string. False when it has an escape that the slow way must read, or ends early. */
  #copyText(data: Buffer, start: number, end: number): boolean {
    const out = this.#out;
    let length = this.#length;
    for (let at = start; at < end; at++) {
      let byte = data[at]!;
      if (byte === quote) return false;
      if (byte === backslash) {
        byte = unescaped(data[++at]!);
        if (byte === 0 || at >= end) return false;
      }
      out[length++] = byte;
    }
    this.#length = length;
    return true;
  }

  #slow(line: Buffer): void {
    let parsed: { log?: unknown; stream?: unknown; time?: unknown };
    try {
      parsed = JSON.parse(line.toString('utf8'));
    } catch {
      return;
    }
    const { log, stream, time } = parsed;
    if (typeof log !== 'string' || typeof time !== 'string') return;
    const bytes = Buffer.from(time);
    if (!this.#readTime(bytes, 0, bytes.length)) {
      const milliseconds = millisecondsOf(time);
      if (Number.isNaN(milliseconds)) return;
      this.#time.write(fixedTime(BigInt(milliseconds) * 1_000_000n));
    }
    const error = stream === 'stderr';
    if (!this.#wanted(error)) return;
    const text = Buffer.from(log);
    this.#room(text.length + 128 + this.#details.length);
    const head = this.#startFrame(error);
    this.#length += text.copy(this.#out, this.#length);
    this.#endFrame(head);
  }

  /** Into `#time`, with all nine digits, so that times compare as bytes. */
  #readTime(data: Buffer, start: number, end: number): boolean {
    const time = this.#time;
    const digits = end - 1 - (start + 20);
    if (data[end - 1] !== 0x5a || digits > 9 || end - start < 20) return false;
    // Only copied where somebody looks.
    if (!this.#since && !this.#until && !this.#format.timestamps) return true;
    for (let at = 0; at < 19; at++) time[at] = data[start + at]!;
    time[19] = 0x2e;
    for (let digit = 0; digit < 9; digit++) time[20 + digit] = digit < digits ? data[start + 20 + digit]! : 0x30;
    time[29] = 0x5a;
    return true;
  }

  #wanted(error: boolean): boolean {
    if (this.#until && Buffer.compare(this.#time, this.#until) > 0) {
      this.done = true;
      return false;
    }
    if (this.#since && Buffer.compare(this.#time, this.#since) < 0) return false;
    return error ? this.#format.stderr : this.#format.stdout;
  }

  #startFrame(error: boolean): number {
    const head = this.#length;
    if (!this.#format.tty) {
      this.#out[head] = error ? 2 : 1;
      this.#out[head + 1] = this.#out[head + 2] = this.#out[head + 3] = 0;
      this.#length += 8;
    }
    if (this.#format.timestamps) {
      this.#length += this.#time.copy(this.#out, this.#length);
      this.#out[this.#length++] = 0x20;
    }
    if (this.#details.length > 0) this.#length += this.#details.copy(this.#out, this.#length);
    return head;
  }

  #endFrame(head: number): void {
    if (!this.#format.tty) this.#out.writeUInt32BE(this.#length - head - 8, head + 4);
  }

  #room(bytes: number): void {
    if (this.#out.length - this.#length >= bytes) return;
    const larger = Buffer.allocUnsafe(this.#out.length + bytes + 65_536);
    this.#out.copy(larger, 0, 0, this.#length);
    this.#out = larger;
  }
}

function matches(data: Buffer, at: number, text: Buffer): boolean {
  for (let n = 0; n < text.length; n++) if (data[at + n] !== text[n]) return false;
  return true;
}

/** The byte that a one-letter escape stands for; 0 for any other. */
function unescaped(letter: number): number {
  switch (letter) {
    case 0x6e:
      return newline;
    case 0x72:
      return 0x0d;
    case 0x74:
      return 0x09;
    case quote:
    case backslash:
    case 0x2f:
      return letter;
    case 0x62:
      return 0x08;
    case 0x66:
      return 0x0c;
    default:
      return 0;
  }
}

function fixedTime(nanoseconds: bigint): string {
  const seconds = nanoseconds / 1_000_000_000n - (nanoseconds < 0n && nanoseconds % 1_000_000_000n !== 0n ? 1n : 0n);
  const rest = nanoseconds - seconds * 1_000_000_000n;
  const clamped = Math.min(Math.max(Number(seconds), -62_135_596_800), 253_402_300_799);
  const date = new Date(clamped * 1000).toISOString();
  return `${date.slice(0, 19)}.${String(rest).padStart(9, '0')}Z`;
}
