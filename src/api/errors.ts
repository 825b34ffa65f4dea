import { type ErrorCode, errorCodeOf } from '../base/error-codes.ts';
import { EngineError, type ErrorKind, messageOf } from '../base/errors.ts';
import { jsonText, type Reply } from './reply.ts';

const statusOf = {
  invalid: 400,
  // Of a registry, which is not ours: at 401 the docker CLI asks its user for a password, and Docker does not answer that.
  unauthorized: 500,
  forbidden: 403,
  'not-found': 404,
  conflict: 409,
  'not-modified': 304,
  unsupported: 501,
  unavailable: 503,
  canceled: 499,
  corrupt: 500,
  internal: 500,
} satisfies Record<ErrorKind, number>;

/** An answer that no room gives: of HTTP itself. */
export class HttpError extends Error {
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

export function statusOfError(thrown: unknown): number {
  if (thrown instanceof HttpError) return thrown.status;
  return thrown instanceof EngineError ? statusOf[thrown.kind] : 500;
}

/** The header that names an error's code: the shape of the body is docker's. */
export const errorHeader = 'Berth-Error';

export function codeOfError(thrown: unknown): ErrorCode {
  if (!(thrown instanceof HttpError)) return errorCodeOf(thrown);
  return thrown.status === 404 ? 'E_NOT_FOUND' : thrown.status < 500 ? 'E_INVALID' : 'E_INTERNAL';
}

/** What people read: the message, which many programs know by its beginning, and below it what to do where we know. */
export function textOfError(thrown: unknown): string {
  const message = messageOf(thrown);
  return thrown instanceof EngineError && thrown.hint ? `${message}\n  try: ${thrown.hint}` : message;
}

export function errorReply(thrown: unknown, status = statusOfError(thrown)): Reply {
  if (status === 304) return { status };
  const headers = [errorHeader, codeOfError(thrown)];
  return { status, type: 'application/json', headers, body: jsonText({ message: textOfError(thrown) }) };
}
