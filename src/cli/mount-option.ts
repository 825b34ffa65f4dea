import { resolve } from 'node:path';
import { UsageError } from './command.ts';
import { splitOnce } from './pairs.ts';
import { bytesOf, commaSeparated } from './values.ts';

type Fields = Record<string, unknown>;

/** `--mount type=bind,source=/srv,target=/data,readonly` as the API's `Mount`; its keys and their other names are docker's. */
export function mountOf(text: string, help: string): Fields {
  const wrong = (why: string) => new UsageError(`--mount ${text}: ${why}`, help);
  const mount: Fields = { Type: 'volume' };
  const options: Record<'bind' | 'volume' | 'tmpfs' | 'image', Fields> = { bind: {}, volume: {}, tmpfs: {}, image: {} };
  const map = (of: Fields, key: string, [name, value]: readonly [string, string]) => {
    of[key] = { ...(of[key] as Fields | undefined), [name]: value };
  };
  const truth = (value: string, key: string) => {
    if (value === '' || /^(?:1|t|true)$/i.test(value)) return true;
    if (/^(?:0|f|false)$/i.test(value)) return false;
    throw wrong(`${key}=${value}: expected true or false`);
  };
  for (const field of commaSeparated(text)) {
    const [key, value] = splitOnce(field);
    if (value === '' && !/^(?:readonly|ro|volume-nocopy|bind-nonrecursive)$/.test(key))
      throw wrong(`${key}: expected key=value`);
    switch (key.toLowerCase()) {
      case 'type':
        mount['Type'] = value.toLowerCase();
        break;
      case 'source':
      case 'src':
        mount['Source'] = /^\.{1,2}(?:\/|$)/.test(value) ? resolve(value) : value;
        break;
      case 'target':
      case 'dst':
      case 'destination':
        mount['Target'] = value;
        break;
      case 'readonly':
      case 'ro':
        mount['ReadOnly'] = truth(value, key);
        break;
      case 'consistency':
        mount['Consistency'] = value;
        break;
      case 'bind-propagation':
        options.bind['Propagation'] = value;
        break;
      case 'bind-nonrecursive':
        options.bind['NonRecursive'] = truth(value, key);
        break;
      case 'bind-recursive':
        if (value === 'disabled') options.bind['NonRecursive'] = true;
        else if (value === 'writable') options.bind['ReadOnlyNonRecursive'] = true;
        else if (value === 'readonly') options.bind['ReadOnlyForceRecursive'] = true;
        else if (value !== 'enabled') throw wrong(`${key}=${value}: expected enabled, disabled, writable or readonly`);
        break;
      case 'volume-subpath':
        options.volume['Subpath'] = value;
        break;
      case 'volume-nocopy':
        options.volume['NoCopy'] = truth(value, key);
        break;
      case 'volume-label':
        map(options.volume, 'Labels', splitOnce(value));
        break;
      case 'volume-driver':
        options.volume['DriverConfig'] = { ...(options.volume['DriverConfig'] as Fields | undefined), Name: value };
        break;
      case 'volume-opt': {
        const config = (options.volume['DriverConfig'] ??= {}) as Fields;
        map(config, 'Options', splitOnce(value));
        break;
      }
      case 'image-subpath':
        options.image['Subpath'] = value;
        break;
      case 'tmpfs-size':
        options.tmpfs['SizeBytes'] = bytesOf(value, 'tmpfs-size', help);
        break;
      case 'tmpfs-mode':
        if (!/^[0-7]{1,5}$/.test(value)) throw wrong(`${key}=${value}: expected a mode as 1777`);
        options.tmpfs['Mode'] = Number.parseInt(value, 8);
        break;
      default:
        throw wrong(`unexpected key '${key}'`);
    }
  }
  const target = mount['Target'];
  if (typeof target !== 'string') throw wrong('target is required');
  for (const [type, own] of Object.entries(options)) {
    if (Object.keys(own).length === 0) continue;
    if (mount['Type'] !== type) throw wrong(`its ${type} options are for type=${type}`);
    mount[`${type.charAt(0).toUpperCase()}${type.slice(1)}Options`] =
      type === 'volume' ? { DriverConfig: {}, ...own } : own;
  }
  return mount;
}

/** `-v`: a path of this machine is made absolute; a volume without a source is told apart. */
export function volumeOf(text: string, help: string): { readonly bind: string } | { readonly anonymous: string } {
  if (text === '') throw new UsageError('--volume: expected [SOURCE:]TARGET[:OPTIONS]', help);
  const [source = '', ...rest] = text.split(':');
  if (rest.length === 0) return { anonymous: source };
  return { bind: [/^\.{1,2}(?:\/|$)/.test(source) ? resolve(source) : source, ...rest].join(':') };
}
