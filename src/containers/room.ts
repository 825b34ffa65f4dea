import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { KeyedQueue } from '../base/async.ts';
import { EngineError } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import type { Events } from '../events/bus.ts';
import type { Images } from '../images/images.ts';
import type { Networks } from '../networks/networks.ts';
import type { Digest } from '../oci/digest.ts';
import type { CdiRegistry } from '../runtime/cdi/registry.ts';
import type { AttachRequest, Runtime, Task } from '../runtime/runtime.ts';
import type { Machine } from '../runtime/spec/input.ts';
import type { Snapshotter } from '../snapshots/snapshotter.ts';
import type { Change, Database } from '../state/database.ts';
import type { IdMaps } from '../sys/user-namespace.ts';
import type { Volumes } from '../volumes/volumes.ts';
import type { AttachPoint } from './attach-point.ts';
import type { Container, State } from './containers.ts';
import type { ContainerDefaults } from './engine-defaults.ts';
import { HealthChecks } from './health-checks.ts';
import { LogForwards } from './log-drivers/forwards.ts';
import type { ContainerRecord } from './record.ts';
import { RemovedLogs } from './removed-logs.ts';
import { Sampler } from './stats.ts';
import { ContainerStore } from './store.ts';
import { Waits } from './waits.ts';

export interface ContainersConfig {
  /** The init program of `--init`; '' where there is none. */
  readonly init: string;
  /** Where containers go in the cgroup tree: `/berth`. */
  readonly cgroupParent: string;
  /** What a container logs with that does not say. */
  readonly log: { readonly type: string; readonly options: Readonly<Record<string, string>> };
  /** Bytes that all logs may take together; 0 is a tenth of the disk, at most 20 GiB. */
  readonly logCap: number;
  /** Seconds that the log of a removed container is kept; 0 keeps none. */
  readonly logKeepRemoved: number;
  /** Seconds between the stop signal and SIGKILL. */
  readonly stopTimeout: number;
  /** What `host-gateway` stands for; undefined is the bridge's gateway. */
  readonly hostGateway: string | undefined;
  /** The user namespace of containers that do not say; undefined is the host's. */
  readonly remap?: IdMaps | undefined;
  /** For containers that do not say. */
  readonly defaults?: ContainerDefaults;
  /** Bytes that a container which does not say may write over its image. */
  readonly size?: number;
}

export interface ContainersDeps {
  /** Logs and what else must outlive a reboot: `<root>/<id>/`. */
  readonly root: string;
  /** What a reboot forgets, on a tmpfs: `<runDir>/<id>/` is the bundle. */
  readonly runDir: string;
  readonly database: Database;
  readonly events: Events;
  readonly images: Pick<Images, 'get' | 'commit'>;
  readonly snapshots: Snapshotter;
  readonly networks: Networks;
  readonly volumes: Volumes;
  readonly runtime: Runtime;
  readonly machine: Machine;
  readonly cdi: Pick<CdiRegistry, 'list' | 'editsFor'>;
  readonly log: Log;
  readonly config: ContainersConfig;
}

/** A container whose process runs. */
export interface Live {
  readonly task: Task;
  /** Resolves when the exit is in the record and has been told to everyone. */
  readonly ended: Promise<void>;
}

export interface PendingAttach {
  readonly point: AttachPoint;
  readonly request: AttachRequest;
}

/** Milliseconds; what takes longer is found by the next engine. */
const longestClose = 3_000;

export const recordKind = 'container';
/** A container that is gone for everybody, whose mounts and files are still to be removed. */
export const garbageKind = 'container-garbage';

/** Docker tells of each volume that a container takes and gives back. */
export function emitVolumes({ deps }: Room, { id, mounts }: Container, action: 'mount' | 'unmount'): void {
  for (const { Type, Name, Destination, Driver, Propagation, RW } of mounts) {
    if (Type !== 'volume' || !Name) continue;
    const more: Readonly<Record<string, string>> =
      action === 'mount' ? { destination: Destination, propagation: Propagation, 'read/write': String(RW) } : {};
    deps.events.emit({
      type: 'volume',
      action,
      actor: { id: Name, attributes: { container: id, driver: Driver ?? 'local', ...more } },
    });
  }
}

