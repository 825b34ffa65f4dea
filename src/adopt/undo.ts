import { EngineError, messageOf } from '../base/errors.ts';
import type { Container, Containers } from '../containers/containers.ts';
import type { Image, Images } from '../images/images.ts';
import type { Report } from '../images/progress.ts';
import type { Networks } from '../networks/networks.ts';
import { familiarName, parseReference } from '../oci/reference.ts';
import type { Snapshotter } from '../snapshots/snapshotter.ts';
import type { Volumes } from '../volumes/volumes.ts';
import { tell } from './apply.ts';
import type { Adopted, Journal } from './journal.ts';
import { type Kind, kinds } from './observed.ts';
import { printOf } from './take-container.ts';
import { treePrint } from './tree-print.ts';

export interface UndoDeps {
  readonly journal: Journal;
  readonly images: Images;
  readonly snapshots: Pick<Snapshotter, 'describe'>;
  readonly volumes: Volumes;
  readonly networks: Networks;
  readonly containers: Containers;
}

/** What an undo does with one thing that an adoption brought. `gone`: somebody removed it already. */
export interface UndoStep {
  readonly kind: Kind;
  readonly id: string;
  readonly name: string;
  readonly action: 'remove' | 'stay' | 'gone';
  readonly why?: string;
  readonly try?: string;
}

/** Looks once, to tell of each entry whether what it tells of is here, and is that same one. */
export async function whatIsHere({
  images,
  volumes,
  networks,
  containers,
}: Omit<UndoDeps, 'journal' | 'snapshots'>): Promise<(entry: Adopted) => boolean> {
  const here = {
    images: new Set<string>((await images.list()).map(({ id }) => id)),
    volumes: new Map(volumes.list().map(({ name, created }) => [name, created])),
    networks: new Set(networks.list().map(({ id }) => id)),
    containers: new Set(containers.list().map(({ id }) => id)),
  };
  return ({ kind, id, image, created }) => {
    if (kind === 'images') return image !== undefined && here.images.has(image);
    if (kind === 'volumes') return here.volumes.has(id) && here.volumes.get(id) === created;
    return here[kind].has(id);
  };
}

/** What an undo would do now: what was used or changed since stays, and what it needs. */
export async function planUndo(deps: UndoDeps): Promise<readonly UndoStep[]> {
  const entries = deps.journal.list();
  const steps: UndoStep[] = [];
  const going = new Set<string>();
  const isHere = await whatIsHere(deps);
  const images = new Map((await deps.images.list()).map((image) => [image.id, image]));
  for (const kind of kinds.toReversed()) {
    // Those that came last may need those before them.
    for (const entry of entries.filter((one) => one.kind === kind).toReversed()) {
      const { id, name } = entry;
      if (!isHere(entry)) {
        steps.push({ kind, id, name, action: 'gone' });
        continue;
      }
      const reason = await whyItStays(entry, deps, going, images);
      if (reason) steps.push({ kind, id, name, action: 'stay', ...reason });
      else {
        steps.push({ kind, id, name, action: 'remove' });
        if (kind === 'containers') going.add(id);
      }
    }
  }
  return steps;
}

interface Reason {
  readonly why: string;
  readonly try?: string;
}

async function whyItStays(
  entry: Adopted,
  deps: UndoDeps,
  going: ReadonlySet<string>,
  images: ReadonlyMap<string, Image>,
): Promise<Reason | undefined> {
  const { id, name } = entry;
  const staying = deps.containers.list().filter((container) => !going.has(container.id));
  const usedBy = (user: Container | undefined) => user && { why: `the container ${user.name} uses it` };
  if (entry.kind === 'containers') {
    const container = deps.containers.get(id);
    const hint = { try: `berth rm ${name}, when what it wrote here is not needed` };
    if (!deps.containers.isWaiting(id)) return { why: 'it was started here', ...hint };
    if (entry.asked !== printOf(container)) return { why: 'it was renamed or changed here', ...hint };
    if (entry.print !== (await treePrint(deps.snapshots.describe(id)['UpperDir']!)))
      return { why: 'files in it were changed here', ...hint };
    return undefined;
  }
  if (entry.kind === 'networks')
    return usedBy(
      staying.find(
        ({ endpoints, attached }) =>
          name in endpoints ||
          Object.values(endpoints).some(({ NetworkID }) => NetworkID === id) ||
          attached.some(({ networkId }) => networkId === id),
      ),
    );
  if (entry.kind === 'volumes') {
    const user = usedBy(
      staying.find(({ mounts }) => mounts.some(({ Type, Name }) => Type === 'volume' && Name === id)),
    );
    if (user || entry.print === undefined) return user;
    if (entry.print === (await treePrint(deps.volumes.get(id).mountpoint))) return undefined;
    return { why: 'what is in it was changed here', try: `berth volume rm ${name}, when that is not needed` };
  }
  const image = images.get(entry.image!)!;
  const { names = [], whole = false } = entry;
  const others = image.names.filter((one) => !names.includes(one)).map(familiar);
  if (!whole) return others.length > 0 ? undefined : { why: 'it was here before, and these are its only names' };
  if (others.length > 0) return { why: `it was given the name ${others[0]} here`, try: `berth rmi ${others[0]}` };
  return usedBy(staying.find((container) => container.image === image.id));
}

const familiar = (name: string) => familiarName(parseReference(name));

/** Removes what `planUndo` says, and tells of each. What could not be removed stays in the journal. */
export async function undo(deps: UndoDeps, report: Report, signal: AbortSignal): Promise<void> {
  for (const { kind, id, name, action } of await planUndo(deps)) {
    if (action === 'stay') continue;
    signal.throwIfAborted();
    const entry = deps.journal.get(kind, id);
    if (!entry) continue;
    try {
      if (action === 'remove') await remove(deps, entry);
      await deps.journal.drop(entry);
      if (action === 'remove') tell(report, { kind, id, name, result: 'removed' });
    } catch (error) {
      const hint = error instanceof EngineError && error.hint ? { try: error.hint } : {};
      tell(report, { kind, id, name, result: 'failed', why: messageOf(error), ...hint });
    }
  }
}

async function remove(deps: UndoDeps, { kind, id, names = [], image, whole }: Adopted): Promise<void> {
  if (kind === 'containers') await deps.containers.remove(id, { force: false, volumes: false, link: false });
  else if (kind === 'networks') await deps.networks.remove(id);
  else if (kind === 'volumes') await deps.volumes.remove(id, { force: false });
  else {
    const found = (await deps.images.list()).find((one) => one.id === image);
    for (const name of names)
      if (found?.names.includes(name)) await deps.images.remove(name, { force: false, prune: true });
    // Without a name, or with all of them gone and still here because somebody used it.
    const left = (await deps.images.list()).some((one) => one.id === image);
    if (whole && left) await deps.images.remove(image!, { force: false, prune: true });
  }
}
