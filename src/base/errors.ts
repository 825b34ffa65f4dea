import { codeOfKind, type ErrorCode } from './error-codes.ts';

/**
 * What a room throws. The kind says what class of trouble it is; `api/` turns kinds into statuses.
 * The message says what could not be done, to what, then the fact, with no full stop. Messages that users
 * of Docker know are kept word for word.
 */
export type ErrorKind =
  | 'invalid'
  | 'unauthorized'
  | 'forbidden'
  | 'not-found'
  | 'conflict'
  | 'not-modified'
  | 'unsupported'
  | 'unavailable'
  | 'canceled'
  | 'corrupt'
  | 'internal';

export interface ErrorOptions {
  readonly cause?: unknown;
  readonly hint?: string;
  /** What programs tell it by, where that says more than its kind. */
  readonly code?: ErrorCode;
}

export class EngineError extends Error {
  readonly kind: ErrorKind;
  /** The next command to try, for people; printed after the message. */
  readonly hint: string | undefined;
  /** Without one of its own that of its cause, when that is of the same kind: what wraps it only adds a fact. */
  readonly errorCode: ErrorCode;

  constructor(kind: ErrorKind, message: string, { cause, hint, code }: ErrorOptions = {}) {
    super(message, { cause });
    this.name = new.target.name;
    this.kind = kind;
    this.hint = hint;
    const inherited = cause instanceof EngineError && cause.kind === kind ? cause.errorCode : undefined;
    this.errorCode = code ?? inherited ?? codeOfKind(kind);
  }
}

/** The message of whatever was thrown, for a log line or to be wrapped. */
export function messageOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}

/** The errno name (`ENOENT`) of a Node or system-call error, or undefined. */
export function codeOf(thrown: unknown): string | undefined {
  if (typeof thrown !== 'object' || thrown === null || !('code' in thrown)) return undefined;
  return typeof thrown.code === 'string' ? thrown.code : undefined;
}
