import { codeOf, EngineError, messageOf } from '../base/errors.ts';
import type { Containers } from '../containers/containers.ts';
import type { ContentStore } from '../content/store.ts';
import type { Images, Progress } from '../images/images.ts';
import { type Report, throttled } from '../images/progress.ts';
import type { Networks } from '../networks/networks.ts';
import type { Digest } from '../oci/digest.ts';
import type { Snapshotter } from '../snapshots/snapshotter.ts';
import type { Volumes } from '../volumes/volumes.ts';
import type { ForeignRoot } from './foreign-root.ts';
import type { Adopted, Journal } from './journal.ts';
import type { Kind, Observed, ObservedContainer, ObservedImage, ObservedVolume } from './observed.ts';
import { donorsOf, type Have, type Plan, type Step } from './plan.ts';
import { printOf, takeContainer } from './take-container.ts';
import { takeImage } from './take-images.ts';
import { treePrint } from './tree-print.ts';

export interface ApplyDeps {
  readonly root: ForeignRoot;
  readonly journal: Journal;
  readonly content: ContentStore;
  readonly images: Images;
  readonly snapshots: Snapshotter;
  readonly volumes: Volumes;
  readonly networks: Networks;
  readonly containers: Containers;
}

export interface Applying {
  readonly plan: Plan;
  readonly observed: Observed;
  readonly have: Have;
  /** Containers that ran when the other engine was stopped are started in the end. */
  readonly start: boolean;
  readonly report: Report;
  readonly signal: AbortSignal;
}

/** How one thing went, in the field `aux` of a line of progress. */
export interface Outcome {
  readonly kind: Kind;
  readonly id: string;
  readonly name: string;
  readonly result: 'taken' | 'failed' | 'started' | 'removed';
  readonly why?: string;
  readonly try?: string;
}

export function tell(report: Report, outcome: Outcome): void {
  const status = `${outcome.result[0]!.toUpperCase()}${outcome.result.slice(1)}`;
  report({ status, id: `${outcome.kind} ${outcome.name}`, progressDetail: {}, aux: outcome } satisfies Progress);
}

/**
 * Takes what the plan says, one thing after the other, each whole or not at all and in the journal before it is begun. One
 * that fails does not keep the others away, but for those that need it. Throws when there is no space left, or it is given
 * up: what was taken until then stays, and is not taken again.
 */
export async function apply(deps: ApplyDeps, applying: Applying): Promise<void> {
  const { plan, observed, have, report, signal } = applying;
  const one = new Taking(deps, applying);
  const find = <T>(list: readonly T[], is: (found: T) => boolean): T => {
    const found = list.find(is);
    if (!found) throw new EngineError('internal', 'what the plan names was not observed');
    return found;
  };
  const imagesHere = new Map<Digest, Digest>(have.images);
  const failed = new Set<string>();
  for (const step of plan.steps) {
    if (step.action !== 'take') continue;
    signal.throwIfAborted();
    const { kind, id, name } = step;
    try {
      if (kind === 'images') {
        const image = find(observed.images, (found) => found.id === id);
        imagesHere.set(image.id, await one.image(step, image));
      } else if (kind === 'volumes')
        await one.volume(
          step,
          find(observed.volumes, (found) => found.name === id),
        );
      else if (kind === 'networks') {
        const network = find(observed.networks, (found) => found.id === id);
        await one.plain(step, async () => {
          await deps.networks.create(network.request);
        });
      } else {
        const container = find(observed.containers, (found) => found.id === id);
        const missing = needsOf(container).find((needed) => failed.has(needed));
        if (missing) throw new EngineError('conflict', `it needs ${missing}, which could not be taken`);
        const image = imagesHere.get(container.image);
        if (!image) throw new EngineError('not-found', `its image ${container.image.slice(0, 19)} is not here`);
        await one.container(step, container, image);
      }
      tell(report, { kind, id, name, result: 'taken' });
    } catch (error) {
      signal.throwIfAborted();
      if (isFull(error)) throw error;
      for (const word of [id, name]) failed.add(`${kind} ${word}`);
      tell(report, { kind, id, name, result: 'failed', why: messageOf(error), ...hintOf(error) });
    }
  }
  if (!applying.start) return;
  // In the order of the plan: those that others need first. Also those that an adoption took that was cut short.
  const here = new Set(deps.containers.list().map(({ id }) => id));
  for (const { kind, id, name } of plan.steps) {
    const wasRunning = kind === 'containers' && observed.containers.find((one) => one.id === id)?.wasRunning;
    if (!wasRunning || !here.has(id) || !deps.containers.isWaiting(id)) continue;
    signal.throwIfAborted();
    const about = { kind: 'containers', id, name } as const;
    try {
      await deps.containers.start(id);
      tell(report, { ...about, result: 'started' });
    } catch (error) {
      tell(report, {
        ...about,
        result: 'failed',
        why: `it could not be started: ${messageOf(error)}`,
        ...hintOf(error),
      });
    }
  }
}

