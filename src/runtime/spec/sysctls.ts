import { EngineError } from '../../base/errors.ts';
import type { HostConfig } from '../../protocol/container.ts';
import type { Machine, SpecInput } from './input.ts';

/** System V and POSIX message settings that belong to the IPC namespace (namespaces of ipc/ipc_sysctl.c). */
const ipcNames = new Set(
  'msgmax msgmnb msgmni sem shmall shmmax shmmni shm_rmid_forced auto_msgmni msg_next_id sem_next_id shm_next_id'
    .split(' ')
    .map((name) => `kernel.${name}`),
);

/**
 * The container's sysctls: Docker's own (unprivileged ports and ping where the network namespace is new), then the
 * user's. Throws `invalid` on one whose effect would leave the container: the runtimes say the same, only later.
 */
export function sysctlsOf({
  hostConfig,
  config,
  namespaces,
  userNamespace,
  machine,
}: Pick<SpecInput, 'hostConfig' | 'config' | 'namespaces' | 'userNamespace'> & {
  readonly machine: Pick<Machine, 'sysctls'>;
}): Readonly<Record<string, string>> {
  const sysctls: Record<string, string> = {};
  // The spec's domainname is newer than the runtimes of stable distributions.
  if (config.Domainname !== '' && namespaces.uts === 'private') sysctls['kernel.domainname'] = config.Domainname;
  if (namespaces.network !== 'host' && namespaces.network.own) {
    if (machine.sysctls.has(pingRange)) sysctls[pingRange] = `0 ${lastGroup(userNamespace)}`;
    if (machine.sysctls.has(portStart)) sysctls[portStart] = '0';
  }
  checkSysctls(hostConfig.Sysctls ?? {}, {
    network: namespaces.network !== 'host',
    ipc: namespaces.ipc !== 'host',
    uts: namespaces.uts !== 'host',
  });
  for (const [name, value] of Object.entries(hostConfig.Sysctls ?? {})) sysctls[dotted(name)] = value;
  return sysctls;
}

const pingRange = 'net.ipv4.ping_group_range';
/** Of groups that there are no more of: the kernel refuses a range whose end is nobody's. */
const lastGroup = (user: SpecInput['userNamespace']) => (user ? (user.gids[0]?.count ?? 1) - 1 : 2_147_483_647);
const portStart = 'net.ipv4.ip_unprivileged_port_start';

/** Names may be written with slashes, where dots are then part of an interface's name: `net/ipv4/conf/eth0.1/forwarding`. */
const dotted = (name: string) => {
  const [dot, slash] = [name.indexOf('.'), name.indexOf('/')];
  if (slash === -1 || (dot !== -1 && dot < slash)) return name;
  return name.replace(/[./]/g, (mark) => (mark === '/' ? '.' : '/'));
};

/** Which of the container's namespaces are not the host's decides what it may set. */
export function checkSysctls(
  sysctls: NonNullable<HostConfig['Sysctls']>,
  own: { readonly network: boolean; readonly ipc: boolean; readonly uts: boolean },
): void {
  for (const given of Object.keys(sysctls)) {
    const name = dotted(given);
    // It becomes a path below /proc/sys.
    if (!/^[A-Za-z0-9_@:./-]+$/.test(given) || given.split(/[./]/).includes(''))
      throw new EngineError('invalid', `invalid sysctl name ${JSON.stringify(given)}`);
    const quoted = JSON.stringify(name);
    if (name.startsWith('net.')) {
      if (!own.network) throw new EngineError('invalid', `sysctl ${quoted} not allowed in host network namespace`);
    } else if (ipcNames.has(name) || name.startsWith('fs.mqueue.')) {
      if (!own.ipc) throw new EngineError('invalid', `sysctl ${quoted} is not allowed in the hosts ipc namespace`);
    } else if (name === 'kernel.hostname' && own.uts) {
      throw new EngineError('invalid', `sysctl ${quoted} is not allowed as it conflicts with the OCI "hostname" field`);
    } else if (!(name === 'kernel.domainname' && own.uts)) {
      throw new EngineError('invalid', `sysctl ${quoted} is not in a separate kernel namespace`);
    }
  }
}
