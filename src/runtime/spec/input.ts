import type { ContainerConfig, HostConfig } from '../../protocol/container.ts';
import type { IdMaps } from '../../sys/user-namespace.ts';

/**
 * All that a container's runtime spec is made from. Whatever has to be looked up (users, devices, paths, the machine) is
 * looked up before, so that `buildSpec` is a pure function and its answer can be compared in a test.
 */
export interface SpecInput {
  readonly id: string;
  readonly config: ContainerConfig;
  /** As `checkHostConfig` of check.ts left it at create: defaults in place. */
  readonly hostConfig: HostConfig;
  /** The program and its arguments: entrypoint and command, resolved. Not empty. */
  readonly args: readonly string[];
  /** As `containerEnv` of env.ts makes it. */
  readonly env: readonly string[];
  /** As `resolveUser` of user.ts makes it. */
  readonly user: SpecUser;
  /** Absolute; '' is `/`. */
  readonly cwd: string;
  /** The mounted root, a path on the host. */
  readonly rootfs: string;
  /** '' with `--uts=host`, unless one was asked for. */
  readonly hostname: string;
  readonly namespaces: SpecNamespaces;
  /** The file of a user namespace that is made already, and its maps; undefined is the host's. */
  readonly userNamespace?: (IdMaps & { readonly path: string }) | undefined;
  /** Binds, volumes (a bind of their directory), tmpfs, and files such as /etc/hosts. Any order. */
  readonly mounts: readonly ContainerMount[];
  /** As `resolveDevices` of devices.ts makes it; `noDevices` when none were asked for. */
  readonly devices: HostDevices;
  /** The init program on the host when the container shall have one (`--init`), a static binary. */
  readonly init: string | undefined;
  /** Where containers go in the cgroup tree without `--cgroup-parent`: `/berth`. */
  readonly cgroupParent: string;
  /** SELinux labels as `selinuxLabels` of selinux.ts made them at create; undefined where the kernel has no SELinux. */
  readonly labels?: { readonly process: string; readonly mount: string } | undefined;
  readonly machine: Machine;
}

export interface SpecUser {
  readonly uid: number;
  readonly gid: number;
  readonly additionalGids: readonly number[];
}

/** Which namespaces are new, which are the host's, and which are joined: `path` is a file such as `/proc/7/ns/net`. */
export interface SpecNamespaces {
  /** With `path` and `own` the namespace was made for this container; another container's has `own: false`. */
  readonly network: 'host' | { readonly path: string; readonly own: boolean };
  /**
   * `private` and `shareable` are new; `none` is new without /dev/shm. `shareable` mounts `shm` (a tmpfs on the host that
   * the caller made, so that others can join it); a joined one brings the owner's; `host` uses the host's /dev/shm.
   */
  readonly ipc: 'private' | 'none' | 'host' | { readonly shm: string; readonly path: string | undefined };
  readonly pid: 'private' | 'host' | { readonly path: string };
  readonly uts: 'private' | 'host';
  readonly cgroup: 'private' | 'host';
}

export type ContainerMount = BindMount | TmpfsMount;

export interface BindMount {
  readonly type: 'bind';
  /** A path on the host, resolved. */
  readonly source: string;
  /** Absolute, inside the container. */
  readonly target: string;
  readonly readOnly: boolean;
  /** `rprivate` when undefined. */
  readonly propagation?: string | undefined;
  /** False: what is mounted below the source is not carried along. */
  readonly recursive: boolean;
  /** Flags of the source's own mount (`nosuid`, `ro`), which crun does not take over by itself. */
  readonly keep?: readonly string[];
  /**
   * What a read-only mount means for mounts below it: `possible` makes them read-only too where kernel and runtime can,
   * `forced` fails where they cannot, `no` leaves them. Ignored when not read-only.
   */
  readonly recursiveReadOnly: 'possible' | 'forced' | 'no';
}

export interface TmpfsMount {
  readonly type: 'tmpfs';
  readonly target: string;
  /** As `tmpfsOptions` of mounts.ts makes it. */
  readonly options: readonly string[];
}

/** Devices as they are on the host at this moment. */
export interface HostDevices {
  /** `--device`, directories expanded; or with `--privileged` all of the host's. */
  readonly devices: readonly HostDevice[];
  /** Block devices that limits name, by path. */
  readonly block: Readonly<Record<string, { readonly major: number; readonly minor: number }>>;
}

export interface HostDevice {
  /** In the container. */
  readonly path: string;
  readonly type: 'b' | 'c' | 'p';
  readonly major: number;
  readonly minor: number;
  /** Permission bits only. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** `rwm` or a part of it. */
  readonly access: string;
}

export const noDevices: HostDevices = { devices: [], block: {} };

/** What this machine can do; read once at start by `readMachine` of machine.ts. */
export interface Machine {
  /** As Node names it: `x64`, `arm64`. */
  readonly architecture: string;
  /** Major and minor. */
  readonly kernel: readonly [number, number];
  /** 1 on hybrid too: limits are in the v1 hierarchies. */
  readonly cgroupVersion: 1 | 2;
  /** Controllers that containers can be limited by: `memory`, `cpu`, `cpuset`, `pids`, `io` (v2) or `blkio` (v1)... */
  readonly controllers: ReadonlySet<string>;
  /** Whether swap is accounted. */
  readonly swapLimit: boolean;
  /** Whether the I/O scheduler has weights. */
  readonly blockWeight: boolean;
  /** Processors that are online. */
  readonly cpus: number;
  /** The processors and memory nodes that exist, as the kernel writes lists: `0-1`. */
  readonly cpuList: string;
  readonly memoryList: string;
  /** What the engine has in its bounding set, `CAP_` names; more cannot be given to anyone. */
  readonly capabilities: ReadonlySet<string>;
  /** The engine's own hard limits by name in upper case, `RLIMIT_NOFILE`; Infinity is unlimited. */
  readonly hardLimits: Readonly<Record<string, number>>;
  readonly appArmor: boolean;
  readonly selinux: boolean;
  readonly seccomp: boolean;
  /** `thermal_throttle` directories of the processors, which tell a container what others do. */
  readonly thermalPaths: readonly string[];
  /** /proc/sys names that exist, of those that `buildSpec` sets on its own. */
  readonly sysctls: ReadonlySet<string>;
  /** The mount option `rro`: the kernel from 5.12 on (crun takes it from 1.4, runc from 1.1). */
  readonly recursiveReadOnly: boolean;
}
