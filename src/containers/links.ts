import { EngineError, messageOf } from '../base/errors.ts';
import type { Endpoint } from '../networks/networks.ts';
import type { HostConfig } from '../protocol/container.ts';
import { formatPort, type PortSpec, parsePorts } from '../protocol/ports.ts';
import type { Link } from './containers.ts';
import { isPredefined } from './endpoints.ts';
import { type ContainerRecord, isRunning } from './record.ts';
import type { ContainerStore } from './store.ts';

const invalid = (message: string, cause?: unknown) => new EngineError('invalid', message, { cause });

/** `name:alias`, a name that is its own alias, or the form of inspect: `/name:/me/alias`. */
export function parseLink(text: string): { readonly name: string; readonly alias: string } {
  if (text === '') throw invalid('empty string specified for links');
  const [name = '', second = name, ...more] = text.split(':');
  const alias = name.startsWith('/') ? second.slice(second.lastIndexOf('/') + 1) : second.replace(/^\//, '');
  // It becomes a name in /etc/hosts, and part of a name here.
  if (more.length > 0 || alias === '' || /[\s\0/#]/.test(alias)) throw invalid(`bad format for links: ${text}`);
  return { name: name.replace(/^\//, ''), alias };
}

/** The links of a container that is made: what they lead to is there. In a network of one's own they are names, and no links. */
export function linksOf(store: ContainerStore, { Links, NetworkMode }: HostConfig): readonly Link[] {
  if (!Links?.length) return [];
  const useless = (what: string) =>
    invalid(`conflicting options: ${what} can't be used with links. This would result in undefined behavior`);
  if (NetworkMode === 'host') throw useless('host type networking');
  if (NetworkMode.startsWith('container:')) throw useless('container type network');
  if (!isPredefined(NetworkMode)) return [];
  const links = new Map<string, Link>();
  for (const text of Links) {
    const { name, alias } = parseLink(text);
    let other: ContainerRecord;
    try {
      other = store.get(name);
    } catch (cause) {
      throw invalid(`could not get container for ${name}: ${messageOf(cause)}`, cause);
    }
    if (other.hostConfig.NetworkMode === 'host') throw useless('host type networking');
    // An alias leads to one container: the first.
    if (!links.has(alias)) links.set(alias, { id: other.id, name: other.name, alias });
  }
  return [...links.values()].toSorted((a, b) => (a.alias < b.alias ? -1 : 1));
}

interface Linked extends Link {
  readonly endpoint: Endpoint;
  readonly other: ContainerRecord;
}

/** Those that can be reached now. */
function reachable(store: ContainerStore, { links }: ContainerRecord): readonly Linked[] {
  return (links ?? []).flatMap((link) => {
    const other = store.byId(link.id);
    const endpoint = other?.attached.find(({ network }) => network === 'bridge');
    return other && endpoint ? [{ ...link, name: other.name, other, endpoint }] : [];
  });
}

/** Before a start: each of them runs, on the default bridge. Throws in Docker's words. */
export function checkLinks(store: ContainerStore, { name, links }: ContainerRecord): void {
  for (const link of links ?? []) {
    const other = store.byId(link.id);
    if (!other || !isRunning(other))
      throw new EngineError(
        'conflict',
        `Cannot link to a non running container: /${other?.name ?? link.name} AS /${name}/${link.alias}`,
        {
          hint: other ? `start ${other.name} first` : 'make this container anew, with a link to one that is there',
          code: 'E_NOT_RUNNING',
        },
      );
    if (!other.attached.some(({ network }) => network === 'bridge'))
      throw invalid(`container ${other.id} not attached to default bridge network`);
  }
}

/** The lines of /etc/hosts: the alias, the other's host name and its name. */
export function linkHosts(store: ContainerStore, container: ContainerRecord): readonly string[] {
  return reachable(store, container).map(({ alias, name, other, endpoint }) => {
    const names = [...new Set([alias, other.config.Hostname, name])].filter(Boolean);
    return `${endpoint.address}\t${names.join(' ')}`;
  });
}

/** The variables of each link, in Docker's words. */
export function linkEnv(store: ContainerStore, container: ContainerRecord): readonly string[] {
  return reachable(store, container).flatMap(({ alias, other, endpoint }) => {
    const { address } = endpoint;
    const { ExposedPorts = {}, Env } = other.config;
    const prefix = alias.toUpperCase().replaceAll('-', '_');
    const at = ({ port, protocol }: PortSpec) => `${protocol}://${address}:${port}`;
    const ports = portsInOrder([...Object.keys(ExposedPorts), ...Object.keys(other.hostConfig.PortBindings)]);
    const [first] = ports;
    const lines = first ? [`${prefix}_PORT=${at(first)}`] : [];
    for (const spec of ports) {
      const name = nameOf(prefix, spec);
      lines.push(`${name}=${at(spec)}`, `${name}_ADDR=${address}`);
      lines.push(`${name}_PORT=${spec.port}`, `${name}_PROTO=${spec.protocol}`);
    }
    for (const [from, to] of runsOf(ports)) {
      const name = nameOf(prefix, from);
      lines.push(`${name}_START=${at(from)}`, `${name}_PORT_START=${from.port}`);
      lines.push(`${name}_END=${at(to)}`, `${name}_PORT_END=${to.port}`);
    }
    lines.push(`${prefix}_NAME=/${container.name}/${alias}`);
    for (const entry of Env) if (!/^(PATH|HOME)=/.test(entry)) lines.push(`${prefix}_ENV_${entry}`);
    return lines;
  });
}

const nameOf = (prefix: string, { port, protocol }: PortSpec) => `${prefix}_PORT_${port}_${protocol.toUpperCase()}`;

/** TCP first, then by number. */
function portsInOrder(keys: readonly string[]): readonly PortSpec[] {
  const specs = new Map(keys.flatMap(parsePorts).map((spec) => [formatPort(spec), spec]));
  const rank = ({ protocol }: PortSpec) => (protocol === 'tcp' ? '' : protocol);
  return [...specs.values()].toSorted((a, b) =>
    a.protocol === b.protocol ? a.port - b.port : rank(a) < rank(b) ? -1 : 1,
  );
}

/** Three ports and more without a gap: the first and the last of them. */
function runsOf(ports: readonly PortSpec[]): readonly (readonly [PortSpec, PortSpec])[] {
  const runs: (readonly [PortSpec, PortSpec])[] = [];
  for (let start = 0, end = 0; start < ports.length; start = ++end) {
    const follows = (at: number) =>
      ports[at]?.protocol === ports[at - 1]!.protocol && ports[at]?.port === ports[at - 1]!.port + 1;
    while (follows(end + 1)) end++;
    if (end - start >= 2) runs.push([ports[start]!, ports[end]!]);
  }
  return runs;
}
