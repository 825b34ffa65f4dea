import { libc } from './libc.ts';

const POLLHUP = 0x10;

let native: ((fds: Buffer, count: number, timeout: number) => number) | undefined;

/**
 * Whether the other side of a stream socket has closed it altogether, and not only its writing half: reading gives the
 * same end for both (poll(2), POLLHUP).
 */
export function hungUp(fd: number): boolean {
  native ??= libc().func('int poll(_Inout_ void *fds, unsigned long count, int timeout)') as NonNullable<typeof native>;
  const pollfd = Buffer.alloc(8);
  pollfd.writeInt32LE(fd, 0);
  // POLLHUP is told without being asked for.
  const ready = native(pollfd, 1, 0);
  return ready > 0 && (pollfd.readInt16LE(6) & POLLHUP) !== 0;
}
