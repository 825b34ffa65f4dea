import type { ElementChange } from '../sys/nft-elements.ts';
import type { BridgeSpec } from './bridge-spec.ts';
import type { PublishedPort } from './networks.ts';
import type { ParentSpec } from './parent-spec.ts';
import type { BridgePorts, DefaultRoutes, PluggedLink, SandboxRequest, Wiring } from './sandboxes.ts';

export interface WorkerConfig {
  /** The default one. */
  readonly bridge: string;
  readonly table: string;
  readonly namespaces: string;
}

/** What the engine's main thread asks of the network worker. Carried out one after the other, in the order sent. */
export interface Operations {
  /** Bridges, forwarding and table. */
  setup: {
    in: { readonly table: string; readonly bridges: readonly BridgePorts[] };
    out: { readonly forwardingEnabled: boolean };
  };
  addBridge: { in: { readonly bridge: BridgeSpec; readonly changes: readonly ElementChange[] }; out: void };
  removeBridges: { in: { readonly names: readonly string[] }; out: void };
  /** What containers of a macvlan or ipvlan network will stand on; `removeParent` takes away only what was made for it. */
  addParent: { in: { readonly parent: ParentSpec }; out: void };
  removeParent: { in: { readonly name: string }; out: void };
  create: { in: SandboxRequest; out: void };
  /** An interface more, or less, of a namespace that exists. */
  plug: { in: { readonly path: string; readonly wiring: Wiring; readonly routes: DefaultRoutes }; out: void };
  unplug: { in: { readonly path: string; readonly link: PluggedLink; readonly routes: DefaultRoutes }; out: void };
  /**
   * Sockets of the namespace for its name server, and the rules there that lead to them. They are descriptors of the
   * engine's process; who asked for them closes them.
   */
  resolver: { in: { readonly path: string }; out: { readonly udp: number; readonly tcp: number } };
  sysctls: { in: { readonly path: string; readonly sysctls: Readonly<Record<string, string>> }; out: void };
  /** `standing`: its interfaces that stand on links of the host. */
  drop: { in: { readonly path: string; readonly standing?: readonly string[] }; out: void };
  /** The whole table anew, in one transaction. */
  rules: { in: { readonly script: string }; out: void };
  /** Elements of it, in one transaction. */
  change: { in: { readonly changes: readonly ElementChange[] }; out: void };
  /**
   * Forgets the UDP flows to published ports that were followed before the rules changed: they have no end of their own,
   * and as long as a client sends they would go where they went before.
   */
  forget: { in: { readonly address: string; readonly ports: readonly PublishedPort[] }; out: void };
  /** Everything of ours but this goes. */
  sweep: {
    in: { readonly paths: readonly string[]; readonly bridges: readonly BridgePorts[] };
    out: { readonly gone: readonly string[] };
  };
  /** What may have been changed since the last audit, as far as the kernel tells. */
  changed: {
    in: Record<string, never>;
    out: { readonly bridges: readonly string[] | 'all'; readonly rules: boolean };
  };
  /**
   * Has anybody changed what is ours? Mends these bridges, their ports and forwarding; the table is the caller's to send
   * again. `whole`: they are all that there are.
   */
  audit: {
    in: { readonly bridges: readonly BridgePorts[]; readonly whole: boolean };
    out: {
      readonly table: 'intact' | 'changed' | 'unknown';
      /** Somebody else changed some rule of the host. */
      readonly rulesChanged: boolean;
      readonly mended: readonly string[];
    };
  };
  /** Table and default bridge go. */
  teardown: { in: Record<string, never>; out: void };
}

export type OperationName = keyof Operations;

export interface WorkerRequest<N extends OperationName = OperationName> {
  readonly id: number;
  readonly name: N;
  readonly input: Operations[N]['in'];
}

export interface WorkerAnswer {
  readonly id: number;
  readonly output?: unknown;
  readonly error?: { readonly message: string; readonly code: string | undefined };
}