const hintOf = (error: unknown) => (error instanceof EngineError && error.hint ? { try: error.hint } : {});

/** No use in going on: everything else would fail too. */
function isFull(error: unknown): boolean {
  for (
    let cause: unknown = error;
    cause !== undefined && cause !== null;
    cause = (cause as { cause?: unknown }).cause
  ) {
    if (['ENOSPC', 'EDQUOT'].includes(codeOf(cause) ?? '')) return true;
    if (/no space left|quota exceeded/i.test(messageOf(cause))) return true;
  }
  return false;
}

function needsOf({ image, volumes, request }: ObservedContainer): readonly string[] {
  return [
    `images ${image}`,
    ...Object.values(volumes).map((name) => `volumes ${name}`),
    ...Object.keys(request.endpoints).map((name) => `networks ${name}`),
    ...donorsOf(request).map((name) => `containers ${name}`),
  ];
}

class Taking {
  readonly #deps: ApplyDeps;
  readonly #applying: Applying;

  constructor(deps: ApplyDeps, applying: Applying) {
    this.#deps = deps;
    this.#applying = applying;
  }

  async image(step: Step, image: ObservedImage): Promise<Digest> {
    const { root, images, content } = this.#deps;
    const { have, signal } = this.#applying;
    const names = image.names.filter((name) => !have.imageNames.has(name));
    const entry = await this.#begin(step, { names, whole: !have.images.has(image.id) });
    const id = await this.#orDrop(entry, async () => {
      const here = have.images.get(image.id);
      if (here) for (const name of names) await images.tag(here, name);
      return (
        here ??
        (await takeImage({ root, images, content }, image, { names, signal, progress: this.#progress(step) })).id
      );
    });
    await this.#deps.journal.write({ ...entry, image: id, complete: true });
    return id;
  }

  async volume(step: Step, { name, created, labels, options, anonymous, data }: ObservedVolume): Promise<void> {
    const { root, volumes, journal } = this.#deps;
    const { signal } = this.#applying;
    let entry = await this.#begin(step, { created });
    await this.#orDrop(entry, async () => {
      using from = data === '' ? undefined : root.open(data, { directory: true });
      await volumes.adopt({ name, created, labels, options, anonymous }, from?.path, {
        ...{ signal, progress: this.#progress(step) },
        copied: async (path) => {
          if (from) entry = await journal.write({ ...entry, print: await treePrint(path) });
        },
      });
    });
    await journal.write({ ...entry, complete: true });
  }

  async container(step: Step, container: ObservedContainer, image: Digest): Promise<void> {
    const { signal } = this.#applying;
    const { journal } = this.#deps;
    let entry = await this.#begin(step, {});
    const made = await this.#orDrop(entry, () =>
      takeContainer(this.#deps, container, {
        ...{ image, signal, progress: this.#progress(step) },
        copied: async (print) => {
          entry = await journal.write({ ...entry, print });
        },
      }),
    );
    await journal.write({ ...entry, asked: printOf(made), complete: true });
  }

  /** What is made in one call. */
  async plain(step: Step, make: () => Promise<void>): Promise<void> {
    const entry = await this.#begin(step, {});
    await this.#orDrop(entry, make);
    await this.#deps.journal.write({ ...entry, complete: true });
  }

  #begin({ kind, id, name, bytes }: Step, more: Partial<Adopted>): Promise<Adopted> {
    const { plan, report } = this.#applying;
    report({ status: 'Taking', id: `${kind} ${name}`, progressDetail: { current: 0, total: bytes } });
    const at = new Date().toISOString();
    return this.#deps.journal.write({ kind, id, name, from: plan.from, at, bytes, complete: false, ...more });
  }

  /** An entry that is written and not marked in the end is marked when the engine is started. */
  async #orDrop<T>(entry: Adopted, take: () => Promise<T>): Promise<T> {
    try {
      return await take();
    } catch (error) {
      // Nothing of it is left.
      await this.#deps.journal.drop(entry).catch(() => {});
      throw error;
    }
  }

  #progress({ kind, name, bytes }: Step): (current: number) => void {
    const numbers = throttled(this.#applying.report, `${kind} ${name}`);
    return (current) => numbers('Taking', Math.min(current, bytes), bytes);
  }
}
