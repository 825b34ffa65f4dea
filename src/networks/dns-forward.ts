import { randomInt } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { connect, isIPv6 } from 'node:net';
import { codeOfAnswer, dnsCodes, isAnswerTo, type Question, withId } from './dns-packet.ts';

/** Milliseconds for one server; the programs that ask wait for 5 s. */
const patience = 2_000;
const port = 53;

/** Asks the servers in turn, until one has an answer of its own. Each time by a new port and a new number (S41). */
export async function ask(
  query: Buffer,
  question: Question,
  servers: readonly string[],
  transport: 'udp' | 'tcp',
): Promise<Buffer | undefined> {
  let refusal: Buffer | undefined;
  for (const server of servers) {
    const id = randomInt(65_536);
    const sent = withId(query, id);
    const answer = await (transport === 'udp' ? byUdp : byTcp)(server, sent, (packet) =>
      isAnswerTo(packet, query, question.end, id),
    );
    if (!answer) continue;
    const restored = withId(answer, question.id);
    const code = codeOfAnswer(answer);
    if (code !== dnsCodes.serverFailure && code !== refused) return restored;
    refusal ??= restored;
  }
  return refusal;
}

const refused = 5;

type Accepts = (packet: Buffer) => boolean;

function byUdp(server: string, query: Buffer, accepts: Accepts): Promise<Buffer | undefined> {
  return new Promise((resolve) => {
    const socket = createSocket(isIPv6(server.replace(/%.*$/, '')) ? 'udp6' : 'udp4');
    const end = (answer: Buffer | undefined) => {
      clearTimeout(late);
      socket.removeAllListeners('message');
      socket.close();
      resolve(answer);
    };
    const late = setTimeout(() => end(undefined), patience);
    let ended = false;
    const once = (answer: Buffer | undefined) => {
      if (ended) return;
      ended = true;
      end(answer);
    };
    socket.on('message', (packet) => accepts(packet) && once(packet));
    socket.on('error', () => once(undefined));
    // Connected: the kernel drops what comes from anybody else.
    socket.connect(port, server, (error?: Error) => {
      if (error) once(undefined);
      else if (!ended) socket.send(query);
    });
  });
}

function byTcp(server: string, query: Buffer, accepts: Accepts): Promise<Buffer | undefined> {
  return new Promise((resolve) => {
    const socket = connect({ host: server, port, timeout: patience });
    let received = Buffer.alloc(0);
    const end = (answer: Buffer | undefined) => {
      socket.destroy();
      resolve(answer);
    };
    socket.on('connect', () => socket.write(framed(query)));
    socket.on('data', (data) => {
      received = Buffer.concat([received, data]);
      if (received.length < 2 || received.length < 2 + received.readUInt16BE(0)) return;
      const packet = received.subarray(2, 2 + received.readUInt16BE(0));
      end(accepts(packet) ? packet : undefined);
    });
    for (const event of ['timeout', 'error', 'close'] as const) socket.on(event, () => end(undefined));
  });
}

/** RFC 1035, 4.2.2: over TCP a message has its length before it. */
export function framed(packet: Buffer): Buffer {
  const length = Buffer.alloc(2);
  length.writeUInt16BE(packet.length);
  return Buffer.concat([length, packet]);
}
