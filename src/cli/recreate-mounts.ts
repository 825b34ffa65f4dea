import type { MountSpec } from '../protocol/container.ts';
import type { Part } from './recreate.ts';
import type { Yaml } from './yaml.ts';

/** One `--mount`, and the long form of a Compose volume. */
export function mountPart(mount: MountSpec): Part {
  const {
    Type,
    Source,
    Target,
    ReadOnly,
    Consistency,
    BindOptions: bind,
    VolumeOptions: volume,
    TmpfsOptions: tmpfs,
    ImageOptions: image,
  } = mount;
  const words: string[] = [`type=${Type}`];
  if (Source) words.push(`source=${Source}`);
  words.push(`target=${Target}`);
  if (ReadOnly) words.push('readonly');
  if (Consistency) words.push(`consistency=${Consistency}`);
  const options: { [key: string]: Yaml } = {};
  const notes: string[] = [];
  if (bind) {
    if (bind.Propagation) {
      words.push(`bind-propagation=${bind.Propagation}`);
      options['propagation'] = bind.Propagation;
    }
    const recursive = bind.NonRecursive
      ? 'disabled'
      : bind.ReadOnlyForceRecursive
        ? 'readonly'
        : bind.ReadOnlyNonRecursive
          ? 'writable'
          : undefined;
    if (recursive) {
      words.push(`bind-recursive=${recursive}`);
      options['recursive'] = recursive;
    }
    if (bind.IDMap) notes.push(`--mount cannot ask for mapped owners; -v ${Source}:${Target}:idmap can`);
    if (bind.CreateMountpoint) {
      options['create_host_path'] = true;
      notes.push(`--mount cannot ask for ${Source} to be made where it is missing`);
    }
  }
  if (volume) {
    if (volume.NoCopy) {
      words.push('volume-nocopy');
      options['nocopy'] = true;
    }
    if (volume.Subpath) {
      words.push(`volume-subpath=${volume.Subpath}`);
      options['subpath'] = volume.Subpath;
    }
    for (const [name, value] of Object.entries(volume.Labels ?? {})) words.push(`volume-label=${name}=${value}`);
    if (volume.DriverConfig?.Name) words.push(`volume-driver=${volume.DriverConfig.Name}`);
    for (const [name, value] of Object.entries(volume.DriverConfig?.Options ?? {}))
      words.push(`volume-opt=${name}=${value}`);
  }
  if (image?.Subpath) {
    words.push(`image-subpath=${image.Subpath}`);
    options['subpath'] = image.Subpath;
  }
  if (tmpfs) {
    if (tmpfs.SizeBytes) {
      words.push(`tmpfs-size=${tmpfs.SizeBytes}`);
      options['size'] = tmpfs.SizeBytes;
    }
    if (tmpfs.Mode) {
      words.push(`tmpfs-mode=${tmpfs.Mode.toString(8)}`);
      options['mode'] = tmpfs.Mode;
    }
  }
  const long: { [key: string]: Yaml } = {
    type: Type,
    ...(Source && { source: Source }),
    target: Target,
    ...(ReadOnly && { read_only: true }),
    ...(Object.keys(options).length > 0 && { [Type]: options }),
  };
  return {
    run: ['--mount', words.map(csv).join(',')],
    compose: { volumes: [long] },
    ...(Type === 'volume' && Source && { top: { volumes: { [Source]: { external: true } } } }),
    ...(notes.length > 0 && { notes }),
  };
}

/** The flag is a line of CSV. */
function csv(field: string): string {
  return /[",\n\r]/.test(field) ? `"${field.replaceAll('"', '""')}"` : field;
}
