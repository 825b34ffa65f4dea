import type { Duplex } from 'node:stream';
import type { Process as OciProcess, Resources, Spec } from '../oci/runtime-spec.ts';
import type { TaskUsage } from './usage.ts';

export interface LogTarget {
  /** Docker's json-file form. */
  readonly path: string;
  /** Bytes before the file is rotated; 0 never. */
  readonly maxSize: number;
  /** Files kept in all, the current one included. */
  readonly maxFiles: number;
  /** What stands in every line beside the text: a JSON object of at most 16 KiB. */
  readonly attributes?: Readonly<Record<string, string>>;
}

export interface TaskRequest {
  readonly id: string;
  /** The bundle directory: exists and is ours; config.json is written here. */
  readonly bundle: string;
  readonly spec: Spec;
  /** A configured runtime's name: `crun`, `runc`. */
  readonly runtime: string;
  /** `once`: stdin closes when the first client that attached it closes its side. */
  readonly stdin: 'none' | 'open' | 'once';
  readonly size: TerminalSize | undefined;
  readonly log: LogTarget | undefined;
  /** Connected before the process starts, so that nothing of its output is missed. */
  readonly attach: readonly AttachRequest[];
  readonly signal?: AbortSignal;
}

export interface TerminalSize {
  readonly rows: number;
  readonly columns: number;
}

export interface AttachRequest {
  readonly stdin: boolean;
  readonly stdout: boolean;
  readonly stderr: boolean;
  /**
   * The client's own connection, for the monitor to read and write without the engine in between. Asked for at the last
   * moment before a process starts, and by no attach to one that runs. The stream then brings nothing but the end, behind
   * which the connection is the engine's again; the monitor does not end it. Undefined: by the stream after all.
   */
  readonly client?: () => ClientEnd | undefined;
}

export interface ClientEnd {
  /** The caller's, open at least until its next await. */
  readonly fd: number;
  /** What was read from it already. At most `mostEarly` bytes. */
  readonly early: Buffer;
}

/** A socket takes that much at once, whatever becomes of the engine then. */
export const mostEarly = 64 * 1024;

/**
 * What a client attached. Reading gives Docker's frames (raw bytes with a terminal), writing goes to stdin, ending the
 * writable side half-closes. The readable side ends when the output has ended and every byte of it was given.
 */
export type AttachStream = Duplex;

export interface TaskExit {
  /** 0-255; 128 + n for signal n. */
  readonly code: number;
  readonly oomKilled: boolean;
  /** RFC 3339 with nanoseconds, UTC. */
  readonly at: string;
}

/** A running process that a monitor holds: a container's first, or one started by exec. */
export interface Task {
  readonly id: string;
  readonly pid: number;
  /** RFC 3339 with nanoseconds. */
  readonly startedAt: string;
  /** Streams for `TaskRequest.attach`, in its order. Empty after adoption. */
  readonly attached: readonly AttachStream[];
  /** Milliseconds since its start, by a clock that nobody sets. */
  age(): number;
  /** Never rejects. A monitor that died without a word gives code 255. */
  readonly exited: Promise<TaskExit>;
  attach(request: AttachRequest): Promise<AttachStream>;
  /** Until the disposal, some of what the log's rotation would remove is kept for whoever follows it. Never fails. */
  keepLog(): Promise<Disposable>;
  /**
   * Removes a file that the log's rotation left, by its inode, or (`packed`) puts the file `<log>.packed` in its place:
   * beside a rotation nobody else can. False: it was not there any more. Undefined: the monitor has ended, or is an older one.
   */
  replaceLogFile(inode: bigint, how: 'packed' | 'drop'): Promise<boolean | undefined>;
  resize(size: TerminalSize): Promise<void>;
  /** Throws `conflict` when it is gone. `group`: those that it started too, as far as they stayed in its process group. */
  kill(signal: number, options?: { readonly group?: boolean }): Promise<void>;
  /** Every process in the container, by the cgroup: the top and --pid=host cases. */
  pids(): Promise<readonly number[]>;
  /** What the container uses now; undefined when it is gone. */
  usage(): TaskUsage | undefined;
  pause(): Promise<void>;
  resume(): Promise<void>;
  /** Removes what the runtime and the monitor keep of it. Killing first is the caller's. Repeating it is no error. */
  delete(): Promise<void>;
}

export interface ExecRequest {
  readonly id: string;
  readonly process: OciProcess;
  readonly stdin: boolean;
  readonly size: TerminalSize | undefined;
  readonly attach: readonly AttachRequest[];
  /** It is of no use to anybody but this engine: the next one ends it. */
  readonly bound?: boolean;
}

export interface RuntimeInfo {
  readonly name: string;
  readonly path: string;
  readonly version: string;
  /** Why it cannot be used on this machine, or undefined. */
  readonly broken: string | undefined;
}

/** Starting failed; `exitCode` is what `docker run` must exit with: 126, 127, or 125 for all else. */
export interface StartFailure {
  readonly exitCode: 125 | 126 | 127;
}

/** OCI runtimes behind monitors that outlive the engine. */
export interface Runtime extends AsyncDisposable {
  readonly default: string;
  /** Every runtime that is configured, whether it works here or not. */
  list(): readonly RuntimeInfo[];
  /**
   * Creates and starts. Throws StartError (an EngineError with `exitCode`) with Docker's words:
   * `failed to create task for container: ... exec: "x": executable file not found in $PATH`. Nothing is left behind.
   */
  start(request: TaskRequest): Promise<Task>;
  exec(task: Task, request: ExecRequest): Promise<Task>;
  /** Changes limits of a running container; what is not named stays. Throws `internal` with the runtime's words. */
  update(task: Task, resources: Resources): Promise<void>;
  /**
   * What is known of a task after the engine was started: running, ended with this exit, or never started.
   * `bundle` is the one given at start.
   */
  adopt(
    id: string,
    bundle: string,
  ): Promise<{ state: 'running'; task: Task } | { state: 'exited'; exit: TaskExit } | { state: 'none' }>;
  /** Kills and removes everything of ours that is not in `known`: half-made containers, monitors, state, cgroups. */
  recover(known: ReadonlySet<string>): Promise<void>;
}
