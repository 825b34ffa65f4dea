import type { ErrorKind } from './errors.ts';

/**
 * What programs may tell errors apart by, whatever their words: in `--json` of our own CLI, below its errors, and in the
 * header `Berth-Error` of the engine's answers. A code once given keeps its meaning. docs/cli.md lists them.
 */
export const errorCodes = {
  E_INVALID: 'what was asked for cannot be',
  E_USAGE: 'the command line cannot be read',
  E_UNAUTHORIZED: 'a registry wants another sign-in, or one',
  E_FORBIDDEN: 'it may not be done',
  E_NOT_FOUND: 'what it is about is not there',
  E_NO_SUCH_CONTAINER: 'no container has this name or ID',
  E_NO_SUCH_IMAGE: 'no image here has this name or ID',
  E_NO_SUCH_NETWORK: 'no network has this name or ID',
  E_NO_SUCH_VOLUME: 'no volume has this name',
  E_NO_SUCH_EXEC: 'no exec has this ID',
  E_NO_SUCH_FILE: 'no file has this path',
  E_NOT_IN_REGISTRY: 'the registry has no such image, or shows it to others only',
  E_CONFLICT: 'it cannot be done in the state that things are in',
  E_NAME_IN_USE: 'another container, or a network, has this name',
  E_PORT_IN_USE: 'another container or a process of the host has this port',
  E_ADDRESS_IN_USE: 'another container has this address',
  E_IN_USE: 'a container uses what was to be removed',
  E_NOT_RUNNING: 'the container does not run',
  E_STILL_RUNNING: 'the container runs, and must not for this',
  E_PAUSED: 'the container is paused',
  E_COMMAND_NOT_FOUND: 'the command is not in the container',
  E_COMMAND_NOT_EXECUTABLE: 'the command is in the container and cannot be executed',
  E_NO_SPACE: 'a disk is full, out of inodes, or a quota is used up',
  E_UNSUPPORTED: 'it is not built, or this machine cannot do it',
  E_UNAVAILABLE: 'what it needs does not answer; later it may',
  E_NO_ENGINE: 'no engine answers at this address',
  E_NOT_MODIFIED: 'it is so already',
  E_CANCELED: 'it was given up',
  E_CORRUPT: 'what was read is not what it should be',
  E_INTERNAL: 'the engine or the CLI failed',
} as const satisfies Readonly<Record<string, string>>;

export type ErrorCode = keyof typeof errorCodes;

const byKind = {
  invalid: 'E_INVALID',
  unauthorized: 'E_UNAUTHORIZED',
  forbidden: 'E_FORBIDDEN',
  'not-found': 'E_NOT_FOUND',
  conflict: 'E_CONFLICT',
  'not-modified': 'E_NOT_MODIFIED',
  unsupported: 'E_UNSUPPORTED',
  unavailable: 'E_UNAVAILABLE',
  canceled: 'E_CANCELED',
  corrupt: 'E_CORRUPT',
  internal: 'E_INTERNAL',
} as const satisfies Readonly<Record<ErrorKind, ErrorCode>>;

/** What is said of an error of which nothing closer is known. */
export function codeOfKind(kind: ErrorKind): ErrorCode {
  return byKind[kind];
}

/** The code of whatever was thrown. Not by class: bundles of the CLI have classes of their own. */
export function errorCodeOf(thrown: unknown): ErrorCode {
  const { errorCode, code } = (thrown ?? {}) as { errorCode?: unknown; code?: unknown };
  if (isErrorCode(errorCode)) return errorCode;
  if (code === 'ENOSPC' || code === 'EDQUOT') return 'E_NO_SPACE';
  if (code === 'ENOENT') return 'E_NO_SUCH_FILE';
  if (code === 'EACCES' || code === 'EPERM') return 'E_FORBIDDEN';
  return 'E_INTERNAL';
}

/** Whether it is a code that we know: what came over a wire may be anything. */
export function isErrorCode(text: unknown): text is ErrorCode {
  return typeof text === 'string' && Object.hasOwn(errorCodes, text);
}
