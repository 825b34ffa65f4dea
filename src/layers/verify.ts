import { createReadStream } from 'node:fs';
import { type Digest, Digester } from '../oci/digest.ts';

/** Whether a stored tar still is what its diff ID names. Reads all of it. */
export async function verifyTar(path: string, diffId: Digest, signal?: AbortSignal): Promise<boolean> {
  const hash = new Digester(diffId);
  const file = createReadStream(path, { highWaterMark: 1024 * 1024, ...(signal ? { signal } : {}) });
  for await (const piece of file) hash.update(piece as Buffer);
  return hash.digest() === diffId;
}
