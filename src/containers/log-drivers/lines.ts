import { randomBytes } from 'node:crypto';
import type { LogMessage } from './message.ts';

const newline = 0x0a;

interface Unfinished {
  readonly id: string;
  ordinal: number;
}

/** Puts together what a log file in Docker's json-file form says. Lines of anything else are left out. */
export class LogLines {
  #carry = Buffer.alloc(0);
  readonly #unfinished = new Map<string, Unfinished>();

  /** Bytes that were fed and belong to a line that has not ended. */
  get pending(): number {
    return this.#carry.length;
  }

  feed(chunk: Buffer): LogMessage[] {
    const data = this.#carry.length > 0 ? Buffer.concat([this.#carry, chunk]) : chunk;
    const messages: LogMessage[] = [];
    let from = 0;
    for (let end = data.indexOf(newline); end >= 0; end = data.indexOf(newline, from)) {
      const message = this.#message(data.toString('utf8', from, end));
      if (message) messages.push(message);
      from = end + 1;
    }
    this.#carry = Buffer.from(data.subarray(from));
    return messages;
  }

  /** What another file has goes on with a line of its own. */
  endOfFile(): void {
    this.#carry = Buffer.alloc(0);
  }

  #message(line: string): LogMessage | undefined {
    let parsed: { log?: unknown; stream?: unknown; time?: unknown };
    try {
      parsed = JSON.parse(line);
    } catch {
      return undefined;
    }
    const { log, stream, time } = parsed;
    if (typeof log !== 'string' || typeof time !== 'string') return undefined;
    const whole = log.endsWith('\n');
    const text = Buffer.from(whole ? log.slice(0, -1) : log);
    const from = stream === 'stderr' ? 'stderr' : 'stdout';
    return { text, stream: from, time, partial: this.#partial(from, whole) };
  }

  #partial(stream: string, last: boolean): LogMessage['partial'] {
    const before = this.#unfinished.get(stream);
    if (!before && last) return undefined;
    const one = before ?? { id: randomBytes(32).toString('hex'), ordinal: 0 };
    one.ordinal++;
    if (last) this.#unfinished.delete(stream);
    else this.#unfinished.set(stream, one);
    return { id: one.id, ordinal: one.ordinal, last };
  }
}
