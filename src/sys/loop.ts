import { closeSync, constants, fstatSync, openSync, readdirSync, statSync } from 'node:fs';
import { check, libc, SyscallError } from './libc.ts';

/** linux/loop.h */
const LOOP_GET_STATUS64 = 0x4c05n;
const LOOP_CONFIGURE = 0x4c0an;
const LOOP_CTL_GET_FREE = 0x4c82n;
const LO_FLAGS_AUTOCLEAR = 4;
const LO_FLAGS_DIRECT_IO = 16;
/** Where struct loop_info64 stands in struct loop_config, and their sizes. */
const infoOffset = 8;
const infoSize = 232;
const configSize = 304;

/** A loop device that is held open: it is given back by itself once nobody has it open and nothing of it is mounted. */
export interface LoopDevice extends Disposable {
  readonly path: string;
}

/** Loop devices (loop(4)): a file as a block device. LOOP_CONFIGURE is there since Linux 5.8. */
export class LoopCalls {
  readonly #ioctl = libc().func('int ioctl(int, unsigned long, void *)');

  /** A device for `file`: the one that stands on it already, else a free one. Never two for one file, whose writes would clash. */
  attach(file: string): LoopDevice {
    const backing = openSync(file, constants.O_RDWR | constants.O_NOFOLLOW);
    try {
      const there = this.#deviceOf(backing);
      return there ?? this.#configure(backing, file);
    } finally {
      closeSync(backing);
    }
  }

  /** By device and inode: a file that was renamed meanwhile is still the same. */
  #deviceOf(backing: number): LoopDevice | undefined {
    const { dev, ino } = fstatSync(backing, { bigint: true });
    for (const name of readdirSync('/sys/block')) {
      if (!name.startsWith('loop') || !statSync(`/sys/block/${name}/loop`, { throwIfNoEntry: false })) continue;
      const path = `/dev/${name}`;
      let fd: number;
      try {
        // To read: when one that could write closes it, udev looks at the whole device.
        fd = openSync(path, constants.O_RDONLY);
      } catch {
        // Let go of in this moment, or no node of it here: what cannot be opened is not mounted from here either.
        continue;
      }
      const info = Buffer.alloc(infoSize);
      const known = this.#ioctl(fd, LOOP_GET_STATUS64, info) >= 0;
      if (known && info.readBigUInt64LE(0) === dev && info.readBigUInt64LE(8) === ino) return held(path, fd);
      closeSync(fd);
    }
    return undefined;
  }

  #configure(backing: number, file: string): LoopDevice {
    const control = openSync('/dev/loop-control', constants.O_RDWR);
    try {
      for (let tries = 1; ; tries++) {
        const number = check('ioctl LOOP_CTL_GET_FREE', file, this.#ioctl(control, LOOP_CTL_GET_FREE, null));
        const path = `/dev/loop${number}`;
        const fd = openSync(path, constants.O_RDWR);
        const config = Buffer.alloc(configSize);
        config.writeUInt32LE(backing, 0);
        config.writeUInt32LE(LO_FLAGS_AUTOCLEAR | LO_FLAGS_DIRECT_IO, infoOffset + 52);
        config.write(file.slice(-63), infoOffset + 56);
        try {
          check('ioctl LOOP_CONFIGURE', path, this.#ioctl(fd, LOOP_CONFIGURE, config));
          return held(path, fd);
        } catch (error) {
          closeSync(fd);
          // Somebody else took it between the two calls.
          if (!(error instanceof SyscallError && error.code === 'EBUSY') || tries === 100) throw error;
        }
      }
    } finally {
      closeSync(control);
    }
  }
}

function held(path: string, fd: number): LoopDevice {
  return { path, [Symbol.dispose]: () => closeSync(fd) };
}
