import { overlapping } from '../networks/definition.ts';
import { isParentKind } from '../networks/parent-spec.ts';
import type { Digest } from '../oci/digest.ts';
import { familiarName, parseReference } from '../oci/reference.ts';
import type { Kind, Observed, ObservedContainer, ObservedImage } from './observed.ts';

/** What this engine has, for a plan to stand beside. */
export interface Have {
  /** By the digest of the config, and of what the name points to: which image it is here. */
  readonly images: ReadonlyMap<Digest, Digest>;
  /** Names in full form, and the image that they point to. */
  readonly imageNames: ReadonlyMap<string, Digest>;
  readonly layers: ReadonlySet<Digest>;
  readonly volumes: ReadonlySet<string>;
  readonly networks: readonly { readonly id: string; readonly name: string; readonly subnets: readonly string[] }[];
  readonly containers: readonly { readonly id: string; readonly name: string }[];
  /** The names of the host's network interfaces. */
  readonly links: readonly string[];
  /** What an adoption before took and is still here: `volumes data` and the like. */
  readonly adopted: ReadonlySet<string>;
  /** By the IDs of containers, a process that runs in one. */
  readonly alive: ReadonlyMap<string, number>;
  /** How often the bytes of a layer are on this engine's disk: once as a tar, and once more where it is unpacked. */
  readonly copiesOfLayers: 1 | 2;
  /** Bytes that are free where they go. */
  readonly free: number;
}

/** `here`: nothing is to be done. `leave`: it cannot be taken, and stays where it is. */
export type Action = 'take' | 'here' | 'leave';

export interface Step {
  readonly kind: Kind;
  /** What the other engine calls it: an ID, or a volume's name. */
  readonly id: string;
  /** For people. */
  readonly name: string;
  readonly action: Action;
  /** That it takes here. */
  readonly bytes: number;
  /** What will be different here. */
  readonly changes: readonly string[];
  /** Why it is left. */
  readonly why?: string;
  readonly try?: string;
}

export interface Plan {
  /** The data root of the other engine. */
  readonly from: string;
  readonly steps: readonly Step[];
  readonly bytes: number;
  readonly free: number;
}

/** What would be taken, in the order in which it is done, and what not. Reads nothing and changes nothing. */
export function plan(observed: Observed, have: Have, wanted: ReadonlySet<Kind>): Plan {
  const layers = new Set(have.layers);
  const steps: Step[] = [];
  const add = (kind: Kind, step: Omit<Step, 'kind' | 'changes'> & { changes?: readonly string[] }) =>
    void steps.push({ kind, changes: [], ...step });

  for (const image of observed.images) add('images', stepOfImage(image, have, layers));
  for (const { name, anonymous, bytes, options } of observed.volumes) {
    const step = { id: name, name: anonymous ? name.slice(0, 12) : name, bytes: 0 };
    const mounted = options['type'] === 'tmpfs' ? undefined : options['device'];
    if (have.adopted.has(keyOf('volumes', name))) add('volumes', { ...step, action: 'here' });
    else if (have.volumes.has(name))
      add('volumes', {
        ...step,
        action: 'leave',
        why: 'a volume of this name is here already, and it is not touched',
        try: `berth volume rm ${name}, when what is in it is not needed`,
      });
    else
      add('volumes', {
        ...step,
        bytes,
        action: 'take',
        ...(mounted ? { changes: [`its data stays at ${mounted}`] } : {}),
      });
  }
  const networks: { readonly name: string; readonly subnets: readonly string[] }[] = [...have.networks];
  for (const network of observed.networks) {
    const step = stepOfNetwork(network, have, networks);
    if (step.action === 'take')
      networks.push({
        name: network.request.name,
        subnets: network.request.ipam.configs.map(({ subnet }) => subnet),
      });
    add('networks', step);
  }
  const names = new Map(have.containers.map(({ id, name }) => [name, id]));
  for (const container of inOrder(observed.containers)) {
    const step = stepOfContainer(container, { observed, have, wanted, names, steps });
    if (step.action === 'take') names.set(container.name, container.id);
    add('containers', step);
  }
  for (const { kind, name, why, try: hint } of observed.faults)
    add(kind, { id: name, name, action: 'leave', bytes: 0, why, ...(hint === undefined ? {} : { try: hint }) });

  const bytes = steps.reduce((sum, step) => sum + step.bytes, 0);
  return { from: observed.from, steps, bytes, free: have.free };
}

