import { EngineError } from '../base/errors.ts';

export type Protocol = 'tcp' | 'udp' | 'sctp';

export interface PortSpec {
  readonly port: number;
  readonly protocol: Protocol;
}

export interface PortRange {
  /** 0: any free one. */
  readonly first: number;
  readonly last: number;
}

function isProtocol(text: string): text is Protocol {
  return text === 'tcp' || text === 'udp' || text === 'sctp';
}

/** `80`, `8000-8010`; undefined when it is none. */
export function parsePortRange(text: string): PortRange | undefined {
  const match = /^([0-9]{1,5})(?:-([0-9]{1,5}))?$/.exec(text);
  if (!match) return undefined;
  const first = Number(match[1]);
  const last = Number(match[2] ?? match[1]);
  return first > last || last > 65535 ? undefined : { first, last };
}

/** A key of `ExposedPorts` and `PortBindings`: `80/tcp`, `53/udp`, `80`, `8000-8010/tcp`. */
export function parsePorts(text: string): PortSpec[] {
  const slash = text.indexOf('/');
  const range = parsePortRange(slash < 0 ? text : text.slice(0, slash));
  const protocol = slash < 0 ? 'tcp' : text.slice(slash + 1).toLowerCase();
  if (!range || range.first === 0) throw new EngineError('invalid', `invalid port specification: "${text}"`);
  if (!isProtocol(protocol)) throw new EngineError('invalid', `invalid port specification: "${text}": invalid proto`);
  return Array.from({ length: range.last - range.first + 1 }, (_, i) => ({ port: range.first + i, protocol }));
}

export function formatPort({ port, protocol }: PortSpec): string {
  return `${port}/${protocol}`;
}

/** `HostPort` of a binding; '' is any free port. */
export function parseHostPort(text: string): PortRange {
  if (text === '') return { first: 0, last: 0 };
  const range = parsePortRange(text);
  if (!range) throw new EngineError('invalid', `invalid port specification: "${text}"`);
  return range;
}
