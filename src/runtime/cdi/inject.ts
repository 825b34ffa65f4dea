import { statSync } from 'node:fs';
import { codeOf, EngineError } from '../../base/errors.ts';
import type { Device, DeviceRule, Hooks, Spec, SpecMount } from '../../oci/runtime-spec.ts';
import { deviceNumber } from '../spec/devices.ts';
import { mergeEnv } from '../spec/env.ts';
import type { CdiHook, ContainerEdits, DeviceNode } from './document.ts';

/** What a device of the host is; undefined when it is none. Given, so that a test needs no device. */
export type LookUpDevice = (path: string) => Omit<Device, 'path'> | undefined;

/**
 * A spec with what CDI files say (SPEC.md, "containerEdits"): variables over those that are there, nodes and mounts in the
 * place of those at the same path, hooks behind. Throws `invalid` where a device is not on the host.
 */
export function injectDevices(spec: Spec, edits: readonly ContainerEdits[], lookUp: LookUpDevice = deviceOnHost): Spec {
  if (edits.length === 0) return spec;
  const { process, linux } = spec;
  const nodes = edits.flatMap(({ deviceNodes }) => deviceNodes.map((node) => resolveNode(node, process.user, lookUp)));
  const paths = new Set(nodes.map(({ device }) => device.path));
  const mounts = edits.flatMap((edit) => edit.mounts.map(specMount));
  const targets = new Set(mounts.map(({ destination }) => destination));
  const gids = edits.flatMap(({ additionalGids }) => additionalGids).filter((gid) => gid !== 0);
  const hooks = edits.flatMap((edit) => edit.hooks);
  return {
    ...spec,
    process: {
      ...process,
      env: edits.reduce((env, edit) => mergeEnv(env, edit.env), process.env),
      user: { ...process.user, additionalGids: [...new Set([...(process.user.additionalGids ?? []), ...gids])] },
    },
    mounts: [...spec.mounts.filter(({ destination }) => !targets.has(destination)), ...byDepth(mounts)],
    ...(hooks.length > 0 && { hooks: withHooks(spec.hooks ?? {}, hooks) }),
    linux: {
      ...linux,
      devices: [...(linux.devices ?? []).filter(({ path }) => !paths.has(path)), ...nodes.map(({ device }) => device)],
      resources: {
        ...linux.resources,
        devices: [...(linux.resources?.devices ?? []), ...nodes.flatMap(({ rule }) => rule ?? [])],
      },
    },
  };
}

function resolveNode(
  node: DeviceNode,
  user: Spec['process']['user'],
  lookUp: LookUpDevice,
): { readonly device: Device; readonly rule: DeviceRule | undefined } {
  const { path, hostPath, permissions } = node;
  const numbered = node.type === 'p' || (node.type !== undefined && node.major !== undefined);
  const found = numbered ? undefined : lookUp(hostPath);
  if (!numbered && !found)
    throw new EngineError('invalid', `CDI device injection failed: ${hostPath} is not a device of this machine`);
  const type = node.type ?? found!.type;
  const major = node.major ?? found?.major ?? 0;
  const minor = node.minor ?? (node.major === undefined ? found?.minor : undefined) ?? 0;
  const fileMode = node.fileMode ?? found?.fileMode;
  // Who is not root in the container gets the node, as the reference implementation has it.
  const uid = node.uid ?? (user.uid > 0 ? user.uid : undefined);
  const gid = node.gid ?? (user.gid > 0 ? user.gid : undefined);
  return {
    device: {
      path,
      type,
      ...(type !== 'p' && { major, minor }),
      ...(fileMode !== undefined && { fileMode }),
      ...(uid !== undefined && { uid }),
      ...(gid !== undefined && { gid }),
    },
    rule: type === 'b' || type === 'c' ? { allow: true, type, major, minor, access: permissions } : undefined,
  };
}

function deviceOnHost(path: string): Omit<Device, 'path'> | undefined {
  try {
    const facts = statSync(path);
    const type = facts.isBlockDevice() ? 'b' : facts.isCharacterDevice() ? 'c' : facts.isFIFO() ? 'p' : undefined;
    return type && { type, ...deviceNumber(facts.rdev), fileMode: facts.mode & 0o777 };
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes(codeOf(error) ?? '')) return undefined;
    throw error;
  }
}

/** Private where nothing else is said: what a vendor mounts is not for spreading to the host. */
function specMount({ hostPath, containerPath, type, options }: ContainerEdits['mounts'][number]): SpecMount {
  const bound = type === undefined || type === '' || type === 'bind';
  const propagated = options.some((option) => /^r?(private|shared|slave|unbindable)$/.test(option));
  return {
    destination: containerPath,
    type: bound ? 'bind' : type,
    source: hostPath,
    options: [
      ...(bound && !options.some((option) => /^r?bind$/.test(option)) ? ['rbind'] : []),
      ...options,
      ...(propagated ? [] : ['rprivate']),
    ],
  };
}

const byDepth = (mounts: readonly SpecMount[]) =>
  mounts.toSorted((a, b) => a.destination.split('/').length - b.destination.split('/').length);

function withHooks(before: Hooks, added: readonly CdiHook[]): Hooks {
  const hooks: { -readonly [K in keyof Hooks]: Hooks[K] } = { ...before };
  for (const { name, path, args, env, timeout } of added) {
    const hook = {
      path,
      ...(args.length > 0 && { args }),
      ...(env.length > 0 && { env }),
      ...(timeout && { timeout }),
    };
    hooks[name] = [...(hooks[name] ?? []), hook];
  }
  return hooks;
}
