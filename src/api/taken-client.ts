import type { Socket } from 'node:net';
import type { AttachedClient } from '../containers/attach-point.ts';
import { type ClientEnd, mostEarly } from '../runtime/runtime.ts';
import { hungUp } from '../sys/poll.ts';

/** What a socket of Node's does not offer by name: to leave what comes in the kernel, and to take it up again. */
interface Handle {
  readonly fd: number;
  reading: boolean;
  readStart(): void;
  readStop(): void;
}

/** A client's connection that was taken over from HTTP. It can be given away as it is once the answer's head is out. */
export class TakenClient implements AttachedClient {
  readonly #socket: Socket;
  #isOpen = false;
  #isHeld = false;
  #read: (() => void) | undefined;
  #unwatch: (() => void) | undefined;

  constructor(socket: Socket) {
    this.#socket = socket;
  }

  /** The head was written. */
  open(): this {
    this.#isOpen = true;
    return this;
  }

  /** Called once what the client sends is for the engine to read: now, when nobody holds it. */
  onRead(read: () => void): void {
    if (this.#isHeld) this.#read = read;
    else read();
  }

  hold(): void {
    const handle = handleOf(this.#socket);
    if (!handle || this.#isHeld) return;
    this.#isHeld = true;
    stopReading(handle);
    // Nobody reads, and so nobody would see it go.
    this.#unwatch = watchHangUp(this.#socket);
  }

  take(): ClientEnd | undefined {
    const socket = this.#socket;
    const handle = handleOf(socket);
    if (!this.#isOpen || !this.#isHeld || !handle || socket.writableLength > 0) return undefined;
    if (hungUp(handle.fd)) {
      socket.destroy();
      return undefined;
    }
    const early = (socket.read() as Buffer | null) ?? Buffer.alloc(0);
    stopReading(handle); // reading what is there asks for more
    if (early.length > mostEarly) {
      socket.unshift(early);
      return undefined;
    }
    this.#unwatch?.();
    return { fd: handle.fd, early };
  }

  through(): void {
    if (!this.#isHeld) return;
    this.#isHeld = false;
    this.#unwatch?.();
    const handle = handleOf(this.#socket);
    if (handle && !handle.reading) {
      handle.reading = true;
      handle.readStart();
    }
    this.#read?.();
  }
}

function handleOf(socket: Socket): Handle | undefined {
  // Its descriptor carries what is encrypted: nobody else can take it.
  if ('encrypted' in socket) return undefined;
  const handle = (socket as unknown as { _handle?: Handle | null })._handle;
  return handle && !socket.destroyed && handle.fd >= 0 ? handle : undefined;
}

function stopReading(handle: Handle): void {
  handle.reading = false;
  handle.readStop();
}

const hangUpInterval = 1000;

/**
 * A client that has sent its last word may still listen, or be gone: on the wire it looks the same until the process says
 * something, which may be never. Returns what ends the watch; the socket's end does too.
 */
export function watchHangUp(socket: Socket): () => void {
  const timer = setInterval(() => {
    const handle = handleOf(socket);
    if (handle && hungUp(handle.fd)) socket.destroy();
  }, hangUpInterval);
  timer.unref();
  const stop = () => clearInterval(timer);
  socket.once('close', stop);
  return stop;
}
