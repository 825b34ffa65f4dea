import { check, libc } from './libc.ts';

const AF_UNIX = 1;
const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = 0o2000000;

/**
 * Tells the service manager a state (sd_notify(3): `READY=1`, `STOPPING=1`), over the datagram socket that it named in
 * NOTIFY_SOCKET. Node has no datagram sockets of the unix family.
 */
export function notifyServiceManager(socketPath: string, state: string): void {
  const c = libc();
  const socket = c.func('int socket(int, int, int)') as (domain: number, type: number, protocol: number) => number;
  const sendto = c.func('long sendto(int, const void *, size_t, int, const void *, unsigned int)') as (
    fd: number,
    data: Buffer,
    size: number,
    flags: number,
    address: Buffer,
    length: number,
  ) => number;
  const close = c.func('int close(int)') as (fd: number) => number;
  // An abstract socket begins with '@', which stands for a NUL.
  const name = Buffer.from(socketPath);
  if (name[0] === 0x40) name[0] = 0;
  const address = Buffer.concat([new Uint8Array(new Uint16Array([AF_UNIX]).buffer), name]);
  const fd = check('socket', socketPath, socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  try {
    const message = Buffer.from(state);
    check('sendto', socketPath, sendto(fd, message, message.length, 0, address, address.length));
  } finally {
    close(fd);
  }
}
