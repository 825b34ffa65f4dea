import { statfsSync } from 'node:fs';
import { isAbsolute } from 'node:path';
import { EngineError, messageOf } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import type { Containers } from '../containers/containers.ts';
import type { ContentStore } from '../content/store.ts';
import type { Image, Images, Progress } from '../images/images.ts';
import { humanSize, progressOf } from '../images/progress.ts';
import { interfaceNames } from '../networks/host-facts.ts';
import type { Networks } from '../networks/networks.ts';
import { type Digest, digestOf } from '../oci/digest.ts';
import { readManifest } from '../oci/validate.ts';
import type { Snapshotter } from '../snapshots/snapshotter.ts';
import type { Database } from '../state/database.ts';
import type { Volumes } from '../volumes/volumes.ts';
import { aliveContainers } from './alive.ts';
import { apply } from './apply.ts';
import { ForeignRoot } from './foreign-root.ts';
import { holdRoot } from './in-use.ts';
import { type Adopted, Journal, type Run } from './journal.ts';
import { observe } from './observe.ts';
import { type Kind, kinds, type Observed } from './observed.ts';
import { type Have, keyOf, type Plan, plan } from './plan.ts';
import { printOf } from './take-container.ts';
import { planUndo, type UndoStep, undo, whatIsHere } from './undo.ts';

export interface AdoptionDeps {
  /** The engine's own data root, whose disk it goes to. */
  readonly root: string;
  readonly database: Database;
  readonly content: ContentStore;
  readonly images: Images;
  readonly snapshots: Snapshotter;
  readonly volumes: Volumes;
  readonly networks: Networks;
  readonly containers: Containers;
  readonly log: Log;
}

export interface AdoptRequest {
  /** The data root of the other engine. */
  readonly from: string;
  /** Everything when it is empty. */
  readonly only: readonly string[];
}

/** A plan that somebody was shown. */
export interface ShownPlan extends Plan {
  /** It is another one as soon as anything that it was made of is. */
  readonly fingerprint: string;
}

export interface Adoptions {
  /** An adoption goes on, or was cut short: its data root, and since when. */
  readonly unfinished: (Run & { readonly running: boolean }) | undefined;
  readonly adopted: readonly Adopted[];
}

/**
 * Takes over what a Docker engine that is stopped has in its data root, in which nothing is changed. What was taken stands in
 * a journal, and can be given back. Open it with `Adoption.open`.
 */
export class Adoption {
  readonly #deps: AdoptionDeps;
  readonly #journal: Journal;
  #busy = false;

  private constructor(deps: AdoptionDeps, journal: Journal) {
    this.#deps = deps;
    this.#journal = journal;
  }

  /** Looks what came to be of what an engine before was taking when it ended. Before any request is served. */
  static async open(deps: AdoptionDeps): Promise<Adoption> {
    const journal = await Journal.open(deps.database);
    const adoption = new Adoption(deps, journal);
    if (journal.run) deps.log.warn('an adoption was cut short', { from: journal.run.from, try: 'berth adopt ls' });
    for (const entry of journal.list())
      if (!entry.complete)
        await adoption
          .#settle(entry)
          .catch((error: unknown) =>
            deps.log.error('what was adopted could not be looked at', { id: entry.id, error }),
          );
    return adoption;
  }

