import { EngineError } from '../../base/errors.ts';
import type { SpecMount } from '../../oci/runtime-spec.ts';
import type { MountSpec } from '../../protocol/container.ts';
import type { BindMount, ContainerMount, SpecInput } from './input.ts';

/** Where the init program is bound, as in Docker. */
export const initPath = '/sbin/docker-init';

/**
 * Every mount of a container in the order in which they are made: the kernel's file systems, then the user's, parents
 * before what is below them, then the init program. A user's mount takes the place of a default one, and one at /dev of
 * everything below it.
 */
export function mountsOf(
  input: Pick<SpecInput, 'hostConfig' | 'namespaces' | 'mounts' | 'init' | 'machine'>,
  { writableCgroups }: { readonly writableCgroups: boolean },
): readonly SpecMount[] {
  const { hostConfig, namespaces, init } = input;
  const own = new Set(input.mounts.map(({ target }) => target));
  const open = hostConfig.Privileged;
  const defaults = [
    kernelFs('/proc', 'proc', []),
    {
      destination: '/dev',
      type: 'tmpfs',
      source: 'tmpfs',
      options: ['nosuid', 'strictatime', 'mode=755', 'size=65536k'],
    },
    {
      destination: '/dev/pts',
      type: 'devpts',
      source: 'devpts',
      options: ['nosuid', 'noexec', 'newinstance', 'ptmxmode=0666', 'mode=0620', 'gid=5'],
    },
    kernelFs('/sys', 'sysfs', open ? [] : ['ro']),
    kernelFs('/sys/fs/cgroup', 'cgroup', open || writableCgroups ? [] : ['ro']),
    kernelFs('/dev/mqueue', 'mqueue', []),
    ...sharedMemory(namespaces.ipc, hostConfig.ShmSize),
  ].filter(({ destination }) => !own.has(destination) && !(own.has('/dev') && destination.startsWith('/dev/')));

  const users = input.mounts
    .map((mount) => ({ depth: depth(mount.target), mount: specMount(mount, input) }))
    .sort((a, b) => a.depth - b.depth)
    .map(({ mount }) => mount);
  const program = { destination: initPath, type: 'bind', source: init, options: ['bind', 'ro', 'rprivate'] };
  return [...defaults, ...users, ...(init !== undefined ? [program as SpecMount] : [])];
}

const kernelFs = (destination: string, type: string, options: readonly string[]): SpecMount => ({
  destination,
  type,
  source: type,
  options: ['nosuid', 'noexec', 'nodev', ...options],
});

/** /dev/shm: new with the namespace, the owner's where it is shared, the host's, or none. */
function sharedMemory(ipc: SpecInput['namespaces']['ipc'], size: number): SpecMount[] {
  const destination = '/dev/shm';
  if (ipc === 'none') return [];
  if (ipc === 'private')
    return [
      {
        destination,
        type: 'tmpfs',
        source: 'shm',
        options: ['nosuid', 'noexec', 'nodev', 'mode=1777', `size=${size}`],
      },
    ];
  if (ipc === 'host') return [{ destination, type: 'bind', source: '/dev/shm', options: ['rbind', 'rprivate'] }];
  // crun's bind drops the flags that the mount has where they are not named again.
  const options = ['rbind', 'rprivate', 'nosuid', 'noexec', 'nodev'];
  return [{ destination, type: 'bind', source: ipc.shm, options }];
}

const depth = (path: string) => path.split('/').filter((part) => part !== '').length;

function specMount(mount: ContainerMount, { machine }: Pick<SpecInput, 'machine'>): SpecMount {
  if (mount.type === 'tmpfs')
    return { destination: mount.target, type: 'tmpfs', source: 'tmpfs', options: mount.options };
  const readOnly = mount.readOnly ? ['ro', ...recursiveReadOnly(mount, machine.recursiveReadOnly)] : [];
  const kept = (mount.keep ?? []).filter((flag) => !readOnly.includes(flag));
  const options = [mount.recursive ? 'rbind' : 'bind', ...readOnly, ...kept, mount.propagation || 'rprivate'];
  return { destination: mount.target, type: 'bind', source: mount.source, options };
}

