import { closeSync, writeSync } from 'node:fs';
import { check, libc, SyscallError } from './libc.ts';

const MFD_CLOEXEC = 0x1;
const MFD_ALLOW_SEALING = 0x2;
const MFD_EXEC = 0x10;
const F_ADD_SEALS = 1033;
/** F_SEAL_SEAL, F_SEAL_SHRINK, F_SEAL_GROW, F_SEAL_WRITE: nobody changes it any more, whatever rights he has. */
const allSeals = 0xf;

/** memfd_create(2): a file in memory with this content, executable, sealed for ever, close-on-exec. */
export function sealedMemfd(name: string, content: Uint8Array): number {
  const c = libc();
  const create = c.func('int memfd_create(const char *name, unsigned int flags)');
  const control = c.func('int fcntl(int, int, int)');
  const open = (flags: number) => check('memfd_create', name, Number(create(name, flags)));
  let fd: number;
  try {
    fd = open(MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_EXEC);
  } catch (error) {
    // Before Linux 6.3 every one is executable, and the flag is unknown.
    if (!(error instanceof SyscallError) || error.code !== 'EINVAL') throw error;
    fd = open(MFD_CLOEXEC | MFD_ALLOW_SEALING);
  }
  try {
    for (let at = 0; at < content.length; ) at += writeSync(fd, content, at);
    check('fcntl', name, Number(control(fd, F_ADD_SEALS, allSeals)));
    return fd;
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}
