import { closeSync, fsyncSync, mkdirSync, openSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { EngineError } from '../base/errors.ts';
import { type Digest, Digester, DigestMismatch } from '../oci/digest.ts';
import { explainWrite, freeBytes } from '../snapshots/disk-full.ts';
import type { LayerFacts, LayerForm } from '../snapshots/snapshotter.ts';
import { WriteBack } from '../sys/sync.ts';
import { readDecompressed } from './decompress.ts';
import { buildIndex } from './erofs.ts';
import { extractTree } from './extract.ts';
import { linkLayer } from './link-layer.ts';
import { TarReader } from './tar.ts';
import { LayerTree } from './tree.ts';

/** What a layer from a stranger may cost (S06). */
export interface LayerLimits {
  /** Of uncompressed bytes; left out, as much as the disk has beyond the reserve. */
  readonly maxBytes?: number;
  /** Kept free on the disk whatever a layer needs. */
  readonly reserveBytes: number;
  readonly maxEntries: number;
}

export const defaultLayerLimits: LayerLimits = {
  reserveBytes: 256 * 1024 ** 2,
  maxEntries: 5_000_000,
};

/** No honest layer of this size shrinks to a thousandth. */
const maxRatio = 1000;
const ratioFrom = 100 * 1024 ** 2;
const writeBackEvery = 8 * 1024 ** 2;
const checkDiskEvery = 64 * 1024 ** 2;

export interface LayerJob {
  readonly blobPath: string;
  readonly diffId: Digest;
  /** The blob is the plain tar itself, hashed by the content store. */
  readonly verified?: boolean;
  readonly form: LayerForm;
  /** A stage's directory. */
  readonly directory: string;
  readonly limits: LayerLimits;
}

export interface LayerProgress {
  /** Compressed bytes read so far. */
  read(bytes: number): void;
  /** Throws when the job is to stop. */
  check(): void;
}

/**
 * Reads a blob and writes the layer into a stage, in the form asked for: decompresses, hashes, keeps the tar and parses it
 * in one pass, then builds the index or the directories, once the hash is known to be the diff ID's.
 */
export async function writeLayer(job: LayerJob, progress: LayerProgress): Promise<LayerFacts> {
  const path = join(job.directory, 'layer.tar');
  try {
    if (job.verified && job.form === 'tar+erofs') return linkLayer(job, progress);
    const tar = openSync(path, 'wx+', 0o600);
    try {
      const tree = new LayerTree({ maxEntries: job.limits.maxEntries });
      const size = await writeTar(job, { tar, tree, progress });
      const facts = { size, entries: tree.entries };
      if (job.form === 'tar+erofs') {
        writeFileSync(join(job.directory, 'layer.erofs'), buildIndex(tree.root, { tarSize: size, tar }), {
          mode: 0o600,
        });
        fsyncSync(tar);
        return facts;
      }
      const into = join(job.directory, 'fs');
      mkdirSync(into, { mode: 0o700 });
      extractTree(tree.root, { tar, into });
      rmSync(path);
      return facts;
    } finally {
      closeSync(tar);
    }
  } catch (error) {
    throw explainWrite(error, job.directory);
  }
}

async function writeTar(
  { blobPath, diffId, directory, limits }: LayerJob,
  { tar, tree, progress }: { tar: number; tree: LayerTree; progress: LayerProgress },
): Promise<number> {
  const { maxBytes = Number.POSITIVE_INFINITY } = limits;
  const hash = new Digester(diffId);
  const reader = new TarReader({ entry: (entry) => tree.add(entry) });
  const writeBack = new WriteBack();
  let size = 0;
  let compressed = 0;
  let writtenBack = 0;
  let nextCheck = 0;

  const pieces = readDecompressed(blobPath, (bytes) => {
    compressed += bytes;
    progress.read(compressed);
  });
  for await (const piece of pieces) {
    progress.check();
    size += piece.length;
    if (size > maxBytes) throw new EngineError('invalid', `the layer has more than ${maxBytes} bytes uncompressed`);
    if (size > ratioFrom && size > compressed * maxRatio) {
      throw new EngineError(
        'invalid',
        `the layer grows from ${compressed} to more than ${size} bytes: a decompression bomb`,
      );
    }
    if (limits.reserveBytes > 0 && size > nextCheck) {
      const left = freeBytes(directory);
      if (left - piece.length < limits.reserveBytes) throw diskFull(directory, left, limits.reserveBytes);
      nextCheck = size + Math.min(checkDiskEvery, left - limits.reserveBytes - piece.length);
    }
    hash.update(piece);
    reader.push(piece);
    for (let written = 0; written < piece.length; ) written += writeSync(tar, piece, written);
    if (size - writtenBack >= writeBackEvery) {
      writeBack.start(tar, writtenBack, size - writtenBack);
      writtenBack = size;
    }
  }
  reader.finish();
  const actual = hash.digest();
  if (actual !== diffId) throw new DigestMismatch('uncompressed layer', diffId, actual);
  return size;
}

function diskFull(directory: string, left: number, reserve: number): EngineError {
  return new EngineError('unavailable', `write ${directory}: ${left} bytes free, of which ${reserve} stay reserved`, {
    hint: 'free space on that file system, or remove images that are not used: docker image prune -a',
  });
}
