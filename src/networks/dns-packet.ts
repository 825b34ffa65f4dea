/** DNS messages (RFC 1035) as far as a name server of containers needs them: one question, addresses and names as answers. */

export const dnsTypes = { A: 1, PTR: 12, AAAA: 28 } as const;
export const dnsCodes = { none: 0, formatError: 1, serverFailure: 2, notImplemented: 4 } as const;

const headerSize = 12;
const typeOpt = 41;
const classIn = 1;
/** Seconds; Docker's. */
const timeToLive = 600;
/** RFC 6891: what is asked for may be more than a datagram carries unharmed. */
const mostBytes = 1232;
const fewestBytes = 512;

export interface Question {
  readonly id: number;
  readonly opcode: number;
  /** Lower case, without the last dot. undefined: with bytes in it that no container's name has. */
  readonly name: string | undefined;
  readonly type: number;
  readonly class: number;
  readonly recursive: boolean;
  /** Where the question ends. */
  readonly end: number;
  /** The largest answer by UDP. */
  readonly size: number;
}

/**
 * Reads the question of a query, or undefined when this is none. Its name is the first of the message: a pointer in it
 * could lead nowhere, so there is none, and no loop.
 */
export function parseQuestion(packet: Uint8Array): Question | undefined {
  const view = Buffer.from(packet.buffer, packet.byteOffset, packet.length);
  if (view.length < headerSize + 5) return undefined;
  const flags = view.readUInt16BE(2);
  if ((flags & 0x8000) !== 0 || view.readUInt16BE(4) !== 1) return undefined;
  const labels: string[] = [];
  let at = headerSize;
  let plain = true;
  for (;;) {
    const length = view[at++];
    if (length === undefined || length > 63) return undefined;
    if (length === 0) break;
    const label = view.subarray(at, at + length);
    if (label.length < length) return undefined;
    at += length;
    if (at - headerSize > 254) return undefined;
    const text = label.toString('latin1').toLowerCase();
    plain &&= /^[\w-]+$/.test(text);
    labels.push(text);
  }
  if (at + 4 > view.length) return undefined;
  const end = at + 4;
  return {
    id: view.readUInt16BE(0),
    opcode: (flags >> 11) & 15,
    name: plain ? labels.join('.') : undefined,
    type: view.readUInt16BE(at),
    class: view.readUInt16BE(at + 2),
    recursive: (flags & 0x0100) !== 0,
    end,
    size: sizeOf(view, end),
  };
}

/** What the OPT record says that follows the question at once, as in every query that has one. */
function sizeOf(view: Buffer, at: number): number {
  const isAlone = view.readUInt16BE(6) === 0 && view.readUInt16BE(8) === 0 && view.readUInt16BE(10) > 0;
  if (!isAlone || at + 11 > view.length || view[at] !== 0 || view.readUInt16BE(at + 1) !== typeOpt) return fewestBytes;
  return Math.min(mostBytes, Math.max(fewestBytes, view.readUInt16BE(at + 3)));
}

/** An IN question of the standard kind: what a container's name can be the answer to. */
export const isPlain = ({ opcode, class: kind, name }: Question) =>
  opcode === 0 && kind === classIn && name !== undefined;

/** The answer to a query: `data` are the bytes of each record of the type that was asked for. */
export function composeAnswer(
  query: Uint8Array,
  question: Question,
  data: readonly Buffer[],
  { code = dnsCodes.none as number, size = 65_535 } = {},
): Buffer {
  const records: Buffer[] = [];
  let room = size - question.end;
  for (const bytes of data) {
    room -= 12 + bytes.length;
    if (room < 0) break;
    const record = Buffer.alloc(12);
    // The question's name stands behind the header.
    record.writeUInt16BE(0xc000 | headerSize, 0);
    record.writeUInt16BE(question.type, 2);
    record.writeUInt16BE(classIn, 4);
    record.writeUInt32BE(timeToLive, 6);
    record.writeUInt16BE(bytes.length, 10);
    records.push(record, bytes);
  }
  const header = Buffer.alloc(headerSize);
  header.writeUInt16BE(question.id, 0);
  const truncated = records.length < data.length * 2 ? 0x0200 : 0;
  header.writeUInt16BE(
    0x8000 | (question.opcode << 11) | truncated | (question.recursive ? 0x0100 : 0) | 0x0080 | code,
    2,
  );
  header.writeUInt16BE(1, 4);
  header.writeUInt16BE(records.length / 2, 6);
  return Buffer.concat([header, query.subarray(headerSize, question.end), ...records]);
}

/** The answer to what could not even be read; undefined when there is no number to answer to, or it is an answer itself. */
export function refuseUnread(query: Uint8Array): Buffer | undefined {
  if (query.length < headerSize || (query[2]! & 0x80) !== 0) return undefined;
  const header = Buffer.alloc(headerSize);
  header.set(query.subarray(0, 2), 0);
  header.writeUInt16BE(0x8080 | dnsCodes.formatError, 2);
  return header;
}

/** The bytes of a name: labels with their lengths. undefined when it is none. */
export function encodeName(name: string): Buffer | undefined {
  const labels = name.split('.').map((label) => Buffer.from(label, 'latin1'));
  if (labels.some(({ length }) => length === 0 || length > 63) || name.length > 253) return undefined;
  return Buffer.concat([...labels.flatMap((label) => [Buffer.of(label.length), label]), Buffer.of(0)]);
}

/** The address that a name for PTR stands for; undefined when it is none. */
export function reverseAddress(name: string): string | undefined {
  const four = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.in-addr\.arpa$/.exec(name);
  if (four) return four.slice(1).reverse().join('.');
  const six = /^((?:[\da-f]\.){32})ip6\.arpa$/.exec(name)?.[1];
  return six?.split('.').reverse().join('').match(/.{4}/g)?.join(':');
}

/** Is this the answer of a server to that query, sent with that number? */
export function isAnswerTo(answer: Uint8Array, query: Uint8Array, end: number, id: number): boolean {
  if (answer.length < end) return false;
  const view = Buffer.from(answer.buffer, answer.byteOffset, answer.length);
  if (view.readUInt16BE(0) !== id || (view[2]! & 0x80) === 0) return false;
  const asked = Buffer.from(query.subarray(headerSize, end)).toString('latin1').toLowerCase();
  return view.toString('latin1', headerSize, end).toLowerCase() === asked;
}

export const codeOfAnswer = (answer: Uint8Array) => answer[3]! & 15;

export function withId(packet: Uint8Array, id: number): Buffer {
  const copy = Buffer.from(packet);
  copy.writeUInt16BE(id, 0);
  return copy;
}
