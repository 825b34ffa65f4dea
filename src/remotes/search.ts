import { readBody } from './body.ts';
import { namingUrl, RegistryError, shown } from './errors.ts';
import type { Hosts } from './hosts.ts';
import type { Credentials, SearchResult } from './registry.ts';
import { basic } from './tokens.ts';
import { discard, follow, type Reply, type Timing, type Transport } from './transport.ts';

export interface SearchDeps {
  readonly hosts: Hosts;
  readonly transport: Transport;
  readonly timing: Timing;
}

interface Wanted {
  readonly term: string;
  readonly limit: number;
  readonly credentials: Credentials | undefined;
  readonly signal: AbortSignal | undefined;
}

/** The search of the first registry protocol, which Docker Hub still answers. `host/term` asks another registry. */
export async function search(deps: SearchDeps, wanted: Wanted): Promise<readonly SearchResult[]> {
  const { host, term } = splitTerm(wanted.term);
  const base = host === undefined ? new URL('https://index.docker.io/') : await answering(deps, host, wanted);
  const url = new URL('v1/search', base);
  url.searchParams.set('q', term);
  url.searchParams.set('n', String(wanted.limit));
  const { credentials, signal } = wanted;
  const headers: Record<string, string> = { accept: 'application/json' };
  if (credentials?.username) headers.authorization = basic(credentials);
  const reply = await follow(deps, { url, headers, signal }).catch((error: unknown) => {
    throw namingUrl(error, url);
  });
  if (reply.status !== 200) {
    discard(reply);
    throw new RegistryError('unavailable', `Unexpected status code ${reply.status}`, { status: reply.status });
  }
  return readResults(reply, await readBody(reply, 4 * 1024 * 1024, { stall: deps.timing.stall, signal }));
}

/** `localhost:5000/nginx` asks there; `library/nginx` is a term. */
function splitTerm(term: string): { host: string | undefined; term: string } {
  if (term.includes('://'))
    throw new RegistryError('invalid', 'invalid repository name: repository name should not contain a scheme');
  const slash = term.indexOf('/');
  const first = slash < 0 ? '' : term.slice(0, slash);
  if (!/[.:]/.test(first) && first !== 'localhost') return { host: undefined, term: term.replace(/^library\//, '') };
  if (['docker.io', 'index.docker.io'].includes(first))
    return { host: undefined, term: term.slice(slash + 1).replace(/^library\//, '') };
  if (!URL.canParse(`https://${first}/`))
    throw new RegistryError('invalid', `invalid registry ${JSON.stringify(first)}`);
  return { host: first, term: term.slice(slash + 1) };
}

/** Which of a host's bases speaks the old protocol; says of each why it does not. */
async function answering({ hosts, transport }: SearchDeps, host: string, { signal }: Wanted): Promise<URL> {
  const { bases } = await hosts.originOf(host);
  const said: string[] = [];
  let cause: unknown;
  for (const base of bases) {
    const url = new URL('v1/_ping', base);
    try {
      const reply = await follow({ transport, hosts }, { url, headers: {}, signal });
      discard(reply);
      // A server that speaks TLS answers plain HTTP with 400, and a registry of today knows no ping of the old kind.
      if (reply.status !== 400) return base;
      said.push(`status code ${reply.status}`);
    } catch (error) {
      if (!(error instanceof RegistryError) || error.kind === 'canceled') throw error;
      cause = error;
      said.push(namingUrl(error, url).message);
    }
  }
  const [https, http] = said;
  throw new RegistryError(
    'unavailable',
    http === undefined
      ? `invalid registry endpoint "https://${host}/v1/": ${https}`
      : `invalid registry endpoint "http://${host}/v1/". HTTPS attempt: ${https}. HTTP attempt: ${http}`,
    { cause },
  );
}

function readResults({ url }: Reply, body: Buffer): SearchResult[] {
  let parsed: unknown;
  try {
    parsed = JSON.parse(body.toString('utf8'));
  } catch (cause) {
    throw new RegistryError('corrupt', `Get "${shown(url)}": the answer is not JSON`, { cause });
  }
  const results = typeof parsed === 'object' && parsed !== null && 'results' in parsed ? parsed.results : undefined;
  if (!Array.isArray(results)) throw new RegistryError('corrupt', `Get "${shown(url)}": the answer has no results`);
  return results.flatMap((entry: unknown): SearchResult[] => {
    if (typeof entry !== 'object' || entry === null || !('name' in entry) || typeof entry.name !== 'string') return [];
    const one = entry as Record<string, unknown>;
    return [
      {
        name: entry.name,
        description: typeof one.description === 'string' ? one.description : '',
        stars: typeof one.star_count === 'number' ? one.star_count : 0,
        official: one.is_official === true,
        automated: one.is_automated === true,
      },
    ];
  });
}
