import { check, libc } from './libc.ts';

const AF_INET = 2;
const SOCK_CLOEXEC = 0o2000000;
const SOCK_NONBLOCK = 0o4000;
const kinds = { tcp: 1, udp: 2 } as const;

/** socket(2), bind(2), listen(2), getsockname(2) of IPv4, bound once for a thread. */
export class Sockets {
  readonly #socket = libc().func('int socket(int, int, int)');
  readonly #bind = libc().func('int bind(int, const uint8_t*, uint32_t)');
  readonly #listen = libc().func('int listen(int, int)');
  readonly #name = libc().func('int getsockname(int, _Out_ uint8_t*, _Inout_ uint32_t*)');
  readonly #close = libc().func('int close(int)');

  /** A socket on a free port of `address`, in the calling thread's network namespace, as a descriptor. TCP listens. */
  open(kind: 'tcp' | 'udp', address: string): { readonly fd: number; readonly port: number } {
    const fd = check('socket', kind, this.#socket(AF_INET, kinds[kind] | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    try {
      const name = Buffer.alloc(16);
      name.writeUInt16LE(AF_INET, 0);
      name.set(address.split('.').map(Number), 4);
      check('bind', `${kind} ${address}`, this.#bind(fd, name, name.length));
      if (kind === 'tcp') check('listen', address, this.#listen(fd, 64));
      check('getsockname', address, this.#name(fd, name, [name.length]));
      return { fd, port: name.readUInt16BE(2) };
    } catch (error) {
      this.close(fd);
      throw error;
    }
  }

  close(fd: number): void {
    this.#close(fd);
  }
}
