import { familiarName, type Reference } from '../oci/reference.ts';
import { RegistryError } from './errors.ts';
import type { PushDeps } from './push-blob.ts';
import type { Fetched } from './registry.ts';
import { discard } from './transport.ts';

/** Distribution-spec, Pushing manifests. What the registry says that it has got must be what was sent. */
export async function pushManifest(
  reference: Reference,
  { descriptor: { mediaType, digest }, bytes }: Fetched,
  { ask, refusal }: Pick<PushDeps, 'ask' | 'refusal'>,
): Promise<void> {
  const path = `v2/${reference.path}/manifests/${reference.tag ?? digest}`;
  const reply = await ask({ method: 'PUT', path, headers: { 'content-type': mediaType }, body: bytes });
  if (reply.status !== 201 && reply.status !== 200 && reply.status !== 202) throw await refusal(reply);
  discard(reply);
  const told = reply.headers['docker-content-digest'];
  if (typeof told === 'string' && told.startsWith('sha256:') && digest.startsWith('sha256:') && told !== digest)
    throw new RegistryError(
      'corrupt',
      `${familiarName(reference)}: the registry has made ${told} of manifest ${digest}: it changes what it is given`,
    );
}
