import type { Digest } from '../oci/digest.ts';
import type { HistoryEntry } from '../oci/image-config.ts';
import { familiarName, parseReference } from '../oci/reference.ts';
import type { Image } from './images.ts';

export interface HistoryLine extends HistoryEntry {
  /** Bytes of the layer's uncompressed tar; 0 for a step that made none. */
  readonly size: number;
  readonly names: readonly string[];
  /** The image's ID for the newest, `<missing>` for the others. */
  readonly id: string;
}

/** Newest first. Layers beyond what the history tells of get lines of their own, so that the sizes add up. */
export function historyOf(image: Image, sizeOf: (diffId: Digest) => number): readonly HistoryLine[] {
  const diffIds = [...image.layers];
  const told = (image.config.history ?? []).map((entry) => {
    const diffId = entry.empty_layer ? undefined : diffIds.shift();
    return { entry, size: diffId ? sizeOf(diffId) : 0 };
  });
  const untold = diffIds.map((diffId): (typeof told)[number] => ({ entry: {}, size: sizeOf(diffId) }));
  const names = image.names.map((name) => familiarName(parseReference(name)));
  return [...told, ...untold]
    .reverse()
    .map(({ entry, size }, at) => ({ ...entry, size, names: at ? [] : names, id: at ? '<missing>' : image.id }));
}
