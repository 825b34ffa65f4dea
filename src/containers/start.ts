import { lchownSync, lstatSync, mkdirSync, readFileSync, statSync } from 'node:fs';
import { hostname as hostsName } from 'node:os';
import { dirname } from 'node:path';
import { codeOf, EngineError, messageOf } from '../base/errors.ts';
import { makeDirectories } from '../base/make-directories.ts';
import type { Endpoint } from '../networks/networks.ts';
import { injectDevices } from '../runtime/cdi/inject.ts';
import { devicesAsked } from '../runtime/cdi/requests.ts';
import type { Task } from '../runtime/runtime.ts';
import { buildSpec } from '../runtime/spec/build.ts';
import { resolveDevices } from '../runtime/spec/devices.ts';
import { containerEnv } from '../runtime/spec/env.ts';
import { type ContainerMount, noDevices, type SpecNamespaces, type SpecUser } from '../runtime/spec/input.ts';
import { tmpfsOptions } from '../runtime/spec/mounts.ts';
import { checkPropagation } from '../runtime/spec/propagation.ts';
import { resolveUser } from '../runtime/spec/user.ts';
import { restrictionsOf } from '../volumes/mount-options.ts';
import { removeBundle } from './bundle.ts';
import { joinRequest, networksToJoin } from './endpoints.ts';
import { withDefaults } from './engine-defaults.ts';
import { afterStartFailure, supervise } from './exits.ts';
import { healthAtStart } from './health.ts';
import { mountWithOwners } from './idmap.ts';
import { mountImages } from './image-mounts.ts';
import { makeDirectoryInside } from './inside.ts';
import { checkLinks, linkEnv } from './links.ts';
import { logAttributes } from './log-attributes.ts';
import { logTarget } from './log-config.ts';
import { portRequests } from './ports.ts';
import { type ContainerRecord, type HeldMount, isRunning } from './record.ts';
import { relabelMounts } from './relabel.ts';
import { emitVolumes, type Live, type Room, recordKind, volumesOf } from './room.ts';
import { mountSharedMemory, sharedMemory } from './shared-memory.ts';
import { mountSubpath, unmountSubpaths } from './subpaths.ts';
import { openUserNamespace, rootOutside, shownOf, sourceInUserNamespace } from './user-namespaces.ts';
import { writeLinks, writeNetworkFiles } from './write-network-files.ts';

/** Throws `not-modified` when it runs. All of a start happened, or nothing is left of it but why it failed. */
export function start(room: Room, name: string): Promise<void> {
  const { id } = room.store.get(name);
  return room.queue.run(id, async () => {
    const container = room.store.get(id);
    if (container.state.status === 'paused')
      throw new EngineError('conflict', 'cannot start a paused container, try unpause instead', { code: 'E_PAUSED' });
    if (room.machineEnds)
      throw new EngineError('unavailable', 'cannot start a container: the machine is shutting down');
    if (isRunning(container)) throw new EngineError('not-modified', `container ${container.name} is already running`);
    if (room.removing.has(id) || container.state.status === 'dead')
      throw new EngineError('conflict', 'container is marked for removal and cannot be started');
    room.update(id, { own: { stoppedByUser: false, restartUnhealthy: false }, restartCount: 0 }, { save: false });
    await startNow(room, room.store.get(id));
  });
}

