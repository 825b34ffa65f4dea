import type { Readable } from 'node:stream';
import { KeyedQueue, Semaphore } from '../base/async.ts';
import { DiskUsage } from '../base/disk-usage.ts';
import { EngineError, messageOf } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import type { ContentStore } from '../content/store.ts';
import type { Events } from '../events/bus.ts';
import type { Digest } from '../oci/digest.ts';
import type { Descriptor } from '../oci/manifest.ts';
import { formatPlatform, type Platform } from '../oci/platform.ts';
import { familiarName, familiarRepository, formatReference, parseReference, withDefaultTag } from '../oci/reference.ts';
import { RegistryError } from '../remotes/errors.ts';
import type { Registry } from '../remotes/registry.ts';
import type { Snapshotter } from '../snapshots/snapshotter.ts';
import type { Database } from '../state/database.ts';
import { Claims, type Lease } from './claims.ts';
import { Collector } from './collect.ts';
import { commitImage, type ImageCommit } from './commit.ts';
import { changedConfig } from './config-changes.ts';
import { bestFor, readGraph, type Variant } from './graph.ts';
import { type HistoryLine, historyOf } from './history.ts';
import type {
  Image,
  ImageManifest,
  Images,
  ImageUsage,
  ImageUsers,
  ImportOptions,
  Progress,
  Prunable,
  PruneOptions,
  PullOptions,
  PushOptions,
  Removed,
  SaveOptions,
  TransferLimits,
} from './images.ts';
import { downloading, importImage } from './import.ts';
import { loadArchive } from './load.ts';
import { type Found, lookUp } from './lookup.ts';
import { type Known, Outgoing } from './outgoing.ts';
import { progressOf, silentSteps } from './progress.ts';
import { planPrune } from './prune.ts';
import { type Pulled, pullImage } from './pull.ts';
import { type ImageRecord, ImageRecords, type NameRecord } from './records.ts';
import { planRemoval, type RemovalPlan } from './removal.ts';
import { type LayerApplier, StoreSink } from './store-sink.ts';
import { StoredSource } from './stored-source.ts';
import { layersOf } from './transfer.ts';
import { type FactsOf, manifestsOf, sharedSizes, sizesOf } from './usage.ts';

export interface ImageStoreDeps {
  readonly content: ContentStore & Required<Pick<ContentStore, 'receive'>>;
  readonly snapshots: Pick<Snapshotter, 'hasLayer' | 'layerFacts' | 'removeLayer' | 'layers' | 'measureLayers'>;
  readonly applier: LayerApplier;
  readonly registry: Registry;
  readonly database: Database;
  readonly events: Events;
  /** `containers/`, which is built later: the daemon hands over an object that asks it. */
  readonly users: ImageUsers;
  /** What this machine runs. */
  readonly platform: Platform;
  readonly limits: Readonly<TransferLimits>;
  readonly log: Log;
}

/** A name or a repository that an arriving image gets. */
export interface Arrival {
  readonly descriptor: Descriptor;
  /** Full form with tag. */
  readonly names: readonly string[];
  readonly repository?: string;
}

/** Images in the engine's own stores: records of names in the database, content and layers beside them. */
export class ImageStore implements Images {
  readonly #deps: ImageStoreDeps;
  readonly #records: ImageRecords;
  readonly #graphs = new Map<Digest, Known>();
  readonly #claims = new Claims();
  readonly #collector: Collector;
  readonly #outgoing: Outgoing;
  /** Changes of names go one after the other: each is planned on what the one before left. */
  readonly #changes = new KeyedQueue();

