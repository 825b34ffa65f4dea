import { randomBytes } from 'node:crypto';
import { statSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { hostname as hostsName } from 'node:os';
import { join } from 'node:path';
import { EngineError, messageOf } from '../base/errors.ts';
import { removeDirectory } from '../base/remove-directory.ts';
import type { Image } from '../images/images.ts';
import type { Digest } from '../oci/digest.ts';
import { formatPlatform, hostPlatform, type Platform, platformScore } from '../oci/platform.ts';
import type { ContainerConfig, CreateRequest, HostConfig } from '../protocol/container.ts';
import { parseSignal } from '../protocol/signals.ts';
import { readSize } from '../quotas/size.ts';
import { checkDeviceRequests } from '../runtime/cdi/requests.ts';
import { workingDirectory } from '../runtime/spec/build.ts';
import { checkHostConfig } from '../runtime/spec/check.ts';
import { appArmorProfile, parseSecurityOptions } from '../runtime/spec/security.ts';
import { labelOptions, selinuxLabels } from '../runtime/spec/selinux.ts';
import { commandOf, mergeConfig } from './config.ts';
import type { State } from './containers.ts';
import { checkEndpoints, endpointsOf } from './endpoints.ts';
import { imageMountPoint, imageSnapshot, imagesOf } from './image-mounts.ts';
import { withDirectoryInside } from './inside.ts';
import { linksOf } from './links.ts';
import { logAttributes } from './log-attributes.ts';
import { checkLogConfig } from './log-config.ts';
import { noVolumeDriver, type PlannedMount, planMounts } from './mount-plan.ts';
import { checkName, inventName } from './names.ts';
import { extraHost, mergeResolver, resolvConf } from './network-files.ts';
import { portRequests } from './ports.ts';
import { type ContainerRecord, createdState, type HeldMount } from './record.ts';
import type { Garbage } from './remove.ts';
import { garbageKind, type Room, recordKind } from './room.ts';
import { now } from './time.ts';
import { ownersOf, shownOf } from './user-namespaces.ts';

/** What a container keeps that another engine made: it stays the same one to its clients. */
export interface KeptContainer {
  readonly id: string;
  readonly created: string;
  /** The image that it was made of, as it is called here. */
  readonly image: Digest;
  readonly state: Omit<State, 'pid' | 'health'>;
  readonly restartCount: number;
  readonly stoppedByUser: boolean;
  /** The volume at each place in it, those that nobody named too. All are here. */
  readonly volumes: Readonly<Record<string, string>>;
  /** Makes its snapshot, with what it wrote over its layers. Durable when it returns. */
  prepare(layers: readonly Digest[]): Promise<void>;
  /** Puts the files of its log into its folder, which is there. */
  copyLog(directory: string): Promise<void>;
}

/** Durable when it returns, and the name is this container's: all of it, or nothing. */
export async function create(
  room: Room,
  asked: string,
  request: CreateRequest,
  platform: Platform | undefined,
  kept?: KeptContainer,
): Promise<{ readonly id: string; readonly warnings: readonly string[] }> {
  const { deps, store } = room;
  const wanted = asked === '' ? '' : checkName(asked);
  const image = await deps.images.get(kept?.image ?? request.config.Image, platform);
  const id = kept?.id ?? newId();
  if (store.byId(id)) throw new EngineError('conflict', `a container ${id.slice(0, 12)} is here already`);
  const imageManifest = {
    mediaType: image.manifest.mediaType,
    digest: image.manifest.digest,
    size: image.manifest.size,
  };
  await using undo = new AsyncDisposableStack();
  room.creating.set(id, [image.id, image.manifest.digest]);
  using _created = { [Symbol.dispose]: () => void room.creating.delete(id) };
  // What the image says was taken into it when it was made.
  const merged = kept ? request.config : mergeConfig(request.config, image.config.config ?? {});
  const { hostConfig, warnings } = checkRequest(room, merged, request.hostConfig);
  const owners = ownersOf(room, hostConfig);
  if (owners) room.mapped.set(id, owners);
  using _mapped = { [Symbol.dispose]: () => void room.mapped.delete(id) };
  const config = { ...merged, Hostname: merged.Hostname || defaultHostname(hostConfig, id) };
  const [path, ...args] = commandOf(config) as [string, ...string[]];
  const log = hostConfig.LogConfig.Type === 'none' ? '' : join(room.directory(id), `${id}-json.log`);
  const born = kept?.created ?? now();
  const described = { id, name: wanted, created: born, image: image.id, path, args, config, hostConfig };
  logAttributes({ ...described, files: { log } });
  const plan = planMounts(config, hostConfig, inheritedMounts(room, hostConfig));
  // A source that has gone since keeps it from starting, not from being here.
  if (!kept) for (const mount of plan.planned) checkSource(mount);
  const mountedImages = await findImages(room, id, plan.planned);
  checkNetwork(room, config, hostConfig, request);
  const links = linksOf(store, hostConfig);

  // From here to the record nothing else gets this name; no await stands between the look and the reservation.
  const name = wanted || inventName((name) => store.isNamed(name));
  const release = store.reserve(name, id);
  undo.defer(release);

  // Each has a snapshot of its own of an image that it mounts, of another's too.
  let number = 0;
  const ownImage = (mount: HeldMount): HeldMount => {
    if (!mount.image) return mount;
    const snapshot = imageSnapshot(id, number++);
    const point = { ...mount.point, Source: imageMountPoint(room, id, snapshot) };
    return { ...mount, point, image: { ...mount.image, snapshot } };
  };
  const mounts = plan.inherited.map(ownImage);
  const planned = plan.planned.map((mount) => {
    const volume = mount.type === 'volume' ? kept?.volumes[mount.target] : undefined;
    if (volume !== undefined) return { ...mount, source: volume, noCopy: true };
    return { ...mount, source: mount.source || anonymousName(mount) };
  });
  const anonymous = kept
    ? []
    : planned.filter((mount) => mount.type === 'volume' && mount.anonymous).map(({ source }) => source);
  if (anonymous.length > 0) {
    // Before they are made: a start of the engine removes them when it does not find the container.
    const garbage: Garbage = { id, volumes: anonymous };
    room.write([{ kind: garbageKind, key: id, value: garbage }], id);
    undo.defer(() => room.write([{ kind: garbageKind, key: id, value: undefined }], id));
  }
  for (const mount of planned) {
    const found = mountedImages.get(mount.target);
    mounts.push(found ? ownImage(imageMount(mount, found)) : await makeMount(room, undo, mount, image));
  }
  const directory = room.directory(id);
  const bundle = room.bundle(id);
  const security = parseSecurityOptions(hostConfig.SecurityOpt ?? []);
  const labels = deps.machine.selinux
    ? selinuxLabels(labelOptions(security.labels, hostConfig, (other) => donor(store, other).processLabel))
    : { process: '', mount: '' };
  const manifestPlatform = image.manifest.platform ?? image.config;
  const record: ContainerRecord = {
    id,
    name,
    created: born,
    image: image.id,
    imageManifest,
    platform: {
      os: manifestPlatform.os,
      architecture: manifestPlatform.architecture,
      ...(manifestPlatform.variant ? { variant: manifestPlatform.variant } : {}),
    },
    layers: image.layers,
    config,
    hostConfig,
    endpoints: endpointsOf(room, hostConfig.NetworkMode, request.endpoints),
    path,
    args,
    state: kept ? { ...createdState, ...kept.state } : createdState,
    restartCount: kept?.restartCount ?? 0,
    attached: [],
    mounts: mounts.map(({ point }) => point),
    ...(links.length > 0 && { links }),
    files: {
      log,
      hosts: join(bundle, 'hosts'),
      hostname: join(bundle, 'hostname'),
      resolvConf: join(bundle, 'resolv.conf'),
    },
    appArmorProfile: appArmorProfile(security, hostConfig.Privileged, deps.machine) ?? '',
    mountLabel: labels.mount,
    processLabel: labels.process,
    own: {
      mounts,
      stoppedByUser: kept?.stoppedByUser ?? false,
      sandbox: '',
      ...(kept && { adopted: true }),
      ...(owners && { owners }),
    },
  };
  if (kept) {
    await keep(room, record, kept, undo);
    undo.move();
    return { id, warnings };
  }

  // Beside each other: a snapshot or a folder without a record is removed at the next start of the engine, and a record
  // without a snapshot was never acknowledged.
  const outcomes = await Promise.allSettled([
    deps.snapshots
      .prepare(id, image.layers, { limit: sizeLimit(hostConfig, deps.config.size ?? 0) })
      .then(() => undo.defer(() => deps.snapshots.remove(id))),
    ...imagesOf(record).map(({ snapshot, layers }) =>
      deps.snapshots.prepare(snapshot, layers).then(() => undo.defer(() => deps.snapshots.remove(snapshot))),
    ),
    mkdir(directory, { mode: 0o710 }).then(() => undo.defer(() => removeDirectory(directory))),
    deps.database
      .write(
        [
          { kind: recordKind, key: id, value: record },
          ...(anonymous.length > 0 ? [{ kind: garbageKind, key: id, value: undefined }] : []),
        ],
        { durable: !hostConfig.AutoRemove },
      )
      .then(() => undo.defer(() => deps.database.write([{ kind: recordKind, key: id, value: undefined }]))),
  ]);
  for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason;
  if (owners) await checkOwners(room, record);
  store.set(record);
  undo.move();
  room.emit(record, 'create');
  return { id, warnings: [...warnings, ...portsWarning(hostConfig), ...platformWarning(image, platform)] };
}

/** Before anybody is told that there is such a container: whether the file systems of its layers can. Throws `unsupported`. */
async function checkOwners(room: Room, record: ContainerRecord): Promise<void> {
  if (room.ownersMap) return;
  await using _ = await room.deps.snapshots.open(record.id, shownOf(record));
  room.ownersMap = true;
}

/** One after the other: what a record of a container that ran says must be here before it. */
async function keep(
  room: Room,
  record: ContainerRecord,
  kept: KeptContainer,
  undo: AsyncDisposableStack,
): Promise<void> {
  const { deps, store } = room;
  const { id, layers } = record;
  const directory = room.directory(id);
  await kept.prepare(layers);
  undo.defer(() => deps.snapshots.remove(id));
  for (const image of imagesOf(record)) {
    await deps.snapshots.prepare(image.snapshot, image.layers);
    undo.defer(() => deps.snapshots.remove(image.snapshot));
  }
  await removeDirectory(directory);
  await mkdir(directory, { mode: 0o710 });
  undo.defer(() => removeDirectory(directory));
  await kept.copyLog(directory);
  await deps.database.write([{ kind: recordKind, key: id, value: record }]);
  store.set(record);
  room.emit(record, 'create');
}

const anonymousName = ({ type, anonymous }: PlannedMount) =>
  type === 'volume' && anonymous ? randomBytes(32).toString('hex') : '';

function newId(): string {
  for (;;) {
    const id = randomBytes(32).toString('hex');
    // Twelve digits alone would be taken for a number by tools that shorten it.
    if (!/^\d{12}/.test(id)) return id;
  }
}

const invalid = (message: string) => new EngineError('invalid', message);

function checkRequest({ deps }: Room, config: ContainerConfig, asked: HostConfig) {
  const { runtime, machine } = deps;
  const mode = asked.NetworkMode === '' || asked.NetworkMode === 'default' ? 'bridge' : asked.NetworkMode;
  const filled: HostConfig = {
    ...asked,
    NetworkMode: config.NetworkDisabled ? 'none' : mode,
    Runtime: asked.Runtime || runtime.default,
    LogConfig: asked.LogConfig?.Type
      ? asked.LogConfig
      : { Type: deps.config.log.type, Config: asked.LogConfig?.Config ?? {} },
    RestartPolicy: asked.RestartPolicy?.Name ? asked.RestartPolicy : { Name: 'no', MaximumRetryCount: 0 },
  };
  if (!runtime.list().some(({ name }) => name === filled.Runtime))
    throw new EngineError('invalid', `unknown or invalid runtime name: ${filled.Runtime}`, {
      hint: `one of ${runtime
        .list()
        .flatMap(({ name, broken }) => (broken ? [] : name))
        .join(', ')}, or add it to runtimes in the engine's configuration`,
    });
  if (!['', 'local'].includes(filled.VolumeDriver)) throw noVolumeDriver('', filled.VolumeDriver);
  checkRestartPolicy(filled);
  checkLogConfig(filled.LogConfig);
  if (config.StopSignal) parseSignal(config.StopSignal);
  workingDirectory(config.WorkingDir);
  if (config.WorkingDir !== '' && !config.WorkingDir.startsWith('/'))
    throw invalid(`the working directory '${config.WorkingDir}' is invalid, it needs to be an absolute path`);
  checkDeviceRequests(filled.DeviceRequests ?? []);
  sizeLimit(filled, 0);
  for (const variable of config.Env)
    if (variable === '' || variable.startsWith('=') || variable.includes('\0'))
      throw invalid(`invalid environment variable: ${JSON.stringify(variable)}`);
  if (
    config.Hostname.length > 63 ||
    (config.Hostname && !/^[a-zA-Z0-9]([a-zA-Z0-9_.-]*[a-zA-Z0-9])?$/.test(config.Hostname))
  )
    throw invalid(`invalid hostname ${JSON.stringify(config.Hostname)}`);
  return checkHostConfig(filled, machine);
}

/** Bytes that the container may write over its image; 0 is as many as there are. Throws `invalid` in Docker's words. */
function sizeLimit({ StorageOpt }: HostConfig, fallback: number): number {
  let limit = fallback;
  for (const [option, value] of Object.entries(StorageOpt ?? {})) {
    // Docker does not mind the case.
    if (option.toLowerCase() !== 'size') throw invalid(`Unknown option ${option}`);
    limit = readSize(value);
  }
  return limit;
}

export function checkRestartPolicy({
  RestartPolicy: { Name, MaximumRetryCount },
  AutoRemove,
}: Pick<HostConfig, 'RestartPolicy' | 'AutoRemove'>): void {
  if (!['no', 'always', 'on-failure', 'unless-stopped'].includes(Name))
    throw invalid(
      `invalid restart policy: unknown policy '${Name}'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'`,
    );
  if (MaximumRetryCount < 0) throw invalid('invalid restart policy: maximum retry count cannot be negative');
  if (MaximumRetryCount > 0 && Name !== 'on-failure')
    throw invalid("invalid restart policy: maximum retry count can only be used with 'on-failure'");
  if (AutoRemove && Name !== 'no') throw invalid("can't create 'AutoRemove' container with restart policy");
}

/**
 * A container that this one names. `invalid` and not `not-found`: a client that gets 404 from a create takes the image for
 * missing, and pulls it.
 */
function donor(store: Room['store'], name: string): ContainerRecord {
  try {
    return store.get(name);
  } catch (cause) {
    throw new EngineError('invalid', messageOf(cause), { cause });
  }
}

/** Not whether the network, or the container whose network is shared, is there: that is seen at the start. */
function checkNetwork(room: Room, config: ContainerConfig, hostConfig: HostConfig, request: CreateRequest): void {
  const { NetworkMode: mode, ExtraHosts, Dns, DnsSearch, DnsOptions, UTSMode } = hostConfig;
  const conflicting = (what: string) => invalid(`conflicting options: ${what}`);
  for (const shared of [hostConfig.PidMode, hostConfig.IpcMode])
    if (shared.startsWith('container:')) donor(room.store, shared.slice('container:'.length));
  const ports = portRequests(config, hostConfig);
  if (mode.startsWith('container:')) {
    if (request.config.Hostname) throw conflicting('hostname and the network mode');
    if (ports.length > 0) throw conflicting('port publishing and the container type network mode');
    if (Dns?.length) throw conflicting('dns and the network mode');
    if (ExtraHosts?.length) throw conflicting('custom host-to-IP mapping and the network mode');
    if (config.MacAddress) throw conflicting('mac-address and the network mode');
  }
  if (UTSMode === 'host' && request.config.Hostname) throw conflicting('hostname and the UTS mode');
  if (UTSMode === 'host' && config.Domainname) throw conflicting('domainname and the UTS mode');
  // Only their form: the addresses are known at start.
  for (const entry of ExtraHosts ?? []) extraHost(entry, '0.0.0.0');
  resolvConf(mergeResolver({ servers: [], search: [], options: [] }, { Dns, DnsSearch, DnsOptions }));
  checkEndpoints(room, endpointsOf(room, mode, request.endpoints));
}

function defaultHostname({ NetworkMode, UTSMode }: HostConfig, id: string): string {
  if (NetworkMode === 'host' || UTSMode === 'host') return hostsName();
  return NetworkMode.startsWith('container:') ? '' : id.slice(0, 12);
}

/** `name[:ro|rw]` of --volumes-from. */
function inheritedMounts({ store }: Room, { VolumesFrom }: HostConfig): readonly HeldMount[] {
  const mounts = new Map<string, HeldMount>();
  for (const entry of VolumesFrom ?? []) {
    const [from = '', mode = 'rw'] = entry.split(/:(.*)/s);
    if (!['ro', 'rw', 'z', 'Z', ''].includes(mode)) throw invalid(`invalid volumes-from specification: ${entry}`);
    for (const mount of donor(store, from).own.mounts) {
      const point = { ...mount.point, Mode: mode, RW: mount.point.RW && mode !== 'ro' };
      const relabel = mode === 'z' || mode === 'Z' ? mode : undefined;
      mounts.set(point.Destination, { ...mount, point, relabel, noCopy: true, anonymous: false });
    }
  }
  return [...mounts.values()];
}

function checkSource({ type, source, createSource }: PlannedMount): void {
  if (type !== 'bind' || createSource) return;
  if (!statSync(source, { throwIfNoEntry: false }))
    throw invalid(`invalid mount config for type "bind": bind source path does not exist: ${source}`);
}

/** By target, those that are to be mounted. From here nobody takes them away. Throws `invalid` in Docker's words. */
async function findImages(
  room: Room,
  id: string,
  planned: readonly PlannedMount[],
): Promise<ReadonlyMap<string, Image>> {
  const found = new Map<string, Image>();
  for (const { type, target, source } of planned) {
    if (type !== 'image') continue;
    const image = await room.deps.images.get(source).catch((cause: unknown) => {
      if (!(cause instanceof EngineError) || cause.kind !== 'not-found') throw cause;
      // Not `not-found`: a client would pull the container's own image, in vain.
      throw new EngineError('invalid', cause.message, { cause, hint: `docker pull ${source}` });
    });
    found.set(target, image);
    room.creating.set(id, [...room.creating.get(id)!, image.id, image.manifest.digest]);
  }
  return found;
}

function imageMount(
  { type, source, target, mode, readOnly: _, propagation, labels: _l, options: _o, ...held }: PlannedMount,
  { id, manifest, layers }: Image,
): HeldMount {
  const point = { Type: type, Name: source, Source: '', Destination: target, Mode: mode, RW: false };
  return {
    ...held,
    point: { ...point, Propagation: propagation },
    image: { id, manifest: manifest.digest, layers, snapshot: '' },
  };
}

/** The volume is made, and filled with what the image has at its place. A volume that this create made is undone with it. */
async function makeMount(
  room: Room,
  undo: AsyncDisposableStack,
  planned: PlannedMount,
  image: Image,
): Promise<HeldMount> {
  const { type, target, mode, readOnly, propagation, source, labels, options, ...held } = planned;
  const point = { Destination: target, Mode: mode, RW: !readOnly, Propagation: propagation };
  if (type !== 'volume') return { ...held, point: { Type: type, Source: source, ...point } };
  const { volumes, snapshots } = room.deps;
  const before = volumes.list().some(({ name }) => name === source);
  const volume = await volumes.create({ name: source, labels, options, anonymous: held.anonymous });
  if (!before) undo.defer(() => volumes.remove(volume.name, { force: true }).catch(() => {}));
  if (!held.noCopy) {
    await using view = await snapshots.view(image.layers);
    await withDirectoryInside(view.path, target, (from) => volumes.fill(volume.name, from));
  }
  return {
    ...held,
    point: { Type: 'volume', Name: volume.name, Source: volume.mountpoint, Driver: volume.driver, ...point },
  };
}

function portsWarning({ NetworkMode, PortBindings, PublishAllPorts }: HostConfig): readonly string[] {
  if (NetworkMode !== 'host' || (Object.keys(PortBindings).length === 0 && !PublishAllPorts)) return [];
  return ['Published ports are discarded when using host network mode'];
}

function platformWarning({ manifest, config }: Image, asked: Platform | undefined): readonly string[] {
  const host = hostPlatform();
  const image = manifest.platform ?? config;
  if (asked || platformScore(host, image) > 0) return [];
  return [
    `The requested image's platform (${formatPlatform(image)}) does not match the detected host platform (${formatPlatform(host)}) and no specific platform was requested`,
  ];
}
