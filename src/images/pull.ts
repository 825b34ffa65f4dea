import { Semaphore } from '../base/async.ts';
import { EngineError } from '../base/errors.ts';
import type { ContentStore } from '../content/store.ts';
import type { Descriptor } from '../oci/manifest.ts';
import type { Platform } from '../oci/platform.ts';
import { familiarName, parseReference, type Reference, repositoryOf, withDefaultTag } from '../oci/reference.ts';
import type { Registry } from '../remotes/registry.ts';
import type { PullOptions } from './images.ts';
import { pullSteps, type Report } from './progress.ts';
import { RegistrySource } from './registry-source.ts';
import { type ImageSink, shortId, transfer } from './transfer.ts';

/** An image whose content has come whole. */
export interface Pulled {
  readonly reference: Reference;
  readonly descriptor: Descriptor;
  readonly repository: string;
}

export interface PullDeps {
  readonly registry: Registry;
  readonly content: ContentStore;
  readonly sink: ImageSink;
  readonly platform: Platform;
  readonly options: PullOptions;
  readonly report: Report;
  readonly signal: AbortSignal;
  /** Writes the name, last of all. Tells whether it points to something else than before. */
  readonly arrive: (pulled: Pulled) => Promise<boolean>;
  /** Layers that are fetched at a time. */
  readonly downloads: number;
}

/** `docker pull`: what the name points to now, or every tag of the repository. */
export async function pullImage(name: string, deps: PullDeps): Promise<void> {
  const given = parseReference(name);
  const { options, report } = deps;
  if (!options.allTags) {
    const reference = withDefaultTag(given);
    // Of `name:tag@digest` the digest decides, and the tag is only for people.
    const changed = await pullOne(given.digest ? { ...given, tag: undefined } : reference, deps);
    return report({ status: statusLine(changed, reference) });
  }
  if (given.tag || given.digest) throw new EngineError('invalid', "tag can't be used with --all-tags/-a");
  let changed = false;
  for (const tag of await deps.registry.tags(given, registryOptions(deps)))
    changed = (await pullOne({ ...given, tag }, deps)) || changed;
  report({ status: statusLine(changed, given) });
}

async function pullOne(reference: Reference, deps: PullDeps): Promise<boolean> {
  const { registry, content, sink, platform, options, report, signal, downloads } = deps;
  const { descriptor, bytes } = await registry.resolve(reference, registryOptions(deps));
  report({ status: `Pulling from ${reference.path}`, id: reference.digest ?? reference.tag! });
  const { credentials } = options;
  const source = new RegistrySource(reference, { registry, content, ...(credentials ? { credentials } : {}) });
  const { moved } = await transfer(source, sink, {
    ...{ root: descriptor, rootBytes: bytes, platform, signal },
    strict: options.platform !== undefined,
    fetching: new Semaphore(downloads),
    stepsOf: (layer) => pullSteps(report, shortId(layer.descriptor.digest)),
  });
  const changed = await deps.arrive({ reference, descriptor, repository: repositoryOf(reference) });
  report({ status: `Digest: ${descriptor.digest}` });
  return changed || moved;
}

function registryOptions({ options: { credentials }, signal }: PullDeps) {
  return { signal, ...(credentials ? { credentials } : {}) };
}

function statusLine(changed: boolean, reference: Reference): string {
  const name = familiarName(reference);
  return changed ? `Status: Downloaded newer image for ${name}` : `Status: Image is up to date for ${name}`;
}
