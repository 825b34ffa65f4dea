import { EngineError, type ErrorKind } from '../base/errors.ts';
import type { ContentStore } from '../content/store.ts';
import type { Descriptor } from '../oci/manifest.ts';
import type { ImageSource } from './transfer.ts';

/** Content that is in the store already: of an image that is kept, or of an archive that was read into it. */
export class StoredSource implements ImageSource {
  readonly name: string;
  readonly #content: ContentStore;
  readonly #kind: ErrorKind;

  /** `kind` is what it means when content is missing or has another size than its descriptor says. */
  constructor(name: string, content: ContentStore, kind: ErrorKind) {
    this.name = name;
    this.#content = content;
    this.#kind = kind;
  }

  async document(descriptor: Descriptor): Promise<Buffer> {
    await this.deliver(descriptor);
    return await this.#content.read(descriptor.digest);
  }

  async deliver({ digest, size }: Descriptor): Promise<void> {
    const here = await this.#content.size(digest);
    if (here === undefined) throw new EngineError(this.#kind, `${this.name}: content ${digest} is missing`);
    if (here !== size)
      throw new EngineError(this.#kind, `${this.name}: content ${digest} has ${here} bytes, expected ${size}`);
  }
}
