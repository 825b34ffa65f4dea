import { createSocket, type Socket as DatagramSocket } from 'node:dgram';
import { lookup } from 'node:dns/promises';
import { readFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { hostname } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect as connectTls } from 'node:tls';
import { codeOf, EngineError, messageOf } from '../../base/errors.ts';
import { parseFacility, parseSyslogAddress, parseSyslogFormat } from '../../protocol/syslog-address.ts';
import { UnixDatagram } from '../../sys/unix-datagram.ts';
import type { LogMessage, LogSink } from './message.ts';
import { type SyslogFrame, syslogBytes } from './syslog-format.ts';

type Options = Readonly<Record<string, string>>;

/** Milliseconds that a server has to answer. */
const patience = 10_000;
/** Where a machine's own syslog listens. */
const localSockets = ['/dev/log', '/var/run/syslog', '/var/run/log'];

/** Bytes on their way to a server. */
interface Wire extends AsyncDisposable {
  send(messages: readonly Buffer[]): Promise<void>;
}

/** Opens the driver `syslog` of checked options. Throws `internal` in the words of Docker when the server is not there. */
export async function openSyslog(options: Options, tag: string): Promise<LogSink> {
  const address = parseSyslogAddress(options['syslog-address'] ?? '');
  const format = parseSyslogFormat(options['syslog-format'] ?? '');
  const frame: SyslogFrame = {
    format,
    facility: parseFacility(options['syslog-facility'] ?? ''),
    hostname: hostname(),
    tag,
    pid: process.pid,
    counted: address.kind === 'tcp+tls' && format.startsWith('rfc5424'),
  };
  const open = async (): Promise<Wire> => {
    if (address.kind === 'local') return openLocal();
    if (address.kind === 'unixgram') return new DatagramWire(address.path);
    if ('path' in address) return openStream(`unix ${address.path}`, () => connect(address.path));
    const { host, port } = address;
    if (address.kind === 'udp') return UdpWire.open(host, port);
    const name = `tcp ${host.includes(':') ? `[${host}]` : host}:${port}`;
    if (address.kind === 'tcp') return openStream(name, () => connect({ host, port }));
    const certificates = {
      ca: fileOf(options['syslog-tls-ca-cert']),
      cert: fileOf(options['syslog-tls-cert']),
      key: fileOf(options['syslog-tls-key']),
    };
    const rejectUnauthorized = options['syslog-tls-skip-verify'] === undefined;
    const given = Object.fromEntries(Object.entries(certificates).filter(([, value]) => value !== undefined));
    // A server's name that is an address is none that TLS can ask for.
    const servername = /^[\d.]+$|:/.test(host) ? {} : { servername: host };
    return openStream(
      name,
      () => connectTls({ host, port, ...servername, ...given, rejectUnauthorized }),
      'secureConnect',
    );
  };
  return new SyslogSink(open, await open(), (message) => syslogBytes(frame, message));
}

function fileOf(path: string | undefined): Buffer | undefined {
  if (!path) return undefined;
  try {
    return readFileSync(path);
  } catch (cause) {
    throw new EngineError('invalid', `could not read ${path}: ${messageOf(cause)}`, { cause });
  }
}

class SyslogSink implements LogSink {
  readonly #open: () => Promise<Wire>;
  readonly #bytes: (message: LogMessage) => Buffer;
  #wire: Wire | undefined;

  constructor(open: () => Promise<Wire>, wire: Wire, bytes: (message: LogMessage) => Buffer) {
    this.#open = open;
    this.#wire = wire;
    this.#bytes = bytes;
  }

