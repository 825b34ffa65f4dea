import { closeSync, openSync } from 'node:fs';
import { check, libc } from './libc.ts';

const CLONE_NEWNET = 0x40000000;
const MS_BIND = 0x1000;
const MNT_DETACH = 2;

/** unshare(2), setns(2), mount(2) and umount2(2) for network namespaces of the calling thread. */
export class NetworkNamespaces {
  readonly #unshare = libc().func('int unshare(int)');
  readonly #setns = libc().func('int setns(int, int)');
  readonly #mount = libc().func('int mount(const char*, const char*, const char*, unsigned long, const char*)');
  readonly #umount2 = libc().func('int umount2(const char*, int)');

  /** A descriptor of the calling thread's namespace. */
  open(path = '/proc/thread-self/ns/net'): number {
    return openSync(path, 'r');
  }

  /**
   * Runs `inside` on this thread in a new namespace, and steps back whatever happens. `inside` must be synchronous:
   * anything awaited would run in whichever namespace the thread is in by then.
   */
  create<T>(home: number, inside: () => T): T {
    check('unshare', 'CLONE_NEWNET', this.#unshare(CLONE_NEWNET));
    try {
      return inside();
    } finally {
      check('setns', 'home', this.#setns(home, CLONE_NEWNET));
    }
  }

  /** Runs `inside` in the namespace at `path`, with the rules of `create`. */
  enter<T>(home: number, path: string, inside: () => T): T {
    const fd = openSync(path, 'r');
    try {
      check('setns', path, this.#setns(fd, CLONE_NEWNET));
    } finally {
      closeSync(fd);
    }
    try {
      return inside();
    } finally {
      check('setns', 'home', this.#setns(home, CLONE_NEWNET));
    }
  }

  /** Keeps the calling thread's namespace alive at `path`, an existing file. */
  pin(path: string): void {
    check('mount', path, this.#mount('/proc/thread-self/ns/net', path, null, MS_BIND, null));
  }

  unpin(path: string): void {
    check('umount2', path, this.#umount2(path, MNT_DETACH));
  }
}
