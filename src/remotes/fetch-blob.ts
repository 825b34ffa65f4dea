import type { Readable } from 'node:stream';
import { EngineError } from '../base/errors.ts';
import type { ContentStore, Ingest } from '../content/store.ts';
import { DigestMismatch } from '../oci/digest.ts';
import type { Descriptor } from '../oci/manifest.ts';
import { familiarName, type Reference } from '../oci/reference.ts';
import { canceled, RegistryError } from './errors.ts';
import type { Credentials, Registry, RegistryOptions } from './registry.ts';
import { pause } from './retry.ts';
import type { Timing } from './transport.ts';

export interface FetchBlobOptions {
  readonly credentials?: Credentials | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Bytes that are in the store so far; less than before when the transfer had to start over. */
  readonly onProgress?: ((bytes: number) => void) | undefined;
  readonly timing?: Partial<Timing>;
}

const usual = { backoff: 500, longestWait: 30_000, attempts: 5 };

/**
 * Brings a blob into the store, whole and verified. A transfer that stalls or is cut goes on from its last byte, also one
 * of an earlier run of the engine; after five attempts that brought nothing it gives up, and the bytes wait for the next.
 */
export async function fetchBlob(
  registry: Registry,
  store: ContentStore,
  reference: Reference,
  descriptor: Descriptor,
  options: FetchBlobOptions = {},
): Promise<void> {
  try {
    await transfer(registry, store, reference, descriptor, options, false);
  } catch (error) {
    if (!(error instanceof DigestMismatch)) throw error;
    // What an earlier run left may have been damaged since, and a mirror may hold something else: once more, from the
    // first byte, from the registry itself.
    try {
      await transfer(registry, store, reference, descriptor, options, true);
    } catch (again) {
      if (!(again instanceof DigestMismatch)) throw again;
      throw new EngineError('corrupt', `${familiarName(reference)}: ${again.message}`, {
        cause: again,
        hint: 'what the registry holds is damaged, or something on the way changes it: push the image again',
      });
    }
  }
}

async function transfer(
  registry: Registry,
  store: ContentStore,
  reference: Reference,
  descriptor: Descriptor,
  { credentials, signal, onProgress, timing }: FetchBlobOptions,
  direct: boolean,
): Promise<void> {
  const ask: RegistryOptions = { ...(credentials ? { credentials } : {}), ...(signal ? { signal } : {}) };
  await using ingest = await store.ingest(descriptor.digest, descriptor.size, signal ? { signal } : {});
  if (direct && ingest.offset > 0 && ingest.offset < descriptor.size) await ingest.restart();
  onProgress?.(ingest.offset);
  await fill(ingest, descriptor.size, {
    // A mirror that brought nothing twice is passed by.
    open: (offset, barren) =>
      registry.openBlob(reference, descriptor, offset, { ...ask, direct: direct || barren >= 2 }),
    signal,
    onProgress,
    timing: { ...usual, ...timing },
  });
  await ingest.commit();
}

interface FillOptions {
  open(offset: number, barren: number): Promise<{ stream: Readable; from: number }>;
  readonly signal: AbortSignal | undefined;
  readonly onProgress: ((bytes: number) => void) | undefined;
  readonly timing: Pick<Timing, 'backoff' | 'longestWait' | 'attempts'>;
}

async function fill(ingest: Ingest, size: number, { open, signal, onProgress, timing }: FillOptions): Promise<void> {
  const first = ingest.offset;
  let furthest = first;
  // Attempts in a row that got no further than those before.
  let barren = 0;
  while (ingest.offset < size) {
    let opened = false;
    try {
      if (signal?.aborted) throw canceled(signal.reason);
      const { stream, from } = await open(ingest.offset, barren);
      opened = true;
      if (from !== ingest.offset) await startAgain(ingest, from, stream);
      for await (const chunk of stream as AsyncIterable<Buffer>) {
        await ingest.write(chunk);
        onProgress?.(ingest.offset);
      }
      if (ingest.offset < size)
        throw new RegistryError('unavailable', `the transfer ended after ${ingest.offset} of ${size} bytes`, {
          temporary: true,
        });
    } catch (error) {
      if (signal?.aborted) throw canceled(error);
      if (!(error instanceof RegistryError) || !mayPass(error, opened || furthest > first)) throw error;
      // The opening has been tried several times already.
      barren = ingest.offset > furthest ? 0 : barren + (opened ? 1 : 2);
      if (barren >= timing.attempts) throw error;
      furthest = Math.max(furthest, ingest.offset);
      await pause(timing, Math.max(barren, 1), signal);
    }
  }
}

/** A cut always; no answer at all only in the middle of a blob, when the registry was there a moment ago. */
function mayPass(error: RegistryError, begun: boolean): boolean {
  return begun && error.kind === 'unavailable' && error.status === undefined;
}

async function startAgain(ingest: Ingest, from: number, stream: Readable): Promise<void> {
  if (from !== 0) {
    stream.destroy();
    throw new RegistryError('corrupt', `the registry answered with the bytes from ${from} on, which nobody asked for`);
  }
  await ingest.restart();
}