  /** Each is here whole or not at all, by what made it: the journal alone is behind. */
  async #settle(entry: Adopted): Promise<void> {
    const { images, containers } = this.#deps;
    const { kind, id } = entry;
    const image = kind === 'images' ? (await this.#imagesHere(await images.list())).byId.get(id as Digest) : undefined;
    const found = image ? { ...entry, image } : entry;
    if (!(await whatIsHere(this.#deps))(found)) return this.#journal.drop(entry);
    const asked = kind === 'containers' ? { asked: printOf(containers.get(id)) } : {};
    await this.#journal.write({ ...found, ...asked, complete: true });
  }

  /** What would be taken and what not. Throws `conflict` while a dockerd uses the root. */
  async plan(request: AdoptRequest): Promise<ShownPlan> {
    using opened = this.#open(request);
    return (await this.#look(opened)).shown;
  }

  /**
   * Does what a plan said that somebody was shown. Throws before the first line: `conflict` when the plan would be another one
   * now, or while another adoption goes on; `unavailable` when the disk is too small for it.
   */
  async *apply(
    request: AdoptRequest & { readonly fingerprint: string; readonly start: boolean },
    signal: AbortSignal,
  ): AsyncGenerator<Progress, void, void> {
    using _busy = this.#begin();
    using opened = this.#open(request);
    const { shown: plan, observed, have } = await this.#look(opened);
    if (plan.fingerprint !== request.fingerprint)
      throw new EngineError('conflict', 'the data root of Docker, or this engine, is not what the plan was made of', {
        hint: 'berth adopt docker --plan',
      });
    if (plan.bytes > plan.free)
      throw new EngineError(
        'unavailable',
        `${humanSize(plan.bytes)} would be taken, and ${humanSize(plan.free)} are free at ${this.#deps.root}`,
        { hint: 'free space there, or berth adopt docker --only volumes' },
      );
    const { root } = opened;
    const { start } = request;
    await this.#journal.begin({ from: request.from, at: new Date().toISOString() });
    try {
      yield* progressOf(
        (report, signal) =>
          apply({ ...this.#deps, root, journal: this.#journal }, { plan, observed, have, start, report, signal }),
        signal,
      );
    } finally {
      // Whatever came of it: what was taken is in the journal, and nothing is under way.
      await this.#journal.end().catch((error: unknown) => {
        this.#deps.log.error('the end of an adoption could not be recorded', { error: messageOf(error) });
      });
    }
  }

  list(): Adoptions {
    const { run } = this.#journal;
    return { unfinished: run && { ...run, running: this.#busy }, adopted: this.#journal.list() };
  }

  /** What an undo would remove, and what stays and why. */
  planUndo(): Promise<readonly UndoStep[]> {
    return planUndo({ ...this.#deps, journal: this.#journal });
  }

  /** Removes what adoptions brought, but for what was used or changed since. Throws `conflict` while an adoption goes on. */
  async *undo(signal: AbortSignal): AsyncGenerator<Progress, void, void> {
    using _busy = this.#begin();
    yield* progressOf((report, signal) => undo({ ...this.#deps, journal: this.#journal }, report, signal), signal);
    await this.#journal.end();
  }

  #begin(): Disposable {
    if (this.#busy)
      throw new EngineError('conflict', 'an adoption is under way already', { hint: 'wait for it: berth adopt ls' });
    this.#busy = true;
    return { [Symbol.dispose]: () => void (this.#busy = false) };
  }

  async #look(opened: { look(): Promise<{ observed: Observed; wanted: ReadonlySet<Kind> }> }) {
    const { observed, wanted } = await opened.look();
    const have = await this.#have();
    const made = plan(observed, have, wanted);
    const seen = { observed, steps: made.steps, from: made.from, wanted: [...wanted] };
    const shown: ShownPlan = { ...made, fingerprint: digestOf(Buffer.from(JSON.stringify(seen))) };
    return { shown, observed, have };
  }

  #open({ from, only }: AdoptRequest) {
    if (!isAbsolute(from)) throw new EngineError('invalid', `the data root of Docker ${from} is no absolute path`);
    const wanted = wantedOf(only);
    using stack = new DisposableStack();
    const root = stack.use(new ForeignRoot(from));
    stack.use(holdRoot(root));
    const held = stack.move();
    const look = async (): Promise<{ observed: Observed; wanted: ReadonlySet<Kind> }> => ({
      observed: await observe(root, wanted),
      wanted,
    });
    return { root, look, [Symbol.dispose]: () => held.dispose() };
  }

  /** By the digest of the config, and of what the name points to. */
  async #imagesHere(list: readonly Image[]) {
    const byId = new Map<Digest, Digest>();
    const names = new Map<string, Digest>();
    for (const image of list) {
      byId.set(image.id, image.id);
      for (const name of image.names) names.set(name, image.id);
      const manifest = await this.#deps.content.read(image.manifest.digest).catch(() => undefined);
      if (manifest) byId.set(readManifest(manifest, image.manifest.mediaType).config.digest, image.id);
    }
    return { byId, names };
  }

  async #have(): Promise<Have> {
    const { root, images, snapshots, volumes, networks, containers } = this.#deps;
    const { byId, names } = await this.#imagesHere(await images.list());
    const isHere = await whatIsHere(this.#deps);
    const kept = this.#journal.list().filter(isHere);
    const adopted = new Set(kept.map(({ kind, id }) => keyOf(kind, id)));
    const { bavail, bsize } = statfsSync(root);
    return {
      images: byId,
      imageNames: names,
      layers: new Set(snapshots.layers()),
      volumes: new Set(volumes.list().map(({ name }) => name)),
      networks: networks.list().map(({ id, name, subnets }) => ({
        ...{ id, name },
        subnets: subnets.map(({ subnet }) => subnet),
      })),
      containers: containers.list().map(({ id, name }) => ({ id, name })),
      links: interfaceNames(),
      adopted,
      alive: aliveContainers(),
      copiesOfLayers: snapshots.form === 'directory' ? 2 : 1,
      free: bavail * bsize,
    };
  }
}

function wantedOf(only: readonly string[]): ReadonlySet<Kind> {
  const unknown = only.find((kind) => !(kinds as readonly string[]).includes(kind));
  if (unknown !== undefined)
    throw new EngineError('invalid', `${JSON.stringify(unknown)} cannot be adopted: only ${kinds.join(', ')} can`);
  return new Set(only.length === 0 ? kinds : (only as readonly Kind[]));
}