/** In the container's queue. */
export async function startNow(room: Room, container: ContainerRecord): Promise<void> {
  const { id } = container;
  const waiting = room.restarts.get(id);
  if (waiting) clearTimeout(waiting.timer);
  room.restarts.delete(id);
  // From here its restart policy is obeyed, also when this start fails.
  if (container.own.adopted) room.update(id, { own: { adopted: false } });
  // What the run before held: the same mount point and the same names.
  await room.cleanup.run(id, async () => {});
  try {
    await room.forwards.prepare(container);
    const task = await launch(room, container);
    const { pid, startedAt } = task;
    const health = healthAtStart(container.config, container.state.health);
    const state = { status: 'running', pid, exitCode: 0, error: '', oomKilled: false, startedAt, health } as const;
    const own = container.own.restartUnhealthy ? { own: { restartUnhealthy: false } } : {};
    const running = room.update(id, { state, ...own }, { save: false })!;
    // Soon: the intent is stored, and the monitor proves the rest. Only a reboot must find it.
    room.writeSoon({ kind: recordKind, key: id, value: running });
    supervise(room, running, task);
    // It may have another address than before.
    for (const linked of room.store.linkedTo(id)) writeLinks(room, linked);
    emitVolumes(room, running, 'mount');
    room.emit(running, 'start');
  } catch (error) {
    const { code, message } = explain(error);
    await room.forwards.abandon(id);
    await afterStartFailure(room, id, code, message);
    throw error;
  }
}

/** Docker's exit codes of a container that did not start. */
function explain(error: unknown): { readonly code: number; readonly message: string } {
  const message = messageOf(error);
  const known = error instanceof EngineError && 'exitCode' in error ? error.exitCode : undefined;
  return { code: known === 126 || known === 127 ? known : 128, message };
}

async function launch(room: Room, container: ContainerRecord): Promise<Task> {
  const { deps } = room;
  const { id } = container;
  const bundle = room.bundle(id);
  const rootfs = room.rootfs(id);
  checkLinks(room.store, container);
  await using undo = new AsyncDisposableStack();

  // On a tmpfs, so that these calls do not block.
  mkdirSync(rootfs, { recursive: true, mode: 0o700 });
  undo.defer(() => removeBundle(room, id));
  // The container has a mount of its own as soon as it runs.
  using _parts = { [Symbol.dispose]: () => unmountSubpaths(room, id) };

  using userNamespace = await openUserNamespace(room, container);
  const [mounted, opened, sources, volumes, images] = await Promise.allSettled([
    deps.snapshots
      .mount(id, rootfs, shownOf(container))
      .then(() => undo.defer(() => deps.snapshots.unmount(id, rootfs))),
    openNetwork(room, container, { namespace: userNamespace?.network, undo }),
    makeBindSources(container),
    attachVolumes(room, container, undo),
    // What it mounted goes with the bundle.
    mountImages(room, container),
  ]);
  for (const outcome of [mounted, opened, sources, volumes, images])
    if (outcome.status === 'rejected') throw outcome.reason;
  const network = (opened as PromiseFulfilledResult<Opened>).value;

  // The intent: from here a start of the engine that finds the task knows its place in the network.
  const { attached, sandbox } = network;
  const endpoints = { ...container.endpoints };
  for (const { network: name, networkId } of attached) endpoints[name] = { ...endpoints[name], NetworkID: networkId };
  const joined = room.update(id, { attached, endpoints, own: { sandbox } });
  undo.defer(() => void room.update(id, { attached: [], own: { sandbox: '' } }));

  const { config } = container;
  const hostConfig = withDefaults(container.hostConfig, deps.config.defaults);
  writeNetworkFiles(room, joined ?? container);
  await relabelMounts(container);
  const user = resolveUser(rootfs, config.User, hostConfig.GroupAdd ?? []);
  if (config.WorkingDir !== '' && config.WorkingDir !== '/')
    makeDirectoryInside(rootfs, config.WorkingDir, rootOutside(container.own.owners));
  const mounts = await specMounts(room, container, user);
  if (mounts.some((mount) => mount.type === 'bind' && /^r?(shared|slave)$/.test(mount.propagation ?? '')))
    checkPropagation(mounts, readFileSync('/proc/self/mountinfo', 'utf8'));
  // Who shares another's network has its name too.
  const owner = hostConfig.NetworkMode.startsWith('container:') ? hostConfig.NetworkMode.slice(10) : undefined;
  const hostname =
    config.Hostname ||
    (owner === undefined ? '' : room.store.get(owner).config.Hostname) ||
    (network.namespace === 'host' ? hostsName() : '');
  const requests = hostConfig.DeviceRequests ?? [];
  const asked = requests.length > 0 ? devicesAsked(requests, await deps.cdi.list()) : [];
  const edits = await deps.cdi.editsFor(asked);
  const built = buildSpec({
    id,
    config,
    hostConfig,
    args: [container.path, ...container.args],
    env: containerEnv({ config, hostname, home: user.home, links: linkEnv(room.store, container) }),
    user,
    cwd: config.WorkingDir,
    rootfs,
    hostname: hostConfig.UTSMode === 'host' && config.Hostname === hostsName() ? '' : hostname,
    namespaces: namespaces(room, container, network.namespace),
    userNamespace: userNamespace && { path: userNamespace.user, ...container.own.owners! },
    mounts,
    devices: wantsDevices(container) ? await resolveDevices(hostConfig) : noDevices,
    init: hostConfig.Init ? deps.config.init || undefined : undefined,
    cgroupParent: deps.config.cgroupParent,
    machine: deps.machine,
    labels: { process: container.processLabel, mount: container.mountLabel },
  });
  const spec = injectDevices(built, edits);

  const pending = [...(room.pending.get(id) ?? [])];
  const [rows, columns] = hostConfig.ConsoleSize;
  const log = logTarget(hostConfig.LogConfig, deps.config.log.options, container.files.log);
  const attributes = logAttributes(container);
  const task = await deps.runtime.start({
    id,
    bundle,
    spec,
    runtime: hostConfig.Runtime,
    stdin: !config.OpenStdin ? 'none' : config.StdinOnce ? 'once' : 'open',
    size: config.Tty && rows > 0 && columns > 0 ? { rows, columns } : undefined,
    log: log && { ...log, ...(attributes && { attributes }) },
    attach: pending.map(({ request }) => request),
    signal: room.closing,
  });
  for (const [at, { point }] of pending.entries()) {
    const stream = task.attached[at];
    if (stream) point.connect(stream);
    else point.close();
    room.pending.get(id)?.delete(pending[at]!);
  }
  undo.move();
  return task;
}

