import type { Change, Database } from './database.ts';

/** For tests: keeps what was written as JSON, so that what comes back is what a real one would give. */
export class MemoryDatabase implements Database {
  readonly #kinds = new Map<string, Map<string, string>>();
  /** Called before each write; throwing fails it, as a full disk would. */
  onWrite: ((changes: readonly Change[], durable: boolean) => void) | undefined;

  async load(kind: string): Promise<ReadonlyMap<string, unknown>> {
    return new Map([...(this.#kinds.get(kind) ?? [])].map(([key, text]): [string, unknown] => [key, JSON.parse(text)]));
  }

  async write(changes: readonly Change[], { durable = true }: { readonly durable?: boolean } = {}): Promise<void> {
    this.onWrite?.(changes, durable);
    for (const { kind, key, value } of changes) {
      let records = this.#kinds.get(kind);
      if (!records) this.#kinds.set(kind, (records = new Map()));
      if (value === undefined) records.delete(key);
      else records.set(key, JSON.stringify(value));
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {}
}