export const keyOf = (kind: Kind, id: string) => `${kind} ${id}`;

export function nameOfImage({ names, id }: ObservedImage): string {
  const [first] = names;
  return first === undefined ? id.slice(0, 19) : familiarName(parseReference(first));
}

function stepOfImage(image: ObservedImage, have: Have, layers: Set<Digest>): Omit<Step, 'kind'> {
  const here = have.images.get(image.id);
  const step = { id: image.id, name: nameOfImage(image), bytes: 0, changes: [] as string[] };
  const taken = image.names.filter((name) => (have.imageNames.get(name) ?? here) !== here);
  const missing = image.names.filter((name) => !have.imageNames.has(name));
  if (here !== undefined && missing.length === 0) return { ...step, action: 'here' };
  for (const name of taken)
    step.changes.push(`without the name ${familiarName(parseReference(name))}, which another image has here`);
  if (image.losesDigest) step.changes.push('without the digest that it was pulled by');
  for (const { diffId, bytes } of image.layers) {
    if (layers.has(diffId)) continue;
    layers.add(diffId);
    step.bytes += bytes * have.copiesOfLayers;
  }
  return { ...step, action: 'take' };
}

function stepOfNetwork(
  { id, request, link }: Observed['networks'][number],
  have: Have,
  networks: readonly { readonly name: string; readonly subnets: readonly string[] }[],
): Omit<Step, 'kind'> {
  const { name, driver } = request;
  const step = { id, name, bytes: 0, changes: [] };
  const leave = (why: string, hint: string) => ({ ...step, action: 'leave' as const, why, try: hint });
  if (have.networks.some((network) => network.id === id)) return { ...step, action: 'here' };
  if (driver !== 'bridge' && !isParentKind(driver))
    return leave(`it is of the driver ${driver}, which Berth does not do yet`, 'make it anew as a bridge');
  if (networks.some((network) => network.name === name))
    return leave('a network of this name is here already', `docker network rm ${name}, when nobody needs it`);
  for (const { subnet } of request.ipam.configs)
    for (const other of networks)
      if (other.subnets.some((its) => overlapping(its, subnet)))
        return leave(
          `its subnet ${subnet} overlaps that of the network ${other.name}`,
          ['bridge', 'berth0'].includes(other.name)
            ? 'set another bridgeSubnet in the configuration of the engine'
            : `docker network rm ${other.name}, when nobody needs it`,
        );
  if (driver === 'bridge' && have.links.includes(link))
    return leave(
      `the bridge ${link} that Docker made for it is still there, with the same addresses`,
      `ip link delete ${link}`,
    );
  return { ...step, action: 'take' };
}

interface ContainerContext {
  readonly observed: Observed;
  readonly have: Have;
  readonly wanted: ReadonlySet<Kind>;
  readonly names: ReadonlyMap<string, string>;
  readonly steps: readonly Step[];
}

