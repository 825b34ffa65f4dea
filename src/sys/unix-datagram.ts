import { constants } from 'node:os';
import koffi from 'koffi';
import { check, libc, SyscallError } from './libc.ts';

const AF_UNIX = 1;
const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = 0o2000000;
const SOCK_NONBLOCK = 0o4000;
const MSG_DONTWAIT = 0x40;
const MSG_NOSIGNAL = 0x4000;
/** `sun_path` with its zero. */
const longestPath = 107;

/** Datagrams to a socket with a name, as /dev/log is: Node has none of these (unix(7)). Nothing here ever waits. */
export class UnixDatagram implements Disposable {
  readonly #send = libc().func('long send(int, const uint8_t*, size_t, int)');
  readonly #close = libc().func('int close(int)');
  readonly #path: string;
  readonly #fd: number;

  /** Connects. Throws `SyscallError`, with `ENOENT` or `ECONNREFUSED` when nobody listens there. */
  constructor(path: string) {
    const bytes = Buffer.from(path);
    if (bytes.length > longestPath) throw new SyscallError('connect', path, constants.errno.ENAMETOOLONG);
    this.#path = path;
    const socket = libc().func('int socket(int, int, int)');
    const connect = libc().func('int connect(int, const uint8_t*, uint32_t)');
    this.#fd = check('socket', path, socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    const name = Buffer.alloc(2 + bytes.length + 1);
    name.writeUInt16LE(AF_UNIX, 0);
    name.set(bytes, 2);
    try {
      check('connect', path, connect(this.#fd, name, name.length));
    } catch (error) {
      this.#close(this.#fd);
      throw error;
    }
  }

  /** False when the receiver has no room now: to be sent again later. Throws `SyscallError`. */
  send(message: Uint8Array): boolean {
    if (Number(this.#send(this.#fd, message, message.length, MSG_DONTWAIT | MSG_NOSIGNAL)) >= 0) return true;
    const errno = koffi.errno();
    const { EAGAIN, ENOBUFS } = constants.errno;
    if (errno === EAGAIN || errno === ENOBUFS) return false;
    throw new SyscallError('send', this.#path, errno);
  }

  [Symbol.dispose](): void {
    this.#close(this.#fd);
  }
}
