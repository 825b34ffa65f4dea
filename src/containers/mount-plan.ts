import { EngineError } from '../base/errors.ts';
import type { ContainerConfig, HostConfig, MountSpec } from '../protocol/container.ts';
import { cleanPath, parseBind } from '../protocol/volume-spec.ts';
import { tmpfsMountOptions, tmpfsOptions } from '../runtime/spec/mounts.ts';
import type { HeldMount } from './record.ts';

/** A mount that was asked for, before volumes are made and sources looked at. */
export type PlannedMount = Omit<HeldMount, 'point'> & {
  readonly type: 'bind' | 'volume' | 'tmpfs' | 'image';
  /** A host path, a volume's name, '' for an anonymous volume, or an image's name. */
  readonly source: string;
  readonly target: string;
  readonly mode: string;
  readonly readOnly: boolean;
  readonly propagation: string;
  readonly labels: Readonly<Record<string, string>>;
  /** Of the volume's driver, when it is made. */
  readonly options: Readonly<Record<string, string>>;
};

/**
 * Reads -v, --mount, --tmpfs and the image's volumes into one list, a destination once. `inherited` are those of
 * --volumes-from, which the container's own replace. Throws `invalid` in Docker's words.
 */
export function planMounts(
  config: Pick<ContainerConfig, 'Volumes'>,
  hostConfig: Pick<HostConfig, 'Binds' | 'Mounts' | 'Tmpfs'>,
  inherited: readonly HeldMount[],
): { readonly planned: readonly PlannedMount[]; readonly inherited: readonly HeldMount[] } {
  const planned = new Map<string, PlannedMount>();
  const add = (mount: PlannedMount) => {
    if (
      planned.has(mount.target) ||
      Object.keys(hostConfig.Tmpfs ?? {}).some((path) => cleanPath(path) === mount.target)
    )
      throw new EngineError('invalid', `Duplicate mount point: ${mount.target}`);
    planned.set(mount.target, mount);
  };
  for (const bind of hostConfig.Binds ?? []) add(plannedBind(bind));
  for (const mount of hostConfig.Mounts ?? []) add(parseMount(mount));
  for (const [path, options] of Object.entries(hostConfig.Tmpfs ?? {})) {
    checkTarget(path, `invalid tmpfs mount: ${path}`);
    tmpfsOptions(options);
  }
  const kept = inherited.filter(({ point }) => !planned.has(point.Destination));
  const taken = new Set([
    ...kept.map(({ point }) => point.Destination),
    ...Object.keys(hostConfig.Tmpfs ?? {}).map(cleanPath),
  ]);
  for (const path of Object.keys(config.Volumes ?? {})) {
    const target = checkTarget(path, `invalid volume specification: '${path}'`);
    if (planned.has(target) || taken.has(target)) continue;
    planned.set(target, { ...plain, type: 'volume', source: '', target, anonymous: true, relabel: 'z' });
  }
  return { planned: [...planned.values()], inherited: kept };
}

const plain = {
  mode: '',
  readOnly: false,
  propagation: '',
  labels: {},
  options: {},
  noCopy: false,
  createSource: false,
  recursive: true,
  recursiveReadOnly: 'possible',
  relabel: undefined,
  subpath: '',
  anonymous: false,
  tmpfs: undefined,
} as const;

const propagations = new Set(['private', 'rprivate', 'shared', 'rshared', 'slave', 'rslave']);
function plannedBind(text: string): PlannedMount {
  const { type, source, target, readOnly, propagation, relabel, noCopy, idmap, mode } = parseBind(text);
  return {
    ...plain,
    type,
    source,
    target,
    // What Docker shows of a named volume without options.
    mode: mode === '' && type === 'volume' && source !== '' ? 'z' : mode,
    readOnly,
    propagation: type === 'bind' ? propagation || 'rprivate' : '',
    noCopy,
    ...(idmap && { idmap }),
    createSource: type === 'bind',
    // A volume is for containers, whatever its folder on the host is labelled as.
    relabel: relabel || (type === 'volume' ? 'z' : undefined),
    anonymous: type === 'volume' && source === '',
  };
}

