import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { codeOf, EngineError } from '../../base/errors.ts';
import { UnixDatagram } from '../../sys/unix-datagram.ts';
import type { LogMessage, LogSink } from './message.ts';

/** Where journald listens (systemd.io/JOURNAL_NATIVE_PROTOCOL). */
export const journalSocket = '/run/systemd/journal/socket';

const error = '3';
const information = '6';

/** Opens the driver `journald`; `fields` stand in every entry. Throws `internal` in Docker's words when nobody listens. */
export async function openJournald(fields: Readonly<Record<string, string>>, path: string): Promise<LogSink> {
  return new JournaldSink(fields, path);
}

class JournaldSink implements LogSink {
  readonly #fields: readonly Buffer[];
  readonly #path: string;
  readonly #epoch = randomBytes(32).toString('hex');
  #ordinal = 0;
  #socket: UnixDatagram | undefined;

  constructor(fields: Readonly<Record<string, string>>, path: string) {
    this.#fields = Object.entries(fields).map(([name, value]) => field(name, Buffer.from(value)));
    this.#path = path;
    this.#socket = this.#open();
  }

  #open(): UnixDatagram {
    try {
      return new UnixDatagram(this.#path);
    } catch (cause) {
      throw new EngineError('internal', 'journald is not enabled on this host', {
        cause,
        hint: 'start systemd-journald, or use another driver: --log-driver local',
      });
    }
  }

  async send(messages: readonly LogMessage[]): Promise<void> {
    this.#socket ??= this.#open();
    try {
      for (const message of messages) await this.#sendOne(this.#socket, message);
    } catch (failure) {
      this.#socket[Symbol.dispose]();
      this.#socket = undefined;
      throw failure;
    }
  }

  async #sendOne(socket: UnixDatagram, message: LogMessage): Promise<void> {
    this.#ordinal++;
    for (let { text } = message; ; ) {
      const entry = Buffer.concat([...this.#fields, ...this.#ownFields(message), field('MESSAGE', text)]);
      try {
        if (socket.send(entry)) return;
        await sleep(5);
      } catch (failure) {
        if (codeOf(failure) !== 'EMSGSIZE' || text.length < 1024) throw failure;
        text = text.subarray(0, text.length >> 1);
      }
    }
  }

  #ownFields({ stream, time, partial }: LogMessage): Buffer[] {
    return Object.entries({
      PRIORITY: stream === 'stderr' ? error : information,
      SYSLOG_TIMESTAMP: time,
      CONTAINER_LOG_EPOCH: this.#epoch,
      CONTAINER_LOG_ORDINAL: String(this.#ordinal),
      ...(partial && {
        CONTAINER_PARTIAL_ID: partial.id,
        CONTAINER_PARTIAL_ORDINAL: String(partial.ordinal),
        CONTAINER_PARTIAL_LAST: String(partial.last),
        ...(!partial.last && { CONTAINER_PARTIAL_MESSAGE: 'true' }),
      }),
    }).map(([name, value]) => field(name, Buffer.from(value)));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#socket?.[Symbol.dispose]();
    this.#socket = undefined;
  }
}

/** One field of an entry: as text where it is one line, else with its length as 64 bits, the lowest first. */
export function field(name: string, value: Buffer): Buffer {
  if (!value.includes(0x0a)) return Buffer.concat([Buffer.from(`${name}=`), value, Buffer.from('\n')]);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(value.length));
  return Buffer.concat([Buffer.from(`${name}\n`), length, value, Buffer.from('\n')]);
}

/** A name that the journal takes (systemd.journal-fields(7)): capitals, digits and `_`, which is not the first. */
export function fieldName(text: string): string {
  return text
    .toUpperCase()
    .replace(/[^A-Z0-9_]/g, '_')
    .replace(/^_+/, '');
}
