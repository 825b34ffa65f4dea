import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { mkdir, open, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { syncDirectory } from '../base/atomic-file.ts';
import { codeOf, EngineError, messageOf } from '../base/errors.ts';
import { type Digest, hexOf, isDigest } from '../oci/digest.ts';
import { explainWrite } from './disk-full.ts';
import { removeTree } from './remove-tree.ts';
import type { LayerFacts, LayerStage } from './snapshotter.ts';

const factsFile = 'facts.json';

/**
 * The layers of a snapshotter on disk: `layers/<hex>/` holds each one's content and its facts, `staging/` what is being
 * written. A layer is under its name whole and synced, or it is not there.
 */
export class LayerStore {
  readonly #root: string;
  /** Makes the content below a directory durable. */
  readonly #sync: (directory: string) => Promise<void>;
  readonly #known = new Map<Digest, LayerFacts | undefined>();
  #stages = 0;

  constructor({ root, sync }: { root: string; sync: (directory: string) => Promise<void> }) {
    this.#root = root;
    this.#sync = sync;
    for (const name of readdirSync(join(root, 'layers'))) {
      const diffId = digestOfHex(name);
      if (diffId) this.#known.set(diffId, undefined);
    }
  }

  directory(diffId: Digest): string {
    return join(this.#root, 'layers', hexOf(diffId));
  }

  has(diffId: Digest): boolean {
    return this.#known.has(diffId);
  }

  list(): readonly Digest[] {
    return [...this.#known.keys()];
  }

  facts(diffId: Digest): LayerFacts | undefined {
    if (!this.#known.has(diffId)) return undefined;
    const known = this.#known.get(diffId) ?? readFacts(join(this.directory(diffId), factsFile));
    this.#known.set(diffId, known);
    return known;
  }

  async stage(diffId: Digest): Promise<LayerStage> {
    const directory = join(this.#root, 'staging', `${hexOf(diffId).slice(0, 16)}.${process.pid}.${this.#stages++}`);
    try {
      await mkdir(directory, { mode: 0o700 });
    } catch (error) {
      throw explainWrite(error, join(this.#root, 'staging'));
    }
    let committed = false;
    return {
      directory,
      commit: async (facts) => {
        await this.#commit(diffId, directory, facts);
        committed = true;
      },
      [Symbol.asyncDispose]: async () => {
        if (!committed) await removeTree(directory);
      },
    };
  }

  async #commit(diffId: Digest, directory: string, facts: LayerFacts): Promise<void> {
    const target = this.directory(diffId);
    try {
      if (!this.#known.has(diffId)) {
        await this.#sync(directory);
        await using file = await open(join(directory, factsFile), 'wx', 0o600);
        await file.writeFile(JSON.stringify(facts));
        await file.sync();
        await syncDirectory(directory);
        await rename(directory, target);
        await syncDirectory(join(this.#root, 'layers'));
        this.#known.set(diffId, facts);
        return;
      }
    } catch (error) {
      // The same layer came by another way meanwhile.
      if (!['ENOTEMPTY', 'EEXIST'].includes(codeOf(error) ?? '') || !existsSync(target)) {
        throw explainWrite(error, directory);
      }
      this.#known.set(diffId, undefined);
    }
    await removeTree(directory);
  }

  /** The name goes first, so that a crash leaves rubbish in `trash/` and never half a layer. */
  async remove(diffId: Digest): Promise<void> {
    if (!this.#known.delete(diffId)) return;
    const trashed = join(this.#root, 'trash', `layer.${hexOf(diffId).slice(0, 16)}.${process.pid}.${this.#stages++}`);
    try {
      await rename(this.directory(diffId), trashed);
    } catch (error) {
      if (codeOf(error) !== 'ENOENT') throw error;
    }
    await removeTree(trashed);
  }
}

function digestOfHex(hex: string): Digest | undefined {
  const algorithm = { 64: 'sha256', 96: 'sha384', 128: 'sha512' }[hex.length];
  const text = `${algorithm}:${hex}`;
  return isDigest(text) ? text : undefined;
}

function readFacts(path: string): LayerFacts {
  try {
    const facts: unknown = JSON.parse(readFileSync(path, 'utf8'));
    if (typeof facts === 'object' && facts !== null && 'size' in facts && 'entries' in facts) {
      const { size, entries } = facts;
      if (Number.isSafeInteger(size) && Number.isSafeInteger(entries)) {
        return { size: size as number, entries: entries as number };
      }
    }
  } catch (error) {
    throw new EngineError('corrupt', `read ${path}: ${messageOf(error)}`, { cause: error });
  }
  throw new EngineError('corrupt', `read ${path}: not the facts of a layer`);
}
