import { closeSync, constants, openSync } from 'node:fs';
import { type MountCalls, mountFlags } from '../sys/mount.ts';

const O_PATH = 0o10000000;

export interface OverlayMount {
  /** Top first, at least one; two without `upper`. */
  readonly lower: readonly string[];
  readonly upper?: string;
  readonly work?: string;
  readonly target: string;
  /** For SELinux; '' and undefined leave every file the one it has. */
  readonly label?: string;
}

/**
 * What every mount has, whatever the kernel's defaults: a layer from a stranger cannot redirect lookups, a file's data is
 * in the layer that its inode is in, and one device number for the whole tree where the inode numbers allow it.
 */
const fixedOptions: readonly (readonly [string, string])[] = [
  ['redirect_dir', 'nofollow'],
  ['index', 'off'],
  ['metacopy', 'off'],
  ['xino', 'auto'],
];

/** With fsconfig(2), which names lower directories one by one: no page to overflow and nothing to escape. */
export function mountOverlay(calls: Pick<MountCalls, 'mountNew'>, { target, ...mount }: OverlayMount): void {
  calls.mountNew({ type: 'overlay', target, options: optionsOf(mount) });
}

/** The same, attached nowhere: the descriptor is all there is of it. */
export function detachedOverlay(calls: MountCalls, mount: Omit<OverlayMount, 'target'>, subject: string): number {
  return calls.createDetached({ type: 'overlay', options: optionsOf(mount), subject });
}

function optionsOf({
  lower,
  upper,
  work,
  label,
}: Omit<OverlayMount, 'target'>): readonly (readonly [string, string])[] {
  return [
    ['source', 'berth'],
    ...lower.map((path): [string, string] => ['lowerdir+', path]),
    ...(upper && work
      ? ([
          ['upperdir', upper],
          ['workdir', work],
        ] as const)
      : []),
    ...fixedOptions,
    // Else the kernel writes a mark of its own into every new upper directory.
    ['uuid', 'null'],
    ...(label ? ([['context', label]] as const) : []),
  ];
}

/**
 * With mount(2), for kernels without `lowerdir+`. Paths are given through descriptors: 128 of them fit the page that
 * mount(2) has for options, and no character needs escaping.
 */
export function mountOverlayByDescriptors(
  calls: Pick<MountCalls, 'mount'>,
  { lower, upper, work, target, label }: OverlayMount,
): void {
  const descriptors: number[] = [];
  const through = (path: string) => {
    const fd = openSync(path, O_PATH | constants.O_DIRECTORY | constants.O_NOFOLLOW);
    descriptors.push(fd);
    return `/proc/self/fd/${fd}`;
  };
  try {
    const options = [`lowerdir=${lower.map(through).join(':')}`];
    if (upper && work) options.push(`upperdir=${through(upper)}`, `workdir=${through(work)}`);
    for (const [name, value] of fixedOptions) options.push(`${name}=${value}`);
    // Quoted, since its categories have a comma between.
    if (label) options.push(`context="${label}"`);
    calls.mount({ source: 'berth', target, type: 'overlay', flags: 0, data: options.join(',') });
  } finally {
    for (const fd of descriptors) closeSync(fd);
  }
}

export const layerFlags = mountFlags.MS_RDONLY | mountFlags.MS_NODEV | mountFlags.MS_NOSUID;