async function attachVolumes(room: Room, container: ContainerRecord, undo: AsyncDisposableStack): Promise<void> {
  const { volumes } = room.deps;
  for (const name of volumesOf(container)) {
    await volumes.attach(name, container.id);
    undo.defer(() => volumes.detach(name, container.id));
  }
}

interface Opened {
  readonly namespace: SpecNamespaces['network'];
  readonly attached: readonly Endpoint[];
  readonly sandbox: string;
}

async function openNetwork(
  room: Room,
  container: ContainerRecord,
  { namespace, undo }: { readonly namespace: string | undefined; readonly undo: AsyncDisposableStack },
): Promise<Opened> {
  const { id, config, hostConfig } = container;
  const mode = hostConfig.NetworkMode;
  if (mode === 'host') return { namespace: 'host', attached: [], sandbox: '' };
  if (mode.startsWith('container:')) {
    const live = networkDonor(room, mode.slice('container:'.length));
    return { namespace: { path: `/proc/${live.task.pid}/ns/net`, own: false }, attached: [], sandbox: '' };
  }
  const names = networksToJoin(container);
  if (names.length > 1 && names.includes('none'))
    throw new EngineError(
      'invalid',
      'failed to set up container networking: container cannot be connected to multiple networks with one of the networks in private (none) mode',
    );
  const joins = names.filter((name) => name !== 'none').map((name) => joinRequest(room, container, name));
  const ports = portRequests(config, hostConfig);
  const { sandbox, endpoints } = await room.deps.networks
    .open(id, { joins, ports, namespace, dns: withDefaults(hostConfig, room.deps.config.defaults).Dns })
    .catch(explainNetwork);
  undo.defer(() => room.deps.networks.close(id));
  return { namespace: { path: sandbox.path, own: true }, attached: endpoints, sandbox: sandbox.path };
}