  async send(messages: readonly LogMessage[]): Promise<void> {
    // Docker sends no empty lines.
    const bytes = messages.filter(({ text }) => text.length > 0).map(this.#bytes);
    if (bytes.length === 0) return;
    this.#wire ??= await this.#open();
    try {
      await this.#wire.send(bytes);
    } catch (error) {
      await this.#wire[Symbol.asyncDispose]();
      this.#wire = undefined;
      throw error;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#wire?.[Symbol.asyncDispose]();
    this.#wire = undefined;
  }
}

/** The machine's own: datagrams where it takes them, else a stream. */
async function openLocal(): Promise<Wire> {
  for (const path of localSockets) {
    try {
      return new DatagramWire(path);
    } catch (error) {
      // EPROTOTYPE: it is a stream.
      if (codeOf(error) !== 'EPROTOTYPE') continue;
      return openStream(`unix ${path}`, () => connect(path));
    }
  }
  throw new EngineError('internal', 'Unix syslog delivery error', {
    hint: 'a syslog server listens at /dev/log (rsyslog, systemd-journald), or name another one by --log-opt syslog-address',
  });
}

/** Datagrams to a socket with a name. What is longer than the receiver takes is cut. */
class DatagramWire implements Wire {
  readonly #socket: UnixDatagram;

  constructor(path: string) {
    this.#socket = new UnixDatagram(path);
  }

  async send(messages: readonly Buffer[]): Promise<void> {
    for (const message of messages) {
      for (let part = message; ; ) {
        try {
          if (this.#socket.send(part)) break;
          await sleep(5);
        } catch (error) {
          if (codeOf(error) !== 'EMSGSIZE' || part.length < 1024) throw error;
          part = part.subarray(0, part.length >> 1);
        }
      }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#socket[Symbol.dispose]();
  }
}

/** UDP: what the network loses is lost. */
class UdpWire implements Wire {
  readonly #socket: DatagramSocket;
  readonly #address: string;
  readonly #port: number;

  private constructor(address: string, family: number, port: number) {
    this.#socket = createSocket(family === 6 ? 'udp6' : 'udp4');
    this.#socket.on('error', () => {});
    this.#socket.unref();
    this.#address = address;
    this.#port = port;
  }

  static async open(host: string, port: number): Promise<UdpWire> {
    const { address, family } = await lookup(host).catch((cause: unknown) => {
      throw new EngineError('internal', `dial udp: lookup ${host}: no such host`, { cause });
    });
    return new UdpWire(address, family, port);
  }

  async send(messages: readonly Buffer[]): Promise<void> {
    for (const message of messages)
      await new Promise<void>((resolve, reject) => {
        this.#socket.send(message, this.#port, this.#address, (error) => (error ? reject(error) : resolve()));
      });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#socket.close();
  }
}

async function openStream(
  name: string,
  dial: () => Socket,
  ready: 'connect' | 'secureConnect' = 'connect',
): Promise<StreamWire> {
  const socket = dial();
  socket.unref();
  try {
    await new Promise<void>((resolve, reject) => {
      const late = setTimeout(() => reject(new Error('i/o timeout')), patience);
      socket.once(ready, resolve);
      socket.once('error', reject);
      socket.once('close', () => reject(new Error('connection closed')));
      socket.once('close', () => clearTimeout(late));
      socket.once(ready, () => clearTimeout(late));
    });
  } catch (cause) {
    socket.destroy();
    throw new EngineError('internal', `dial ${name}: ${dialWords(cause)}`, {
      cause,
      hint: 'start the syslog server, or name another one by --log-opt syslog-address',
    });
  }
  return new StreamWire(socket);
}

function dialWords(cause: unknown): string {
  const code = codeOf(cause);
  if (code === 'ECONNREFUSED') return 'connect: connection refused';
  if (code === 'ENOENT') return 'connect: no such file or directory';
  if (code === 'EPROTOTYPE') return 'connect: protocol wrong type for socket';
  if (code === 'ENOTFOUND') return 'no such host';
  return messageOf(cause);
}

/** A connection. A server that takes nothing for a while counts as gone. */
class StreamWire implements Wire {
  readonly #socket: Socket;
  #failure: Error | undefined;

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('error', (error) => {
      this.#failure ??= error;
    });
    socket.on('close', () => {
      this.#failure ??= new Error('the syslog server closed the connection');
    });
    // A server says nothing; its end is seen by reading.
    socket.resume();
  }

  async send(messages: readonly Buffer[]): Promise<void> {
    if (this.#failure) throw this.#failure;
    await new Promise<void>((resolve, reject) => {
      const done = (error: Error | null | undefined) => {
        clearTimeout(late);
        this.#socket.off('close', closed);
        if (error) reject(error);
        else resolve();
      };
      const closed = () => done(this.#failure);
      const late = setTimeout(() => done(new Error('the syslog server takes nothing')), patience);
      this.#socket.once('close', closed);
      this.#socket.write(Buffer.concat(messages), done);
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#failure) return;
    await new Promise<void>((resolve) => {
      setTimeout(resolve, 1000).unref();
      this.#socket.end(resolve);
    });
    this.#socket.destroy();
  }
}
