import type { Linux } from '../../oci/runtime-spec.ts';
import type { SpecNamespaces } from './input.ts';

/** New ones by type, joined ones by path; what is not listed is the host's. */
export function namespacesOf(
  { network, ipc, pid, uts, cgroup }: SpecNamespaces,
  user?: string | undefined,
): Linux['namespaces'] {
  const list: { type: string; path?: string }[] = [{ type: 'mount' }];
  if (user !== undefined) list.push({ type: 'user', path: user });
  if (network !== 'host') list.push({ type: 'network', path: network.path });
  if (uts === 'private') list.push({ type: 'uts' });
  if (typeof pid === 'object') list.push({ type: 'pid', path: pid.path });
  else if (pid === 'private') list.push({ type: 'pid' });
  if (typeof ipc === 'object' && ipc.path !== undefined) list.push({ type: 'ipc', path: ipc.path });
  else if (ipc !== 'host') list.push({ type: 'ipc' });
  if (cgroup === 'private') list.push({ type: 'cgroup' });
  return list;
}
