import type { PublishedPort } from './networks.ts';

/** Raised when a helper that an older engine started no longer understands the newer one. */
export const helperVersion = 2;

export interface Reservation {
  /** The container's id. */
  readonly owner: string;
  /** The container's address. */
  readonly target: string;
  readonly ports: readonly PublishedPort[];
}

/** What a container is called in its networks, and how it asks for others. */
export interface NamesRecord {
  /** The container's id. */
  readonly owner: string;
  readonly networks: readonly NetworkNames[];
  /** Who is asked for what is no container's name; none: nobody. */
  readonly servers: readonly string[];
}

export interface NetworkNames {
  readonly id: string;
  readonly name: string;
  /** The first is the one that its addresses lead back to. */
  readonly names: readonly string[];
  readonly addresses: readonly string[];
  /** What this container alone calls others, in lower case. */
  readonly links?: Readonly<Record<string, string>>;
}

/** Descriptors of another process, in the container's network namespace: the helper gets its own of them. */
export interface NameSockets {
  readonly pid: number;
  readonly udp: number;
  readonly tcp: number;
}

/** One JSON object a line. Every request may be repeated: it says what must be, not what to change. */
export type HelperRequest = { readonly id: number } & (
  | { readonly op: 'hello' }
  | ({ readonly op: 'set' } & Reservation)
  | { readonly op: 'release'; readonly owner: string }
  /** Every other owner is released. */
  | { readonly op: 'keep'; readonly owners: readonly string[] }
  /** Without sockets those stay that it has. */
  | ({ readonly op: 'names'; readonly sockets?: NameSockets } & NamesRecord)
  | { readonly op: 'forget-names'; readonly owner: string }
  | { readonly op: 'quit' }
);

export interface HelperAnswer {
  readonly id: number;
  readonly version?: number;
  readonly pid?: number;
  readonly owners?: readonly string[];
  /** The owners of sockets for names. */
  readonly served?: readonly string[];
  readonly error?: { readonly code: string; readonly message: string; readonly port: PublishedPort | undefined };
}