/** A port that is taken says enough by itself. */
function explainNetwork(cause: unknown): never {
  if (!(cause instanceof EngineError) || cause.kind === 'conflict') throw cause;
  throw new EngineError(cause.kind, `failed to set up container networking: ${cause.message}`, {
    cause,
    ...(cause.hint !== undefined && { hint: cause.hint }),
  });
}

/** The container whose network is joined. Throws in Docker's words when it is gone or does not run. */
function networkDonor(room: Room, name: string): Live {
  let other: ContainerRecord;
  try {
    other = room.store.get(name);
  } catch (cause) {
    throw new EngineError('invalid', `joining network namespace of container: ${messageOf(cause)}`, { cause });
  }
  const live = room.live.get(other.id);
  if (live) return live;
  throw new EngineError(
    'conflict',
    `cannot join network namespace of a non running container: container ${other.name} is ${other.state.status}`,
    { code: 'E_NOT_RUNNING' },
  );
}

/** The container whose namespace is joined. Throws in Docker's words when it does not run. */
function runningOther(room: Room, name: string, what: 'PID' | 'IPC'): Live {
  const { id } = room.store.get(name);
  const live = room.live.get(id);
  if (!live)
    throw new EngineError('conflict', `failed to join ${what} namespace: container ${id} is not running`, {
      code: 'E_NOT_RUNNING',
    });
  return live;
}

function namespaces(
  room: Room,
  { id, hostConfig, mountLabel, own }: ContainerRecord,
  network: SpecNamespaces['network'],
): SpecNamespaces {
  const { PidMode, IpcMode, UTSMode, CgroupnsMode } = hostConfig;
  const joined = (mode: string, what: 'PID' | 'IPC') =>
    mode.startsWith('container:') ? runningOther(room, mode.slice('container:'.length), what) : undefined;
  const pid = joined(PidMode, 'PID');
  const ipc = joined(IpcMode, 'IPC');
  return {
    network,
    pid: pid ? { path: `/proc/${pid.task.pid}/ns/pid` } : PidMode === 'host' ? 'host' : 'private',
    ipc: ipc
      ? { shm: donatedMemory(room, ipc.task.id), path: `/proc/${ipc.task.pid}/ns/ipc` }
      : IpcMode === 'shareable'
        ? {
            shm: mountSharedMemory(room, id, {
              size: hostConfig.ShmSize,
              label: mountLabel,
              owner: rootOutside(own.owners),
            }),
            path: undefined,
          }
        : IpcMode === 'host' || IpcMode === 'none'
          ? IpcMode
          : 'private',
    uts: UTSMode === 'host' ? 'host' : 'private',
    cgroup: CgroupnsMode === 'host' ? 'host' : 'private',
  };
}

function donatedMemory(room: Room, id: string): string {
  if (room.store.get(id).hostConfig.IpcMode !== 'shareable')
    throw new EngineError(
      'invalid',
      `failed to join IPC namespace: container ${id}: non-shareable IPC (hint: use IpcMode:shareable for the donor container)`,
    );
  return sharedMemory(room, id);
}

function wantsDevices({ hostConfig }: ContainerRecord): boolean {
  const { Privileged, Devices, BlkioWeightDevice } = hostConfig;
  const limits = [
    hostConfig.BlkioDeviceReadBps,
    hostConfig.BlkioDeviceWriteBps,
    hostConfig.BlkioDeviceReadIOps,
    hostConfig.BlkioDeviceWriteIOps,
  ];
  return Privileged || [Devices, BlkioWeightDevice, ...limits].some((list) => (list?.length ?? 0) > 0);
}

