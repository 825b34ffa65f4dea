import type { ErrorKind } from '../base/errors.ts';
import type { LayerPair } from './differences.ts';
import type { UnpackOptions } from './unpack.ts';
import type { RootView } from './view.ts';

/** What a thread is to do; it is done step by step, as the other side asks for the next. */
export type Job =
  | { readonly kind: 'stat'; readonly view: RootView; readonly path: string }
  | { readonly kind: 'pack'; readonly view: RootView; readonly path: string }
  | { readonly kind: 'export'; readonly view: RootView }
  | { readonly kind: 'unpack'; readonly view: RootView; readonly path: string; readonly options: UnpackOptions }
  | { readonly kind: 'changes'; readonly pair: LayerPair }
  | { readonly kind: 'layer'; readonly pair: LayerPair };

export type Request =
  | { readonly kind: 'begin'; readonly id: number; readonly job: Job }
  /** The next step. With bytes for a job that takes some; without, they have ended. */
  | { readonly kind: 'next'; readonly id: number; readonly bytes: Uint8Array | undefined }
  | { readonly kind: 'give-up'; readonly id: number };

/** One for each request but `begin`. */
export type Reply =
  | { readonly kind: 'step'; readonly id: number; readonly value: unknown }
  | { readonly kind: 'end'; readonly id: number }
  | { readonly kind: 'failed'; readonly id: number; readonly error: WireError };

export interface WireError {
  readonly kind: ErrorKind;
  readonly message: string;
  readonly code: string | undefined;
}
