import { EngineError } from '../base/errors.ts';
import type { ContentStore } from '../content/store.ts';
import { DigestMismatch } from '../oci/digest.ts';
import { type Descriptor, isIndexType, isManifestType } from '../oci/manifest.ts';
import { familiarName, type Reference } from '../oci/reference.ts';
import { imageLimits } from '../oci/validate.ts';
import { fetchBlob } from '../remotes/fetch-blob.ts';
import type { Credentials, Registry } from '../remotes/registry.ts';
import type { DeliverOptions, ImageSource } from './transfer.ts';

export interface RegistrySourceDeps {
  readonly registry: Registry;
  readonly content: ContentStore;
  readonly credentials?: Credentials;
}

/** A repository of a registry as the origin of a transfer. */
export class RegistrySource implements ImageSource {
  readonly name: string;
  readonly #reference: Reference;
  readonly #deps: RegistrySourceDeps;

  constructor(reference: Reference, deps: RegistrySourceDeps) {
    this.name = familiarName(reference);
    this.#reference = reference;
    this.#deps = deps;
  }

  async document(descriptor: Descriptor, signal: AbortSignal): Promise<Buffer> {
    const { registry, content, credentials } = this.#deps;
    if (descriptor.size > imageLimits.manifestBytes)
      throw new EngineError(
        'invalid',
        `${this.name}: ${descriptor.digest} has ${descriptor.size} bytes, more than the ${imageLimits.manifestBytes} that a manifest or config may have`,
      );
    const here = await readHere(content, descriptor);
    if (here) return here;
    if (isIndexType(descriptor.mediaType) || isManifestType(descriptor.mediaType)) {
      const options = { signal, ...(credentials ? { credentials } : {}) };
      return (await registry.fetchManifest(this.#reference, descriptor, options)).bytes;
    }
    await this.deliver(descriptor, content, { onProgress: () => {}, signal });
    return await content.read(descriptor.digest);
  }

  async deliver(descriptor: Descriptor, into: ContentStore, { onProgress, signal }: DeliverOptions): Promise<void> {
    const { registry, credentials } = this.#deps;
    await fetchBlob(registry, into, this.#reference, descriptor, {
      onProgress,
      signal,
      ...(credentials ? { credentials } : {}),
    });
  }
}

async function readHere(content: ContentStore, { digest, size }: Descriptor): Promise<Buffer | undefined> {
  if ((await content.size(digest)) !== size) return undefined;
  try {
    return await content.read(digest);
  } catch (error) {
    // Damaged on disk: it is fetched again.
    if (!(error instanceof DigestMismatch)) throw error;
    await content.remove(digest);
    return undefined;
  }
}
