import type { Reference } from '../oci/reference.ts';
import { canceled, RegistryError } from './errors.ts';
import type { BlobArrival, PushedBlob, PushOptions } from './registry.ts';
import { pause, withRetries } from './retry.ts';
import type { Ask } from './session.ts';
import { discard, type Reply, type Timing } from './transport.ts';

export interface PushDeps {
  /** A request to the registry itself, signed in for pushing; `from` is a repository that it must be allowed to read too. */
  ask(ask: Ask, from?: string): Promise<Reply>;
  /** What an answer that refuses means; reads its body. */
  refusal(reply: Reply): Promise<RegistryError>;
  readonly timing: Timing;
}

/**
 * Distribution-spec, Pushing blobs. The whole blob goes with one PUT, as most registries are made for; after a cut the
 * registry is asked how much it has, and gets the rest with a PATCH. After five attempts that brought nothing it gives up.
 */
export async function pushBlob(
  reference: Reference,
  blob: PushedBlob,
  { signal, onProgress }: PushOptions,
  deps: PushDeps,
): Promise<BlobArrival> {
  const { ask, timing } = deps;
  const { digest, size } = blob.descriptor;
  const blobs = `v2/${reference.path}/blobs`;

  const isThere = async (): Promise<boolean> => {
    const reply = await ask({ method: 'HEAD', path: `${blobs}/${digest}` });
    discard(reply);
    if (reply.status === 200) return true;
    if (reply.status === 404) return false;
    throw await deps.refusal(reply);
  };
  /** Opens an upload, or has the blob mounted. */
  const begin = async (from?: string): Promise<URL | 'mounted'> => {
    const query = from === undefined ? '' : `?${new URLSearchParams({ mount: digest, from })}`;
    const reply = await ask({ method: 'POST', path: `${blobs}/uploads/${query}` }, from);
    if (reply.status === 201 && from !== undefined) {
      discard(reply);
      return 'mounted';
    }
    // 202 also to a mount: the registry would not, and has opened an upload instead.
    if (reply.status !== 202) throw await deps.refusal(reply);
    discard(reply);
    return placeOf(reply);
  };

  if (await withRetries(timing, signal, isThere)) return { kind: 'there' };
  let place: URL | undefined;
  for (const from of blob.elsewhere.slice(0, 3)) {
    const begun = await withRetries(timing, signal, () => begin(from)).catch((error: unknown) => {
      // Nobody may read there, or there is no such repository any more: then it is sent.
      if (error instanceof RegistryError && error.status !== undefined && error.status < 500) return undefined;
      throw error;
    });
    if (begun === 'mounted') return { kind: 'mounted', from };
    if (begun) {
      place = begun;
      break;
    }
  }

  let offset = 0;
  let furthest = 0;
  for (let barren = 0; ; ) {
    try {
      if (signal?.aborted) throw canceled(signal.reason);
      place ??= (await withRetries(timing, signal, () => begin())) as URL;
      await send(place, offset, blob, { signal, onProgress }, deps);
      return { kind: 'sent' };
    } catch (error) {
      if (signal?.aborted) throw canceled(error);
      if (!(error instanceof RegistryError) || !mayPass(error, place !== undefined)) throw error;
      if (++barren >= timing.attempts) throw error;
      await pause(timing, barren, signal, error.retryAfter);
      // The answer may be all that was lost.
      if (await withRetries(timing, signal, isThere)) return { kind: 'sent' };
      const status = place && error.status !== 404 ? await statusOf(place, ask) : undefined;
      offset = status && status.offset > 0 && status.offset <= size ? status.offset : 0;
      place = offset > 0 ? status!.place : undefined;
      if (offset > furthest) barren = 0;
      furthest = Math.max(furthest, offset);
    }
  }
}

async function send(
  place: URL,
  offset: number,
  { descriptor: { digest, size }, open }: PushedBlob,
  { onProgress }: PushOptions,
  { ask, refusal }: PushDeps,
): Promise<void> {
  const body = (from: number) => ({
    length: size - from,
    open: () => open(from),
    onSent: (bytes: number) => onProgress?.(from + bytes),
  });
  const headers = { 'content-type': 'application/octet-stream' };
  let at = place;
  if (offset > 0 && offset < size) {
    const range = { 'content-range': `${offset}-${size - 1}` };
    const reply = await ask({ method: 'PATCH', path: at, headers: { ...headers, ...range }, body: body(offset) });
    if (reply.status !== 202 && reply.status !== 204) throw await refusal(reply);
    discard(reply);
    at = placeOf(reply);
  }
  const last = new URL(at);
  // The place may have a query of its own, in an encoding that is not ours to change.
  last.search += `${last.search === '' ? '?' : '&'}digest=${encodeURIComponent(digest)}`;
  const reply = await ask({ method: 'PUT', path: last, headers, ...(offset === 0 ? { body: body(0) } : {}) });
  if (reply.status < 200 || reply.status > 299) throw await refusal(reply);
  discard(reply);
}

/** How much of an upload the registry has, and where it goes on; undefined when it knows nothing of it. */
async function statusOf(place: URL, ask: PushDeps['ask']): Promise<{ offset: number; place: URL } | undefined> {
  try {
    const reply = await ask({ path: place });
    discard(reply);
    const last = /^(?:bytes=)?0-(\d+)$/.exec(reply.headers.range ?? '')?.[1];
    if (reply.status !== 204 || last === undefined) return undefined;
    // `0-0` also stands for nothing.
    return { offset: last === '0' ? 0 : Number(last) + 1, place: reply.headers.location ? placeOf(reply) : place };
  } catch (error) {
    if (error instanceof RegistryError && error.kind !== 'canceled') return undefined;
    throw error;
  }
}

/** A cut, an overload, and an upload that the registry has forgotten. */
function mayPass(error: RegistryError, begun: boolean): boolean {
  if (error.temporary) return true;
  if (!begun) return false;
  return error.status === 404 || error.status === 416 || (error.kind === 'unavailable' && error.status === undefined);
}

function placeOf({ headers: { location }, url }: Reply): URL {
  const place = location === undefined ? undefined : URL.parse(location, url.href);
  if (!place || !/^https?:$/.test(place.protocol))
    throw new RegistryError('corrupt', `${url.host} opened an upload and does not say where`);
  return place;
}
