import type { IdMaps } from '../sys/user-namespace.ts';
import type { Container, MountPoint, State } from './containers.ts';
import type { MountedImage } from './image-mounts.ts';
import { never } from './time.ts';

/** What is stored of a container: what everybody sees, and what only this room needs. */
export interface ContainerRecord extends Container {
  readonly own: {
    readonly mounts: readonly HeldMount[];
    /** The user stopped or killed it: no restart policy brings it back before a start. */
    readonly stoppedByUser: boolean;
    /** It became unhealthy and is to be started again when it has ended. */
    readonly restartUnhealthy?: boolean;
    /** Paused for a commit: an engine that finds it so after a crash lets it go on. */
    readonly pausedForCommit?: boolean;
    /** Another engine made it, and it was not started here yet: no restart policy starts it before somebody does. */
    readonly adopted?: boolean;
    /** The path of the network namespace that was opened for it at its last start; '' none. */
    readonly sandbox: string;
    /** Its user namespace; undefined is the host's. As it was when the container was made, whatever the engine's setting. */
    readonly owners?: IdMaps | undefined;
  };
}

/** A mount as it was asked for, with what inspect does not show. */
export interface HeldMount {
  readonly point: MountPoint;
  /** The image's content is not copied into the volume. */
  readonly noCopy: boolean;
  /** A missing source is made at start, as `-v` promises; `--mount` wants it there. */
  readonly createSource: boolean;
  readonly recursive: boolean;
  readonly recursiveReadOnly: 'possible' | 'forced' | 'no';
  /** `z` shares the label of SELinux, `Z` makes it this container's own. */
  readonly relabel: 'z' | 'Z' | undefined;
  /** Below the volume's root. */
  readonly subpath: string;
  /** Made for this container, removed with `rm -v`. */
  readonly anonymous: boolean;
  /** The options of a tmpfs, as --tmpfs has them. */
  readonly tmpfs: string | undefined;
  /** The owner of the source and the container's user change places. */
  readonly idmap?: boolean;
  /** Of a mount of type `image`. */
  readonly image?: MountedImage;
}

export const createdState: State = Object.freeze({
  status: 'created',
  pid: 0,
  exitCode: 0,
  error: '',
  oomKilled: false,
  startedAt: never,
  finishedAt: never,
});

/** Whether it has processes: what may not be removed without force, and what stop stops. */
export function isRunning({ state: { status } }: Container): boolean {
  return status === 'running' || status === 'paused';
}
