import { EngineError } from '../base/errors.ts';

/** A `-v` of docker run, as it stands in `HostConfig.Binds`: `source:target[:options]`, or `target` for an anonymous volume. */
export interface BindSpec {
  readonly type: 'bind' | 'volume';
  /** A path on the host, or the name of a volume; '' is an anonymous one. */
  readonly source: string;
  readonly target: string;
  readonly readOnly: boolean;
  /** '' is the default. */
  readonly propagation: string;
  /** SELinux: `z` shared, `Z` private. */
  readonly relabel: 'z' | 'Z' | '';
  readonly noCopy: boolean;
  /** Berth's own: the files belong to the container's user. */
  readonly idmap: boolean;
  /** The options as they were written. */
  readonly mode: string;
}

const propagations = ['private', 'rprivate', 'shared', 'rshared', 'slave', 'rslave'];
const consistencies = ['default', 'consistent', 'cached', 'delegated'];
const volumeName = /^[a-zA-Z0-9][a-zA-Z0-9_.-]+$/;

/** Throws `invalid` in Docker's words. */
export function parseBind(text: string): BindSpec {
  const given = text.split(':');
  const parts = given.length === 1 && text !== '' ? ['', text] : given;
  const bad = (why = '') => new EngineError('invalid', `invalid volume specification: '${text}'${why && `: ${why}`}`);
  const [source = '', target = '', mode = ''] = parts;
  if (parts.length < 2 || parts.length > 3 || target === '' || (source === '' && parts === given)) throw bad();
  if (parts.length === 3 && mode === '') throw bad();
  const type = source.startsWith('/') ? 'bind' : 'volume';
  const config = `invalid mount config for type "${type}"`;
  if (!target.startsWith('/')) throw bad(`${config}: invalid mount path: '${target}' mount path must be absolute`);
  if (cleanPath(target) === '/') throw bad(`${config}: invalid specification: destination can't be '/'`);
  if (type === 'volume' && source !== '') checkVolumeName(source);
  const options = mode === '' ? [] : mode.split(',');
  const chosen = (of: readonly string[]) => options.filter((option) => of.includes(option));
  const access = chosen(['rw', 'ro']);
  const relabel = chosen(['z', 'Z']);
  const propagation = chosen(propagations);
  const noCopy = chosen(['nocopy']);
  const consistency = chosen(consistencies);
  const idmap = chosen(['idmap']);
  const groups = [access, relabel, propagation, noCopy, consistency, idmap];
  const known = groups.reduce((sum, group) => sum + group.length, 0);
  const wrong =
    groups.some((group) => group.length > 1) ||
    known !== options.length ||
    (type === 'bind' && noCopy.length > 0) ||
    (type === 'volume' && propagation.length + idmap.length > 0) ||
    // What is mounted later comes with its own owners.
    (idmap.length > 0 && /shared|slave/.test(propagation[0] ?? ''));
  if (wrong) throw new EngineError('invalid', `invalid mode: ${mode}`);
  return {
    type,
    source: type === 'bind' ? cleanPath(source) : source,
    target: cleanPath(target),
    readOnly: access[0] === 'ro',
    propagation: propagation[0] ?? '',
    relabel: (relabel[0] ?? '') as BindSpec['relabel'],
    noCopy: noCopy.length > 0,
    idmap: idmap.length > 0,
    mode,
  };
}

export function checkVolumeName(name: string): void {
  if (volumeName.test(name)) return;
  throw new EngineError(
    'invalid',
    name.length < 2
      ? `create ${name}: volume name is too short, names should be at least two alphanumeric characters`
      : `create ${name}: "${name}" includes invalid characters for a local volume name, only "[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. If you intended to pass a host directory, use absolute path`,
  );
}

/** As Go's path.Clean for an absolute path. */
export function cleanPath(path: string): string {
  const parts: string[] = [];
  for (const part of path.split('/')) {
    if (part === '' || part === '.') continue;
    if (part === '..') parts.pop();
    else parts.push(part);
  }
  return `/${parts.join('/')}`;
}