function recursiveReadOnly(mount: BindMount, supported: boolean): string[] {
  if (mount.recursiveReadOnly === 'no' || (mount.recursiveReadOnly === 'possible' && !supported)) return [];
  if (!supported)
    throw new EngineError('invalid', `mount ${mount.source} at ${mount.target}: rro is not supported by this machine`);
  return ['rro'];
}

/** What the root's own propagation must be so that a bind's can work: a shared or slave mount below a private root is cut off. */
export function rootfsPropagation(mounts: readonly ContainerMount[]): string | undefined {
  const asked = mounts.flatMap((mount) => (mount.type === 'bind' ? [mount.propagation ?? ''] : []));
  if (asked.some((propagation) => /^r?shared$/.test(propagation))) return 'shared';
  if (asked.some((propagation) => /^r?slave$/.test(propagation))) return 'rslave';
  return undefined;
}

const flagPairs = [
  ['exec', 'noexec'],
  ['suid', 'nosuid'],
  ['dev', 'nodev'],
  ['rw', 'ro'],
  ['atime', 'noatime'],
  ['diratime', 'nodiratime'],
  ['relatime', 'norelatime'],
  ['strictatime', 'nostrictatime'],
  ['sync', 'async'],
  ['dirsync', 'nodirsync'],
  ['mand', 'nomand'],
] as const;
const opposites = new Map<string, string>(
  flagPairs.flatMap(([one, other]) => [
    [one, other],
    [other, one],
  ]),
);
const propagations = /^r?(private|shared|slave|unbindable)$/;
const values: Readonly<Record<string, RegExp>> = {
  size: /^[0-9]+[kKmMgG%]?$/,
  mode: /^[0-7]{1,4}$/,
  uid: /^[0-9]{1,10}$/,
  gid: /^[0-9]{1,10}$/,
  nr_inodes: /^[0-9]+[kKmMgG]?$/,
  nr_blocks: /^[0-9]+[kKmMgG]?$/,
  mpol: /^[a-z0-9:,=-]+$/,
};

/**
 * Options of `--tmpfs /path:...`: noexec, nosuid and nodev unless undone, the last of contradicting ones counts. Throws
 * `invalid` in Docker's words on an option that tmpfs does not have.
 */
export function tmpfsOptions(text: string): readonly string[] {
  const chosen = new Map<string, string>();
  for (const option of ['noexec', 'nosuid', 'nodev', 'rprivate', ...text.split(',').filter((part) => part !== '')]) {
    const [key, value] = option.split(/=(.*)/s) as [string, string | undefined];
    if (value !== undefined) {
      if (!Object.hasOwn(values, key)) throw unknownOption(option);
      if (!values[key]!.test(value)) throw unknownOption(option);
      chosen.set(key, option);
    } else if (propagations.test(option)) chosen.set('propagation', option);
    else if (opposites.has(option)) {
      chosen.delete(opposites.get(option)!);
      chosen.set(option, option);
    } else if (option !== 'defaults') {
      throw unknownOption(option);
    }
  }
  return [...chosen.values()];
}

const unknownOption = (option: string) => new EngineError('invalid', `invalid tmpfs option ${JSON.stringify(option)}`);

/** Options of `--mount type=tmpfs`: size and mode by fields, the rest by name, in the same form as `--tmpfs`. */
export function tmpfsMountOptions({ ReadOnly, TmpfsOptions }: Pick<MountSpec, 'ReadOnly' | 'TmpfsOptions'>): string {
  const { SizeBytes = 0, Mode = 0, Options = [] } = TmpfsOptions ?? {};
  if (SizeBytes < 0)
    throw new EngineError('invalid', 'invalid mount config for type "tmpfs": size must not be negative');
  return [
    ...(ReadOnly ? ['ro'] : []),
    ...(Mode ? [`mode=${Mode.toString(8)}`] : []),
    ...(SizeBytes ? [`size=${SizeBytes}`] : []),
    ...Options.map((option) => option.join('=')),
  ].join(',');
}
