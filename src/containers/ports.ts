import type { PortRequest } from '../networks/networks.ts';
import type { ContainerConfig, HostConfig } from '../protocol/container.ts';
import { formatPort, parseHostPort, parsePorts } from '../protocol/ports.ts';

/** What is published: what was bound with -p, and with -P every other exposed port on a free one. */
export function portRequests(
  { ExposedPorts = {} }: Pick<ContainerConfig, 'ExposedPorts'>,
  { PortBindings, PublishAllPorts }: Pick<HostConfig, 'PortBindings' | 'PublishAllPorts'>,
): readonly PortRequest[] {
  const requests: PortRequest[] = [];
  const bound = new Set<string>();
  for (const [spec, bindings] of Object.entries(PortBindings ?? {}))
    for (const port of parsePorts(spec))
      for (const { HostIp, HostPort } of bindings ?? []) {
        bound.add(formatPort(port));
        requests.push({ ...port, hostAddress: HostIp ?? '', ...parseHostPort(HostPort ?? '') });
      }
  if (PublishAllPorts)
    for (const port of Object.keys(ExposedPorts).flatMap(parsePorts))
      if (!bound.has(formatPort(port))) requests.push({ ...port, hostAddress: '', first: 0, last: 0 });
  return requests;
}
