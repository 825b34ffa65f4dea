import { randomBytes } from 'node:crypto';
import { mkdir, open, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { syncDirectory } from '../base/atomic-file.ts';
import { type Digest, Digester } from '../oci/digest.ts';
import { WriteBack } from '../sys/sync.ts';
import { diskError } from './errors.ts';
import type { ReceiveOptions } from './store.ts';

export interface ReceiveDeps {
  /** A folder on the store's file system; what a crash leaves there is swept. */
  readonly folder: string;
  readonly targetOf: (digest: Digest) => string;
}

const stageSize = 1024 * 1024;
/** The disk begins to write while the rest still comes: little is left for the sync at the end. */
const writeBackEvery = 8 * stageSize;
/** Its digest is not known yet: nobody can go on with such a file after a crash. */
export const receivePrefix = 'receive-';

/** Writes what comes to a file of its own, and names the file when the digest is known. Nothing is kept on failure. */
export async function receive(
  { folder, targetOf }: ReceiveDeps,
  body: AsyncIterable<Uint8Array>,
  { size, onDigest, signal }: ReceiveOptions,
): Promise<Digest> {
  const path = join(folder, receivePrefix + randomBytes(8).toString('hex'));
  try {
    await using file = await open(path, 'wx', 0o600);
    const digester = new Digester();
    let stages = [Buffer.allocUnsafeSlow(stageSize), Buffer.allocUnsafeSlow(stageSize)] as const;
    const writeBack = new WriteBack();
    let filled = 0;
    /** Bytes that are in the file once `writing` is through, and those of them that the disk was told to write. */
    let sent = 0;
    let begun = 0;
    let writing: Promise<unknown> = Promise.resolve();
    // While one stage is written by the thread pool, the other is filled and hashed.
    const send = async () => {
      const bytes = stages[0].subarray(0, filled);
      digester.update(bytes);
      await writing;
      writing = file.writeFile(bytes);
      writing.catch(() => {}); // awaited with the next stage
      if (sent - begun >= writeBackEvery) {
        writeBack.start(file.fd, begun, sent - begun);
        begun = sent;
      }
      sent += filled;
      stages = [stages[1], stages[0]];
      filled = 0;
    };
    try {
      for await (const chunk of body) {
        signal?.throwIfAborted();
        for (let at = 0; at < chunk.length; ) {
          const part = chunk.subarray(at, at + stageSize - filled);
          stages[0].set(part, filled);
          filled += part.length;
          at += part.length;
          if (filled === stageSize) await send();
        }
      }
      await send();
    } finally {
      await writing;
    }
    await file.datasync();
    const digest = digester.digest();
    onDigest?.(digest);
    const target = targetOf(digest);
    await mkdir(dirname(target), { recursive: true, mode: 0o700 });
    await rename(path, target);
    await syncDirectory(dirname(target));
    return digest;
  } catch (error) {
    await rm(path, { force: true });
    throw await diskError('write', path, size, error);
  }
}