/** The names of the volumes that it uses. */
export function volumesOf({ mounts }: Container): ReadonlySet<string> {
  return new Set(mounts.flatMap(({ Type, Name }) => (Type === 'volume' && Name ? [Name] : [])));
}

/** Told with the exit and not when all of it is released: Docker's order of events, without the waiting. */
export function emitDisconnect({ deps }: Room, { id, attached }: Container): void {
  for (const { networkId, network: name } of attached) {
    const attributes = { container: id, name, type: 'bridge' };
    deps.events.emit({ type: 'network', action: 'disconnect', actor: { id: networkId, attributes } });
  }
}

/** What the operations of this room share: the records, who runs, who waits. */
export class Room {
  readonly deps: ContainersDeps;
  readonly store = new ContainerStore();
  readonly waits = new Waits();
  /** What changes a container, one after the other for each. */
  readonly queue = new KeyedQueue();
  /** What is released after an answer, in order for each container. A start waits for it, a remove does not. */
  readonly cleanup = new KeyedQueue();
  readonly live = new Map<string, Live>();
  /** The stops that wait; `since` by `performance.now()`. */
  readonly stopping = new Map<string, { readonly signal: number; readonly since: number; readonly seconds: number }>();
  /** Those with a mount, a network or a bundle: from their start until it is released. */
  readonly held = new Set<string>();
  /** Attached before the start. */
  readonly pending = new Map<string, Set<PendingAttach>>();
  /** Images and manifests that containers are being made with, by the container's ID: in use before there is a record. */
  readonly creating = new Map<string, readonly Digest[]>();
  /** User namespaces of containers that are being made, by the container's ID: taken before there is a record. */
  readonly mapped = new Map<string, IdMaps>();
  /** Owners were mapped once, so that the file systems of layers can: all layers are kept in one form and place. */
  ownersMap = false;
  /** Being removed: a second remove is told so. */
  readonly removing = new Set<string>();
  /** Waiting for the next try of the restart policy. */
  readonly restarts = new Map<string, { readonly timer: NodeJS.Timeout; readonly delay: number }>();
  /** The machine goes down: what ends does not come back before the next start of the engine, and nothing is started. */
  machineEnds = false;
  readonly health = new HealthChecks(this);
  readonly sampler = new Sampler(this);
  readonly removedLogs: RemovedLogs;
  /** Logs that go elsewhere. */
  readonly forwards: LogForwards;
  readonly #background = new Set<Promise<unknown>>();
  /** Written together, soon: what a crash may forget, because something else proves it. By kind and key. */
  readonly #soon = new Map<string, Change>();
  #soonTimer: NodeJS.Timeout | undefined;
  #unsaved = new Set<string>();
  #retry: NodeJS.Timeout | undefined;
  readonly #closing = new AbortController();

  constructor(deps: ContainersDeps) {
    this.deps = deps;
    this.removedLogs = new RemovedLogs({
      root: join(dirname(deps.root), 'removed-logs'),
      directoryOf: (id) => this.directory(id),
      keep: deps.config.logKeepRemoved,
      log: deps.log,
    });
    this.forwards = new LogForwards({ directory: (id) => this.directory(id), log: deps.log });
  }

  get closed(): boolean {
    return this.#closing.signal.aborted;
  }

  /** For what would not end by itself in time when the engine ends. */
  get closing(): AbortSignal {
    return this.#closing.signal;
  }

  bundle(id: string): string {
    return join(this.deps.runDir, id);
  }

  rootfs(id: string): string {
    return join(this.deps.runDir, id, 'rootfs');
  }

  directory(id: string): string {
    return join(this.deps.root, id);
  }

