import type { Log } from '../base/log.ts';
import { type Digest, isDigest } from '../oci/digest.ts';
import type { Descriptor } from '../oci/manifest.ts';
import type { Change, Database } from '../state/database.ts';

/** What a name points to. */
export interface NameRecord {
  readonly descriptor: Descriptor;
  /** When the name was put there; RFC 3339. */
  readonly tagged: string;
}

/** An image that is kept, with names or without. */
export interface ImageRecord {
  readonly descriptor: Descriptor;
  /** Repositories that it was pulled from, in full: what repoDigests are made of. */
  readonly repositories: readonly string[];
}

export interface RecordChanges {
  readonly names?: ReadonlyMap<string, NameRecord | undefined>;
  readonly images?: ReadonlyMap<Digest, ImageRecord | undefined>;
}

/** Names and images, in memory for reads and in the database for good. An image without a record is not there. */
export class ImageRecords {
  readonly #database: Database;
  readonly #names: Map<string, NameRecord>;
  readonly #images: Map<Digest, ImageRecord>;

  private constructor(database: Database, names: Map<string, NameRecord>, images: Map<Digest, ImageRecord>) {
    this.#database = database;
    this.#names = names;
    this.#images = images;
  }

  static async open(database: Database, log: Log): Promise<ImageRecords> {
    const [names, images] = await Promise.all([database.load('image-name'), database.load('image')]);
    const keptImages = new Map<Digest, ImageRecord>();
    for (const [key, value] of images) {
      const record = readImageRecord(value);
      if (record && record.descriptor.digest === key) keptImages.set(record.descriptor.digest, record);
      else log.error('the record of an image is damaged and left out', { image: key });
    }
    const keptNames = new Map<string, NameRecord>();
    for (const [key, value] of names) {
      const record = readNameRecord(value);
      if (!record) {
        log.error('the record of an image name is damaged and left out', { name: key });
        continue;
      }
      keptNames.set(key, record);
      const id = record.descriptor.digest;
      if (!keptImages.has(id)) keptImages.set(id, { descriptor: record.descriptor, repositories: [] });
    }
    return new ImageRecords(database, keptNames, keptImages);
  }

  get names(): ReadonlyMap<string, NameRecord> {
    return this.#names;
  }

  get images(): ReadonlyMap<Digest, ImageRecord> {
    return this.#images;
  }

  namesOf(id: Digest): string[] {
    return [...this.#names].filter(([, record]) => record.descriptor.digest === id).map(([name]) => name);
  }

  /** Durable first, then seen. */
  async write({ names = new Map(), images = new Map() }: RecordChanges): Promise<void> {
    const changes: Change[] = [
      ...[...images].map(([key, value]): Change => ({ kind: 'image', key, value })),
      ...[...names].map(([key, value]): Change => ({ kind: 'image-name', key, value })),
    ];
    if (changes.length === 0) return;
    await this.#database.write(changes);
    for (const [id, record] of images) put(this.#images, id, record);
    for (const [name, record] of names) put(this.#names, name, record);
  }
}

function put<K, V>(map: Map<K, V>, key: K, value: V | undefined): void {
  if (value === undefined) map.delete(key);
  else map.set(key, value);
}

function readImageRecord(value: unknown): ImageRecord | undefined {
  if (!isObject(value) || !isDescriptor(value.descriptor) || !Array.isArray(value.repositories)) return undefined;
  return { descriptor: value.descriptor, repositories: value.repositories.filter((name) => typeof name === 'string') };
}

function readNameRecord(value: unknown): NameRecord | undefined {
  if (!isObject(value) || !isDescriptor(value.descriptor) || typeof value.tagged !== 'string') return undefined;
  return { descriptor: value.descriptor, tagged: value.tagged };
}

function isDescriptor(value: unknown): value is Descriptor {
  if (!isObject(value) || typeof value.digest !== 'string' || !isDigest(value.digest)) return false;
  return typeof value.mediaType === 'string' && typeof value.size === 'number';
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}
