import type { KeyedQueue } from '../base/async.ts';
import type { Log } from '../base/log.ts';
import type { ContentStore } from '../content/store.ts';
import type { Digest } from '../oci/digest.ts';
import type { Descriptor } from '../oci/manifest.ts';
import type { Platform } from '../oci/platform.ts';
import { familiarName, familiarRepository, parseReference, type Reference, repositoryOf } from '../oci/reference.ts';
import type { Registry } from '../remotes/registry.ts';
import type { Claims, Lease } from './claims.ts';
import type { Collector } from './collect.ts';
import type { ImageGraph, Variant } from './graph.ts';
import type { Progress, PushOptions, SaveOptions, TransferLimits } from './images.ts';
import { lookUpAll, pushTargets } from './lookup.ts';
import { partsOf } from './parts.ts';
import { progressOf } from './progress.ts';
import { pushImage } from './push.ts';
import type { ImageRecords } from './records.ts';
import { type SavedImage, writeArchive } from './save.ts';

/** An image as far as it could be read. */
export type Known = ImageGraph | { readonly damage: string };

export interface OutgoingDeps {
  readonly content: ContentStore;
  readonly registry: Registry;
  /** What this machine runs. */
  readonly platform: Platform;
  readonly log: Log;
  readonly limits: Readonly<TransferLimits>;
  readonly records: ImageRecords;
  readonly graphs: ReadonlyMap<Digest, Known>;
  readonly claims: Claims;
  readonly collector: Collector;
  /** In which names change. */
  readonly changes: KeyedQueue;
  /** The image for a platform; throws when there is none. */
  readonly choose: (id: Digest, name: string, platform: Platform | undefined) => Variant;
  /** With the labels of an image where there is one. */
  readonly emit: (action: string, id: string, name: string, labelled?: Digest) => void;
}

/** How images leave: into archives and to registries. What is under way is held, whatever is removed meanwhile. */
export class Outgoing {
  readonly #deps: OutgoingDeps;

  constructor(deps: OutgoingDeps) {
    this.#deps = deps;
  }

  async save(names: readonly string[], { platform, signal }: SaveOptions): Promise<AsyncIterable<Buffer>> {
    const { content, platform: own } = this.#deps;
    const wanted = new Map<Digest, string[]>();
    for (const { id, saved } of names.flatMap((name) => lookUpAll(this.#deps.records, name)))
      wanted.set(id, [...new Set([...(wanted.get(id) ?? []), ...saved])]);
    const lease = this.#leaseOf([...wanted.keys()]);
    // Whoever asked may go before a byte was read.
    signal.addEventListener('abort', () => void this.#letGo(lease), { once: true });
    try {
      // All roots before the first wait: a record may go while something is read.
      const roots = [...wanted].map(([id, its]) => {
        const name = its[0] ? familiarName(parseReference(its[0])) : id;
        return { root: this.#rootFor(id, name, platform), names: its };
      });
      const images: SavedImage[] = [];
      for (const { root, names: its } of roots) images.push({ parts: await partsOf(content, root), names: its });
      return this.#reading(
        lease,
        [...wanted.keys()],
        writeArchive(images, { content, platform: platform ?? own, signal }),
      );
    } catch (error) {
      lease[Symbol.dispose]();
      throw error;
    }
  }

  async *#reading(
    lease: Lease,
    ids: readonly Digest[],
    archive: AsyncIterable<Buffer>,
  ): AsyncGenerator<Buffer, void, void> {
    try {
      yield* archive;
      for (const id of ids) this.#deps.emit('save', id, id);
    } finally {
      await this.#letGo(lease);
    }
  }

  push(name: string, { allTags, platform, credentials, signal: outer }: PushOptions): AsyncIterable<Progress> {
    const given = parseReference(name);
    return progressOf(async (report, signal) => {
      report({ status: `The push refers to repository [${repositoryOf(given)}]` });
      const targets = pushTargets(this.#deps.records, given, allTags);
      const lease = this.#leaseOf(targets.map(({ id }) => id));
      try {
        const { registry, content, platform: own, limits } = this.#deps;
        const roots = targets.map(({ reference, id }) => this.#rootFor(id, familiarName(reference), platform));
        for (const [at, { reference, id }] of targets.entries()) {
          const pushed = await pushImage(reference, roots[at]!, {
            ...{ registry, content, credentials, report, signal, platform: own },
            elsewhere: (digest) => this.#repositoriesWith(digest, reference),
            uploads: limits.uploads,
          });
          if (pushed.digest === id) await this.#addRepository(id, repositoryOf(reference));
          this.#deps.emit('push', familiarName(reference), familiarRepository(reference), id);
        }
      } finally {
        await this.#letGo(lease);
      }
    }, outer);
  }

  /** Keeps all that is here of these images, whatever is removed meanwhile. */
  #leaseOf(ids: readonly Digest[]): Lease {
    const lease = this.#deps.claims.lease();
    for (const id of ids) {
      const graph = this.#deps.graphs.get(id);
      if (graph && 'reaches' in graph) for (const digest of graph.reaches) lease.add(digest);
    }
    return lease;
  }

  /** What was removed while it was needed goes now. */
  async #letGo(lease: Lease): Promise<void> {
    const held = lease.digests();
    lease[Symbol.dispose]();
    try {
      await this.#deps.collector.sweep(held);
    } catch (error) {
      this.#deps.log.warn('could not clean up; the next collection will', { error });
    }
  }

  /** What is moved of an image: the whole of it, or the manifest for one platform. */
  #rootFor(id: Digest, name: string, platform: Platform | undefined): Descriptor {
    if (platform) return this.#deps.choose(id, name, platform).descriptor;
    return this.#deps.records.images.get(id)!.descriptor;
  }

  /** Other repositories of the same registry that hold a blob, the paths only. */
  #repositoriesWith(digest: Digest, { domain, path }: Reference): readonly string[] {
    const found = new Set<string>();
    for (const [id, { repositories }] of this.#deps.records.images) {
      const graph = this.#deps.graphs.get(id);
      if (!graph || 'damage' in graph || !graph.blobs.has(digest)) continue;
      for (const repository of repositories)
        if (repository.startsWith(`${domain}/`)) found.add(repository.slice(domain.length + 1));
    }
    found.delete(path);
    return [...found];
  }

  /** It is known there by its digest from now on. */
  async #addRepository(id: Digest, repository: string): Promise<void> {
    await this.#deps.changes.run('names', async () => {
      const record = this.#deps.records.images.get(id);
      if (!record || record.repositories.includes(repository)) return;
      const repositories = [...record.repositories, repository];
      await this.#deps.records.write({ images: new Map([[id, { ...record, repositories }]]) });
    });
  }
}
