import type { Events } from '../events/bus.ts';
import type { Images } from '../images/images.ts';
import { formatReference, parseReference, withDefaultTag } from '../oci/reference.ts';

/** What image each name stands for, kept until an image event says that it may be another. */
export class ImageNames {
  readonly #images: Images;
  #names: Promise<ReadonlyMap<string, string>> | undefined;
  /** Counts what may have changed a name. */
  version = 0;

  constructor({ images, events }: { images: Images; events: Events }) {
    this.#images = images;
    // As long as the server, which is as long as the engine.
    events.listen(({ type }) => {
      if (type !== 'image') return;
      this.version++;
      this.#names = undefined;
    });
  }

  /** From full name to identifier. */
  async all(): Promise<ReadonlyMap<string, string>> {
    this.#names ??= this.#images
      .list()
      .then(
        (images) => new Map(images.flatMap((image) => image.names.map((name): [string, string] => [name, image.id]))),
      );
    try {
      return await this.#names;
    } catch (error) {
      this.#names = undefined;
      throw error;
    }
  }
}

/** What a container's image is called: as the user did, or by its identifier when that name stands for another now. */
export function imageName(asked: string, id: string, names: ReadonlyMap<string, string>): string {
  try {
    const reference = parseReference(asked);
    if (reference.digest) return asked;
    return names.get(formatReference(withDefaultTag(reference))) === id ? asked : id;
  } catch {
    return asked;
  }
}
