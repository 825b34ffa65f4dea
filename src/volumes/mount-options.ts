import { EngineError, messageOf } from '../base/errors.ts';
import { readSize } from '../quotas/size.ts';
import { mountFlags as ms } from '../sys/mount.ts';

export type DriverOptions = Readonly<Record<string, string>>;

const known = ['type', 'o', 'device', 'size'];
const needs: Readonly<Record<string, readonly string[]>> = {
  device: ['type'],
  o: ['device', 'type'],
  type: ['device'],
};

/** What the driver `local` takes with --opt, or Docker's words. */
export function checkDriverOptions(name: string, options: DriverOptions): void {
  const bad = (why: string) => new EngineError('invalid', `create ${name}: ${why}`);
  for (const option of Object.keys(options))
    if (!known.includes(option)) throw bad(`invalid option: ${JSON.stringify(option)}`);
  for (const value of Object.values(options)) if (value.includes('\0')) throw bad('invalid option: it holds a NUL');
  const { size } = options;
  if (size !== undefined) {
    const bytes = explained(() => readSize(size), bad);
    if (bytes > 0 && isMounted(options))
      throw bad('size limits a volume on this disk: what is mounted has a size of its own, as o=size=10m of a tmpfs');
  }
  for (const [option, others] of Object.entries(needs))
    if (Object.hasOwn(options, option))
      for (const other of others)
        if (!Object.hasOwn(options, other)) throw bad(`missing required option: ${JSON.stringify(other)}`);
}

function explained<T>(read: () => T, bad: (why: string) => EngineError): T {
  try {
    return read();
  } catch (error) {
    throw bad(messageOf(error));
  }
}

/** Bytes that a volume with these options, which were checked, may hold; 0 is as many as there are. */
export function sizeOf({ size }: DriverOptions): number {
  return size === undefined ? 0 : readSize(size);
}

/** Whether its folder is a mount point while containers use it. */
export function isMounted({ device = '', type = '' }: DriverOptions): boolean {
  return device !== '' || type !== '';
}

/** mount(8)'s words for the flags of mount(2): what is set, and what is taken back. */
const flagWords: Readonly<Record<string, { readonly set?: number; readonly clear?: number }>> = {
  defaults: {},
  ro: { set: ms.MS_RDONLY },
  rw: { clear: ms.MS_RDONLY },
  nosuid: { set: ms.MS_NOSUID },
  suid: { clear: ms.MS_NOSUID },
  nodev: { set: ms.MS_NODEV },
  dev: { clear: ms.MS_NODEV },
  noexec: { set: ms.MS_NOEXEC },
  exec: { clear: ms.MS_NOEXEC },
  sync: { set: ms.MS_SYNCHRONOUS },
  async: { clear: ms.MS_SYNCHRONOUS },
  dirsync: { set: ms.MS_DIRSYNC },
  remount: { set: ms.MS_REMOUNT },
  mand: { set: ms.MS_MANDLOCK },
  nomand: { clear: ms.MS_MANDLOCK },
  noatime: { set: ms.MS_NOATIME },
  atime: { clear: ms.MS_NOATIME },
  nodiratime: { set: ms.MS_NODIRATIME },
  diratime: { clear: ms.MS_NODIRATIME },
  relatime: { set: ms.MS_RELATIME },
  norelatime: { clear: ms.MS_RELATIME },
  strictatime: { set: ms.MS_STRICTATIME },
  nostrictatime: { clear: ms.MS_STRICTATIME },
  bind: { set: ms.MS_BIND },
  rbind: { set: ms.MS_BIND | ms.MS_REC },
};

const propagationWords: Readonly<Record<string, number>> = Object.fromEntries(
  Object.entries({
    private: ms.MS_PRIVATE,
    shared: ms.MS_SHARED,
    slave: ms.MS_SLAVE,
    unbindable: ms.MS_UNBINDABLE,
  }).flatMap(([word, flag]) => [
    [word, flag],
    [`r${word}`, flag | ms.MS_REC],
  ]),
);

/** `o=` in the parts that mount(2) takes: what is no flag is for the file system. */
export function parseMountOptions(text: string): {
  readonly flags: number;
  readonly propagation: number;
  readonly data: string;
} {
  let flags = 0;
  let propagation = 0;
  const data: string[] = [];
  for (const word of text.split(',')) {
    if (word === '') continue;
    if (Object.hasOwn(flagWords, word)) {
      const { set = 0, clear = 0 } = flagWords[word]!;
      flags = (flags | set) & ~clear;
    } else if (Object.hasOwn(propagationWords, word)) propagation = propagationWords[word]!;
    else data.push(word);
  }
  return { flags, propagation, data: data.join(',') };
}

const restrictions = ['ro', 'nosuid', 'nodev', 'noexec', 'noatime', 'nodiratime'];

/** What a mount of the volume somewhere else must keep of this one. */
export function restrictionsOf({ o = '' }: DriverOptions): readonly string[] {
  const { flags } = parseMountOptions(o);
  return restrictions.filter((word) => (flags & (flagWords[word]!.set ?? 0)) !== 0);
}
