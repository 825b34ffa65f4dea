import type { Process } from '../oci/runtime-spec.ts';
import type { TerminalSize } from '../runtime/runtime.ts';
import { workingDirectory } from '../runtime/spec/build.ts';
import { boundingSet, processCapabilities } from '../runtime/spec/capabilities.ts';
import { containerEnv, execEnv } from '../runtime/spec/env.ts';
import { rlimitsOf } from '../runtime/spec/rlimits.ts';
import { parseSecurityOptions } from '../runtime/spec/security.ts';
import { resolveUser } from '../runtime/spec/user.ts';
import type { ExecCreate } from './containers.ts';
import { linkEnv } from './links.ts';
import type { ContainerRecord } from './record.ts';
import type { Room } from './room.ts';

/** What of a request makes the process. */
export type ExecProcess = Pick<ExecCreate, 'Cmd' | 'Env' | 'Privileged' | 'Tty' | 'User' | 'WorkingDir'>;

/** The process of an exec session, confined as the container is. */
export function execProcess(
  room: Room,
  container: ContainerRecord,
  request: ExecProcess,
  size?: TerminalSize | undefined,
): Process {
  const { machine } = room.deps;
  const { config, hostConfig } = container;
  const rootfs = room.rootfs(container.id);
  const security = parseSecurityOptions(hostConfig.SecurityOpt ?? []);
  const privileged = request.Privileged || hostConfig.Privileged;
  const user = resolveUser(rootfs, request.User || config.User, hostConfig.GroupAdd ?? []);
  const own = containerEnv({ config, hostname: config.Hostname, home: '', links: linkEnv(room.store, container) });
  return {
    terminal: request.Tty,
    ...(request.Tty && size ? { consoleSize: { height: size.rows, width: size.columns } } : {}),
    user: { uid: user.uid, gid: user.gid, additionalGids: user.additionalGids },
    args: request.Cmd,
    env: execEnv({ container: own, env: request.Env, tty: request.Tty, home: user.home }),
    cwd: workingDirectory(request.WorkingDir || config.WorkingDir),
    capabilities: processCapabilities(boundingSet({ ...hostConfig, Privileged: privileged }, machine), user.uid),
    rlimits: rlimitsOf(hostConfig.Ulimits, machine),
    noNewPrivileges: security.noNewPrivileges,
    ...(container.appArmorProfile
      ? { apparmorProfile: request.Privileged ? 'unconfined' : container.appArmorProfile }
      : {}),
    ...(container.processLabel ? { selinuxLabel: container.processLabel } : {}),
    oomScoreAdj: hostConfig.OomScoreAdj,
  };
}

/** The command as Docker's events have it: the program, a blank, its arguments. */
export function commandText([program = '', ...args]: readonly string[]): string {
  return `${program} ${args.join(' ')}`;
}
