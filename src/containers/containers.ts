import type { Endpoint } from '../networks/networks.ts';
import type { Digest } from '../oci/digest.ts';
import type { Platform } from '../oci/platform.ts';
import type { ContainerConfig, CreateRequest, EndpointSettings, HostConfig } from '../protocol/container.ts';
import type { UpdateRequest } from '../protocol/update-request.ts';
import type { AttachStream, TerminalSize } from '../runtime/runtime.ts';
import type { AttachedClient } from './attach-point.ts';
import type { CommitRequest } from './commit.ts';
import type { KeptContainer } from './create.ts';
import type { ContainerFiles } from './files.ts';
import type { Pruned } from './prune.ts';
import type { RemovedContainer } from './removed-logs.ts';
import type { Sample, SampleListener } from './stats.ts';
import type { Stopping } from './stopping.ts';

export type Status = 'created' | 'running' | 'paused' | 'restarting' | 'removing' | 'exited' | 'dead';

/** Times are RFC 3339 with nanoseconds, UTC; '0001-01-01T00:00:00Z' is never. */
export interface State {
  readonly status: Status;
  readonly pid: number;
  readonly exitCode: number;
  readonly error: string;
  readonly oomKilled: boolean;
  readonly startedAt: string;
  readonly finishedAt: string;
  /** Undefined when nobody asks after it. */
  readonly health?: Health | undefined;
}

export interface Health {
  readonly status: 'starting' | 'healthy' | 'unhealthy';
  /** Probes that failed one after the other. */
  readonly failingStreak: number;
  /** The last five, oldest first. */
  readonly log: readonly HealthResult[];
}

/** What one probe found. */
export interface HealthResult {
  readonly start: string;
  readonly end: string;
  /** -1: it did not come to an end of its own, or could not be started. */
  readonly exitCode: number;
  /** At most 4096 bytes, and dots where there was more. */
  readonly output: string;
}

export interface MountPoint {
  readonly Type: string;
  readonly Name?: string;
  readonly Source: string;
  readonly Destination: string;
  readonly Driver?: string;
  readonly Mode: string;
  readonly RW: boolean;
  readonly Propagation: string;
}

/** A link on a predefined network: the other by its ID, which a rename does not change. */
export interface Link {
  readonly id: string;
  /** What the other is called, or was when it was last here. */
  readonly name: string;
  readonly alias: string;
}

/** A container as the engine knows it: a snapshot of the record, never changed in place. */
export interface Container {
  readonly id: string;
  /** Without the leading slash. */
  readonly name: string;
  readonly created: string;
  readonly image: Digest;
  readonly imageManifest: { readonly mediaType: string; readonly digest: Digest; readonly size: number };
  /** The image's manifest platform. */
  readonly platform: Platform;
  readonly layers: readonly Digest[];
  readonly config: ContainerConfig;
  readonly hostConfig: HostConfig;
  readonly endpoints: Readonly<Record<string, EndpointSettings>>;
  /** Program and arguments that are run. */
  readonly path: string;
  readonly args: readonly string[];
  readonly state: State;
  readonly restartCount: number;
  /** Its places in networks while it runs, in the order of joining. */
  readonly attached: readonly Endpoint[];
  readonly mounts: readonly MountPoint[];
  /** By their aliases. */
  readonly links?: readonly Link[];
  /** Paths on the host. */
  readonly files: {
    readonly log: string;
    readonly hosts: string;
    readonly hostname: string;
    readonly resolvConf: string;
  };
  readonly appArmorProfile: string;
  readonly mountLabel: string;
  readonly processLabel: string;
}

export interface AttachOptions {
  readonly stdin: boolean;
  readonly stdout: boolean;
  readonly stderr: boolean;
  /** Replay the log first. */
  readonly logs: boolean;
  /** Go on with what comes. */
  readonly stream: boolean;
  /** Bytes; undefined is ctrl-p ctrl-q. */
  readonly detachKeys: Buffer | undefined;
  readonly client?: AttachedClient;
}

export interface ExecStart {
  readonly detach: boolean;
  readonly tty: boolean;
  readonly size: TerminalSize | undefined;
  readonly client?: AttachedClient;
}

export interface LogOptions {
  readonly follow: boolean;
  readonly stdout: boolean;
  readonly stderr: boolean;
  /** Nanoseconds since 1970; undefined no bound. */
  readonly since: bigint | undefined;
  readonly until: bigint | undefined;
  readonly timestamps: boolean;
  readonly details: boolean;
  /** Lines; undefined all. */
  readonly tail: number | undefined;
  readonly signal: AbortSignal;
}

export interface ExecCreate {
  readonly Cmd: readonly string[];
  readonly AttachStdin: boolean;
  readonly AttachStdout: boolean;
  readonly AttachStderr: boolean;
  readonly Tty: boolean;
  readonly Detach: boolean;
  readonly DetachKeys: string;
  readonly Env: readonly string[];
  readonly User: string;
  readonly WorkingDir: string;
  readonly Privileged: boolean;
  readonly ConsoleSize: readonly [number, number] | undefined;
}