async function makeBindSources({ own }: ContainerRecord): Promise<void> {
  const { uid, gid } = rootOutside(own.owners);
  for (const { point, createSource } of own.mounts) {
    if (point.Type !== 'bind' || !createSource) continue;
    const missing = own.owners ? missingDirectories(point.Source) : [];
    await makeDirectories(point.Source, 0o755).catch((error: unknown) => {
      // A file, or a socket: it is mounted as it is.
      if (codeOf(error) !== 'EEXIST')
        throw new EngineError(
          'invalid',
          // As Go says it: what was done, to what, the fact.
          `error while creating mount source path '${point.Source}': ${messageOf(error).replace(/^[A-Z]+: (.*), mkdir '(.*)'$/s, 'mkdir $2: $1')}`,
          {
            cause: error,
          },
        );
    });
    for (const made of missing) lchownSync(made, uid, gid);
  }
}

/** A directory and those above it, as far as they are not there. */
function missingDirectories(path: string): readonly string[] {
  const missing: string[] = [];
  for (let at = path; at !== '/' && !lstatSync(at, { throwIfNoEntry: false }); at = dirname(at)) missing.push(at);
  return missing;
}

async function specMounts(room: Room, container: ContainerRecord, user: SpecUser): Promise<readonly ContainerMount[]> {
  const { own, hostConfig, files } = container;
  const mounts: ContainerMount[] = [];
  for (const mount of own.mounts) mounts.push(await specMount(room, container, mount, user));
  for (const [target, options] of Object.entries(hostConfig.Tmpfs ?? {}))
    mounts.push({ type: 'tmpfs', target, options: tmpfsOptions(options) });
  const taken = new Set(mounts.map(({ target }) => target));
  const { hosts, hostname, resolvConf } = files;
  const ours = { '/etc/resolv.conf': resolvConf, '/etc/hostname': hostname, '/etc/hosts': hosts };
  for (const [target, source] of Object.entries(ours))
    if (!taken.has(target))
      mounts.push({
        type: 'bind',
        source,
        target,
        readOnly: hostConfig.ReadonlyRootfs,
        propagation: 'rprivate',
        recursive: true,
        recursiveReadOnly: 'no',
      });
  return mounts;
}

async function specMount(
  room: Room,
  { id, own: { owners } }: ContainerRecord,
  mount: HeldMount,
  user: SpecUser,
): Promise<ContainerMount> {
  const { point, recursive, recursiveReadOnly, subpath, tmpfs, idmap } = mount;
  const target = point.Destination;
  if (tmpfs !== undefined) return { type: 'tmpfs', target, options: tmpfsOptions(tmpfs) };
  const found = statSync(point.Source, { throwIfNoEntry: false });
  if (!found)
    throw new EngineError(
      'invalid',
      `invalid mount config for type "${point.Type}": bind source path does not exist: ${point.Source}`,
    );
  const plain = subpath === '' ? point.Source : mountSubpath(room, id, { root: point.Source, path: subpath });
  const stored = point.Type === 'volume' ? owners : undefined;
  const source = idmap
    ? await mountWithOwners(room, id, { source: point.Source, recursive, user, owners })
    : owners
      ? await sourceInUserNamespace(room, id, {
          source: plain,
          recursive,
          owners: stored,
          propagated: /shared|slave/.test(point.Propagation),
        })
      : plain;
  const isDirectory = subpath === '' ? found.isDirectory() : statSync(source).isDirectory();
  const volume = point.Type === 'volume' ? room.deps.volumes.list().find(({ name }) => name === point.Name) : undefined;
  return {
    type: 'bind',
    source,
    target,
    readOnly: !point.RW,
    propagation: point.Propagation || undefined,
    recursive,
    // Nothing is mounted below a file; and crun opens what it makes read-only in this way as a directory.
    recursiveReadOnly: isDirectory ? recursiveReadOnly : 'no',
    keep: restrictionsOf(volume?.options ?? {}),
  };
}
