/** What the database and its worker say to each other. Values travel as JSON text: strings are the cheapest to post. */
export interface WriteMessage {
  readonly sequence: number;
  readonly durable: boolean;
  /** kind, key, JSON text or undefined to remove: three entries a change. */
  readonly changes: readonly (string | undefined)[];
}

export interface LoadMessage {
  readonly sequence: number;
  readonly load: string;
}

export interface CloseMessage {
  readonly sequence: number;
  readonly close: true;
}

export type ToWorker = WriteMessage | LoadMessage | CloseMessage;

export interface Failure {
  readonly kind: 'unavailable' | 'corrupt' | 'unsupported' | 'internal';
  readonly message: string;
  readonly hint?: string;
}

export type FromWorker =
  | { readonly opened: true }
  | { readonly failed: Failure }
  /** All of these writes are committed, or none of them. */
  | { readonly written: readonly number[]; readonly failure: Failure | undefined }
  | { readonly loaded: number; readonly records: readonly (readonly [string, string])[] }
  | { readonly loadFailed: number; readonly failure: Failure }
  | { readonly closed: number };
