import type { PublishedPort } from './networks.ts';

/** Raised when a helper that an older engine started no longer understands the newer one. */
export const helperVersion = 1;

export interface Reservation {
  /** The endpoint's id. */
  readonly owner: string;
  /** The container's address. */
  readonly target: string;
  readonly ports: readonly PublishedPort[];
}

/** One JSON object a line. Every request may be repeated: it says what must be, not what to change. */
export type HelperRequest = { readonly id: number } & (
  | { readonly op: 'hello' }
  | ({ readonly op: 'set' } & Reservation)
  | { readonly op: 'release'; readonly owner: string }
  /** Every other owner is released. */
  | { readonly op: 'keep'; readonly owners: readonly string[] }
  | { readonly op: 'quit' }
);

export interface HelperAnswer {
  readonly id: number;
  readonly version?: number;
  readonly pid?: number;
  readonly owners?: readonly string[];
  readonly error?: { readonly code: string; readonly message: string; readonly port: PublishedPort | undefined };
}
