import { bodyOf } from './body.ts';
import { namingUrl, RegistryError, shown } from './errors.ts';
import type { Hosts } from './hosts.ts';
import type { Download } from './registry.ts';
import { discard, follow, type Timing, type Transport } from './transport.ts';

export interface DownloadDeps {
  readonly hosts: Hosts;
  readonly transport: Transport;
  readonly timing: Timing;
}

/** A file of the web, as a stream that ends with an error when it is cut. No credentials are sent. */
export async function download(deps: DownloadDeps, url: URL, signal: AbortSignal | undefined): Promise<Download> {
  if (!/^https?:$/.test(url.protocol))
    throw new RegistryError('invalid', `Get "${url.href}": unsupported protocol scheme "${url.protocol.slice(0, -1)}"`);
  const headers = { accept: '*/*', 'accept-encoding': 'identity' };
  const reply = await follow(deps, { url, headers, signal }).catch((error: unknown) => {
    throw namingUrl(error, url);
  });
  if (reply.status !== 200) {
    discard(reply);
    throw new RegistryError(
      reply.status === 404 ? 'not-found' : 'unavailable',
      `failed to GET ${shown(url)} with status ${reply.status}`,
      { status: reply.status },
    );
  }
  const length = reply.headers['content-length'];
  const size = length === undefined ? undefined : Number(length);
  return { stream: bodyOf(reply, { stall: deps.timing.stall, expected: size, signal }), size };
}
