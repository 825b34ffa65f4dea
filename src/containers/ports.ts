import { EngineError } from '../base/errors.ts';
import type { PortRequest } from '../networks/networks.ts';
import type { ContainerConfig, HostConfig } from '../protocol/container.ts';

/** What is published: what was bound with -p, and with -P every other exposed port on a free one. */
export function portRequests(
  { ExposedPorts = {} }: Pick<ContainerConfig, 'ExposedPorts'>,
  { PortBindings, PublishAllPorts }: Pick<HostConfig, 'PortBindings' | 'PublishAllPorts'>,
): readonly PortRequest[] {
  const requests: PortRequest[] = [];
  const bound = new Set<string>();
  for (const [spec, bindings] of Object.entries(PortBindings ?? {})) {
    const { port, protocol } = parsePort(spec);
    if (bindings?.length) bound.add(`${port}/${protocol}`);
    for (const { HostIp, HostPort } of bindings ?? []) {
      const { first, last } = parseHostPort(HostPort ?? '');
      requests.push({ port, protocol, hostAddress: HostIp ?? '', first, last });
    }
  }
  if (PublishAllPorts)
    for (const spec of Object.keys(ExposedPorts))
      for (const { port, protocol } of parseExposed(spec))
        if (!bound.has(`${port}/${protocol}`)) requests.push({ port, protocol, hostAddress: '', first: 0, last: 0 });
  return requests;
}

export function parsePort(spec: string): Pick<PortRequest, 'port' | 'protocol'> {
  const [, port, protocol = 'tcp'] = /^(\d{1,5})(?:\/([a-zA-Z]+))?$/.exec(spec) ?? [];
  const known = protocol.toLowerCase();
  if (!port || !isPort(Number(port)) || Number(port) === 0)
    throw new EngineError('invalid', `invalid port specification: ${JSON.stringify(spec)}`);
  if (known !== 'tcp' && known !== 'udp' && known !== 'sctp')
    throw new EngineError('invalid', `invalid port specification: ${JSON.stringify(spec)}: unknown protocol`);
  return { port: Number(port), protocol: known };
}

/** An exposed port may be a range. */
function parseExposed(spec: string): Pick<PortRequest, 'port' | 'protocol'>[] {
  const [, first, last, protocol = ''] = /^(\d{1,5})-(\d{1,5})(\/\w+)?$/.exec(spec) ?? [];
  if (!first || !last) return [parsePort(spec)];
  const count = Number(last) - Number(first) + 1;
  if (count < 1 || !isPort(Number(last)))
    throw new EngineError('invalid', `invalid port range: ${JSON.stringify(spec)}`);
  return Array.from({ length: count }, (_, n) => parsePort(`${Number(first) + n}${protocol}`));
}

function parseHostPort(text: string): { readonly first: number; readonly last: number } {
  if (text === '') return { first: 0, last: 0 };
  const [, first, last = first] = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(text) ?? [];
  if (!first || !isPort(Number(first)) || !isPort(Number(last)) || Number(last) < Number(first))
    throw new EngineError('invalid', `invalid port specification: ${JSON.stringify(text)}`);
  return { first: Number(first), last: Number(last) };
}

const isPort = (port: number) => Number.isInteger(port) && port >= 0 && port <= 65535;