function stepOfContainer(container: ObservedContainer, context: ContainerContext): Omit<Step, 'kind'> {
  const { id, name, bytes } = container;
  const step = { id, name, bytes: 0, changes: [] as string[] };
  const leave = (why: string, hint?: string) => ({
    ...step,
    action: 'leave' as const,
    why,
    ...(hint === undefined ? {} : { try: hint }),
  });
  const { have, names } = context;
  if (have.containers.some((other) => other.id === id)) return { ...step, action: 'here' };
  const pid = have.alive.get(id);
  if (pid !== undefined)
    return leave(`it still runs (pid ${pid}), without its Docker`, 'start Docker once more, and docker stop it');
  if (names.has(name))
    return leave('a container of this name is here already', `docker rename ${name} OTHER, and adopt again`);
  for (const [kind, needed, word] of needs(container)) {
    const missing = missingFrom(kind, needed, context);
    if (missing !== undefined) return leave(`its ${word} ${missing}`);
  }
  const { logDriver, request } = container;
  if (logDriver !== 'json-file' && logDriver !== 'none')
    step.changes.push(`its log of the driver ${logDriver} stays behind`);
  if (request.hostConfig.LogConfig.Type !== logDriver) step.changes.push('it logs with the driver json-file here');
  if (container.wasRunning) step.changes.push('it is stopped until somebody starts it');
  return { ...step, bytes, action: 'take' };
}

/** What a container cannot be without. */
function needs({ image, volumes, request }: ContainerContext['observed']['containers'][number]) {
  const shared = request.hostConfig.NetworkMode.startsWith('container:');
  return [
    ['images', image, 'image'] as const,
    ...Object.values(volumes).map((volume) => ['volumes', volume, 'volume'] as const),
    ...(shared ? [] : Object.keys(request.endpoints))
      .filter((network) => !['bridge', 'host', 'none', 'default'].includes(network))
      .map((network) => ['networks', network, 'network'] as const),
    ...donorsOf(request).map((donor) => ['containers', donor, 'other container'] as const),
  ];
}

/** Why it will not be here; undefined when it will, or is. */
function missingFrom(kind: Kind, needed: string, context: ContainerContext): string | undefined {
  const { have, steps, wanted } = context;
  const its = steps.filter((step) => step.kind === kind);
  const step = its.find(({ id, name }) => id === needed || (kind !== 'images' && name === needed));
  if (step && step.action !== 'leave') return undefined;
  const here =
    kind === 'images'
      ? have.images.has(needed as Digest)
      : kind === 'volumes'
        ? have.adopted.has(keyOf(kind, needed))
        : kind === 'networks'
          ? have.networks.some(({ name }) => name === needed)
          : have.containers.some(({ id, name }) => id === needed || name === needed || id.startsWith(needed));
  // One of the same name is another's data, and another's network.
  if (here && !step) return undefined;
  const shown = step?.name ?? (kind === 'images' ? needed.slice(0, 19) : needed);
  return step || !wanted.has(kind) ? `${shown} is not taken` : `${shown} is missing`;
}

/** Containers whose volumes, processes or network it shares, or that it links to. */
export function donorsOf({ hostConfig }: ObservedContainer['request']): readonly string[] {
  const { NetworkMode, PidMode, IpcMode, VolumesFrom, Links } = hostConfig;
  return [
    ...[NetworkMode, PidMode, IpcMode].flatMap((mode) => (mode.startsWith('container:') ? [mode.slice(10)] : [])),
    ...(VolumesFrom ?? []).map((entry) => entry.split(':')[0]!),
    ...(Links ?? []).map((entry) => entry.split(':')[0]!.replace(/^\//, '')),
  ];
}

/** Those that others need first; the oldest of equals. */
function inOrder(containers: readonly ObservedContainer[]): readonly ObservedContainer[] {
  const done = new Set<ObservedContainer>();
  const visit = (container: ObservedContainer, way: ReadonlySet<ObservedContainer>) => {
    if (done.has(container) || way.has(container)) return;
    for (const donor of donorsOf(container.request)) {
      const found = containers.find(({ id, name }) => id === donor || name === donor || id.startsWith(donor));
      if (found) visit(found, new Set([...way, container]));
    }
    done.add(container);
  };
  for (const container of containers.toSorted((a, b) => (a.created < b.created ? -1 : 1))) visit(container, new Set());
  return [...done];
}
