import { createSocket, type Socket as DatagramSocket, type RemoteInfo } from 'node:dgram';
import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';

export interface Forward {
  readonly hostAddress: string;
  readonly hostPort: number;
  readonly target: string;
  readonly port: number;
}

/**
 * Holds a TCP port. Whatever gets here was not translated by the kernel (IPv6, or the moment after somebody flushed the
 * rules) and is carried to the container byte by byte, each direction closing on its own.
 */
export async function forwardTcp({ hostAddress, hostPort, target, port }: Forward): Promise<() => Promise<void>> {
  const open = new Set<Socket>();
  const server: Server = createServer({ allowHalfOpen: true, noDelay: true }, (client) => {
    const upstream = connect({ host: target, port, allowHalfOpen: true, noDelay: true });
    for (const [socket, other] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      open.add(socket);
      socket.pipe(other);
      // A refusal or a reset is passed on as a reset, so that a client does not take it for an empty answer.
      socket.on('error', () => other.resetAndDestroy());
      socket.on('close', (failed) => {
        open.delete(socket);
        if (!failed && !socket.readableEnded) other.destroy();
      });
    }
  });
  server.listen({ host: hostAddress, port: hostPort, ipv6Only: true });
  await once(server, 'listening');
  return async () => {
    for (const socket of open) socket.destroy();
    server.close();
    await once(server, 'close');
  };
}

const sessionIdleMs = 90_000;
const maxSessions = 1024;

interface Session {
  readonly upstream: DatagramSocket;
  used: number;
}

/** Holds a UDP port: one socket towards the container for each client, until it was silent for 90 s. */
export async function forwardUdp({ hostAddress, hostPort, target, port }: Forward): Promise<() => Promise<void>> {
  const sessions = new Map<string, Session>();
  const server = createSocket(hostAddress.includes(':') ? { type: 'udp6', ipv6Only: true } : { type: 'udp4' });
  /** Runs while there are sessions: thousands of ports are silent. */
  let sweep: NodeJS.Timeout | undefined;
  const end = (key: string) => {
    sessions.get(key)?.upstream.close();
    sessions.delete(key);
    if (sessions.size > 0) return;
    clearInterval(sweep);
    sweep = undefined;
  };
  server.on('message', (data, client) => {
    const key = `${client.address} ${client.port}`;
    const session = sessions.get(key) ?? openSession(key, client);
    // Last in the map is the one used last, so that the first is the one to give up.
    sessions.delete(key);
    sessions.set(key, session);
    session.used = performance.now();
    session.upstream.send(data, port, target);
  });
  const openSession = (key: string, client: RemoteInfo): Session => {
    const oldest = sessions.keys().next();
    if (sessions.size >= maxSessions && !oldest.done) end(oldest.value);
    const upstream = createSocket(target.includes(':') ? 'udp6' : 'udp4');
    upstream.on('message', (data, from) => {
      if (from.address === target && from.port === port) server.send(data, client.port, client.address);
    });
    // The container refuses: for datagrams that is loss.
    upstream.on('error', () => {});
    sweep ??= setInterval(endSilent, sessionIdleMs / 3).unref();
    return { upstream, used: performance.now() };
  };
  const endSilent = () => {
    for (const [key, { used }] of sessions) if (performance.now() - used > sessionIdleMs) end(key);
  };

  server.bind({ address: hostAddress, port: hostPort, exclusive: true });
  await once(server, 'listening');
  server.on('error', () => {});
  return async () => {
    for (const key of [...sessions.keys()]) end(key);
    server.close();
    await once(server, 'close');
  };
}