export interface ExecState {
  readonly id: string;
  readonly containerId: string;
  readonly request: ExecCreate;
  readonly user: string;
  readonly running: boolean;
  readonly exitCode: number | null;
  readonly pid: number;
}

export type WaitCondition = 'not-running' | 'next-exit' | 'removed';

/**
 * Containers from create to remove. Names given are full ID, name with or without slash, or unique ID prefix, in this order
 * (`No such container: x`; an ambiguous prefix is `invalid`). Reads answer from memory and wait for nothing. Messages are
 * Docker's.
 */
export interface Containers {
  /** Counts changes of any container: what is cached of a list is good while it stands. */
  readonly version: number;
  list(): readonly Container[];
  get(name: string): Container;
  /** Its name, and what those call it that link to it (`web/db`), in order. */
  namesOf(container: Container): readonly string[];
  /** Durable when it returns. `name` '' makes one up. */
  create(
    name: string,
    request: CreateRequest,
    platform: Platform | undefined,
  ): Promise<{ readonly id: string; readonly warnings: readonly string[] }>;
  /**
   * A container that another engine made, durable when it returns: all of it, or nothing. It does not run, and no restart
   * policy starts it before somebody does.
   */
  adopt(name: string, request: CreateRequest, kept: KeptContainer): Promise<Container>;
  /** It was adopted, and nobody has started it here yet. */
  isWaiting(name: string): boolean;
  /** Throws `not-modified` when it runs. */
  start(name: string, options?: { readonly detachKeys?: string }): Promise<void>;
  /** Seconds; undefined the container's own, negative for ever. Throws `not-modified` when it does not run. */
  stop(
    name: string,
    options: { readonly timeout: number | undefined; readonly signal: string | undefined },
  ): Promise<void>;
  restart(
    name: string,
    options: { readonly timeout: number | undefined; readonly signal: string | undefined },
  ): Promise<void>;
  kill(name: string, signal: string): Promise<void>;
  /** From the next start on, or at once when it runs. */
  connect(name: string, network: string, settings: EndpointSettings): Promise<void>;
  disconnect(name: string, network: string, options: { readonly force: boolean }): Promise<void>;
  pause(name: string): Promise<void>;
  unpause(name: string): Promise<void>;
  rename(name: string, to: string): Promise<void>;
  /** Changes limits and the restart policy, durable when it returns; returns Docker's warnings. */
  update(name: string, request: UpdateRequest): Promise<readonly string[]>;
  /** With `link`, a name like `web/db`: the link alone goes. */
  remove(
    name: string,
    options: { readonly force: boolean; readonly volumes: boolean; readonly link: boolean },
  ): Promise<void>;
  /** Removes those that do not run and that are accepted. */
  prune(accept: (container: Container) => boolean, signal: AbortSignal): Promise<Pruned>;
  /**
   * Returns at once with a promise; throws at once when the container is not there. The condition is watched from the
   * call on. `error` is why a start failed.
   */
  wait(
    name: string,
    condition: WaitCondition,
  ): { readonly result: Promise<{ readonly code: number; readonly error: string | undefined }> };
  /** Legal on a container that was not started: output comes once it is. Subscribed when this returns. */
  attach(name: string, options: AttachOptions): Promise<AttachStream>;
  resize(name: string, size: TerminalSize): Promise<void>;
  /** Frames, or raw bytes of a container with a terminal, for every line of the log that is asked for. */
  logs(name: string, options: LogOptions): AsyncIterable<Buffer>;
  /** The stops that wait for a container to end. */
  stopping(): Promise<readonly Stopping[]>;
  /** Removed containers whose logs are kept, the one that was removed last first. */
  removed(): readonly RemovedContainer[];
  /** The log of one of them, by its whole ID. Throws `not-found`. */
  removedLog(id: string, options: LogOptions): { readonly tty: boolean; readonly lines: AsyncIterable<Buffer> };
  top(
    name: string,
    psArgs: string,
  ): Promise<{ readonly Titles: readonly string[]; readonly Processes: readonly (readonly string[])[] }>;
  /** Bytes of the writable layer, and of it with the image's. */
  size(name: string): Promise<{ readonly rw: number; readonly rootFs: number }>;
  /** What it uses now. */
  stats(name: string): Sample;
  /** The same every second, for as long as it is not disposed of. */
  watchStats(name: string, listener: SampleListener): Disposable;
  readonly files: ContainerFiles;
  /** Makes an image of what the container wrote over its own; its ID. Durable when it returns. */
  commit(request: CommitRequest): Promise<Digest>;
  execCreate(name: string, request: ExecCreate): Promise<string>;
  /** The stream of an attached exec; undefined when detached. Failing to start is told inside the stream, exit 126 or 127. */
  execStart(id: string, options: ExecStart): Promise<AttachStream | undefined>;
  execInspect(id: string): ExecState;
  execResize(id: string, size: TerminalSize): Promise<void>;
  /** Execs of a container, by its full ID, that have not ended. */
  execIds(containerId: string): readonly string[];
  /** To its process and all others of its session. Throws `conflict` when it does not run. */
  execKill(id: string, signal: string): Promise<void>;
  /** SIGHUP, and SIGKILL where that is not enough. Nothing when it has ended. */
  execEnd(id: string): Promise<void>;
}
