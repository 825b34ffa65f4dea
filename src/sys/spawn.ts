import { closeSync, constants, openSync } from 'node:fs';
import type { LibraryHandle } from 'koffi';
import { check, libc, SyscallError } from './libc.ts';

type KoffiFunction = ReturnType<LibraryHandle['func']>;

const AF_UNIX = 1;
const SOCK_STREAM = 1;
const SOCK_CLOEXEC = 0o2000000;
const F_DUPFD_CLOEXEC = 1030;
const SHUT_WR = 1;
const WNOHANG = 1;
const POSIX_SPAWN_SETSIGDEF = 0x04;
const POSIX_SPAWN_SETSIGMASK = 0x08;
const POSIX_SPAWN_SETSID = 0x80;

/** glibc's posix_spawn structures are smaller on every architecture (80 and 336 bytes on x86_64). */
const spawnStructure = 1024;

interface Calls {
  readonly actionsInit: KoffiFunction;
  readonly actionsOpen: KoffiFunction;
  readonly actionsDup: KoffiFunction;
  readonly actionsDestroy: KoffiFunction;
  readonly attributesInit: KoffiFunction;
  readonly attributesFlags: KoffiFunction;
  readonly attributesDefault: KoffiFunction;
  readonly attributesMask: KoffiFunction;
  readonly attributesDestroy: KoffiFunction;
  readonly spawn: KoffiFunction;
  readonly pair: KoffiFunction;
  readonly socket: KoffiFunction;
  readonly bind: KoffiFunction;
  readonly listen: KoffiFunction;
  readonly waitpid: KoffiFunction;
  readonly fcntl: KoffiFunction;
  readonly shutdown: KoffiFunction;
}

let loaded: Calls | undefined;

function calls(): Calls {
  if (loaded) return loaded;
  const c = libc();
  loaded = {
    actionsInit: c.func('int posix_spawn_file_actions_init(void *)'),
    actionsOpen: c.func('int posix_spawn_file_actions_addopen(void *, int, const char *, int, unsigned int)'),
    actionsDup: c.func('int posix_spawn_file_actions_adddup2(void *, int, int)'),
    actionsDestroy: c.func('int posix_spawn_file_actions_destroy(void *)'),
    attributesInit: c.func('int posix_spawnattr_init(void *)'),
    attributesFlags: c.func('int posix_spawnattr_setflags(void *, short)'),
    attributesDefault: c.func('int posix_spawnattr_setsigdefault(void *, void *)'),
    attributesMask: c.func('int posix_spawnattr_setsigmask(void *, void *)'),
    attributesDestroy: c.func('int posix_spawnattr_destroy(void *)'),
    spawn: c.func(
      'int posix_spawn(void *pid, const char *path, void *actions, void *attributes, const char **argv, const char **env)',
    ),
    pair: c.func('int socketpair(int, int, int, void *)'),
    socket: c.func('int socket(int, int, int)'),
    bind: c.func('int bind(int, void *, unsigned int)'),
    listen: c.func('int listen(int, int)'),
    waitpid: c.func('int waitpid(int, void *, int)'),
    fcntl: c.func('int fcntl(int, int, int)'),
    shutdown: c.func('int shutdown(int, int)'),
  };
  return loaded;
}

export interface SpawnOptions {
  readonly path: string;
  /** With the program's own name first. */
  readonly argv: readonly string[];
  readonly env: readonly string[];
  /** What the child has as descriptors 3, 4, ... Its 0, 1 and 2 are /dev/null. The caller closes its own copies. */
  readonly fds: readonly number[];
}

/**
 * posix_spawn(3) in a session of its own, with every signal at its default and none blocked. Its cost does not grow
 * with this process's memory, which Node's child_process does (it forks). Returns the pid; reaping is the caller's.
 */
export function spawn({ path, argv, env, fds }: SpawnOptions): number {
  const c = calls();
  const actions = Buffer.alloc(spawnStructure);
  const attributes = Buffer.alloc(spawnStructure);
  const signals = Buffer.alloc(128);
  const pid = Buffer.alloc(4);
  const lifted: number[] = [];
  c.actionsInit(actions);
  c.attributesInit(attributes);
  try {
    // A source below the targets would be overwritten before it is copied.
    const sources = fds.map((fd) => {
      if (fd >= 3 + fds.length) return fd;
      const high = check('fcntl', path, Number(c.fcntl(fd, F_DUPFD_CLOEXEC, 3 + fds.length)));
      lifted.push(high);
      return high;
    });
    for (const fd of [0, 1, 2]) c.actionsOpen(actions, fd, '/dev/null', constants.O_RDWR, 0);
    sources.forEach((fd, index) => {
      c.actionsDup(actions, fd, 3 + index);
    });
    c.attributesMask(attributes, signals);
    // Not by sigfillset, which leaves out the two that glibc uses itself: those the program would start with ignored.
    signals.fill(0xff);
    c.attributesDefault(attributes, signals);
    c.attributesFlags(attributes, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSID);
    const errno = Number(c.spawn(pid, path, actions, attributes, [...argv, null], [...env, null]));
    if (errno !== 0) throw new SyscallError('posix_spawn', path, errno);
    return pid.readInt32LE(0);
  } finally {
    c.actionsDestroy(actions);
    c.attributesDestroy(attributes);
    for (const fd of lifted) closeSync(fd);
  }
}

/** socketpair(2): two connected stream sockets, close-on-exec. */
export function socketPair(): [number, number] {
  const fds = Buffer.alloc(8);
  check('socketpair', 'AF_UNIX', Number(calls().pair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds)));
  return [fds.readInt32LE(0), fds.readInt32LE(4)];
}

/** shutdown(2) of the writing half. */
export function endWriting(socket: number): void {
  check('shutdown', String(socket), Number(calls().shutdown(socket, SHUT_WR)));
}

/**
 * A listening unix socket named `name` in `directory`, close-on-exec. The address goes by way of /proc/self/fd, because
 * it has at most 107 bytes and a directory's path may have more.
 */
export function listenUnix(directory: string, name: string, backlog = 128): number {
  const c = calls();
  const parent = openSync(directory, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    const socket = check('socket', directory, Number(c.socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)));
    try {
      const path = `/proc/self/fd/${parent}/${name}\0`;
      const address = Buffer.alloc(2 + Buffer.byteLength(path));
      address.writeUInt16LE(AF_UNIX, 0);
      address.write(path, 2);
      check('bind', `${directory}/${name}`, Number(c.bind(socket, address, address.length)));
      check('listen', `${directory}/${name}`, Number(c.listen(socket, backlog)));
      return socket;
    } catch (error) {
      closeSync(socket);
      throw error;
    }
  } finally {
    closeSync(parent);
  }
}

/** waitpid(2) without waiting: the raw status, or undefined while it runs. Throws ECHILD when it is no child. */
export function reap(pid: number): number | undefined {
  const status = Buffer.alloc(4);
  const who = check('waitpid', String(pid), Number(calls().waitpid(pid, status, WNOHANG)));
  return who === 0 ? undefined : status.readInt32LE(0);
}
