import { EngineError } from '../base/errors.ts';
import type { Link } from './containers.ts';
import type { ContainerRecord } from './record.ts';

/** The containers by ID and by name. A record is replaced when it changes, never changed: who holds one holds a snapshot. */
export class ContainerStore {
  readonly #byId = new Map<string, ContainerRecord>();
  /** Names in use, also by containers that are being created. */
  readonly #names = new Map<string, string>();
  #list: readonly ContainerRecord[] | undefined;
  #linked: readonly ContainerRecord[] | undefined;
  version = 1;

  list(): readonly ContainerRecord[] {
    this.#list ??= Object.freeze([...this.#byId.values()]);
    return this.#list;
  }

  /** Full ID, name, unique prefix: in this order. */
  get(name: string): ContainerRecord {
    const exact = this.find(name);
    if (exact) return exact;
    if (/^[0-9a-f]{1,63}$/.test(name)) {
      const found = [...this.#byId.keys()].filter((id) => id.startsWith(name));
      if (found.length === 1) return this.#byId.get(found[0]!)!;
      if (found.length > 1) throw new EngineError('invalid', `multiple IDs found with provided prefix: ${name}`);
    }
    throw new EngineError('not-found', `No such container: ${name}`, { code: 'E_NO_SUCH_CONTAINER' });
  }

  /** By full ID, name or that of a link (`web/db`) only. */
  find(name: string): ContainerRecord | undefined {
    const plain = name.startsWith('/') ? name.slice(1) : name;
    return this.#byId.get(name) ?? this.#byId.get(this.#names.get(plain) ?? this.findLink(plain)?.link.id ?? '');
  }

  /** The container whose link has this name, with the link. */
  findLink(name: string): { readonly owner: ContainerRecord; readonly link: Link } | undefined {
    const [parent = '', alias] = name.replace(/^\//, '').split('/');
    const owner = alias === undefined ? undefined : this.#byId.get(this.#names.get(parent) ?? '');
    const link = owner?.links?.find((one) => one.alias === alias);
    return owner && link && { owner, link };
  }

  /** Those that have a link to it. */
  linkedTo(id: string): readonly ContainerRecord[] {
    this.#linked ??= this.list().filter(({ links }) => links);
    return this.#linked.filter(({ links }) => links?.some((link) => link.id === id));
  }

  /** Its name, and what those call it that link to it, in order. */
  namesOf({ id, name }: Pick<ContainerRecord, 'id' | 'name'>): readonly string[] {
    const linked = this.linkedTo(id).flatMap((owner) =>
      (owner.links ?? []).filter((link) => link.id === id).map(({ alias }) => `${owner.name}/${alias}`),
    );
    return linked.length > 0 ? [name, ...linked].sort() : [name];
  }

  byId(id: string): ContainerRecord | undefined {
    return this.#byId.get(id);
  }

  isNamed(name: string): boolean {
    return this.#names.has(name);
  }

  /** Atomic: nobody else gets the name until the returned function gives it back, or the container goes. */
  reserve(name: string, id: string): () => void {
    const holder = this.#names.get(name);
    if (holder !== undefined)
      throw new EngineError(
        'conflict',
        `Conflict. The container name "/${name}" is already in use by container "${holder}". You have to remove (or rename) that container to be able to reuse that name.`,
        { code: 'E_NAME_IN_USE' },
      );
    this.#names.set(name, id);
    return () => {
      if (this.#names.get(name) === id && this.#byId.get(id)?.name !== name) this.#names.delete(name);
    };
  }

  set(record: ContainerRecord): ContainerRecord {
    const frozen = Object.freeze(record);
    const before = this.#byId.get(record.id)?.name;
    if (before !== undefined && before !== record.name && this.#names.get(before) === record.id)
      this.#names.delete(before);
    Object.freeze(record.state);
    this.#byId.set(record.id, frozen);
    if (!this.#names.has(record.name)) this.#names.set(record.name, record.id);
    this.#changed();
    return frozen;
  }

  delete(id: string): void {
    const record = this.#byId.get(id);
    if (!record) return;
    this.#byId.delete(id);
    if (this.#names.get(record.name) === id) this.#names.delete(record.name);
    this.#changed();
  }

  #changed(): void {
    this.version++;
    this.#list = undefined;
    this.#linked = undefined;
  }
}
