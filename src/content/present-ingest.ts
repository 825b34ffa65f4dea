import type { Digest } from '../oci/digest.ts';
import { tooMuch } from './errors.ts';
import type { Ingest } from './store.ts';

/** Stands for a blob that is in the store already: whole from the start; what is written after a restart is dropped. */
export class PresentIngest implements Ingest {
  readonly #digest: Digest;
  readonly #size: number;
  #offset: number;

  constructor(digest: Digest, size: number) {
    this.#digest = digest;
    this.#size = size;
    this.#offset = size;
  }

  get offset(): number {
    return this.#offset;
  }

  async write(chunk: Uint8Array): Promise<void> {
    if (this.#offset + chunk.length > this.#size) throw tooMuch(this.#digest, this.#size);
    this.#offset += chunk.length;
  }

  async restart(): Promise<void> {
    this.#offset = 0;
  }

  async commit(): Promise<void> {}

  async discard(): Promise<void> {}

  async [Symbol.asyncDispose](): Promise<void> {}
}