  private constructor(deps: ImageStoreDeps, records: ImageRecords) {
    this.#deps = deps;
    this.#records = records;
    this.#collector = new Collector({ ...deps, claims: this.#claims, isReachable: (digest) => this.#reaches(digest) });
    this.#outgoing = new Outgoing({
      ...deps,
      ...{ records, graphs: this.#graphs, claims: this.#claims, collector: this.#collector, changes: this.#changes },
      choose: (id, name, platform) => this.#choose(id, name, platform),
      emit: (action, id, name, labelled) => this.#emit(action, id, name, labelled ? this.#labelsOf(labelled) : {}),
    });
  }

  static async open(deps: ImageStoreDeps): Promise<ImageStore> {
    const store = new ImageStore(deps, await ImageRecords.open(deps.database, deps.log));
    const reading = new Semaphore(16);
    await Promise.all([...store.#records.images.values()].map((record) => reading.run(() => store.#learn(record))));
    return store;
  }

  async get(name: string, platform?: Platform): Promise<Image> {
    const { id } = lookUp(this.#records, name);
    const variant = this.#choose(id, name, platform);
    await this.#makeReady(id, variant);
    return this.#describe(id, variant);
  }

  async list(): Promise<readonly Image[]> {
    return [...this.#records.images.keys()].flatMap((id) => {
      const variant = this.#preferred(this.#graphs.get(id));
      return variant ? [this.#describe(id, variant)] : [];
    });
  }

  pull(name: string, options: PullOptions): AsyncIterable<Progress> {
    return progressOf(async (report, signal) => {
      using lease = this.#claims.lease();
      const { registry, content, platform, log, limits } = this.#deps;
      try {
        await pullImage(name, {
          ...{ registry, content, report, signal, log, options },
          platform: options.platform ?? platform,
          sink: this.#sink(lease),
          arrive: (pulled) => this.#arrivePulled(pulled),
          downloads: limits.downloads,
        });
      } catch (error) {
        throw await this.#failed(lease, error, signal, `pull of ${name}`);
      }
    }, options.signal);
  }

  load(
    archive: Readable,
    options: { quiet: boolean; platform?: Platform; signal?: AbortSignal },
  ): AsyncIterable<Progress> {
    return progressOf(async (report, signal) => {
      using lease = this.#claims.lease();
      const { content, platform } = this.#deps;
      const cut = () => archive.destroy(new EngineError('canceled', 'load was canceled'));
      signal.addEventListener('abort', cut, { once: true });
      try {
        await loadArchive(archive, {
          ...{ content, report, signal, quiet: options.quiet, claims: this.#claims, lease },
          platform: options.platform ?? platform,
          strict: options.platform !== undefined,
          sink: this.#sink(lease),
          arrive: (arrivals) => this.#arriveLoaded(arrivals),
        });
        // What else the archive held.
        const came = lease.digests();
        lease[Symbol.dispose]();
        await this.#collector.sweep(came);
      } catch (error) {
        throw await this.#failed(lease, error, signal, 'load');
      } finally {
        signal.removeEventListener('abort', cut);
      }
    }, options.signal);
  }

  save(names: readonly string[], options: SaveOptions): Promise<AsyncIterable<Buffer>> {
    return this.#outgoing.save(names, options);
  }

  push(name: string, options: PushOptions): AsyncIterable<Progress> {
    return this.#outgoing.push(name, options);
  }

  import(archive: Readable | URL, options: ImportOptions): AsyncIterable<Progress> {
    const reference = options.name === '' ? undefined : withDefaultTag(parseReference(options.name));
    if (reference?.digest) throw new EngineError('invalid', 'cannot import digest reference');
    const defaults = changedConfig({}, options.changes);
    return progressOf(async (report, signal) => {
      using lease = this.#claims.lease();
      const { content, platform, registry } = this.#deps;
      try {
        const stream = archive instanceof URL ? await downloading(archive, { registry, report, signal }) : archive;
        const { message } = options;
        const descriptor = await importImage(
          { archive: stream, platform: options.platform ?? platform, defaults, message },
          { content, claims: this.#claims, lease, sink: this.#sink(lease), signal },
        );
        const { digest } = descriptor;
        await this.#arrive([{ descriptor, names: reference ? [formatReference(reference)] : [] }]);
        if (reference) this.#emit('tag', digest, familiarName(reference), this.#labelsOf(digest));
        this.#emit('import', digest, digest, this.#labelsOf(digest));
        report({ status: digest });
      } catch (error) {
        throw await this.#failed(lease, error, signal, 'import');
      }
    }, options.signal);
  }

  manifests(id: Digest): readonly ImageManifest[] {
    const graph = this.#graphs.get(id);
    if (!graph) throw new EngineError('not-found', `No such image: ${id}`, { code: 'E_NO_SUCH_IMAGE' });
    return 'damage' in graph ? [] : manifestsOf(graph, this.#factsOf);
  }

  async usage(): Promise<ImageUsage> {
    const { content, snapshots } = this.#deps;
    const disk = new DiskUsage();
    await content.measure(disk);
    await snapshots.measureLayers(disk);
    const graphs = [...this.#graphs].flatMap(([id, graph]) => ('damage' in graph ? [] : [[id, graph] as const]));
    return { bytes: disk.bytes, shared: sharedSizes(new Map(graphs), this.#factsOf) };
  }

  async commit(commit: ImageCommit): Promise<Digest> {
    using lease = this.#claims.lease();
    const { name, signal } = commit;
    try {
      signal.throwIfAborted();
      const descriptor = await commitImage(commit, { ...this.#deps, sink: this.#sink(lease), lease });
      signal.throwIfAborted();
      const { digest } = descriptor;
      await this.#arrive([{ descriptor, names: name ? [name] : [] }]);
      this.#emit('create', digest, digest, this.#labelsOf(digest));
      if (name) this.#emit('tag', digest, familiar(name), this.#labelsOf(digest));
      return digest;
    } catch (error) {
      throw await this.#failed(lease, error, signal, 'commit');
    }
  }

  async tag(name: string, target: string): Promise<void> {
    const reference = parseReference(target);
    if (reference.digest) throw new EngineError('invalid', 'refusing to create a tag with a digest reference');
    if (familiarRepository(reference) === 'sha256')
      throw new EngineError('invalid', 'refusing to create an ambiguous tag using digest algorithm as name');
    const tagged = withDefaultTag(reference);
    const { id } = await this.#changes.run('names', async () => {
      const found = lookUp(this.#records, name);
      const { descriptor } = this.#records.images.get(found.id)!;
      const record: NameRecord = { descriptor, tagged: new Date().toISOString() };
      await this.#records.write({ names: new Map([[formatReference(tagged), record]]) });
      return found;
    });
    this.#emit('tag', id, familiarName(tagged), this.#labelsOf(id));
  }

  async remove(name: string, { force }: { force: boolean; prune: boolean }): Promise<Removed> {
    return await this.#changes.run('names', async () => {
      const { id, reference }: Found = lookUp(this.#records, name);
      const { repositories } = this.#records.images.get(id)!;
      const facts = { id, reference, force, names: this.#records.namesOf(id), repositories };
      const plan = planRemoval({ ...facts, users: this.#deps.users.usersOf(id) });
      const { untagged, deleted } = await this.#carryOut(id, plan);
      return { untagged, deleted };
    });
  }

  async prunable({
    all,
    matches,
    without,
  }: PruneOptions & { readonly without: ReadonlySet<string> }): Promise<readonly Prunable[]> {
    const plans = new Map<Digest, RemovalPlan>();
    for (const image of await this.list()) {
      const { id } = image;
      const record = this.#records.images.get(id);
      if (!record || !matches(image)) continue;
      const users = this.#deps.users.usersOf(id).filter((user) => !without.has(user.id));
      const plan = planPrune({ names: this.#records.namesOf(id), repositories: record.repositories, users, all });
      if (plan) plans.set(id, plan);
    }
    const stays = new Set<Digest>();
    for (const [id, graph] of this.#graphs)
      if (!plans.get(id)?.image && !('damage' in graph))
        for (const part of sizesOf(graph, this.#factsOf).keys()) stays.add(part);
    return [...plans].map(([id, plan]) => {
      const graph = this.#graphs.get(id);
      let bytes = 0;
      if (plan.image && graph && !('damage' in graph))
        for (const [part, size] of sizesOf(graph, this.#factsOf)) {
          if (stays.has(part)) continue;
          stays.add(part);
          bytes += size;
        }
      return { id, names: untaggedBy(id, plan), whole: plan.image, bytes };
    });
  }

  async prune({ all, matches, only }: PruneOptions): Promise<Removed & { readonly bytes: number }> {
    const untagged: string[] = [];
    const deleted: Digest[] = [];
    let bytes = 0;
    for (const image of await this.list()) {
      if (!matches(image)) continue;
      await this.#changes.run('names', async () => {
        const { id } = image;
        const record = this.#records.images.get(id);
        if (!record) return;
        const users = this.#deps.users.usersOf(id);
        const plan = planPrune({ names: this.#records.namesOf(id), repositories: record.repositories, users, all });
        if (!plan) return;
        const shown = only?.get(id);
        if (only && !(shown && untaggedBy(id, plan).every((name) => shown.names.includes(name)))) return;
        if (only && plan.image && !shown?.whole) return;
        const gone = await this.#carryOut(id, plan);
        untagged.push(...gone.untagged);
        deleted.push(...gone.deleted);
        bytes += gone.bytes;
      });
    }
    this.#deps.events.emit({
      type: 'image',
      action: 'prune',
      actor: { id: '', attributes: { reclaimed: `${bytes}` } },
    });
    return { untagged, deleted, bytes };
  }

  /** Names first, durable; then what nothing reaches any more. */
  async #carryOut(id: Digest, plan: RemovalPlan): Promise<Removed & { readonly bytes: number }> {
    const record = this.#records.images.get(id)!;
    const left = record.repositories.filter((repository) => !plan.repositories.includes(repository));
    const labels = this.#labelsOf(id);
    const graph = this.#graphs.get(id);
    await this.#records.write({
      names: new Map(plan.names.map((gone) => [gone, undefined])),
      images: new Map([[id, plan.image ? undefined : { ...record, repositories: left }]]),
    });
    const untagged = untaggedBy(id, plan);
    for (const _ of untagged) this.#emit('untag', id, id, labels);
    if (!plan.image) return { untagged, deleted: [], bytes: 0 };
    this.#graphs.delete(id);
    this.#emit('delete', id, id, {});
    const { bytes } = await this.#collector.sweep(graph && 'reaches' in graph ? graph.reaches : [id]);
    return { untagged, deleted: [id], bytes };
  }

  async history(name: string, platform?: Platform): Promise<readonly HistoryLine[]> {
    const { id } = lookUp(this.#records, name);
    const image = this.#describe(id, this.#choose(id, name, platform));
    return historyOf(image, (diffId) => this.#deps.snapshots.layerFacts(diffId)?.size ?? 0);
  }

  async collect(): Promise<{ readonly bytes: number }> {
    return await this.#collector.collect();
  }

  #sink(lease: Lease): StoreSink {
    return new StoreSink({ ...this.#deps, claims: this.#claims }, lease);
  }

  /** What is here of the image, read again: it has come or changed. */
  async #learn({ descriptor }: ImageRecord): Promise<void> {
    try {
      this.#graphs.set(descriptor.digest, await readGraph(this.#deps.content, descriptor));
    } catch (error) {
      // One image that can't be read must not keep the others from being used.
      this.#deps.log.error('an image is damaged', { image: descriptor.digest, error });
      this.#graphs.set(descriptor.digest, { damage: messageOf(error) });
    }
  }

  async #arrivePulled({ reference, descriptor, repository }: Pulled): Promise<boolean> {
    const names = reference.digest ? [] : [formatReference(reference)];
    const before = names[0] && this.#records.names.get(names[0])?.descriptor.digest;
    const known = this.#records.images.has(descriptor.digest);
    await this.#arrive([{ descriptor, names, repository }]);
    const attributes = this.#labelsOf(descriptor.digest);
    this.#emit('pull', familiarName(reference), familiarRepository(reference), attributes);
    return names[0] ? before !== descriptor.digest : !known;
  }

  async #arriveLoaded(arrivals: readonly Arrival[]): Promise<ReadonlyMap<string, Digest>> {
    const moved = await this.#arrive(arrivals);
    for (const { descriptor, names } of arrivals) {
      const { digest } = descriptor;
      for (const name of names.length > 0 ? names.map(familiar) : [digest])
        this.#emit('load', digest, name, this.#labelsOf(digest));
    }
    return moved;
  }

  /**
   * Images whose content is here get their records, all in one transaction. Returns the names that were taken from other
   * images, which stay without them.
   */
  async #arrive(arrivals: readonly Arrival[]): Promise<ReadonlyMap<string, Digest>> {
    return await this.#changes.run('names', async () => {
      const tagged = new Date().toISOString();
      const images = new Map<Digest, ImageRecord>();
      const names = new Map<string, NameRecord>();
      const moved = new Map<string, Digest>();
      for (const { descriptor: given, names: its, repository } of arrivals) {
        const { mediaType, digest, size } = given;
        const descriptor = { mediaType, digest, size };
        const before = images.get(digest) ?? this.#records.images.get(digest);
        const repositories = new Set([...(before?.repositories ?? []), ...(repository ? [repository] : [])]);
        images.set(digest, { descriptor, repositories: [...repositories] });
        for (const name of its) {
          const old = this.#records.names.get(name)?.descriptor.digest;
          if (old && old !== digest) moved.set(name, old);
          names.set(name, { descriptor, tagged });
        }
      }
      await this.#records.write({ images, names });
      // Before the leases end: from here on the graphs keep the content.
      await Promise.all([...images.values()].map((record) => this.#learn(record)));
      return moved;
    });
  }

  /** Takes away what came for an operation that failed, and says so in the engine's words. */
  async #failed(lease: Lease, error: unknown, signal: AbortSignal, what: string): Promise<unknown> {
    const came = lease.digests();
    lease[Symbol.dispose]();
    // Halves of blobs are worth keeping only where asking again can help.
    const resumable = signal.aborted || error instanceof RegistryError;
    try {
      await this.#collector.sweep(came);
      if (!resumable) await this.#collector.dropPartials(came);
    } catch (sweeping) {
      this.#deps.log.warn('could not clean up; the next collection will', { after: what, error: sweeping });
    }
    if (!signal.aborted || (error instanceof EngineError && error.kind === 'canceled')) return error;
    return new EngineError('canceled', `${what} was canceled`, { cause: error });
  }

  readonly #factsOf: FactsOf = (diffId) => this.#deps.snapshots.layerFacts(diffId);

  #reaches(digest: Digest): boolean {
    for (const graph of this.#graphs.values()) if ('reaches' in graph && graph.reaches.has(digest)) return true;
    return false;
  }

  #choose(id: Digest, name: string, platform: Platform | undefined): Variant {
    const graph = this.#graphs.get(id);
    if (!graph || 'damage' in graph)
      throw new EngineError('corrupt', `image ${name} is damaged: ${graph?.damage ?? 'unread'}`, {
        hint: `docker pull ${name} brings back what is missing`,
      });
    const complete = graph.variants.filter((variant) => this.#isUsable(variant));
    const variant = platform ? bestFor(complete, platform) : this.#preferred(graph);
    if (variant) return variant;
    throw new EngineError(
      'not-found',
      `image with reference ${name} was found but does not provide the specified platform (${formatPlatform(platform ?? this.#deps.platform)})`,
    );
  }

  /** The host's, or else any that is here. */
  #preferred(graph: Known | undefined): Variant | undefined {
    if (!graph || 'damage' in graph) return undefined;
    const complete = graph.variants.filter((variant) => this.#isUsable(variant));
    return bestFor(complete, this.#deps.platform) ?? complete[0];
  }

  #isUsable({ complete, config }: Variant): boolean {
    return complete || config.rootfs.diff_ids.every((diffId) => this.#deps.snapshots.hasLayer(diffId));
  }

  /** Layers whose blobs are here and that are not ready (another platform's, or lost) are made from them. */
  async #makeReady(id: Digest, { manifest, config }: Variant): Promise<void> {
    const { snapshots, content } = this.#deps;
    const missing = layersOf(manifest, config).filter(({ diffId }) => !snapshots.hasLayer(diffId));
    if (missing.length === 0) return;
    using lease = this.#claims.lease();
    const sink = this.#sink(lease);
    const source = new StoredSource(id, content, 'corrupt');
    const options = { fetching: new Semaphore(1), signal: new AbortController().signal };
    await Promise.all(missing.map((layer) => sink.putLayer(layer, source, silentSteps, options)));
  }

  #describe(id: Digest, { descriptor: manifest, config }: Variant): Image {
    const record = this.#records.images.get(id)!;
    const names = this.#records.namesOf(id);
    const tagged = names.map((name) => this.#records.names.get(name)!.tagged);
    const graph = this.#graphs.get(id)!;
    const sizes = 'blobs' in graph ? [...sizesOf(graph, this.#factsOf).values()] : [];
    const size = sizes.reduce((sum, bytes) => sum + bytes, 0);
    return {
      ...{ id, descriptor: record.descriptor, manifest, config, size, names },
      layers: config.rootfs.diff_ids,
      repoDigests: record.repositories.map((repository) => `${repository}@${id}`),
      created: config.created ?? '0001-01-01T00:00:00Z',
      tagged: tagged.sort().at(-1),
    };
  }

  #labelsOf(id: Digest): Readonly<Record<string, string>> {
    return this.#preferred(this.#graphs.get(id))?.config.config?.Labels ?? {};
  }

  #emit(action: string, id: string, name: string, labels: Readonly<Record<string, string>>): void {
    this.#deps.events.emit({ type: 'image', action, actor: { id, attributes: { ...labels, name } } });
  }
}

function familiar(name: string): string {
  return familiarName(parseReference(name));
}

/** Names and digest references that go, as users write them. */
function untaggedBy(id: Digest, plan: RemovalPlan): readonly string[] {
  return [...plan.names, ...plan.repositories.map((repository) => `${repository}@${id}`)].map(familiar);
}
