import type { PublishedPort } from './networks.ts';
import type { BridgeConfig, SandboxRequest } from './sandboxes.ts';

export interface WorkerConfig extends BridgeConfig {
  readonly table: string;
  readonly namespaces: string;
}

/** What the engine's main thread asks of the network worker. Carried out one after the other, in the order sent. */
export interface Operations {
  /** Bridge, forwarding and table. */
  setup: { in: { readonly table: string }; out: { readonly forwardingEnabled: boolean } };
  create: { in: SandboxRequest; out: void };
  sysctls: { in: { readonly path: string; readonly sysctls: Readonly<Record<string, string>> }; out: void };
  drop: { in: { readonly path: string }; out: void };
  /** One transaction. */
  rules: { in: { readonly script: string }; out: void };
  /**
   * Forgets the UDP flows to published ports that were followed before the rules changed: they have no end of their own,
   * and as long as a client sends they would go where they went before.
   */
  forget: { in: { readonly address: string; readonly ports: readonly PublishedPort[] }; out: void };
  /** Everything of ours but this goes. */
  sweep: {
    in: { readonly paths: readonly string[]; readonly veths: readonly string[] };
    out: { readonly gone: readonly string[] };
  };
  /** Has anybody changed what is ours? Mends bridge, ports and forwarding; the table is the caller's to send again. */
  audit: {
    in: { readonly veths: readonly string[] };
    out: {
      readonly table: 'intact' | 'changed' | 'unknown';
      /** Somebody else changed some rule of the host. */
      readonly rulesChanged: boolean;
      readonly mended: readonly string[];
    };
  };
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
