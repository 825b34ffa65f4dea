import { statfsSync } from 'node:fs';
import { isAbsolute } from 'node:path';
import { EngineError } from '../base/errors.ts';
import type { Containers } from '../containers/containers.ts';
import type { ContentStore } from '../content/store.ts';
import type { Images } from '../images/images.ts';
import { interfaceNames } from '../networks/host-facts.ts';
import type { Networks } from '../networks/networks.ts';
import type { Digest } from '../oci/digest.ts';
import { readManifest } from '../oci/validate.ts';
import type { Snapshotter } from '../snapshots/snapshotter.ts';
import type { Volumes } from '../volumes/volumes.ts';
import { ForeignRoot } from './foreign-root.ts';
import { holdRoot } from './in-use.ts';
import { observe } from './observe.ts';
import { type Kind, kinds, type Observed } from './observed.ts';
import { type Have, type Plan, plan } from './plan.ts';

export interface AdoptionDeps {
  /** The engine's own data root, whose disk it goes to. */
  readonly root: string;
  readonly content: ContentStore;
  readonly images: Images;
  readonly snapshots: Pick<Snapshotter, 'form' | 'layers'>;
  readonly volumes: Volumes;
  readonly networks: Networks;
  readonly containers: Containers;
}

export interface AdoptRequest {
  /** The data root of the other engine. */
  readonly from: string;
  /** Everything when it is empty. */
  readonly only: readonly string[];
}

/** Takes over what a Docker engine that is stopped has in its data root, in which nothing is changed. */
export class Adoption {
  readonly #deps: AdoptionDeps;

  constructor(deps: AdoptionDeps) {
    this.#deps = deps;
  }

  /** What would be taken and what not. Throws `conflict` while a dockerd uses the root. */
  async plan(request: AdoptRequest): Promise<Plan> {
    using opened = this.#open(request);
    const { observed, wanted } = await opened.look();
    return plan(observed, await this.#have(), wanted);
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

  async #have(): Promise<Have> {
    const { root, content, images, snapshots, volumes, networks, containers } = this.#deps;
    const byId = new Map<Digest, Digest>();
    const names = new Map<string, Digest>();
    for (const image of await images.list()) {
      byId.set(image.id, image.id);
      for (const name of image.names) names.set(name, image.id);
      const manifest = await content.read(image.manifest.digest).catch(() => undefined);
      if (manifest) byId.set(readManifest(manifest, image.manifest.mediaType).config.digest, image.id);
    }
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
      adopted: new Map(),
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
