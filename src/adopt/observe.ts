import { messageOf } from '../base/errors.ts';
import type { ForeignRoot } from './foreign-root.ts';
import { observeContainers } from './observe-containers.ts';
import { observeImages } from './observe-images.ts';
import { observeNetworks } from './observe-networks.ts';
import { observeVolumes } from './observe-volumes.ts';
import type { Fault, Kind, Observed } from './observed.ts';

/** What the observers tell of, one thing at a time: one that is damaged hides none of the others. */
export interface Finds<T> {
  add(found: T): void;
  fault(name: string, why: string, hint?: string): void;
  /** Whatever is thrown is the fault of this one. */
  try(name: string, look: () => T | Promise<T> | undefined): Promise<void>;
}

/** Reads all that a data root of Docker holds. Slow: sizes are counted file by file. */
export async function observe(root: ForeignRoot, wanted: ReadonlySet<Kind>): Promise<Observed> {
  const faults: Fault[] = [];
  const look = async <T>(kind: Kind, its: boolean, run: (finds: Finds<T>) => Promise<void>): Promise<readonly T[]> => {
    const found: T[] = [];
    const fault = (name: string, why: string, hint?: string) =>
      void faults.push({ kind, name, why, ...(hint === undefined ? {} : { try: hint }) });
    const finds: Finds<T> = {
      add: (one) => void found.push(one),
      fault,
      try: async (name, look) => {
        try {
          const one = await look();
          if (one) found.push(one);
        } catch (error) {
          fault(name, messageOf(error));
        }
      },
    };
    if (!its) return found;
    try {
      await run(finds);
    } catch (error) {
      fault(kind, messageOf(error));
    }
    return found;
  };
  return {
    from: root.path,
    images: await look('images', wanted.has('images'), (finds) => observeImages(root, finds)),
    volumes: await look('volumes', wanted.has('volumes'), (finds) => observeVolumes(root, finds)),
    networks: await look('networks', wanted.has('networks'), (finds) => observeNetworks(root, finds)),
    containers: await look('containers', wanted.has('containers'), (finds) => observeContainers(root, finds)),
    faults,
  };
}
