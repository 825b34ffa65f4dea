/** One change of the store. `value` undefined removes the record. */
export interface Change {
  readonly kind: string;
  readonly key: string;
  readonly value: unknown;
}

/**
 * The engine's records: JSON documents by kind and key, kept in SQLite by a worker, the only writer.
 * Reads happen once, at start; from then on the rooms answer from memory and write here.
 */
export interface Database extends AsyncDisposable {
  /** All records of a kind, for a room that starts. */
  load(kind: string): Promise<ReadonlyMap<string, unknown>>;
  /**
   * Writes the changes in one transaction. Resolves when they are safe from power loss (`durable`, the default), or at
   * once, in order, when they only need to outlive the engine's process. Throws `unavailable` when the disk is full.
   */
  write(changes: readonly Change[], options?: { readonly durable?: boolean }): Promise<void>;
}
