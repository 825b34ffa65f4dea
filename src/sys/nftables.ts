import koffi from 'koffi';
import { EngineError } from '../base/errors.ts';

/** A batch of nft commands was refused; nothing of it was applied. */
export class NftablesError extends EngineError {
  constructor(detail: string) {
    super('internal', `nftables: ${detail.trim().split('\n')[0] ?? 'refused'}`);
  }
}

/** libnftables(3): each `run` is one transaction, in the network namespace in which this object was made. */
export class Nftables implements Disposable {
  readonly #context: unknown;
  readonly #free: (context: unknown) => void;
  readonly #run: (context: unknown, commands: string) => number;
  readonly #output: (context: unknown) => string | null;
  readonly #error: (context: unknown) => string | null;

  constructor() {
    const lib = koffi.load('libnftables.so.1');
    this.#context = lib.func('void* nft_ctx_new(uint32_t)')(0);
    if (!this.#context) throw new NftablesError('libnftables gave no context');
    lib.func('int nft_ctx_buffer_output(void*)')(this.#context);
    lib.func('int nft_ctx_buffer_error(void*)')(this.#context);
    this.#free = lib.func('void nft_ctx_free(void*)');
    this.#run = lib.func('int nft_run_cmd_from_buffer(void*, const char*)');
    this.#output = lib.func('const char* nft_ctx_get_output_buffer(void*)');
    this.#error = lib.func('const char* nft_ctx_get_error_buffer(void*)');
  }

  /** Carries out nft commands and gives back what they print. */
  run(commands: string): string {
    const result = this.#run(this.#context, commands);
    // Reading a buffer also empties it: both are read every time.
    const output = this.#output(this.#context) ?? '';
    const error = this.#error(this.#context) ?? '';
    if (result !== 0) throw new NftablesError(error);
    return output;
  }

  [Symbol.dispose](): void {
    this.#free(this.#context);
  }
}
