import { FileJobs } from '../archive/file-jobs.ts';
import { EngineError } from '../base/errors.ts';
import type { ImageUsers } from '../images/images.ts';
import type { Digest } from '../oci/digest.ts';
import type { Platform } from '../oci/platform.ts';
import type { CreateRequest, EndpointSettings } from '../protocol/container.ts';
import type { UpdateRequest } from '../protocol/update-request.ts';
import type { AttachStream, TerminalSize } from '../runtime/runtime.ts';
import type { VolumeUsers } from '../volumes/volumes.ts';
import { attach } from './attach.ts';
import { type CommitRequest, commit } from './commit.ts';
import { connect, disconnect, namesIn } from './connect.ts';
import type {
  AttachOptions,
  Container,
  Containers,
  ExecCreate,
  ExecStart,
  ExecState,
  LogOptions,
  WaitCondition,
} from './containers.ts';
import { create, type KeptContainer } from './create.ts';
import { Execs } from './exec.ts';
import { type ContainerFiles, RoomFiles } from './files.ts';
import { LogUpkeep } from './log-upkeep.ts';
import { readLogs, readRemovedLog } from './logs.ts';
import { checkName } from './names.ts';
import { type Pruned, prune } from './prune.ts';
import { type ContainerRecord, isRunning } from './record.ts';
import { recover } from './recover.ts';
import { remove } from './remove.ts';
import { removeLink } from './remove-link.ts';
import { type ContainersDeps, Room, recordKind } from './room.ts';
import { start } from './start.ts';
import type { Sample, SampleListener } from './stats.ts';
import { endWithMachine, kill, pause, restart, running, type StopOptions, stop, unpause } from './stop.ts';
import { stoppingNow } from './stopping.ts';
import { top } from './top.ts';
import { update } from './update.ts';

/** The containers of this host. Open it with `EngineContainers.open`, which takes up what an engine before left. */
export class EngineContainers implements Containers, ImageUsers, AsyncDisposable {
  readonly #room: Room;
  readonly #execs: Execs;
  readonly #fileJobs = new FileJobs();
  readonly #logUpkeep: LogUpkeep;
  readonly files: ContainerFiles;
  /** For the volumes, whose users these are. */
  readonly volumeUsers: VolumeUsers;

