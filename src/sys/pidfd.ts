import { closeSync } from 'node:fs';
import type { LibraryHandle } from 'koffi';
import { check, libc } from './libc.ts';

type KoffiFunction = ReturnType<LibraryHandle['func']>;

const sysPidfdSendSignal = 424;
const sysPidfdOpen = 434;
const sysPidfdGetfd = 438;
let syscall: KoffiFunction | undefined;

function call(number: number, first: number, second: number): number {
  syscall ??= libc().func('long syscall(long number, long, long, void *, long)');
  return Number(syscall(number, first, second, null, 0));
}

/**
 * A process by descriptor, close-on-exec: whatever is done by it reaches that process and never one that got its
 * number later.
 */
export class Pidfd implements Disposable {
  readonly pid: number;
  readonly fd: number;

  constructor(pid: number) {
    this.pid = pid;
    this.fd = check('pidfd_open', String(pid), call(sysPidfdOpen, pid, 0));
  }

  /** pidfd_send_signal(2). Throws SyscallError ESRCH when it is gone. */
  kill(signal: number): void {
    check('pidfd_send_signal', String(this.pid), call(sysPidfdSendSignal, this.fd, signal));
  }

  /** pidfd_getfd(2): one of its descriptors, as one of this process, close-on-exec. */
  descriptor(fd: number): number {
    return check('pidfd_getfd', `${this.pid} ${fd}`, call(sysPidfdGetfd, this.fd, fd));
  }

  [Symbol.dispose](): void {
    closeSync(this.fd);
  }
}
