/**
 * Asks the name server of the namespace that it runs in: `NAME TYPE [tcp]`; prints the code and the answers. Asked for
 * `serve ADDRESS NAME=ADDRESS..` it is a name server itself, which prints each name that it is asked for; `flood` sends
 * what no sane program sends.
 */
import { createSocket } from 'node:dgram';
import { connect, createServer } from 'node:net';
import { composeAnswer, encodeName, parseQuestion } from '../../src/networks/dns-packet.ts';
import { addressBytes } from '../../src/sys/address-bytes.ts';

const types: Record<string, number> = { A: 1, PTR: 12, TXT: 16, AAAA: 28 };
const framed = (packet: Buffer) => Buffer.concat([Buffer.of(packet.length >> 8, packet.length & 255), packet]);

export function query(name: string, type: string, id = 4711): Buffer {
  const header = Buffer.from([id >> 8, id & 255, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
  return Buffer.concat([header, encodeName(name)!, Buffer.from([0, types[type]!, 0, 1])]);
}

/** `0 10.0.0.1 10.0.0.2`: the code, and what stands in the records, sorted. */
function read(packet: Buffer): string {
  let at = parseEnd(packet);
  const answers: string[] = [];
  for (let left = packet.readUInt16BE(6); left > 0; left--) {
    const length = packet.readUInt16BE(at + 10);
    const data = packet.subarray(at + 12, at + 12 + length);
    answers.push(length === 4 ? [...data].join('.') : packet[at + 3] === 12 ? labels(data) : data.toString('hex'));
    at += 12 + length;
  }
  return [packet[3]! & 15, ...answers.sort()].join(' ');
}

function parseEnd(packet: Buffer): number {
  const question = Buffer.from(packet);
  question[2]! &= 0x7f;
  return parseQuestion(question)?.end ?? packet.length;
}

function labels(data: Buffer): string {
  const found: string[] = [];
  for (let at = 0; data[at]; at += data[at]! + 1) found.push(data.toString('latin1', at + 1, at + 1 + data[at]!));
  return found.join('.');
}

function serve(address: string, zone: readonly string[]): void {
  const known = new Map(zone.map((entry) => entry.split('=') as [string, string]));
  const answer = (packet: Buffer) => {
    const question = parseQuestion(packet);
    if (!question) return undefined;
    process.stdout.write(`${question.name}\n`);
    const found = known.get(question.name ?? '');
    const data = found && question.type === 1 ? [addressBytes(found)] : [];
    return composeAnswer(packet, question, data, { code: found ? 0 : 3 });
  };
  const udp = createSocket('udp4');
  udp.on('message', (packet, from) => {
    const said = answer(packet);
    if (said) udp.send(said, from.port, from.address);
  });
  udp.bind(53, address, () => process.stdout.write('serving\n'));
  createServer((socket) => {
    socket.on('error', () => {});
    socket.on('data', (data) => {
      const said = answer(data.subarray(2));
      if (said) socket.end(framed(said));
    });
  }).listen(53, address);
}

/** Garbage, cut and doubled queries, thousands of questions at once, and TCP that announces 64 KiB and brings none. */
async function flood(): Promise<void> {
  const socket = createSocket('udp4');
  const good = query('nobody.example.org', 'A');
  for (let round = 0; round < 3_000; round++) {
    const bytes = Buffer.from(good);
    bytes[round % bytes.length] = round % 251;
    socket.send(round % 3 === 0 ? bytes.subarray(0, round % 40) : bytes, 53, '127.0.0.11');
    if (round % 100 === 0) await new Promise((resolve) => setTimeout(resolve, 5));
  }
  const open = Array.from({ length: 100 }, (_, number) => {
    const one = connect(53, '127.0.0.11', () => one.write(Buffer.alloc(number * 300, 255)));
    return one.on('error', () => {});
  });
  await new Promise((resolve) => setTimeout(resolve, 500));
  for (const one of open) one.destroy();
  socket.close();
  process.stdout.write('done');
}

if (import.meta.main) {
  const [name = '', type = 'A', transport = 'udp', ...more] = process.argv.slice(2);
  if (name === 'serve') serve(type, [transport, ...more]);
  else if (name === 'flood') await flood();
  else {
    const packet = query(name, type);
    const late = setTimeout(() => process.exit(1), 6_000);
    const done = (answer: Buffer) => {
      process.stdout.write(read(answer));
      clearTimeout(late);
      process.exit(0);
    };
    if (transport === 'tcp') {
      const socket = connect(53, '127.0.0.11', () => socket.write(framed(packet)));
      socket.on('data', (data) => done(data.subarray(2)));
    } else {
      const socket = createSocket('udp4');
      socket.on('message', done);
      socket.send(packet, 53, '127.0.0.11');
    }
  }
}
