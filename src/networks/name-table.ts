import { addressBytes } from '../sys/address-bytes.ts';
import { dnsTypes, encodeName, isPlain, type Question, reverseAddress } from './dns-packet.ts';
import type { NamesRecord, NetworkNames } from './helper-protocol.ts';

/** Who is called what in which network. A container's questions are answered from the networks that it is in. */
export class NameTable {
  readonly #records = new Map<string, NamesRecord>();
  /** By network and name. */
  readonly #entries = new Map<string, Map<string, Set<NetworkNames>>>();

  set(record: NamesRecord): void {
    this.delete(record.owner);
    this.#records.set(record.owner, record);
    for (const network of record.networks) {
      let names = this.#entries.get(network.id);
      if (!names) this.#entries.set(network.id, (names = new Map()));
      for (const name of keysOf(network)) {
        const known = names.get(name);
        if (known) known.add(network);
        else names.set(name, new Set([network]));
      }
    }
  }

  delete(owner: string): void {
    const record = this.#records.get(owner);
    this.#records.delete(owner);
    for (const network of record?.networks ?? []) {
      const names = this.#entries.get(network.id);
      for (const name of keysOf(network)) {
        const known = names?.get(name);
        known?.delete(network);
        if (known?.size === 0) names?.delete(name);
      }
      if (names?.size === 0) this.#entries.delete(network.id);
    }
  }

  get(owner: string): NamesRecord | undefined {
    return this.#records.get(owner);
  }

  /** The records' bytes, in any order; none where the name has no such record; undefined when nobody is called so. */
  answer(owner: string, question: Question): Buffer[] | undefined {
    const record = this.#records.get(owner);
    if (!record || !isPlain(question)) return undefined;
    const { name = '', type } = question;
    if (type === dnsTypes.PTR) return this.#reverse(record, name);
    const found = record.networks.flatMap(({ id, name: network, links }) => {
      const target = links && Object.hasOwn(links, name) ? links[name]!.toLowerCase() : name;
      return this.#find(id, network.toLowerCase(), target);
    });
    if (found.length === 0) return undefined;
    const length = type === dnsTypes.A ? 4 : type === dnsTypes.AAAA ? 16 : 0;
    const all = new Set(found.flatMap(({ addresses }) => addresses));
    return shuffled([...all].map(addressBytes).filter((bytes) => bytes.length === length));
  }

  /** `web` and `web.frontend`. */
  #find(id: string, network: string, name: string): readonly NetworkNames[] {
    const names = this.#entries.get(id);
    const suffix = `.${network}`;
    const bare = name.endsWith(suffix) ? names?.get(name.slice(0, -suffix.length)) : undefined;
    return [...(names?.get(name) ?? bare ?? [])];
  }

  #reverse({ networks }: NamesRecord, name: string): Buffer[] | undefined {
    const address = reverseAddress(name);
    if (address === undefined) return undefined;
    const wanted = addressBytes(address).toString('hex');
    for (const { id } of networks)
      for (const entries of this.#entries.get(id)?.values() ?? [])
        for (const entry of entries)
          if (entry.addresses.some((one) => addressBytes(one).toString('hex') === wanted)) {
            const encoded = encodeName(`${entry.names[0] ?? ''}.${entry.name}`);
            if (encoded) return [encoded];
          }
    return undefined;
  }
}

const keysOf = ({ names }: NetworkNames) => new Set(names.map((name) => name.toLowerCase()));

/** Every container of a service gets its share of those who ask. */
function shuffled<T>(all: T[]): T[] {
  for (let at = all.length - 1; at > 0; at--) {
    const other = Math.floor(Math.random() * (at + 1));
    [all[at], all[other]] = [all[other]!, all[at]!];
  }
  return all;
}
