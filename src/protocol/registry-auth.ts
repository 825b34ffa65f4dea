import { EngineError } from '../base/errors.ts';
import { object, parseJson, string } from './decode.ts';

/** What a client sends in `X-Registry-Auth`, and as the body of `POST /auth`. */
export interface RegistryAuth {
  readonly username?: string;
  readonly password?: string;
  readonly serveraddress?: string;
  readonly identitytoken?: string;
  readonly registrytoken?: string;
}

const fields = object('AuthConfig', {
  username: string,
  password: string,
  auth: string,
  serveraddress: string,
  identitytoken: string,
  registrytoken: string,
});

export function decodeRegistryAuth(value: unknown): RegistryAuth {
  const { auth, ...rest } = fields(value) ?? {};
  if (auth === undefined || rest.username !== undefined) return rest;
  const [username = '', ...password] = Buffer.from(auth, 'base64').toString().split(':');
  return { ...rest, username, password: password.join(':') };
}

/** base64url of JSON, with or without padding, in either alphabet. Undefined when it says nothing: anonymous. */
export function parseRegistryAuth(header: string | undefined): RegistryAuth | undefined {
  if (header === undefined || header === '') return undefined;
  // The text must not show what is in it: it is a secret.
  const bad = () => new EngineError('invalid', 'invalid X-Registry-Auth header: not base64url of a JSON object');
  if (!/^[A-Za-z0-9+/_-]*={0,2}$/.test(header)) throw bad();
  let auth: RegistryAuth;
  try {
    // Buffer's base64 reads both alphabets.
    auth = decodeRegistryAuth(parseJson(Buffer.from(header, 'base64').toString()));
  } catch {
    throw bad();
  }
  return Object.keys(auth).length > 0 ? auth : undefined;
}
