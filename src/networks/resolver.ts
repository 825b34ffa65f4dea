import { readFileSync } from 'node:fs';

export interface Resolver {
  readonly servers: readonly string[];
  readonly search: readonly string[];
  readonly options: readonly string[];
}

/** resolv.conf(5): of `search` and `domain` the last line counts. */
export function parseResolver(content: string): Resolver {
  const servers: string[] = [];
  const options: string[] = [];
  let search: string[] = [];
  for (const line of content.split('\n')) {
    const [keyword, ...values] = line
      .replace(/[#;].*$/, '')
      .trim()
      .split(/\s+/);
    if (keyword === 'nameserver' && values[0]) servers.push(values[0]);
    if (keyword === 'search' || keyword === 'domain') search = values;
    if (keyword === 'options') options.push(...values);
  }
  return { servers, search, options };
}

const isLoopback = (server: string) => server.startsWith('127.') || server === '::1' || server === '::';

/** Docker's, for a host whose only servers answer on its own loopback. */
export const publicServers = ['8.8.8.8', '8.8.4.4'];

export interface ResolverFiles {
  readonly main: string;
  /** The servers behind systemd-resolved's stub at 127.0.0.53. */
  readonly upstream: string;
}

/**
 * The host's servers as a container can use them: loopback ones are the host's own and left out. `fallback` is true when
 * none was left and public servers stand in.
 */
export function readResolver(files: ResolverFiles): { readonly resolver: Resolver; readonly fallback: boolean } {
  let found = parseResolver(read(files.main));
  if (found.servers.every((server) => server === '127.0.0.53') && found.servers.length > 0) {
    const upstream = parseResolver(read(files.upstream));
    if (upstream.servers.length > 0) found = { ...found, servers: upstream.servers };
  }
  // A zone (fe80::1%eth0) names a link of the host's that the container has not. Containers here have no IPv6 route.
  const servers = found.servers.filter((server) => !isLoopback(server) && !server.includes(':'));
  const fallback = servers.length === 0;
  return { resolver: { ...found, servers: fallback ? publicServers : servers }, fallback };
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    // No file is no servers: resolv.conf(5) allows it.
    return '';
  }
}
