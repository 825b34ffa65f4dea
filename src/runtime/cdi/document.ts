import { EngineError } from '../../base/errors.ts';
import {
  absent,
  array,
  type JsonObject,
  member,
  object,
  optional,
  stringArray,
  text,
  wholeNumber,
} from '../../oci/validate-json.ts';

/** A file of the Container Device Interface (CDI specification 1.0.0, SPEC.md), read and checked. */
export interface CdiDocument {
  /** `vendor.com/class`. */
  readonly kind: string;
  readonly devices: readonly { readonly name: string; readonly edits: ContainerEdits }[];
  /** What every container gets that has one of the devices, once. */
  readonly edits: ContainerEdits;
}

export interface ContainerEdits {
  /** `NAME=value`. */
  readonly env: readonly string[];
  readonly deviceNodes: readonly DeviceNode[];
  readonly mounts: readonly CdiMount[];
  readonly hooks: readonly CdiHook[];
  readonly additionalGids: readonly number[];
}

export interface DeviceNode {
  /** In the container. */
  readonly path: string;
  /** On the host; the same where nothing is said. */
  readonly hostPath: string;
  readonly type: 'b' | 'c' | 'u' | 'p' | undefined;
  readonly major: number | undefined;
  readonly minor: number | undefined;
  /** Permission bits. */
  readonly fileMode: number | undefined;
  /** Of the device cgroup: `rwm` or a part of it. */
  readonly permissions: string;
  readonly uid: number | undefined;
  readonly gid: number | undefined;
}

export interface CdiMount {
  readonly hostPath: string;
  readonly containerPath: string;
  readonly type: string | undefined;
  readonly options: readonly string[];
}

/** A program of the administrator's, which the runtime starts. */
export interface CdiHook {
  readonly name: (typeof hookNames)[number];
  readonly path: string;
  readonly args: readonly string[];
  readonly env: readonly string[];
  /** Seconds. */
  readonly timeout: number | undefined;
}

export const hookNames = [
  'prestart',
  'createRuntime',
  'createContainer',
  'startContainer',
  'poststart',
  'poststop',
] as const;

/** Throws `invalid`, naming the file and what is wrong in it. What asks for more than there is here is refused, not skipped. */
export function readCdiDocument(value: unknown, file: string): CdiDocument {
  const body = object(value, file);
  const version = text(member(body, 'cdiVersion'), `${file} cdiVersion`);
  if (!/^v?(0\.[1-9]|1\.[01])\.\d+$/.test(version)) throw wrong(file, `cdiVersion ${version} is not known`);
  const kind = text(member(body, 'kind'), `${file} kind`);
  if (!isKind(kind)) throw wrong(file, `kind ${JSON.stringify(kind)} is not vendor/class`);
  const names = new Set<string>();
  const devices = array(body, 'devices', file, 4096).map((entry, at) => {
    const what = `${file} devices[${at}]`;
    const device = object(entry, what);
    const name = text(member(device, 'name'), `${what} name`);
    if (!isDeviceName(name)) throw wrong(file, `${JSON.stringify(name)} is no name of a device`);
    if (names.has(name)) throw wrong(file, `the device ${name} is there twice`);
    names.add(name);
    return { name, edits: readEdits(device, what) };
  });
  if (devices.length === 0) throw wrong(file, 'it has no devices');
  return { kind, devices, edits: readEdits(body, file) };
}

const wrong = (file: string, why: string) => new EngineError('invalid', `invalid CDI file ${file}: ${why}`);

/** SPEC.md, "kind": a vendor as a domain name, and a class. */
export const isKind = (text: string) =>
  /^[A-Za-z]([A-Za-z0-9_.-]*[A-Za-z0-9])?\/[A-Za-z]([A-Za-z0-9_-]*[A-Za-z0-9])?$/.test(text);

export const isDeviceName = (text: string) => /^[A-Za-z0-9]([A-Za-z0-9_.:-]*[A-Za-z0-9])?$/.test(text);

/** `vendor.com/class=name`, or undefined. */
export function parseQualifiedName(text: string): { readonly kind: string; readonly name: string } | undefined {
  const [, kind = '', name = ''] = /^([^=]*)=(.*)$/s.exec(text) ?? [];
  return isKind(kind) && isDeviceName(name) ? { kind, name } : undefined;
}

function readEdits(owner: JsonObject, what: string): ContainerEdits {
  const body = optional(owner, 'containerEdits', object, what) ?? {};
  const place = `${what} containerEdits`;
  for (const field of ['intelRdt', 'netDevices'])
    if (!absent(body, field)) throw new EngineError('invalid', `invalid ${place}: ${field} is not supported`);
  const entries = (key: string) =>
    array(body, key, place, 4096).map((entry, at) => {
      const name = `${place} ${key}[${at}]`;
      return { name, entry: object(entry, name) };
    });
  const env = optional(body, 'env', stringArray, place) ?? [];
  for (const variable of env)
    if (!/^[^=\0]+=/.test(variable)) throw new EngineError('invalid', `invalid ${place} env: ${variable}`);
  return {
    env,
    deviceNodes: entries('deviceNodes').map(readNode),
    mounts: entries('mounts').map(({ name, entry }) => ({
      hostPath: absolute(entry, 'hostPath', name),
      containerPath: absolute(entry, 'containerPath', name),
      type: optional(entry, 'type', text, name),
      options: optional(entry, 'options', stringArray, name) ?? [],
    })),
    hooks: entries('hooks').map(readHook),
    additionalGids: array(body, 'additionalGids', place, 1024).map((gid, at) =>
      wholeNumber(gid, `${place} additionalGids[${at}]`),
    ),
  };
}

interface Entry {
  readonly name: string;
  readonly entry: JsonObject;
}

function readNode({ name, entry }: Entry): DeviceNode {
  const path = absolute(entry, 'path', name);
  const type = optional(entry, 'type', text, name) || undefined;
  if (type !== undefined && !/^[bcup]$/.test(type)) throw new EngineError('invalid', `invalid ${name}: type ${type}`);
  const permissions = optional(entry, 'permissions', text, name) || 'rwm';
  if (!/^[rwm]{1,3}$/.test(permissions))
    throw new EngineError('invalid', `invalid ${name}: permissions ${permissions}`);
  const number = (key: string) => optional(entry, key, wholeNumber, name);
  const mode = number('fileMode');
  return {
    path,
    hostPath: absent(entry, 'hostPath') ? path : absolute(entry, 'hostPath', name),
    type: type as DeviceNode['type'],
    major: number('major'),
    minor: number('minor'),
    fileMode: mode === undefined ? undefined : mode & 0o777,
    permissions,
    uid: number('uid'),
    gid: number('gid'),
  };
}

function readHook({ name, entry }: Entry): CdiHook {
  const hookName = text(member(entry, 'hookName'), `${name} hookName`);
  const known = hookNames.find((one) => one === hookName);
  if (!known) throw new EngineError('invalid', `invalid ${name}: no hook is called ${JSON.stringify(hookName)}`);
  return {
    name: known,
    path: absolute(entry, 'path', name),
    args: optional(entry, 'args', stringArray, name) ?? [],
    env: optional(entry, 'env', stringArray, name) ?? [],
    timeout: optional(entry, 'timeout', wholeNumber, name),
  };
}

function absolute(entry: JsonObject, key: string, name: string): string {
  const path = text(member(entry, key), `${name} ${key}`);
  if (!/^\/[^\0]*$/.test(path)) throw new EngineError('invalid', `invalid ${name}: ${key} is not an absolute path`);
  return path;
}
