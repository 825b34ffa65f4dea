import { posix } from 'node:path';
import { EngineError } from '../../base/errors.ts';
import type { Spec } from '../../oci/runtime-spec.ts';
import type { IdRange } from '../../sys/user-namespace.ts';
import { boundingSet, processCapabilities } from './capabilities.ts';
import { deviceNodes, deviceRules } from './devices.ts';
import type { SpecInput } from './input.ts';
import { initPath, mountsOf, rootfsPropagation } from './mounts.ts';
import { namespacesOf } from './namespaces.ts';
import { resourcesOf } from './resources.ts';
import { rlimitsOf } from './rlimits.ts';
import { appArmorProfile, parseSecurityOptions, protectedPaths, seccompFor } from './security.ts';
import { sysctlsOf } from './sysctls.ts';

/**
 * A container's runtime spec. Pure: the same input gives the same spec. Throws `invalid` in Docker's words on what cannot
 * be done. Written as config.json by `specJson`.
 */
export function buildSpec(input: SpecInput): Spec {
  const { config, hostConfig, machine, user, namespaces } = input;
  const security = parseSecurityOptions(hostConfig.SecurityOpt ?? []);
  const bounding = boundingSet(hostConfig, machine);
  const paths = protectedPaths(hostConfig, security, machine);
  const propagation = rootfsPropagation(input.mounts);
  const seccomp = seccompFor(security, { Privileged: hostConfig.Privileged, bounding }, machine);
  const appArmor = appArmorProfile(security, hostConfig.Privileged, machine);
  const annotations = userAnnotations(hostConfig.Annotations ?? {});
  const [height, width] = hostConfig.ConsoleSize;
  return {
    ociVersion: '1.0.2',
    process: {
      terminal: config.Tty,
      ...(config.Tty && height > 0 && width > 0 && { consoleSize: { height, width } }),
      user: { uid: user.uid, gid: user.gid, additionalGids: user.additionalGids },
      // Only in a process namespace of its own is the first process the one that must reap.
      args: input.init !== undefined && namespaces.pid === 'private' ? [initPath, '--', ...input.args] : input.args,
      env: input.env,
      cwd: workingDirectory(input.cwd),
      capabilities: processCapabilities(bounding, user.uid),
      rlimits: rlimitsOf(hostConfig.Ulimits, machine),
      noNewPrivileges: security.noNewPrivileges,
      ...(appArmor !== undefined && { apparmorProfile: appArmor }),
      ...(input.labels?.process && { selinuxLabel: input.labels.process }),
      oomScoreAdj: hostConfig.OomScoreAdj,
    },
    root: { path: input.rootfs, readonly: hostConfig.ReadonlyRootfs },
    ...(namespaces.uts === 'private' && input.hostname !== '' && { hostname: input.hostname }),
    mounts: mountsOf({ ...input, init: namespaces.pid === 'private' ? input.init : undefined }, security),
    ...(Object.keys(annotations).length > 0 && { annotations }),
    linux: {
      namespaces: namespacesOf(namespaces, input.userNamespace?.path),
      ...(input.userNamespace && {
        uidMappings: mappings(input.userNamespace.uids),
        gidMappings: mappings(input.userNamespace.gids),
      }),
      devices: deviceNodes(input.devices.devices),
      cgroupsPath: cgroupsPath(hostConfig.CgroupParent || input.cgroupParent, input.id),
      resources: {
        devices: deviceRules(hostConfig, input.devices.devices),
        ...resourcesOf(hostConfig, input.devices.block),
      },
      ...(propagation !== undefined && { rootfsPropagation: propagation }),
      ...(seccomp && { seccomp }),
      sysctl: sysctlsOf(input),
      maskedPaths: paths.masked,
      readonlyPaths: paths.readOnly,
      ...(input.labels?.mount && { mountLabel: input.labels.mount }),
    },
  };
}

const mappings = (ranges: readonly IdRange[]) =>
  ranges.map(({ inside, outside, count }) => ({ containerID: inside, hostID: outside, size: count }));

/** Below the root of the cgroup tree whatever was asked for: `../../x` must not leave it. */
const cgroupsPath = (parent: string, id: string) => posix.join(posix.resolve('/', parent), id);

/**
 * Below /proc, links lead to what the engine or the runtime has open at that moment (CVE-2024-21626), so that no process
 * starts there.
 */
export function workingDirectory(cwd: string): string {
  if (cwd === '') return '/';
  const path = posix.normalize(cwd);
  if (!path.startsWith('/'))
    throw new EngineError('invalid', `the working directory '${cwd}' is invalid, it needs to be an absolute path`);
  if (/^\/proc\/([^/]+|thread-self|self)\/(task\/[^/]+\/)?(fd|root|cwd|map_files)(\/|$)/.test(path))
    throw new EngineError('invalid', `the working directory '${cwd}' is invalid: it leads out of the container`);
  return path.length > 1 && path.endsWith('/') ? path.slice(0, -1) : path;
}

/**
 * `run.oci.*` and `io.*` of the runtimes choose hooks, handlers and the seccomp program itself (S18): those are only ever
 * the engine's.
 */
export function userAnnotations(annotations: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  const reserved = /^(run\.oci|io\.(kubernetes|containerd|katacontainers)|org\.criu|com\.github\.containers)\./i;
  return Object.fromEntries(Object.entries(annotations).filter(([key]) => key !== '' && !reserved.test(key)));
}
