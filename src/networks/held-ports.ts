import { readFileSync } from 'node:fs';
import type { PublishedPort } from './networks.ts';
import { isTranslated } from './ruleset.ts';

/** A container that publishes more ports of IPv4 than this has no socket of the host for each of them. */
export const mostSockets = 256;

/**
 * The ports that the helper takes a socket for, so that no process of the host gets them: all of them while they are few. Of
 * many those alone that somebody has already, by `isBound`, which lets the kernel decide whether that is in our way; and one for
 * each address, which says whether this host has it. The kernel translates the others before any process would see them. A port
 * on an IPv6 address is carried by the helper and always needs its socket.
 */
export function portsToHold(
  ports: readonly PublishedPort[],
  isBound: (port: PublishedPort) => boolean,
): readonly PublishedPort[] {
  if (ports.filter(isTranslated).length <= mostSockets) return ports;
  const seen = new Set<string>();
  return ports.filter((port) => {
    if (!isTranslated(port)) return true;
    const key = `${port.protocol} ${port.hostAddress}`;
    if (seen.has(key)) return isBound(port);
    seen.add(key);
    return true;
  });
}

/** Whether anything on this host has a port, on whatever address, by the tables of proc(5) as they are now. */
export function boundOnHost(): (port: PublishedPort) => boolean {
  const bound = new Set<string>();
  for (const protocol of ['tcp', 'udp'])
    for (const family of ['', '6'])
      for (const port of boundIn(readTable(`${protocol}${family}`), protocol)) bound.add(`${protocol} ${port}`);
  return ({ protocol, hostPort }) => bound.has(`${protocol} ${hostPort}`);
}

/** The ports of a table; of TCP those that are listened on. */
export function boundIn(table: string, protocol: string): readonly number[] {
  return table
    .split('\n')
    .slice(1)
    .flatMap((line) => {
      const [, local = '', , state] = line.trim().split(/\s+/);
      const port = Number.parseInt(local.slice(local.lastIndexOf(':') + 1), 16);
      return Number.isNaN(port) || (protocol === 'tcp' && state !== '0A') ? [] : [port];
    });
}

/** A kernel without IPv6 has no table of it. */
function readTable(name: string): string {
  try {
    return readFileSync(`/proc/self/net/${name}`, 'utf8');
  } catch {
    return '';
  }
}

/** How many descriptors a process of ours may have, by its hard limit: node raises itself to that. */
export function mostFiles(): number {
  const hard = /^Max open files\s+\S+\s+(\S+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1];
  return Number(hard) || Number.POSITIVE_INFINITY;
}
