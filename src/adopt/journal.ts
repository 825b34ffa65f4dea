import type { Digest } from '../oci/digest.ts';
import type { Database } from '../state/database.ts';
import type { Kind } from './observed.ts';
import { keyOf } from './plan.ts';

/** What an adoption brought, or is bringing. */
export interface Adopted {
  readonly kind: Kind;
  /** As the other engine calls it: an ID, or a volume's name. */
  readonly id: string;
  readonly name: string;
  /** The data root that it came from. */
  readonly from: string;
  /** RFC 3339. */
  readonly at: string;
  readonly bytes: number;
  /** False until it is here: an engine that finds it so looks whether it came to be. */
  readonly complete: boolean;
  /** What its files were like when they were copied (`tree-print.ts`), of volumes and containers. */
  readonly print?: string;
  /** Of a container, what it was asked for: `printOf`. */
  readonly asked?: string;
  /** Of a volume, to tell it from a later one of its name. */
  readonly created?: string;
  /** Of an image: what it is called here, the names it got, and whether it was here before. */
  readonly image?: Digest;
  readonly names?: readonly string[];
  readonly whole?: boolean;
}

/** An adoption that goes on, or was cut short by the end of the engine. */
export interface Run {
  readonly from: string;
  readonly at: string;
}

const adoptedKind = 'adopted';
const runKind = 'adoption';
const runKey = 'docker';

/** What was adopted, in the engine's database: written before a thing is made, and again when it is here. */
export class Journal {
  readonly #database: Database;
  readonly #entries: Map<string, Adopted>;
  #run: Run | undefined;

  private constructor(database: Database, entries: Map<string, Adopted>, run: Run | undefined) {
    this.#database = database;
    this.#entries = entries;
    this.#run = run;
  }

  static async open(database: Database): Promise<Journal> {
    const [entries, runs] = await Promise.all([database.load(adoptedKind), database.load(runKind)]);
    return new Journal(database, new Map(entries as ReadonlyMap<string, Adopted>), runs.get(runKey) as Run | undefined);
  }

  /** In the order in which they came. */
  list(): readonly Adopted[] {
    return [...this.#entries.values()].sort((a, b) => (a.at < b.at ? -1 : a.at > b.at ? 1 : 0));
  }

  get(kind: Kind, id: string): Adopted | undefined {
    return this.#entries.get(keyOf(kind, id));
  }

  get run(): Run | undefined {
    return this.#run;
  }

  async begin(run: Run): Promise<void> {
    await this.#database.write([{ kind: runKind, key: runKey, value: run }]);
    this.#run = run;
  }

  async end(): Promise<void> {
    if (!this.#run) return;
    await this.#database.write([{ kind: runKind, key: runKey, value: undefined }]);
    this.#run = undefined;
  }

  /** Durable when it returns. */
  async write(entry: Adopted): Promise<Adopted> {
    const key = keyOf(entry.kind, entry.id);
    await this.#database.write([{ kind: adoptedKind, key, value: entry }]);
    this.#entries.set(key, Object.freeze(entry));
    return entry;
  }

  async drop({ kind, id }: Pick<Adopted, 'kind' | 'id'>): Promise<void> {
    const key = keyOf(kind, id);
    if (!this.#entries.has(key)) return;
    await this.#database.write([{ kind: adoptedKind, key, value: undefined }]);
    this.#entries.delete(key);
  }
}
