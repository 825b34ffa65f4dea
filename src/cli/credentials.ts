import { mkdir, readFile, realpath } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { writeFileAtomic } from '../base/atomic-file.ts';
import { codeOf, EngineError, messageOf } from '../base/errors.ts';
import { parseReference } from '../oci/reference.ts';
import { CredentialHelper } from './credential-helper.ts';

/** Who a registry knows the user as. An identity token stands in place of a password. */
export interface Login {
  readonly username: string;
  readonly password: string;
  readonly identityToken: string;
}

/** What clients call Docker Hub in their files. */
export const hubAddress = 'https://index.docker.io/v1/';

interface StoredAuth {
  readonly auth?: string;
  readonly username?: string;
  readonly password?: string;
  readonly identitytoken?: string;
}

/**
 * Docker's client configuration, of which only the parts about credentials are read: `auths`, `credsStore`, `credHelpers`.
 * All else in the file stays as it is.
 */
export class Credentials {
  readonly path: string;
  readonly #file: Readonly<Record<string, unknown>>;
  readonly #environment: NodeJS.ProcessEnv;

  private constructor(path: string, file: Readonly<Record<string, unknown>>, environment: NodeJS.ProcessEnv) {
    this.#environment = environment;
    this.path = path;
    this.#file = file;
  }

  /** From `$DOCKER_CONFIG`, or `~/.docker`. A file that is not there is an empty one. */
  static async open(environment: NodeJS.ProcessEnv = process.env): Promise<Credentials> {
    const path = join(environment.DOCKER_CONFIG || join(environment.HOME || homedir(), '.docker'), 'config.json');
    let text: string;
    try {
      text = await readFile(path, 'utf8');
    } catch (error) {
      if (codeOf(error) === 'ENOENT' || codeOf(error) === 'ENOTDIR') return new Credentials(path, {}, environment);
      throw new EngineError('invalid', `${path} cannot be read: ${codeOf(error) ?? messageOf(error)}`, {
        cause: error,
      });
    }
    try {
      const file: unknown = text.trim() === '' ? {} : JSON.parse(text);
      if (typeof file !== 'object' || file === null || Array.isArray(file)) throw new Error('it is no JSON object');
      return new Credentials(path, file as Record<string, unknown>, environment);
    } catch (error) {
      // The message of the JSON reader may show what is in the file.
      throw new EngineError('invalid', `${path} cannot be read: it is no JSON object`, { cause: error });
    }
  }

  async get(server: string): Promise<Login | undefined> {
    const helper = this.#helperFor(server);
    if (helper) return await helper.get(server);
    const [, stored] = Object.entries(this.#auths()).find(([key]) => isSame(key, server)) ?? [];
    return stored && loginOf(stored);
  }

  /** Says where it was put. */
  async store(server: string, login: Login): Promise<string> {
    const helper = this.#helperFor(server);
    if (helper) {
      await helper.store(server, login);
      // Docker notes there which servers the helper knows.
      await this.#write({ ...this.#auths(), [server]: {} });
      return helper.program;
    }
    const { username, password, identityToken } = login;
    const auth = Buffer.from(`${username}:${identityToken ? '' : password}`).toString('base64');
    await this.#write({
      ...this.#auths(),
      [server]: { auth, ...(identityToken ? { identitytoken: identityToken } : {}) },
    });
    return this.path;
  }

  /** Whether there was anything. */
  async erase(server: string): Promise<boolean> {
    const helper = this.#helperFor(server);
    const known = (await this.get(server)) !== undefined;
    if (helper && known) await helper.erase(server);
    const left = Object.entries(this.#auths()).filter(([key]) => !isSame(key, server));
    if (left.length !== Object.keys(this.#auths()).length) await this.#write(Object.fromEntries(left));
    return known;
  }

  #auths(): Readonly<Record<string, StoredAuth>> {
    const { auths } = this.#file;
    return typeof auths === 'object' && auths !== null ? (auths as Record<string, StoredAuth>) : {};
  }

  #helperFor(server: string): CredentialHelper | undefined {
    const { credHelpers, credsStore } = this.#file;
    const each = typeof credHelpers === 'object' && credHelpers !== null ? Object.entries(credHelpers) : [];
    const [, own] = each.find(([key]) => isSame(key, server)) ?? [];
    const name: unknown = own ?? credsStore;
    return typeof name === 'string' && name !== '' ? new CredentialHelper(name, this.#environment) : undefined;
  }

  async #write(auths: Readonly<Record<string, StoredAuth>>): Promise<void> {
    await mkdir(dirname(this.path), { recursive: true, mode: 0o700 });
    // A link is written through: the file may live among other dotfiles.
    const path = await realpath(this.path).catch(() => this.path);
    await writeFileAtomic(path, `${JSON.stringify({ ...this.#file, auths }, undefined, '\t')}\n`);
  }
}

/** The server that an image's credentials are kept under. */
export function serverOf(image: string): string {
  const { domain } = parseReference(image);
  return domain === 'docker.io' ? hubAddress : domain;
}

/** What `berth login` was given: a host, or a URL of it. */
export function serverNamed(text: string | undefined): string {
  const host = (text ?? '').replace(/^https?:\/\//, '').replace(/\/.*$/, '');
  return ['', 'docker.io', 'index.docker.io', 'registry-1.docker.io'].includes(host) ? hubAddress : host;
}

/** The header that goes with a request for the image; nothing for who is not signed in. */
export async function authHeader(image: string): Promise<Readonly<Record<string, string>>> {
  const login = await (await Credentials.open()).get(serverOf(image));
  if (!login) return {};
  const { username, password, identityToken } = login;
  const auth = identityToken ? { identitytoken: identityToken } : { username, password };
  return {
    'X-Registry-Auth': Buffer.from(JSON.stringify({ ...auth, serveraddress: serverOf(image) })).toString('base64url'),
  };
}

/** Older clients wrote URLs in place of hosts. */
function isSame(key: string, server: string): boolean {
  return key === server || serverNamed(key) === serverNamed(server);
}

function loginOf({ auth, username, password, identitytoken }: StoredAuth): Login | undefined {
  const [user = '', ...secret] = auth === undefined ? [] : Buffer.from(auth, 'base64').toString().split(':');
  const login = {
    username: username ?? user,
    // Some writers pad with NUL.
    password: password ?? secret.join(':').replace(/\0+$/, ''),
    identityToken: identitytoken ?? '',
  };
  return login.username || login.identityToken ? login : undefined;
}
