import { EngineError } from '../base/errors.ts';

/** A version of the Engine API as one number that can be compared: 1.41 is 1041. */
export type ApiVersion = number;

export const maxVersion: ApiVersion = 1051;
export const minVersion: ApiVersion = 1024;

export function formatVersion(version: ApiVersion): string {
  return `${Math.floor(version / 1000)}.${version % 1000}`;
}

/** `1.41`; undefined when the text is no version. */
export function parseVersion(text: string): ApiVersion | undefined {
  const match = /^([0-9]{1,6})(?:\.([0-9]{1,3}))?(?:\.[0-9]+)*$/.exec(text);
  return match ? Number(match[1]) * 1000 + Number(match[2] ?? 0) : undefined;
}

/** The version that a request asked for, with Docker's words when it is none of ours. */
export function acceptVersion(text: string): ApiVersion {
  const version = parseVersion(text);
  if (version === undefined) throw new EngineError('invalid', `invalid API version "${text}"`);
  if (version > maxVersion)
    throw new EngineError(
      'invalid',
      `client version ${text} is too new. Maximum supported API version is ${formatVersion(maxVersion)}`,
    );
  if (version < minVersion)
    throw new EngineError(
      'invalid',
      `client version ${text} is too old. Minimum supported API version is ${formatVersion(minVersion)}, please upgrade your client to a newer version`,
    );
  return version;
}

/** What a client that speaks up to `own` uses with an engine that announces `theirs` (the `Api-Version` header). */
export function negotiate(own: ApiVersion, theirs: string | undefined): ApiVersion {
  const announced = theirs === undefined ? undefined : parseVersion(theirs);
  return Math.min(own, announced ?? minVersion);
}