  emit(container: Container, action: string, attributes: Readonly<Record<string, string>> = {}): void {
    const { id, name, config } = container;
    this.deps.events.emit({
      type: 'container',
      action,
      actor: { id, attributes: { ...config.Labels, ...attributes, image: config.Image, name } },
    });
  }

  /** Changes the record in memory at once, and on disk soon. Nothing when it is gone. */
  update(
    id: string,
    patch: Partial<Omit<ContainerRecord, 'state' | 'own'>> & {
      readonly state?: Partial<State>;
      readonly own?: Partial<ContainerRecord['own']>;
    },
    { save = true }: { readonly save?: boolean } = {},
  ): ContainerRecord | undefined {
    const before = this.store.byId(id);
    if (!before) return undefined;
    const record = this.store.set({
      ...before,
      ...patch,
      state: patch.state ? { ...before.state, ...patch.state } : before.state,
      own: patch.own ? { ...before.own, ...patch.own } : before.own,
    });
    if (save) this.save(record);
    return record;
  }

  /** The last change of this record wins; a write in between takes its place. */
  writeSoon(change: Change): void {
    this.#soon.set(`${change.kind} ${change.key}`, change);
    this.#soonTimer ??= setTimeout(() => this.flush(), 50).unref();
  }

  /** What was to be written soon is posted, or superseded by a write of the same record. */
  flush(): void {
    clearTimeout(this.#soonTimer);
    this.#soonTimer = undefined;
    const changes = [...this.#soon.values()];
    this.#soon.clear();
    if (changes.length > 0) this.#post(changes, changes[0]!.key);
  }

  /** A write of this container's record that goes another way: nothing older may come after it. */
  supersede(id: string): void {
    this.#soon.delete(`${recordKind} ${id}`);
  }

  save(record: ContainerRecord): void {
    this.write([{ kind: recordKind, key: record.id, value: record }], record.id);
  }

  /**
   * Writes without waiting. When it fails (a full disk), memory stays the truth and the record is tried again: what
   * runs must not end because a disk is full.
   */
  write(changes: readonly Change[], id: string): void {
    this.supersede(id);
    this.#post(changes, id);
  }

  #post(changes: readonly Change[], id: string): void {
    this.deps.database.write(changes, { durable: false }).catch((error: unknown) => {
      if (this.closed) return;
      if (this.#unsaved.size === 0)
        this.deps.log.error('a container could not be recorded, trying again', { id, error });
      for (const { kind, key } of changes) if (kind === recordKind) this.#unsaved.add(key);
      this.#retry ??= setTimeout(() => this.#saveAgain(), 1000).unref();
    });
  }

  #saveAgain(): void {
    this.#retry = undefined;
    const ids = this.#unsaved;
    this.#unsaved = new Set();
    for (const id of ids) {
      const value = this.store.byId(id);
      this.write([{ kind: recordKind, key: id, value }], id);
    }
  }

  /** Work that nobody waits for. A failure is logged here, where it stops. */
  inBackground(what: string, id: string, work: Promise<unknown>): void {
    const settled = work.then(
      () => {},
      (error: unknown) => this.deps.log.error(what, { id, error }),
    );
    this.#background.add(settled);
    void settled.then(() => this.#background.delete(settled));
  }

  /** Until nothing is left of what was started in the background. */
  async idle(): Promise<void> {
    while (this.#background.size > 0) await Promise.all(this.#background);
  }

  /** Nothing is begun any more. Starts that are under way are undone; everything is waited for, but not for ever. */
  async close(): Promise<void> {
    this.#closing.abort(new EngineError('unavailable', 'the engine is shutting down'));
    for (const { timer } of this.restarts.values()) clearTimeout(timer);
    this.restarts.clear();
    this.health.close();
    this.sampler.close();
    const late = new AbortController();
    await Promise.race([
      Promise.all([this.queue.idle(), this.idle(), this.forwards.close()]),
      sleep(longestClose, undefined, { signal: late.signal }).catch(() => {}),
    ]);
    late.abort();
    this.flush();
    clearTimeout(this.#retry);
  }
}
