import type { CreateDefaults } from '../protocol/create-request.ts';

/** What is true of the engine and of the machine under it: everything that /info and /version tell and no room knows. */
export interface SystemFacts {
  /** Stays the same over restarts. */
  readonly id: string;
  /** The host's name. */
  readonly name: string;
  readonly dataRoot: string;
  readonly storageDriver: string;
  readonly storageStatus: readonly (readonly [string, string])[];
  readonly kernelVersion: string;
  /** `Debian GNU/Linux 12 (bookworm)` */
  readonly operatingSystem: string;
  readonly osVersion: string;
  readonly cpus: number;
  readonly memory: number;
  readonly cgroupDriver: 'cgroupfs' | 'systemd' | 'none';
  readonly cgroupVersion: '1' | '2';
  readonly limits: {
    readonly memory: boolean;
    readonly swap: boolean;
    readonly cpuCfs: boolean;
    readonly cpuShares: boolean;
    readonly cpuset: boolean;
    readonly pids: boolean;
    readonly oomKillDisable: boolean;
  };
  readonly runtimes: readonly { readonly name: string; readonly path: string; readonly version: string }[];
  readonly defaultRuntime: string;
  /** `name=seccomp,profile=builtin` */
  readonly securityOptions: readonly string[];
  readonly ipv4Forwarding: boolean;
  readonly logDriver: string;
  readonly insecureRegistries: readonly string[];
  readonly mirrors: Readonly<Record<string, readonly string[]>>;
  readonly httpProxy: string;
  readonly httpsProxy: string;
  readonly noProxy: string;
  readonly labels: readonly string[];
  readonly debug: boolean;
  readonly initBinary: string;
  /** Where CDI files are. */
  readonly deviceDirectories: readonly string[];
  readonly firewall: string;
  readonly addressPools: readonly { readonly base: string; readonly size: number }[];
  readonly warnings: readonly string[];
  /** Open files of the engine. */
  readonly openFiles: number;
  /** Bytes of all blobs and layers, each counted once; -1 when not known. */
  readonly layersSize: number;
}

/** What the data root holds, by rooms that add up to what `du -x` says of it. */
export interface DiskReport {
  readonly root: string;
  readonly rooms: readonly DiskRoom[];
  /** What no record knows: left over, or put there by somebody else. In the total too. */
  readonly unaccounted: readonly { readonly path: string; readonly bytes: number }[];
  readonly total: number;
  /** Bytes of a second walk over all of it, without looking at records; what it differs by changed meanwhile. */
  readonly walked?: number;
}

export interface DiskRoom {
  readonly name:
    | 'images'
    | 'partial downloads'
    | 'writable layers'
    | 'volumes'
    | 'logs'
    | 'container files'
    | 'build'
    | 'engine database'
    | 'being removed'
    | 'other';
  /** Of what it counts. */
  readonly count: number;
  readonly bytes: number;
}

/** `daemon/` implements it. */
export interface DiskReporter {
  report(options: { readonly verify: boolean }): Promise<DiskReport>;
}

/** `daemon/` implements it. */
export interface SystemInfo {
  facts(): SystemFacts;
  /** CDI devices that containers may be given, by their qualified names. */
  discoveredDevices(): Promise<readonly string[]>;
  /** What a container gets that asks for nothing. */
  readonly createDefaults: CreateDefaults;
}

export interface Versions {
  /** Of the product: `Berth 0.1.0` is in the components. */
  readonly berth: string;
  /** The Docker release that clients are told, because they compare it: `28.5.2`. */
  readonly engine: string;
  readonly commit: string;
  /** RFC 3339. */
  readonly built: string;
}