  private constructor(deps: ContainersDeps) {
    this.#room = new Room(deps);
    this.#execs = new Execs(this.#room);
    this.#logUpkeep = new LogUpkeep(this.#room);
    this.files = new RoomFiles(this.#room, this.#fileJobs);
    this.volumeUsers = { usersOf: (name) => this.#usersOfVolume(name) };
  }

  static async open(deps: ContainersDeps): Promise<EngineContainers> {
    const containers = new EngineContainers(deps);
    await recover(containers.#room);
    containers.#logUpkeep.begin();
    return containers;
  }

  get version(): number {
    return this.#room.store.version;
  }

  list(): readonly Container[] {
    return this.#room.store.list();
  }

  get(name: string): Container {
    return this.#room.store.get(name);
  }

  namesOf(container: Container): readonly string[] {
    return this.#room.store.namesOf(container);
  }

  create(name: string, request: CreateRequest, platform: Platform | undefined) {
    return create(this.#room, name, request, platform);
  }

  async adopt(name: string, request: CreateRequest, kept: KeptContainer): Promise<Container> {
    const { id } = await create(this.#room, name, request, undefined, kept);
    return this.#room.store.get(id);
  }

  isWaiting(name: string): boolean {
    return this.#room.store.get(name).own.adopted === true;
  }

  async start(name: string): Promise<void> {
    await start(this.#room, name);
  }

  async stop(name: string, options: StopOptions): Promise<void> {
    await stop(this.#room, name, options);
  }

  async restart(name: string, options: StopOptions): Promise<void> {
    await restart(this.#room, name, options);
  }

  async kill(name: string, signal: string): Promise<void> {
    await kill(this.#room, name, signal);
  }

  async connect(name: string, network: string, settings: EndpointSettings): Promise<void> {
    await connect(this.#room, name, network, settings);
  }

  async disconnect(name: string, network: string, options: { readonly force: boolean }): Promise<void> {
    await disconnect(this.#room, name, network, options);
  }

  async pause(name: string): Promise<void> {
    await pause(this.#room, name);
  }

  async unpause(name: string): Promise<void> {
    await unpause(this.#room, name);
  }

  async rename(name: string, to: string): Promise<void> {
    const room = this.#room;
    const { id } = room.store.get(name);
    if (to === '') throw new EngineError('invalid', 'Neither old nor new names may be empty');
    // Docker's engine looks at a name with its slash.
    const wanted = naming(() => checkName(to), to);
    await room.queue.run(id, async () => {
      const before = room.store.get(id);
      if (before.name === wanted)
        throw new EngineError('invalid', 'Renaming a container with the same name as its current name');
      const release = naming(() => room.store.reserve(wanted, id), to);
      try {
        room.supersede(id);
        await room.deps.database.write([{ kind: recordKind, key: id, value: { ...before, name: wanted } }]);
        const renamed = room.update(id, { name: wanted });
        if (renamed && renamed.attached.length > 0) {
          const attached = await room.deps.networks.rename(id, ({ network }) => namesIn(renamed, network));
          room.update(id, { attached });
        }
        for (const { id: other, links = [] } of room.store.linkedTo(id))
          room.update(other, { links: links.map((link) => (link.id === id ? { ...link, name: wanted } : link)) });
        if (renamed) room.emit(renamed, 'rename', { oldName: `/${before.name}` });
      } finally {
        release();
      }
    });
  }

  update(name: string, request: UpdateRequest): Promise<readonly string[]> {
    return update(this.#room, name, request);
  }

  async remove(
    name: string,
    options: { readonly force: boolean; readonly volumes: boolean; readonly link: boolean },
  ): Promise<void> {
    if (options.link) return removeLink(this.#room, name);
    const { id } = this.#room.store.get(name);
    await remove(this.#room, name, options);
    this.#execs.forgetOf(id);
  }

  prune(accept: (container: Container) => boolean, signal: AbortSignal): Promise<Pruned> {
    return prune(this.#room, accept, signal);
  }

  wait(name: string, condition: WaitCondition) {
    const { id, state } = this.#room.store.get(name);
    const result =
      condition === 'not-running' && !this.#room.live.has(id) && state.status !== 'restarting'
        ? Promise.resolve({ code: state.exitCode, error: state.error === '' ? undefined : state.error })
        : this.#room.waits.add(id, condition);
    return { result };
  }

  attach(name: string, options: AttachOptions): Promise<AttachStream> {
    return attach(this.#room, name, options);
  }

  async resize(name: string, size: TerminalSize): Promise<void> {
    const { container, live } = running(this.#room, name);
    await live.task.resize(size);
    this.#room.emit(container, 'resize', { height: String(size.rows), width: String(size.columns) });
  }

  logs(name: string, options: LogOptions): AsyncIterable<Buffer> {
    return readLogs(this.#room, name, options);
  }

  stopping() {
    return stoppingNow(this.#room);
  }

  removed() {
    return this.#room.removedLogs.list();
  }

  removedLog(id: string, options: LogOptions) {
    return readRemovedLog(this.#room, id, options);
  }

  top(name: string, psArgs: string) {
    return top(this.#room, name, psArgs);
  }

  async size(name: string): Promise<{ readonly rw: number; readonly rootFs: number }> {
    const { id, layers } = this.#room.store.get(name);
    const { snapshots } = this.#room.deps;
    const { bytes } = await snapshots.usage(id);
    const below = layers.reduce((sum, layer) => sum + (snapshots.layerFacts(layer)?.size ?? 0), 0);
    return { rw: bytes, rootFs: bytes + below };
  }

  stats(name: string): Sample {
    return this.#room.sampler.take(this.#room.store.get(name).id);
  }

  watchStats(name: string, listener: SampleListener): Disposable {
    return this.#room.sampler.watch(this.#room.store.get(name).id, listener);
  }

  commit(request: CommitRequest): Promise<Digest> {
    return commit(this.#room, this.#fileJobs, request);
  }

  execCreate(name: string, request: ExecCreate): Promise<string> {
    return this.#execs.create(name, request);
  }

  execStart(id: string, options: ExecStart): Promise<AttachStream | undefined> {
    return this.#execs.start(id, options);
  }

  execInspect(id: string): ExecState {
    return this.#execs.inspect(id);
  }

  execResize(id: string, size: TerminalSize): Promise<void> {
    return this.#execs.resize(id, size);
  }

  execIds(containerId: string): readonly string[] {
    return this.#execs.idsOf(containerId);
  }

  execKill(id: string, signal: string): Promise<void> {
    return this.#execs.kill(id, signal);
  }

  execEnd(id: string): Promise<void> {
    return this.#execs.end(id);
  }

  usersOf(image: Digest): readonly { readonly id: string; readonly running: boolean; readonly name?: string }[] {
    const { store, creating } = this.#room;
    const nameOf = (container: ContainerRecord) => {
      if (container.image === image || container.imageManifest.digest === image) return container.config.Image;
      const mounted = container.own.mounts.find(
        (mount) => mount.image?.id === image || mount.image?.manifest === image,
      );
      return mounted?.point.Name;
    };
    return [
      ...store.list().flatMap((container) => {
        const name = nameOf(container);
        return name === undefined ? [] : [{ id: container.id, running: isRunning(container), name }];
      }),
      // Not even by force: the create that is under way would fail for it.
      ...[...creating].filter(([, images]) => images.includes(image)).map(([id]) => ({ id, running: true })),
    ];
  }

  /** Until what goes on in the background is done: releases after exits, sweeping after removals. */
  async idle(): Promise<void> {
    await this.#room.idle();
    this.#room.flush();
  }

  /** Before the machine goes down: everything is asked to stop, and killed after at most `longest` seconds. */
  async endWithMachine(options: { readonly longest: number }): Promise<void> {
    await endWithMachine(this.#room, options);
  }

  /** Containers run on: their monitors hold them, and the next engine takes them up. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#fileJobs[Symbol.asyncDispose]();
    await this.#room.close();
    await this.#logUpkeep.close();
  }

  #usersOfVolume(name: string): readonly string[] {
    return this.#room.store
      .list()
      .filter(({ mounts }) => mounts.some((mount) => mount.Type === 'volume' && mount.Name === name))
      .map(({ id }) => id);
  }
}

/** What keeps a container from being called so, as Docker says it of a new name. */
function naming<T>(take: () => T, name: string): T {
  try {
    return take();
  } catch (cause) {
    if (!(cause instanceof EngineError)) throw cause;
    const words = name.startsWith('/') ? cause.message : cause.message.replace(`(${name})`, `(/${name})`);
    throw new EngineError(cause.kind, `Error when allocating new name: ${words}`, { cause });
  }
}