function parseMount(mount: MountSpec): PlannedMount {
  const { Type, Source = '', Target, ReadOnly = false, BindOptions, VolumeOptions } = mount;
  const bad = (why: string) => new EngineError('invalid', `invalid mount config for type "${Type}": ${why}`);
  if (!Target) throw bad('field Target must not be empty');
  const target = checkTarget(Target, bad('').message.slice(0, -2));
  if (Type === 'bind') {
    if (Source === '') throw bad('field Source must not be empty');
    if (!Source.startsWith('/')) throw bad(`invalid mount path: '${Source}' mount path must be absolute`);
    if (VolumeOptions) throw new EngineError('invalid', 'VolumeOptions must not be specified on mount type "bind"');
    const propagation = BindOptions?.Propagation || 'rprivate';
    if (!propagations.has(propagation)) throw bad(`invalid propagation mode: ${propagation}`);
    const recursiveReadOnly = BindOptions?.ReadOnlyForceRecursive
      ? 'forced'
      : BindOptions?.ReadOnlyNonRecursive
        ? 'no'
        : 'possible';
    if (!ReadOnly && recursiveReadOnly !== 'possible')
      throw bad('mount must be read-only for a recursive read-only option');
    return {
      ...plain,
      type: 'bind',
      source: cleanPath(Source),
      target,
      readOnly: ReadOnly,
      propagation,
      recursive: !BindOptions?.NonRecursive,
      recursiveReadOnly,
      createSource: BindOptions?.CreateMountpoint ?? false,
      ...(BindOptions?.IDMap && { idmap: true }),
    };
  }
  if (Type === 'volume') {
    if (BindOptions) throw new EngineError('invalid', 'BindOptions must not be specified on mount type "volume"');
    const subpath = VolumeOptions?.Subpath ?? '';
    if (subpath && Source === '') throw bad('must not set Subpath when using anonymous volumes');
    if (subpath.startsWith('/') || subpath.split('/').includes('..'))
      throw bad('subpath must be a relative path within the volume');
    const driver = VolumeOptions?.DriverConfig?.Name ?? '';
    if (driver && driver !== 'local') throw noVolumeDriver(Source, driver);
    return {
      ...plain,
      type: 'volume',
      source: Source,
      target,
      mode: 'z',
      relabel: 'z',
      readOnly: ReadOnly,
      noCopy: VolumeOptions?.NoCopy ?? false,
      labels: VolumeOptions?.Labels ?? {},
      options: VolumeOptions?.DriverConfig?.Options ?? {},
      subpath,
      anonymous: Source === '',
    };
  }
  if (Type === 'tmpfs') {
    if (Source !== '') throw bad('field Source must not be specified');
    const tmpfs = tmpfsMountOptions(mount);
    tmpfsOptions(tmpfs);
    return { ...plain, type: 'tmpfs', source: '', target, readOnly: ReadOnly, tmpfs };
  }
  if (Type === 'image') {
    if (Source === '') throw bad('field Source must not be empty');
    const subpath = mount.ImageOptions?.Subpath ?? '';
    return { ...plain, type: 'image', source: Source, target, readOnly: true, propagation: 'rprivate', subpath };
  }
  throw new EngineError('unsupported', `mount type "${Type}" is not supported yet`);
}

/** `invalid` and not `not-found`, which a client takes for a missing image. */
export function noVolumeDriver(name: string, driver: string): EngineError {
  const why = `error looking up volume plugin ${driver}: plugin "${driver}" not found`;
  return new EngineError('invalid', name === '' ? why : `create ${name}: ${why}`);
}

function checkTarget(path: string, what: string): string {
  const target = cleanPath(path);
  if (!path.startsWith('/'))
    throw new EngineError('invalid', `${what}: invalid mount path: '${path}' mount path must be absolute`);
  if (target === '/') throw new EngineError('invalid', `${what}: invalid specification: destination can't be '/'`);
  if (target.includes('\0')) throw new EngineError('invalid', `${what}: invalid mount path`);
  return target;
}
