import type { NetworkRequest } from '../networks/definition.ts';
import type { Digest } from '../oci/digest.ts';
import type { Descriptor } from '../oci/manifest.ts';
import type { CreateRequest } from '../protocol/container.ts';

export const kinds = ['images', 'volumes', 'networks', 'containers'] as const;
export type Kind = (typeof kinds)[number];

/** What another engine's data root holds, as far as it can be read. Nothing was changed to find out. */
export interface Observed {
  /** The data root. */
  readonly from: string;
  readonly images: readonly ObservedImage[];
  readonly volumes: readonly ObservedVolume[];
  readonly networks: readonly ObservedNetwork[];
  readonly containers: readonly ObservedContainer[];
  /** What is there and cannot be taken, whatever this engine has. */
  readonly faults: readonly Fault[];
}

export interface Fault {
  readonly kind: Kind;
  readonly name: string;
  /** What is wrong with it, or not known here. */
  readonly why: string;
  /** What the user can do. */
  readonly try?: string;
}

export interface ObservedImage {
  /** As the other engine calls it: the digest of its config, or of its index or manifest in containerd's store. */
  readonly id: Digest;
  /** In full form with tag. */
  readonly names: readonly string[];
  /** It has been pulled, and the digest it had then is not the one it has here. */
  readonly losesDigest: boolean;
  /** Of its layers, uncompressed; each is counted with every image that has it. */
  readonly layers: readonly ObservedLayer[];
  /** In containerd's store: what its name points to. */
  readonly root?: Descriptor;
}

export interface ObservedLayer {
  readonly diffId: Digest;
  /** Bytes on the disk of the other engine. */
  readonly bytes: number;
  /** The folder with its files and the list of what was between them in its tar; '' in containerd's store. */
  readonly tree: string;
  readonly tarSplit: string;
}

export interface ObservedVolume {
  readonly name: string;
  /** RFC 3339, as the other engine shows it. */
  readonly created: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly options: Readonly<Record<string, string>>;
  readonly anonymous: boolean;
  /** Its data; '' where it is somewhere else, as its options say. */
  readonly data: string;
  readonly bytes: number;
}

export interface ObservedNetwork {
  readonly request: NetworkRequest;
  readonly id: string;
  /** What its bridge is called on the host. */
  readonly link: string;
}

export interface ObservedContainer {
  readonly id: string;
  readonly name: string;
  readonly created: string;
  readonly image: Digest;
  /** With the log driver json-file where its own is not done here. */
  readonly request: CreateRequest;
  readonly logDriver: string;
  /** The volume at each place in it. */
  readonly volumes: Readonly<Record<string, string>>;
  readonly state: {
    readonly started: boolean;
    readonly exitCode: number;
    readonly error: string;
    readonly oomKilled: boolean;
    readonly startedAt: string;
    readonly finishedAt: string;
  };
  readonly restartCount: number;
  readonly stoppedByUser: boolean;
  /** It ran when the other engine was stopped, and would run again with it. */
  readonly wasRunning: boolean;
  /** The folder with what it wrote over its image. */
  readonly upper: string;
  readonly bytes: number;
  /** Its log, the newest first. */
  readonly logs: readonly string[];
}
