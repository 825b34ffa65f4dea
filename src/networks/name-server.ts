import { createSocket, type Socket as DatagramSocket, type RemoteInfo } from 'node:dgram';
import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import { Pidfd } from '../sys/pidfd.ts';
import { ask, framed } from './dns-forward.ts';
import { composeAnswer, dnsCodes, parseQuestion, refuseUnread } from './dns-packet.ts';
import type { NameSockets, NamesRecord } from './helper-protocol.ts';
import { NameTable } from './name-table.ts';

/** Questions of one container that others are being asked for. More than these are refused (S41). */
const mostPending = 128;
const mostConnections = 32;
/** Milliseconds of silence on a connection. */
const tcpIdle = 10_000;

interface Served {
  readonly udp: DatagramSocket;
  readonly tcp: Server;
  readonly connections: Set<Socket>;
  pending: number;
}

/**
 * The name server at 127.0.0.11 of every container in a network with names: one pair of sockets in each one's namespace.
 * It answers for containers from its table and asks the host's servers for the rest.
 */
export class NameServer {
  readonly #table = new NameTable();
  readonly #served = new Map<string, Served>();

  /** Those whose sockets are open. */
  get owners(): readonly string[] {
    return [...this.#served.keys()];
  }

  async set(record: NamesRecord, sockets: NameSockets | undefined): Promise<void> {
    const { owner } = record;
    if (sockets) await this.#serve(owner, sockets);
    this.#table.set(record);
  }

  async forget(owner: string): Promise<void> {
    this.#table.delete(owner);
    const served = this.#served.get(owner);
    this.#served.delete(owner);
    if (served) await close(served);
  }

  async #serve(owner: string, { pid, udp: udpFd, tcp: tcpFd }: NameSockets): Promise<void> {
    const before = this.#served.get(owner);
    using process = new Pidfd(pid);
    const udp = createSocket('udp4');
    // Taken as it is, at once: there is nothing to wait for.
    udp.bind({ fd: process.descriptor(udpFd), exclusive: true });
    const connections = new Set<Socket>();
    const tcp = createServer();
    tcp.maxConnections = mostConnections;
    tcp.listen({ fd: process.descriptor(tcpFd) });
    await once(tcp, 'listening');
    const served: Served = { udp, tcp, connections, pending: 0 };
    udp.on('message', (packet, client) => void this.#answerDatagram(owner, served, packet, client));
    // An ICMP error for an answer that nobody waits for any more.
    udp.on('error', () => {});
    tcp.on('connection', (socket) => this.#serveConnection(owner, served, socket));
    this.#served.set(owner, served);
    if (before) await close(before);
  }

  async #answerDatagram(owner: string, served: Served, packet: Buffer, client: RemoteInfo): Promise<void> {
    const answer = await this.#answer(owner, served, packet, 'udp');
    if (answer && this.#served.get(owner) === served) served.udp.send(answer, client.port, client.address);
  }

  #serveConnection(owner: string, served: Served, socket: Socket): void {
    served.connections.add(socket);
    socket.setTimeout(tcpIdle, () => socket.destroy());
    socket.on('error', () => {});
    socket.on('close', () => served.connections.delete(socket));
    let received = Buffer.alloc(0);
    let queue = Promise.resolve();
    socket.on('data', (data) => {
      received = Buffer.concat([received, data]);
      while (received.length >= 2 && received.length >= 2 + received.readUInt16BE(0)) {
        const packet = Buffer.from(received.subarray(2, 2 + received.readUInt16BE(0)));
        received = received.subarray(2 + packet.length);
        // One after the other: who asks without reading is not read from.
        socket.pause();
        queue = queue.then(async () => {
          const answer = await this.#answer(owner, served, packet, 'tcp');
          if (answer && socket.writable) socket.write(framed(answer));
          socket.resume();
        });
      }
    });
  }

  async #answer(owner: string, served: Served, packet: Buffer, by: 'udp' | 'tcp'): Promise<Buffer | undefined> {
    const question = parseQuestion(packet);
    if (!question) return refuseUnread(packet);
    const known = this.#table.answer(owner, question);
    if (known) return composeAnswer(packet, question, known, by === 'udp' ? { size: question.size } : {});
    const failure = () => composeAnswer(packet, question, [], { code: dnsCodes.serverFailure });
    const servers = this.#table.get(owner)?.servers ?? [];
    if (servers.length === 0 || served.pending >= mostPending) return failure();
    served.pending++;
    try {
      return (await ask(packet, question, servers, by)) ?? failure();
    } finally {
      served.pending--;
    }
  }
}

async function close({ udp, tcp, connections }: Served): Promise<void> {
  for (const socket of connections) socket.destroy();
  udp.close();
  tcp.close();
  await once(tcp, 'close');
}
