import { EngineError } from '../base/errors.ts';
import { Digester, DigestMismatch } from '../oci/digest.ts';
import { type Descriptor, isIndexType, mediaTypes } from '../oci/manifest.ts';
import type { Platform } from '../oci/platform.ts';
import type { Reference } from '../oci/reference.ts';
import { imageLimits, readImageConfig, readIndex, readManifest } from '../oci/validate.ts';
import type { Registry, RegistryOptions } from '../remotes/registry.ts';
import { platformOf } from './graph.ts';

export interface RemoteDeps extends RegistryOptions {
  readonly registry: Pick<Registry, 'resolve' | 'openBlob'>;
}

/** What a name points to in its registry now, and for which platforms. Nothing is kept. */
export async function describeRemote(
  reference: Reference,
  { registry, ...options }: RemoteDeps,
): Promise<{ descriptor: Descriptor; platforms: readonly Platform[] }> {
  const { descriptor, bytes } = await registry.resolve(reference, options);
  if (isIndexType(descriptor.mediaType)) {
    const { manifests } = readIndex(bytes, descriptor.mediaType);
    return { descriptor, platforms: manifests.flatMap(({ platform }) => (platform ? [platform] : [])) };
  }
  const { config } = readManifest(bytes, descriptor.mediaType);
  if (config.mediaType !== mediaTypes.ociConfig && config.mediaType !== mediaTypes.dockerConfig)
    return { descriptor, platforms: [] };
  if (config.size > imageLimits.manifestBytes)
    throw new EngineError('invalid', `${config.digest} has ${config.size} bytes, more than a config may have`);
  const { stream } = await registry.openBlob(reference, config, 0, options);
  const whole = Buffer.concat(await Array.fromAsync(stream as AsyncIterable<Buffer>));
  const actual = new Digester(config.digest).update(whole).digest();
  if (actual !== config.digest) throw new DigestMismatch('config', config.digest, actual);
  return { descriptor, platforms: [platformOf(readImageConfig(whole))] };
}
