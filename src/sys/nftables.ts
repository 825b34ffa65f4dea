import koffi from 'koffi';
import { EngineError } from '../base/errors.ts';
import { attributes, type NetlinkSocket } from './netlink.ts';

/** A batch of nft commands was refused; nothing of it was applied. */
export class NftablesError extends EngineError {
  constructor(detail: string) {
    super('internal', `nftables: ${detail.trim().split('\n')[0] ?? 'refused'}`);
  }
}

function bind() {
  const lib = koffi.load('libnftables.so.1');
  return {
    make: lib.func('void* nft_ctx_new(uint32_t)'),
    free: lib.func('void nft_ctx_free(void*)'),
    bufferOutput: lib.func('int nft_ctx_buffer_output(void*)'),
    bufferError: lib.func('int nft_ctx_buffer_error(void*)'),
    run: lib.func('int nft_run_cmd_from_buffer(void*, const char*)'),
    output: lib.func('const char* nft_ctx_get_output_buffer(void*)'),
    error: lib.func('const char* nft_ctx_get_error_buffer(void*)'),
  };
}

/** libnftables(3): each `run` is one transaction, in the network namespace in which this object was made. */
export class Nftables implements Disposable {
  /** Bound once for a thread: an object is made in each container's namespace. */
  static #bound: ReturnType<typeof bind> | undefined;
  readonly #native: ReturnType<typeof bind>;
  readonly #context: unknown;

  constructor() {
    this.#native = Nftables.#bound ??= bind();
    this.#context = this.#native.make(0);
    if (!this.#context) throw new NftablesError('libnftables gave no context');
    this.#native.bufferOutput(this.#context);
    this.#native.bufferError(this.#context);
  }

  /** Carries out nft commands and gives back what they print. */
  run(commands: string): string {
    const result = this.#native.run(this.#context, commands);
    // Reading a buffer also empties it: both are read every time.
    const output = this.#native.output(this.#context) ?? '';
    const error = this.#native.error(this.#context) ?? '';
    if (result !== 0) throw new NftablesError(error);
    return output;
  }

  [Symbol.dispose](): void {
    this.#native.free(this.#context);
  }
}

const NFT_MSG_NEWGEN = 0x0a0f;
const NFT_MSG_GETGEN = 0x0a10;
const NFTA_GEN_ID = 1;

/** NETLINK_NETFILTER of linux/netlink.h. */
export const netfilterProtocol = 12;

/** The number that every committed transaction of anybody raises by one: equal means that nothing has changed. */
export function generation(socket: NetlinkSocket): number {
  const request = { type: NFT_MSG_GETGEN, flags: 0, body: Buffer.alloc(4), subject: 'nftables generation' };
  for (const { type, body } of socket.request(request)) {
    if (type !== NFT_MSG_NEWGEN) continue;
    for (const attribute of attributes(body.subarray(4)))
      if (attribute.type === NFTA_GEN_ID) return attribute.value.readUInt32BE();
  }
  throw new NftablesError('the kernel told no generation');
}
