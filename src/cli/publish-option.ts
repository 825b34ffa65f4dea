import { UsageError } from './command.ts';

export type Bindings = Record<string, { readonly HostIp: string; readonly HostPort: string }[]>;

/**
 * `[ADDRESS:]HOST:PORT[/PROTOCOL]` or `PORT`, each a port or a range, as docker reads them; without an address `fallback`
 * is taken. A range of the host's for one port of the container is one free port of it.
 */
export function publishedPorts(texts: readonly string[], fallback: string, help: string): Bindings {
  const bindings: Bindings = {};
  for (const text of texts) {
    const wrong = (why: string) => new UsageError(`-p ${text}: ${why}`, help);
    const match = /^(?:(?:(\[[0-9a-fA-F:.]+\]|[0-9.]+):)?(\d+(?:-\d+)?)?:)?(\d+(?:-\d+)?)(?:\/(tcp|udp|sctp))?$/i.exec(
      text,
    );
    if (!match) throw wrong('expected [ADDRESS:]HOST:PORT[/PROTOCOL]');
    const [, address, host = '', inside, protocol = 'tcp'] = match;
    const [first, last] = rangeOf(inside!, wrong);
    const HostIp = address?.replace(/[[\]]/g, '') ?? fallback;
    const [from, to] = host === '' ? [0, 0] : rangeOf(host, wrong);
    const spread = host !== '' && first !== last;
    if (spread && to - from !== last - first) throw wrong('the two ranges are of different lengths');
    for (let port = first; port <= last; port++) {
      const HostPort = spread ? String(from + port - first) : host;
      (bindings[`${port}/${protocol.toLowerCase()}`] ??= []).push({ HostIp, HostPort });
    }
  }
  return bindings;
}

/** `80`, `8000-8010/udp` as the API's `ExposedPorts`. */
export function exposedPorts(texts: readonly string[], help: string): Record<string, Record<string, never>> {
  return Object.fromEntries(
    texts.map((text) => {
      const wrong = (why: string) => new UsageError(`--expose ${text}: ${why}`, help);
      const match = /^(\d+(?:-\d+)?)(?:\/(tcp|udp|sctp))?$/i.exec(text);
      if (!match) throw wrong('expected PORT[/PROTOCOL]');
      rangeOf(match[1]!, wrong);
      return [`${match[1]}/${(match[2] ?? 'tcp').toLowerCase()}`, {}];
    }),
  );
}

function rangeOf(text: string, wrong: (why: string) => UsageError): readonly [number, number] {
  const [first = 0, last = first] = text.split('-').map(Number);
  if (first > 65_535 || last > 65_535) throw wrong('a port is at most 65535');
  if (last < first) throw wrong('a range goes upwards');
  return [first, last];
}
