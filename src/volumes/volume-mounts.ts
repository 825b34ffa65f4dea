import { lookup } from 'node:dns/promises';
import { readFileSync } from 'node:fs';
import { realpath } from 'node:fs/promises';
import { isIP, isIPv4 } from 'node:net';
import { getSystemErrorMessage } from 'node:util';
import { KeyedQueue } from '../base/async.ts';
import { codeOf, EngineError, messageOf } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import { SyscallError } from '../sys/libc.ts';
import { MountCalls, mountFlags, parseMountInfo } from '../sys/mount.ts';
import { type DriverOptions, isMounted, parseMountOptions } from './mount-options.ts';
import type { Volume } from './volumes.ts';

type Mountable = Pick<Volume, 'name' | 'mountpoint' | 'options'>;

/**
 * The mounts of volumes with driver options. One is made for the first container that uses the volume and goes with the
 * last. The kernel remembers them when the engine dies; who uses them the containers' records say.
 */
export class VolumeMounts {
  readonly #log: Log;
  readonly #users = new Map<string, Set<string>>();
  readonly #queue = new KeyedQueue();
  #calls: MountCalls | undefined;

  constructor({ log }: { readonly log: Log }) {
    this.#log = log;
  }

  /** Mounted when it returns. Throws in Docker's words, and nothing is then held. */
  async attach(volume: Mountable, user: string): Promise<void> {
    if (!isMounted(volume.options)) return;
    await this.#queue.run(volume.name, async () => {
      const users = this.#users.get(volume.name) ?? new Set();
      if (users.size === 0) await this.#mount(volume);
      users.add(user);
      this.#users.set(volume.name, users);
    });
  }

  /** Who did not attach it is no error. */
  async detach({ name, mountpoint }: Mountable, user: string): Promise<void> {
    if (!this.#users.has(name)) return;
    await this.#queue.run(name, async () => {
      const users = this.#users.get(name);
      if (!users?.delete(user) || users.size > 0) return;
      this.#users.delete(name);
      await this.clear(mountpoint);
    });
  }

  /** After a start of the engine: what its users still use stays as it is, the rest is unmounted. */
  async recover(volumes: readonly Mountable[], usersOf: (name: string) => readonly string[]): Promise<void> {
    for (const { name, mountpoint, options } of volumes) {
      if (!isMounted(options)) continue;
      const users = usersOf(name);
      if (users.length > 0) this.#users.set(name, new Set(users));
      else
        await this.clear(mountpoint).catch((error: unknown) =>
          this.#log.error('a volume that nobody uses could not be unmounted', { volume: name, error }),
        );
    }
  }

  /**
   * Takes away whatever is mounted at this folder or below it. Throws when something is left: what is mounted is not
   * ours to delete, and a removal must not go on.
   */
  async clear(path: string): Promise<void> {
    // As the kernel tells it: without symbolic links.
    const folder = await realpath(path).catch((error: unknown) => {
      if (codeOf(error) === 'ENOENT') return undefined;
      throw error;
    });
    if (folder === undefined) return;
    const below = () =>
      parseMountInfo(readFileSync('/proc/self/mountinfo', 'utf8'))
        .map(({ target }) => target)
        .filter((target) => target === folder || target.startsWith(`${folder}/`));
    for (const target of below().reverse()) await this.#kernel.unmountLater(target, { detach: true });
    const left = below()[0];
    if (left !== undefined) throw new EngineError('internal', `unmount ${left}: it is still mounted`);
  }

  async #mount(volume: Mountable): Promise<void> {
    // Of an engine before, or by hand: mounted over it, it could not be got rid of.
    await this.clear(volume.mountpoint);
    try {
      await mountVolume(this.#kernel, volume);
    } catch (error) {
      await this.clear(volume.mountpoint);
      throw error;
    }
  }

  get #kernel(): MountCalls {
    this.#calls ??= new MountCalls();
    return this.#calls;
  }
}

async function mountVolume(calls: MountCalls, { mountpoint, options }: Mountable): Promise<void> {
  const failed = (why: string, cause: unknown) =>
    new EngineError('internal', `error while mounting volume '${mountpoint}': ${withoutPassword(why, options)}`, {
      cause,
    });
  const { device = '', type = '', o = '' } = options;
  if (device === '') throw failed('missing device in volume options', undefined);
  const [asked, source] = await Promise.all([resolveAddress(type, o), resolveDevice(type, device)]).catch(
    (error: unknown) => {
      throw failed(`error resolving passed in network volume address: ${messageOf(error)}`, error);
    },
  );
  const { flags, propagation, data } = parseMountOptions(asked);
  const { MS_BIND, MS_RDONLY, MS_REMOUNT } = mountFlags;
  try {
    await calls.mountLater({ source, target: mountpoint, type, flags, data });
    // The kernel takes neither together with the mount itself.
    if (propagation !== 0) await calls.mountLater({ source: '', target: mountpoint, flags: propagation });
    if ((flags & (MS_BIND | MS_RDONLY)) === (MS_BIND | MS_RDONLY))
      await calls.mountLater({ source: '', target: mountpoint, flags: flags | MS_REMOUNT });
  } catch (error) {
    if (!(error instanceof SyscallError)) throw error;
    const what = [
      `mount ${source}:${mountpoint}`,
      ...(flags === 0 ? [] : [`flags: 0x${flags.toString(16)}`]),
      ...(data === '' ? [] : [`data: ${data}`]),
    ];
    throw failed(`failed to mount local volume: ${what.join(', ')}: ${getSystemErrorMessage(-error.errno)}`, error);
  }
}

/** The kernel takes addresses only; names are for mount.nfs(8), which is not run here. */
export async function resolveAddress(type: string, options: string): Promise<string> {
  if (!/^(nfs4?|cifs)$/.test(type)) return options;
  const name = options
    .split(',')
    .find((word) => word.startsWith('addr='))
    ?.slice('addr='.length);
  if (!name || isIPv4(name)) return options;
  return options.replace(`addr=${name}`, `addr=${await addressOf(name)}`);
}

/** The server of `//server/share` too, where it is a name: CIFS has it in its device. */
export async function resolveDevice(type: string, device: string): Promise<string> {
  const [, server = '', share = ''] = (type === 'cifs' && /^(?:cifs:)?\/\/([^/:]+)(\/.*)?$/s.exec(device)) || [];
  return server === '' || isIP(server) ? device : `//${await addressOf(server)}${share}`;
}

async function addressOf(name: string): Promise<string> {
  const { address } = await lookup(name, { order: 'ipv4first' });
  return address;
}

function withoutPassword(text: string, { o = '' }: DriverOptions): string {
  const password = o
    .split(',')
    .find((word) => word.startsWith('password='))
    ?.slice('password='.length);
  return password ? text.replaceAll(`password=${password}`, 'password=********') : text;
}
